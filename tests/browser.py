"""A headless Chromium for tests of pages; skipped where there is none."""

import shutil
from collections.abc import Iterator, Sequence

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SOFTWARE_RENDERING = (
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
)
"""Flags by which pages with WebGL are drawn without a GPU."""
HEADLESS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage")


def open_browser(flags: Sequence[str]) -> Iterator[webdriver.Chrome]:
    """For a fixture to yield from: a browser with `flags`, closed in the end."""
    binary = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver_path = shutil.which("chromedriver")
    if binary is None or driver_path is None:
        missing = "no Chromium" if binary is None else "no chromedriver"
        pytest.skip(f"{missing} here; on Debian: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*HEADLESS, *flags):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(driver_path))
    yield driver
    driver.quit()
