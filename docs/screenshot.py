"""Take a picture of a served Rerun viewer with headless Chromium; needs no GPU and no display.

    genie-robo view run=runs/demo serve=true              # prints ADDRESS; leave it running
    python docs/screenshot.py ADDRESS docs/viewer.png

Wants `pip install playwright`, in any environment, and Chromium: the system's own
(`apt-get install chromium`), or the one that `playwright install chromium` fetches.
"""

import argparse
import shutil
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
SMALL = {"width": 480, "height": 320}
"""Window while the data load: drawing it in software costs a tenth of the real size."""
RESTING_PLACE = (330, 18)
"""Empty part of the top bar, where a mouse highlights nothing."""
SETTLE_MS = 2000


def take_screenshot(
    address: str, output: Path, *, size: tuple[int, int], wait_s: float, step: int, theme: str
) -> None:
    """Open the viewer, let it load, pause it at a step and save what it shows."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=list(SOFTWARE_RENDERING)
        )
        page = browser.new_page(viewport=SMALL, color_scheme="dark" if theme == "dark" else "light")
        page.goto(f"{address}&renderer=webgl")
        page.wait_for_timeout(1000 * wait_s)
        page.keyboard.press("Space")
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.wait_for_timeout(3 * SETTLE_MS)
        _go_to(page, step, size=size)
        page.screenshot(path=output)
        browser.close()


def _go_to(page: Page, step: int, *, size: tuple[int, int]) -> None:
    """Type the step into the time field, slowly: in software a frame takes a second."""
    page.mouse.click(size[0] - TIME_FIELD[0], size[1] - TIME_FIELD[1])
    page.wait_for_timeout(SETTLE_MS)
    for key in ("Control+A", *str(step), "Enter"):
        page.keyboard.press(key)
        page.wait_for_timeout(SETTLE_MS)
    page.mouse.move(*RESTING_PLACE)
    page.wait_for_timeout(2 * SETTLE_MS)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("address", help="what `genie-robo view serve=true` prints")
    parser.add_argument("output", type=Path, help="PNG file to write")
    parser.add_argument("--width", type=int, default=1600)
    parser.add_argument("--height", type=int, default=950)
    parser.add_argument("--wait", type=float, default=30.0, help="seconds to let the page load")
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
