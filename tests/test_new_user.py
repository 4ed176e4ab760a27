"""README and tutorials as a new user follows them: commands, Python, pages in a browser.

The commands run in an empty folder, one after the other, at toy size. Screenshots of report.html,
of `play` and of the Rerun viewer go to a folder that is printed; `make new-user` shows it.
"""

import base64
import os
import platform
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser import SOFTWARE_RENDERING, open_browser
from tests.new_user import (
    REPOSITORY,
    Done,
    User,
    code_blocks,
    command_lines,
    install,
    would_install,
)
from tests.viz.test_web_viewer_screenshot import free_pair_of_ports

TOY = "".join(
    f" {words}"
    for words in (
        "model.tokenizer.quantizer.warmup_steps=1",
        "model.latent_action.quantizer.warmup_steps=1",
        *(f"{stage}.num_steps=3" for stage in ("tokenizer", "world_model")),
        *(f"{stage}.batch_size=2" for stage in ("tokenizer", "world_model")),
        "world_model.num_frames=8",
        "engine.num_threads=1",
    )
)
BRIDGE = "data=bridge_dataset data.path=PATH_TO/bridge_dataset"
SERVED = {
    "genie-robo view run=runs/demo",
    "genie-robo play run=runs/demo",
    "genie-robo view run=runs/bridge",
}
"""Lines that open a page."""
NOT_HERE = {"make test"}
"""Needs the repository."""
INSTEAD = {
    "make demo": "genie-robo demo experiment=smoke run=runs/demo",
    "make demo EXPERIMENT=smoke": "genie-robo demo experiment=smoke",
    f"genie-robo train run=runs/bridge {BRIDGE} model=real_video": (
        f"genie-robo train run=runs/bridge data.path=runs/demo/dataset model=real_video{TOY}"
    ),
    "genie-robo eval run=runs/bridge suite=latent_probe": (
        "genie-robo eval run=runs/bridge suite=latent_probe fast=true"
    ),
    "genie-robo eval run=runs/demo suite=[latent_probe,sim_rollout]": (
        "genie-robo eval run=runs/demo suite=[latent_probe,sim_rollout] fast=true"
    ),
    "genie-robo train run=runs/seed1 seed=1 data.path=runs/demo/dataset": (
        f"genie-robo train run=runs/seed1 seed=1 data.path=runs/demo/dataset{TOY}"
    ),
    "genie-robo eval run=[runs/demo,runs/seed1] suite=tokenizer": (
        "genie-robo eval run=[runs/demo,runs/seed1] suite=tokenizer fast=true"
    ),
    "genie-robo eval run=runs/demo suite=[policy_evaluation,counterfactual]": (
        "genie-robo eval run=runs/demo suite=[policy_evaluation,counterfactual] fast=true"
        " suite.policy_evaluation.policies=[expert,expert_40,empty_handed,random,idle,wrong_way]"
        " suite.policy_evaluation.tasks=[reach] suite.counterfactual.tasks=[reach]"
    ),
    "genie-robo eval run=runs/bridge suite=[tokenizer,latent_probe,video]": (
        "genie-robo eval run=runs/bridge suite=[tokenizer,latent_probe,video] fast=true"
    ),
    "genie-robo record path=datasets/tabletop num_episodes=24": (
        "genie-robo record path=datasets/tabletop num_episodes=4"
    ),
}
"""Lines at toy size, and with data that are there."""
ALSO = (
    "genie-robo doctor",
    "genie-robo train --help",
    "genie-robo export run=runs/demo output=exported/demo",
)
"""What the text names between the blocks."""
WIDTHS = (1280, 390)
PART_PX = 4000
WAIT_S = 120
VIEWER_WAIT_S = 400
FEWEST_COLOURS = 500
"""Of a picture of the viewer in which something is drawn."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def user(tmp_path_factory) -> User:
    return install(tmp_path_factory.mktemp("new_user"))


@pytest.fixture(scope="module")
def followed(user) -> dict[str, Done]:
    """Every line of the pages that ends by itself, run in their order."""
    lines = [INSTEAD.get(line, line) for line in command_lines() if line not in SERVED | NOT_HERE]
    done = {}
    for line in dict.fromkeys([*lines, *ALSO]):
        done[line] = user.run(line)
        assert done[line].status == 0, (line, done[line].err[-3000:])
    return done


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory, request) -> Path:
    """Where pictures of pages go: a new folder, or the one that NEW_USER_SCREENSHOTS names."""
    named = os.environ.get("NEW_USER_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    terminal = request.config.pluginmanager.getplugin("terminalreporter")
    if terminal is not None:
        terminal.write_line(f"\nscreenshots go to {folder}")
    return folder


@pytest.fixture(params=WIDTHS)
def width(request) -> int:
    return request.param


@pytest.fixture
def browser():
    for driver in open_browser(SOFTWARE_RENDERING):
        driver.set_page_load_timeout(VIEWER_WAIT_S)
        yield driver


def resize(browser, width: int) -> None:
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def save_page(browser, path: Path) -> None:
    """A page from its top to its end, in pictures that Chromium can draw at once."""
    size = "return [document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    width, height = browser.execute_script(size)
    for part, top in enumerate(range(0, height, PART_PX)):
        shown = {"x": 0, "y": top, "width": width, "height": min(PART_PX, height - top), "scale": 1}
        words = {"captureBeyondViewport": True, "format": "png", "clip": shown}
        png = browser.execute_cdp_cmd("Page.captureScreenshot", words)["data"]
        path.with_stem(f"{path.stem}_{part}").write_bytes(base64.b64decode(png))


def wait(browser, condition: Callable[[], object]) -> None:
    WebDriverWait(browser, WAIT_S).until(lambda _: condition())


def overflow_px(browser, width: int) -> int:
    """Pixels by which a page is wider than its window."""
    return browser.execute_script("return document.documentElement.scrollWidth") - width


def test_every_line_of_the_pages_is_followed():
    lines = set(command_lines())
    assert INSTEAD.keys() <= lines
    assert lines >= SERVED | NOT_HERE
    assert all(line.startswith("genie-robo ") for line in lines - INSTEAD.keys() - NOT_HERE)


def test_the_commands_of_the_pages_work(followed, user):
    for line, done in followed.items():
        assert "Traceback" not in done.out + done.err, line
    for run in ("demo", "smoke", "bridge"):
        assert (user.folder / "runs" / run / "report.html").is_file()
    made = {path.name for path in user.folder.iterdir()}
    named = {"runs", "exported", "datasets", "inspected"}
    assert made == named, "nothing else is left in the folder of the user"


def test_the_package_is_that_of_the_wheel(user):
    probe = "import genie_robo, sys; sys.stdout.write(genie_robo.__file__)"
    where = user.run(f'python -c "{probe}"').out
    assert where.startswith(str(user.programs.parent))
    assert str(REPOSITORY) not in where


def test_pip_finds_what_the_wheel_needs_without_constraints(user, tmp_path):
    needed = {"torch", "mujoco", "rerun-sdk", "tensorflow-datasets"}
    needed |= {"xformers"} if platform.machine() == "x86_64" else set()
    assert needed <= would_install(user.wheel, tmp_path / "environment")


def test_the_python_of_the_readme_works(followed, user):
    (block,) = code_blocks("python")
    (user.folder / "mine.py").write_text(f"{block}\nassert len(imagined) == 10, imagined.shape\n")
    done = user.run("python mine.py")
    (user.folder / "mine.py").unlink()
    assert done.status == 0, done.err


@pytest.mark.parametrize("run", ["demo", "bridge"])
def test_the_report_in_a_browser(followed, user, browser, screenshots, width, run):
    resize(browser, width)
    browser.get((user.folder / "runs" / run / "report.html").as_uri())
    wait(browser, lambda: browser.execute_script("return document.readyState") == "complete")
    save_page(browser, screenshots / f"report_{run}_{width}.png")
    images = browser.find_elements(By.TAG_NAME, "img")
    assert len(images) > 5
    assert all(int(image.get_attribute("naturalWidth")) > 0 for image in images)
    assert overflow_px(browser, width) <= 0


def test_play_in_a_browser(followed, user, browser, screenshots, width):
    with user.serving("genie-robo play run=runs/demo port=0 browser=false") as address:
        resize(browser, width)
        browser.get(address)
        wait(browser, lambda: len(browser.find_elements(By.CSS_SELECTOR, "img.thumbnail")))
        before = browser.find_element(By.CSS_SELECTOR, "img.imagined").get_attribute("src")
        keys = browser.find_elements(By.CSS_SELECTOR, ".key")
        next(key for key in keys if key.text.startswith("+x")).click()
        imagined = (By.CSS_SELECTOR, "img.imagined")
        wait(browser, lambda: browser.find_element(*imagined).get_attribute("src") != before)
        wait(browser, lambda: browser.find_element(By.CSS_SELECTOR, ".status").text == "ready")
        save_page(browser, screenshots / f"play_{width}.png")
        assert overflow_px(browser, width) <= 0


def test_the_viewer_in_a_browser(followed, user, browser, screenshots):
    port = free_pair_of_ports()
    with user.serving(f"genie-robo view run=runs/demo serve=true port={port}") as address:
        resize(browser, 1280)
        browser.get(f"{address}&renderer=webgl")
        deadline = time.monotonic() + VIEWER_WAIT_S
        while num_colours(png := browser.get_screenshot_as_png()) < FEWEST_COLOURS:
            assert time.monotonic() < deadline, "the viewer shows no recording"
            time.sleep(2)
        time.sleep(10)  # views that were not drawn yet
        png = browser.get_screenshot_as_png()
        (screenshots / "viewer.png").write_bytes(png)
        assert num_colours(png) >= FEWEST_COLOURS


def num_colours(png: bytes) -> int:
    with Image.open(BytesIO(png)) as image:
        return len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0))
