"""`genie-robo play` as a user starts it, with a real browser on its page."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser import open_browser

WORDS = ("port=0", "browser=false", "device=cpu", "sampler.num_steps=2")
WAIT_S = 60

pytestmark = pytest.mark.slow


@contextmanager
def serving(run):
    """The command in a process of its own; gives it and its address."""
    own = {name: os.environ[name] for name in os.environ if not name.startswith("PYTEST_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "genie_robo", "play", f"run={run.path}", *WORDS],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=own | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
    )
    try:
        first = process.stdout.readline()
        assert first.startswith("play: http://127.0.0.1:"), first + process.stderr.read()
        address = first.removeprefix("play: ").strip()
        yield process, address
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def browser():
    yield from open_browser(["--window-size=1280,800"])


def test_a_key_changes_the_image_and_undo_changes_it_back(run, browser):
    def text(name):
        return browser.find_element(By.CSS_SELECTOR, f".{name}").text

    def picture(name):
        return browser.find_element(By.CSS_SELECTOR, f".{name} img").get_attribute("src")

    def press(key, *, frame):
        ActionChains(browser).send_keys(key).perform()
        WebDriverWait(browser, WAIT_S).until(lambda _: (text("frame"), text("status")) == frame)

    with serving(run) as (process, address):
        wait_until_open(address)
        browser.get(address)
        WebDriverWait(browser, WAIT_S).until(lambda _: picture("imagined"))
        prompt = {name: picture(name) for name in ("imagined", "true")}
        assert text("latency") == "0 ms"

        press("3", frame=("1", "ready"))
        press("w", frame=("2", "ready"))
        assert picture("imagined") != prompt["imagined"]
        assert picture("true") != prompt["true"]
        assert int(text("latency").removesuffix(" ms")) > 0
        assert text("actions") == "3 +x"

        press("u", frame=("1", "ready"))
        press("u", frame=("0", "ready"))
        assert {name: picture(name) for name in prompt} == prompt

        loaded = browser.execute_script(
            "return performance.getEntriesByType('resource').map(entry => entry.name)"
        )
        assert len(loaded) > 5
        elsewhere = [url for url in loaded if not url.startswith((address, "data:"))]
        assert elsewhere == []

        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0
    assert "2 frames imagined" in out
    assert "frames per second" in out
    assert "Traceback" not in err


def wait_until_open(address):
    host, port = address.removeprefix("http://").split(":")
    for _ in range(WAIT_S * 10):
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"{address} does not open")
