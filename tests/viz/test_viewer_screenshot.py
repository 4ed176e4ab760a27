"""A rollout in the viewer itself: no view is empty or reports an error.

Below the layout lies a row of views that are empty or broken on purpose: the same check has
to distinguish them from the others. The viewer runs without a window, on the software renderer that
Chromium brings along.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import rerun as rr
import rerun.blueprint as rrb
from PIL import Image
from rerun.experimental import View, ViewerClient

import genie_robo.viz.rollout
from genie_robo.viz.recording import write_recording
from genie_robo.viz.rollout import write_rollouts
from genie_robo.viz.viewer import HOST, find_viewer
from tests.browser import BROWSERS
from tests.viz.controls import BROKEN, EMPTY, FEWEST_PIXELS, is_colored, log_broken

pytestmark = pytest.mark.slow

DRIVER = "vk_swiftshader_icd.json"
BRIGHT = 200
"""Smallest channel of a letter that is meant to be read: the message of an empty view is
darker."""
PATIENCE_S = 120

UNREADABLE = rrb.Spatial2DView(origin="/unreadable", name="no JPEG")
CONTROLS = {view.name for view in [*EMPTY, BROKEN, UNREADABLE]}


class Seen(NamedTuple):
    """What a look at all views found, by their names."""

    full: set[str]
    empty: set[str]
    wrong: set[str]


@pytest.fixture
def recording(tmp_path, monkeypatch, make_view) -> Path:
    """A rollout above the row of controls, not playing."""

    def write(path, *, log, blueprint, **words):
        def log_also_broken(stream: rr.RecordingStream) -> None:
            log(stream)
            log_broken(stream)
            image = rr.EncodedImage(contents=b"\xff\xd8 no JPEG", media_type="image/jpeg")
            stream.log("/unreadable", image, static=True)

        controls = rrb.Horizontal(*EMPTY, BROKEN, UNREADABLE)
        content = rrb.Vertical(blueprint.root_container, controls, row_shares=[75, 25])
        still = rrb.TimePanel(state="collapsed", timeline="step", play_state="paused")
        below = rrb.Blueprint(content, still, collapse_panels=True)
        return write_recording(path, log=log_also_broken, blueprint=below, **words)

    monkeypatch.setattr(genie_robo.viz.rollout, "write_recording", write)
    return write_rollouts(tmp_path / "demo.rrd", {"": make_view()}, name="demo")


@pytest.fixture
def viewer(recording):
    driver = next((f for f in browser_folders() if (f / DRIVER).is_file()), None)
    if driver is None:
        pytest.skip("no Chromium with its software renderer here; apt-get install chromium")
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    software = {"LD_LIBRARY_PATH": str(driver), "VK_ICD_FILENAMES": str(driver / DRIVER)}
    words = [find_viewer(), "--headless", "--bind", HOST, "--port", str(port)]
    process = subprocess.Popen(
        [*words, "--window-size", "800x640", recording],
        env=os.environ | software,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield connect(port)
    finally:
        process.kill()
        process.wait()


def browser_folders() -> Iterator[Path]:
    """Where the files of the browsers on PATH may lie.

    Debian starts them by a script in PREFIX/bin; their own folder is in PREFIX/lib.
    """
    for name in BROWSERS:
        if binary := shutil.which(name):
            script = Path(binary).resolve()
            yield script.parent
            yield script.parent.parent / "lib" / script.name


def connect(port: int) -> ViewerClient:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return ViewerClient.connect(f"rerun+http://{HOST}:{port}/proxy")
        time.sleep(0.1)
    raise AssertionError("the viewer does not open its port")


def look(viewer: ViewerClient, folder: Path) -> Seen:
    images = [(view, screenshot_of(viewer, view, folder)) for view in viewer.get_state().views]
    drawn = [(view, pixels) for view, pixels in images if pixels is not None]
    return Seen(
        full={view.name for view, pixels in drawn if not is_empty(view, pixels)},
        empty={view.name for view, pixels in drawn if is_empty(view, pixels)},
        wrong={view.name for view in viewer.get_state().views if view.reports},
    )


def screenshot_of(viewer: ViewerClient, view: View, folder: Path) -> np.ndarray | None:
    """Its pixels, also saved as a file; None behind another tab."""
    try:
        png = viewer.take_screenshot(view.view_id)
    except ConnectionError:
        return None
    (folder / f"{view.name}.png").write_bytes(png)
    with Image.open(BytesIO(png)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def is_empty(view: View, pixels: np.ndarray) -> bool:
    is_text = view.view_class == "TextDocument"
    is_different = pixels.min(axis=-1) > BRIGHT if is_text else is_colored(pixels)
    return bool(np.count_nonzero(is_different) < FEWEST_PIXELS)


def test_every_view_of_a_rollout_shows_something_and_none_reports_an_error(viewer, tmp_path):
    deadline = time.monotonic() + PATIENCE_S
    while not viewer.get_state().active_recording or viewer.get_state().loading:
        time.sleep(0.2)
        assert time.monotonic() < deadline
    seen = look(viewer, tmp_path)
    while time.monotonic() < deadline and seen.empty != CONTROLS:
        time.sleep(1)
        seen = look(viewer, tmp_path)
    assert seen.wrong == {BROKEN.name}
    errors = {entry.message for entry in viewer.get_logs() if entry.level == "ERROR"}
    assert len(errors) == 1, errors
    assert "Invalid JPEG data" in errors.pop()
    assert seen.empty == CONTROLS, f"see the images in {tmp_path}"
    assert {"true camera", "imagined camera", "summary"} < seen.full
    assert len(seen.full) >= 9
