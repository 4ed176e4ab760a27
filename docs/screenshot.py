"""Take a picture of a served Rerun viewer with headless Chromium; needs no GPU and no display.

    genie-robo view run=runs/demo serve=true              # prints ADDRESS; leave it running
    python docs/screenshot.py ADDRESS docs/images/viewer.png

Wants `pip install playwright`, in any environment, and Chromium: the system's own
(`apt-get install chromium`), or the one that `playwright install chromium` fetches.
"""

import argparse
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

SOFTWARE_RENDERING = (
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
)
TIME_FIELD = (40, 14)
"""Pixels from the lower right corner to the field that shows the current step."""
RESTING_PLACE = (330, 18)
"""Empty part of the top bar, where a mouse highlights nothing."""
TOP_BAR, TIME_PANEL = 36, 30
"""Their heights in pixels."""
SMALL = {"width": 480, "height": 320}
"""Window while the data load: drawing it in software costs a tenth of the real size."""
EMPTY_PNG = 400
"""Bytes below which a picture of the time panel shows nothing."""
PATIENCE_S = 600


def take_screenshot(
    address: str, output: Path, *, size: tuple[int, int], wait_s: float, step: int, theme: str
) -> None:
    """Open the viewer, let it load, pause it at a step and save what it shows.

    Raises:
        TimeoutError: no recording appears, or the picture does not come to rest.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=list(SOFTWARE_RENDERING)
        )
        page = browser.new_page(viewport=SMALL, color_scheme="dark" if theme == "dark" else "light")
        page.set_default_timeout(1000 * PATIENCE_S)
        page.goto(f"{address}&renderer=webgl")
        _wait_for(page, lambda: len(_picture(page, TIME_PANEL)) > EMPTY_PNG, "load a recording")
        page.wait_for_timeout(1000 * wait_s)
        _wait_for(page, lambda: _pauses(page), "pause")
        page.set_viewport_size({"width": size[0], "height": size[1]})
        _settle(page)
        page.mouse.click(size[0] - TIME_FIELD[0], size[1] - TIME_FIELD[1])
        _settle(page)
        for key in ("Control+A", *str(step), "Enter"):
            page.keyboard.press(key)
            page.wait_for_timeout(2000)
        page.mouse.move(*RESTING_PLACE)
        _settle(page)
        page.screenshot(path=output)
        browser.close()


def _picture(page: Page, height: int, *, above: int = 0) -> bytes:
    """PNG of the lowest rows, `above` the bottom of the window."""
    size = page.viewport_size or SMALL
    top = size["height"] - above - height
    return page.screenshot(clip={"x": 0, "y": top, "width": size["width"], "height": height})


def _pauses(page: Page) -> bool:
    """Whether space stopped the playback; before all data are there it may start it instead."""
    page.keyboard.press("Space")
    return any(_is_still(page) for _ in range(4))


def _settle(page: Page) -> None:
    _wait_for(page, lambda: _is_still(page), "come to rest")


def _is_still(page: Page) -> bool:
    """Whether the views stay as they are for a while: in software one frame can take a second."""
    height = (page.viewport_size or SMALL)["height"] - TOP_BAR - TIME_PANEL
    before = _picture(page, height, above=TIME_PANEL)
    page.wait_for_timeout(1500)
    return _picture(page, height, above=TIME_PANEL) == before


def _wait_for(page: Page, is_done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the viewer at {page.url} did not {what} in {PATIENCE_S} s")
        page.wait_for_timeout(500)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("address", help="what `genie-robo view serve=true` prints")
    parser.add_argument("output", type=Path, help="PNG file to write")
    parser.add_argument("--width", type=int, default=1600)
    parser.add_argument("--height", type=int, default=950)
    parser.add_argument(
        "--wait", type=float, default=15.0, help="seconds between its first data and the pause"
    )
    parser.add_argument("--step", type=int, default=8, help="step of the rollout to show")
    parser.add_argument("--theme", choices=("dark", "light"), default="dark")
    options = parser.parse_args()
    take_screenshot(
        options.address,
        options.output,
        size=(options.width, options.height),
        wait_s=options.wait,
        step=options.step,
        theme=options.theme,
    )


if __name__ == "__main__":
    main()
