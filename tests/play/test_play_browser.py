"""`genie-robo play` as a user starts it, with a real browser on its page."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from genie_robo.inference.code_names import dictionary_names
from genie_robo.inference.world import GenieWorld
from genie_robo.play.game import Game
from genie_robo.play.session import make_session
from tests.browser import open_browser
from tests.play.conftest import SAMPLER, EasyMap, served

WORDS = ("port=0", "browser=false", "device=cpu", "sampler.num_steps=2")
WAIT_S = 60
SEEN_HEIGHT = {1280: 844, 390: 664}
"""Of a page by its width: the bars of a phone's browser hide the rest of its 844 pixels."""
UNSEEN = """
return [...document.querySelectorAll(arguments[0])].filter((element) => {
  const box = element.getBoundingClientRect();
  const there = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
  return box.bottom > arguments[1] || !element.contains(there);
}).map((element) => element.outerHTML.slice(0, 200));
"""
"""The elements that are below a height, or hidden by others."""

pytestmark = pytest.mark.slow


@contextmanager
def started(run):
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
        return browser.find_element(By.CSS_SELECTOR, f"img.{name}").get_attribute("src")

    def press(key, *, frame):
        ActionChains(browser).send_keys(key).perform()
        WebDriverWait(browser, WAIT_S).until(lambda _: (text("frame"), text("status")) == frame)

    with started(run) as (process, address):
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
        assert text("actions") == "3, +x"

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


class EightCodes(EasyMap):
    """The corners of a cube: eight codes, whose names have three axes, as `5 -x+y-z`."""

    @property
    def counts(self) -> np.ndarray:
        return np.ones(8, int)

    def mean(self, latent_actions: np.ndarray) -> np.ndarray:
        actions = np.zeros((len(latent_actions), 7))
        for axis in range(3):
            actions[:, axis] = 0.02 - 0.04 * (latent_actions >> axis & 1)
        return actions


@pytest.fixture(scope="module")
def steered(prompts, trained, request):
    """The address of a page in this process, and its game, which robot actions steer."""
    meanings = getattr(request, "param", EasyMap)()
    world = GenieWorld(trained.genie, sampler=SAMPLER, robot_map=lambda: EasyMap().feedback)
    prompt = prompts.episode(0).prompt

    def make():
        return Game(world, prompt, num_codes=len(meanings.counts), meanings=meanings)

    note = "the action map explains 68% of the latents of held-out steps (R2, 200 labels)"
    session = make_session(
        make, prompts=prompts, record=lambda _: None, title="runs/mine", note=note
    )
    with served(session) as address:
        yield address, session.game


def open_at(browser, address, width):
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(address)
    WebDriverWait(browser, WAIT_S).until(
        lambda _: browser.find_elements(By.CSS_SELECTOR, "img.thumbnail")
    )


def until(browser, condition):
    WebDriverWait(browser, WAIT_S, poll_frequency=0.02).until(lambda _: condition())


def names(game):
    return [action.name for action in game.actions]


BOTH_MAPS = pytest.mark.parametrize("steered", [EasyMap, EightCodes], indirect=True)


@BOTH_MAPS
@pytest.mark.parametrize("width", [1280, 390])
def test_every_button_is_on_screen_and_everything_has_a_text(steered, browser, width):
    address, game = steered
    open_at(browser, address, width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    shown = browser.find_elements(By.CSS_SELECTOR, ".key, .pad, .lift, img, .trust, .status")
    assert len(shown) > game.num_codes + 7 + 3 + 2
    for element in shown:
        place = element.rect
        assert place["width"] > 0
        assert place["x"] >= 0
        assert place["x"] + place["width"] <= width, element.get_attribute("outerHTML")[:200]
    images = browser.find_elements(By.TAG_NAME, "img")
    assert all(image.get_attribute("alt") for image in images)
    assert browser.execute_script("return document.documentElement.lang").startswith("en")
    labels = [key.text.split("\n")[0] for key in browser.find_elements(By.CSS_SELECTOR, ".key")]
    assert set(game.code_names) <= set(labels)


def test_the_names_of_codes_are_those_of_the_action_map():
    assert dictionary_names(EasyMap()) == ("0 -x", "1 -x", "2 still", "3 +x", "4 +x")
    assert dictionary_names(EightCodes())[5] == "5 -x+y-z"


@BOTH_MAPS
@pytest.mark.parametrize("width", [1280, 390])
def test_frames_and_keys_are_on_the_first_screen(steered, browser, width):
    address, game = steered
    open_at(browser, address, width)
    shown = ".key, img.imagined, img.true"
    num_shown = len(browser.find_elements(By.CSS_SELECTOR, shown))
    assert num_shown == game.num_codes + 7 + 3 + 2
    assert browser.execute_script(UNSEEN, shown, SEEN_HEIGHT[width]) == []


def test_the_focus_of_the_keyboard_is_visible(steered, browser):
    def ring(element):
        return element.value_of_css_property("box-shadow")

    open_at(browser, steered[0], 1280)
    plain = {e: ring(e) for e in browser.find_elements(By.CSS_SELECTOR, "button, a, .q-tab, input")}
    seen = set()
    for _ in range(12):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        focused = browser.switch_to.active_element
        until(browser, lambda at=focused: ring(at) != plain[at])
        seen.add(focused.text)
    assert len(seen) > 8


def test_a_held_key_moves_on_until_it_is_released(steered, browser):
    address, game = steered
    open_at(browser, address, 1280)
    game.reset()
    ActionChains(browser).key_down("w").perform()
    until(browser, lambda: len(game.actions) >= 4)
    ActionChains(browser).key_up("w").perform()
    time.sleep(1)
    stopped = names(game)
    assert set(stopped) == {"+x"}
    time.sleep(2 / game.frame_hz)
    assert names(game) == stopped

    ActionChains(browser).key_down("w").perform()
    until(browser, lambda: len(game.actions) > len(stopped) + 1)
    browser.execute_script("window.dispatchEvent(new Event('blur'))")
    time.sleep(1)
    stopped = names(game)
    time.sleep(2 / game.frame_hz)
    assert names(game) == stopped, "a window that lost the focus sees no key go up"


@pytest.mark.parametrize("width", [1280, 390])
def test_a_held_button_and_the_pad_move_the_tool(steered, browser, width):
    address, game = steered
    open_at(browser, address, width)
    game.reset()
    button = next(
        key for key in browser.find_elements(By.CSS_SELECTOR, ".key") if key.text.startswith("-y")
    )
    ActionChains(browser).click(button).perform()
    until(browser, lambda: names(game) == ["-y"])
    ActionChains(browser).click_and_hold(button).perform()
    until(browser, lambda: len(game.actions) >= 3)
    ActionChains(browser).release().perform()
    time.sleep(1)
    assert set(names(game)) == {"-y"}

    game.reset()
    pad = browser.find_element(By.CSS_SELECTOR, ".pad")
    browser.execute_script("arguments[0].scrollIntoView()", pad)
    drag = ActionChains(browser).move_to_element(pad).click_and_hold()
    drag.move_by_offset(-36, -18).perform()  # half to the left, a quarter away
    until(browser, lambda: len(game.actions) >= 3)
    ActionChains(browser).release().perform()
    time.sleep(1)
    stopped = names(game)
    moved = game.actions[-1].robot_action
    assert moved[:3] == pytest.approx([0.01, 0.02, 0.0], abs=0.004)
    time.sleep(2 / game.frame_hz)
    assert names(game) == stopped


def test_the_slider_moves_the_tool_up_by_mouse_and_by_arrow_keys(steered, browser):
    address, game = steered
    open_at(browser, address, 1280)
    game.reset()
    slider = browser.find_element(By.CSS_SELECTOR, ".lift")
    slider.send_keys(Keys.PAGE_UP)
    until(browser, lambda: len(game.actions) == 1)
    first = game.actions[0].robot_action[:3]
    assert first[2] > 0
    ActionChains(browser).move_to_element(slider).click_and_hold().move_by_offset(0, -90).perform()
    until(browser, lambda: len(game.actions) >= 4)
    assert game.actions[-1].robot_action[:3] == pytest.approx([0.0, 0.0, 0.04])
    ActionChains(browser).release().perform()
    time.sleep(1)
    stopped = names(game)
    time.sleep(2 / game.frame_hz)
    assert names(game) == stopped
    assert slider.get_property("value") == "0"


def test_a_gamepad_moves_the_tool_and_the_gripper(steered, browser):
    address, game = steered
    open_at(browser, address, 1280)
    game.reset()
    browser.execute_script(
        "window.pad = {axes: [0.05, -0.5, 0, 1], buttons: [{pressed: false}]};"
        "navigator.getGamepads = () => [null, window.pad];"
    )
    until(browser, lambda: len(game.actions) >= 2)
    browser.execute_script("window.pad.axes = [0, 0.1, 0, 0]")
    time.sleep(1)
    assert game.actions[-1].robot_action[:3] == pytest.approx([0.02, 0.0, -0.04])
    stopped = names(game)
    browser.execute_script("window.pad.buttons[0].pressed = true")
    until(browser, lambda: len(game.actions) > len(stopped))
    time.sleep(1)
    assert names(game) == [*stopped, "close"]


def wait_until_open(address):
    host, port = address.removeprefix("http://").split(":")
    for _ in range(WAIT_S * 10):
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"{address} does not open")
