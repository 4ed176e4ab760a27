"""A rollout in the web viewer, in headless Chromium: no view is empty or reports an error.

All views of the layout and the controls lie in a grid of equal cells, so that each can be cut out
of one screenshot of the page.
"""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import rerun as rr
import rerun.blueprint as rrb
from PIL import Image

import genie_robo.viz.rollout
from genie_robo.viz.recording import write_recording
from genie_robo.viz.rollout import write_rollouts
from genie_robo.viz.viewer import HOST, web_address
from tests.browser import SOFTWARE_RENDERING, open_browser
from tests.viz.checks import views_of
from tests.viz.controls import BROKEN, EMPTY, FEWEST_PIXELS, is_colored, log_broken

pytestmark = pytest.mark.slow

NUM_COLUMNS = 4
TOP_BAR, TIME_PANEL, TITLE = 36, 30, 24
"""Their heights in pixels."""
BADGE = 20
"""Pixels of the red mark next to the title of a view that reports an error."""
PATIENCE_S = 400


class Grid(NamedTuple):
    """A recording whose views lie in a grid, row by row."""

    recording: Path
    views: list[rrb.View]


class Seen(NamedTuple):
    """What a look at the page found, by the names of views."""

    full: set[str]
    wrong: set[str]


@pytest.fixture
def grid(tmp_path, monkeypatch, make_view) -> Grid:
    views: list[rrb.View] = []

    def write(path, *, log, blueprint, **words):
        def log_also_broken(stream: rr.RecordingStream) -> None:
            log(stream)
            log_broken(stream)

        views.extend([*views_of(blueprint), *EMPTY, BROKEN])
        still = rrb.TimePanel(state="collapsed", timeline="step", play_state="paused")
        equal = rrb.Grid(*views, grid_columns=NUM_COLUMNS)
        return write_recording(
            path,
            log=log_also_broken,
            blueprint=rrb.Blueprint(equal, still, collapse_panels=True),
            **words,
        )

    monkeypatch.setattr(genie_robo.viz.rollout, "write_recording", write)
    recording = write_rollouts(tmp_path / "demo.rrd", {"": make_view()}, name="demo")
    return Grid(recording, views)


@pytest.fixture
def browser():
    for driver in open_browser(["--window-size=1280,1000", *SOFTWARE_RENDERING]):
        driver.set_page_load_timeout(PATIENCE_S)
        yield driver


@pytest.fixture
def address(grid) -> Iterator[str]:
    """Of the page, served as `genie-robo view serve=true` serves it."""
    port = free_pair_of_ports()
    words = [sys.executable, "-m", "genie_robo", "view", f"path={grid.recording}", "serve=true"]
    process = subprocess.Popen(
        [*words, f"port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: is_open(port))
        yield web_address(port)
    finally:
        process.terminate()
        process.wait()


def free_pair_of_ports() -> int:
    while True:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port = probe.getsockname()[1]
        if port < 65535 and not is_open(port + 1):
            return port


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def wait_for(is_done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_done():
        assert time.monotonic() < deadline
        time.sleep(1)


def look(page: np.ndarray, views: list[rrb.View]) -> Seen:
    cells = dict(zip([view.name for view in views], cut(page, len(views)), strict=True))
    titles = {name: cell[:TITLE] for name, cell in cells.items()}
    contents = {name: cell[TITLE:] for name, cell in cells.items()}
    says_nothing = contents["empty text"]
    full, wrong = set(), set()
    for view in views:
        content = contents[view.name]
        is_text = isinstance(view, rrb.TextDocumentView)
        is_different = (content != says_nothing).any(axis=-1) if is_text else is_colored(content)
        if np.count_nonzero(is_different) >= FEWEST_PIXELS:
            full.add(view.name)
        if np.count_nonzero(is_colored(titles[view.name])) >= BADGE:
            wrong.add(view.name)
    return Seen(full, wrong)


def cut(page: np.ndarray, num_cells: int) -> list[np.ndarray]:
    """The cells of the grid, row by row, without the lines between them."""
    num_rows = -(-num_cells // NUM_COLUMNS)
    height = (page.shape[0] - TOP_BAR - TIME_PANEL) / num_rows
    width = page.shape[1] / NUM_COLUMNS
    size = (int(height) - 4, int(width) - 4)
    corners = [
        (TOP_BAR + int(k // NUM_COLUMNS * height) + 2, int(k % NUM_COLUMNS * width) + 2)
        for k in range(num_cells)
    ]
    return [page[top : top + size[0], left : left + size[1]] for top, left in corners]


def test_every_view_shows_something_and_none_reports_an_error(grid, browser, address, tmp_path):
    shown = {view.name for view in grid.views} - {view.name for view in [*EMPTY, BROKEN]}
    seen = [Seen(set(), set())]

    def is_as_it_should_be() -> bool:
        png = browser.get_screenshot_as_png()
        (tmp_path / "page.png").write_bytes(png)
        with Image.open(BytesIO(png)) as page:
            seen[0] = look(np.asarray(page.convert("RGB")), grid.views)
        return seen[0] == Seen(full=shown, wrong={BROKEN.name})

    browser.get(f"{address}&renderer=webgl")
    deadline = time.monotonic() + PATIENCE_S
    while not is_as_it_should_be() and time.monotonic() < deadline:
        time.sleep(2)
    assert seen[0].wrong == {BROKEN.name}, f"see {tmp_path / 'page.png'}"
    assert seen[0].full == shown, f"see {tmp_path / 'page.png'}"
    assert len(shown) >= 9
