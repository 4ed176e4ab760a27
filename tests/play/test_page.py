"""The page as NiceGUI's simulated user sees it, without a browser."""

import asyncio
import io
import socket
import threading
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from nicegui import ui
from nicegui.testing import User
from nicegui.testing.user_simulation import user_simulation
from PIL import Image

from genie_robo.inference.code_names import dictionary_names
from genie_robo.inference.world import Codes, HeldFrame
from genie_robo.play.address import free_port
from genie_robo.play.game import Game
from genie_robo.play.page import data_url, show_page
from genie_robo.play.recording import write_session
from genie_robo.play.session import Job, make_session


@pytest.fixture
def visit(prompts, tmp_path):
    """Run a coroutine function on an open page: it gets the user and the session."""

    def run(make_game, story, note=""):
        session = make_session(
            make_game,
            prompts=prompts,
            record=partial(write_session, tmp_path),
            title="runs/mine",
            note=note,
        )

        async def on_page():
            async with user_simulation(lambda: show_page(session)) as user:
                await user.open("/")
                await story(user, session)

        try:
            asyncio.run(on_page())
        finally:
            session.turns.close()

    return run


def source(user: User, name: str) -> str:
    (image,) = [e for e in user.client.elements.values() if e.tag == "img" and name in e.classes]
    return image.props["src"]


async def settled(session, num_actions):
    for _ in range(500):
        await asyncio.sleep(0.02)
        if session.turns.running is None and len(session.game.actions) == num_actions:
            return
    raise AssertionError(f"{len(session.game.actions)} actions after 10 s")


async def until_read(session):
    for _ in range(500):
        if not session.reading.locked() and session.turns.running is None:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("an image is still being read after 10 s")


def test_a_button_imagines_a_frame_and_undo_takes_it_back(visit, make):
    async def story(user, session):
        await user.should_see("runs/mine")
        await user.should_see("MuJoCo cannot execute codes without an action map")
        prompt = source(user, "imagined")
        user.find(marker="key-1").click()
        await settled(session, 1)
        assert source(user, "imagined") == data_url(session.game.now.frame) != prompt
        latency = f"{1000 * session.game.now.latency_s:.0f} ms"
        await user.should_see(marker="latency", content=latency)
        await user.should_see("ready")
        user.find(marker="key-undo").click()
        await settled(session, 0)
        assert source(user, "imagined") == prompt

    visit(make, story)


class Trusted(HeldFrame):
    """A held frame whose trust depends on the code alone."""

    takes = (Codes,)
    trust = (0.004, 0.917, 1.0)

    def step(self, actions):
        return replace(super().step(actions), trust=np.take(self.trust, actions.values))


def test_the_trust_of_the_frame_is_shown(visit, prompts):
    async def story(user, session):
        await user.should_see(marker="trust", content="not known")
        for key, num_actions, shown in (
            ("1", 1, "0.92"),
            ("0", 2, "0.00"),
            ("2", 3, "1.00"),
            ("undo", 2, "0.00"),
            ("reset", 0, "not known"),
        ):
            user.find(marker=f"key-{key}").click()
            await settled(session, num_actions)
            await user.should_see(marker="trust", content=shown)
            (label,) = user.find(marker="trust").elements
            assert label.text == shown

    visit(lambda: Game(Trusted(), prompts.episode(0).prompt, num_codes=3), story)


def test_without_an_action_map_there_are_no_robot_buttons(visit, make, mapped):
    async def without(user, session):
        await user.should_not_see(marker="key-+x")

    async def with_map(user, session):
        await user.should_see("names the right code for 40%")
        user.find(marker="key-+x").click()
        await settled(session, 1)
        await user.should_see("MuJoCo executed +x, which the model took as code 4 +x: dx +4.0 cm")
        assert source(user, "true") == data_url(session.game.now.true_frame)
        await user.should_see("3 +x")
        user.find(marker="key-3").click()
        await settled(session, 2)
        await user.should_see("+x, 3 +x")
        await user.should_see("the mean motion of code 3 +x: dx +2.0 cm")

    visit(make, without)
    visit(mapped, with_map, note="names the right code for 40%")


def test_busy_is_said_and_the_latest_press_waits(visit, make):
    async def story(user, session):
        gate = threading.Event()

        def work() -> None:
            gate.wait(10)

        first = asyncio.ensure_future(session.turns.take(Job("slow", work)))
        await asyncio.sleep(0.05)
        user.find(marker="key-1").click()
        await user.should_see("busy: slow, 1 waits")
        user.find(marker="key-reset").click()
        await user.should_see("busy: slow, reset waits")
        await asyncio.sleep(0.05)
        user.find(marker="key-2").click()
        gate.set()
        await first
        await settled(session, 1)
        await user.should_see("reset was skipped for 2")
        assert [action.name for action in session.game.actions] == ["2"]

    visit(make, story)


def test_buttons_have_the_names_of_codes(visit, make, mapped):
    async def numbers(user, session):
        assert [label_of(user, f"key-{code}") for code in range(5)] == list("01234")

    async def names(user, session):
        shown = [label_of(user, f"key-{code}") for code in range(5)]
        assert shown == list(dictionary_names(session.game.meanings))
        assert shown[4] == "4 +x"

    visit(make, numbers)
    visit(mapped, names)


def label_of(user, marker):
    (button,) = user.find(marker=marker).elements
    return next(e.text for e in button.descendants() if isinstance(e, ui.label))


def test_every_kind_of_prompt_can_be_chosen(visit, make):
    async def story(user, session):
        user.find("scene").click()
        user.find("seed").clear().type("5")
        user.find(marker="start-scene").click()
        for _ in range(200):
            await asyncio.sleep(0.02)
            if session.game.prompt.title == "scene 5":
                break
        await user.should_see("actions from scene 5")
        assert source(user, "true") == data_url(session.game.prompt.frames[0])

        user.find("image").click()
        picture = io.BytesIO()
        Image.fromarray(np.full((80, 80, 3), 200, np.uint8)).save(picture, "PNG")
        upload = user.find(ui.upload).elements.pop()
        bomb = io.BytesIO()
        Image.new("1", (13_000, 13_000)).save(bomb, "PNG")
        files = {
            "wrong.png": b"no image",
            "bomb.png": bomb.getvalue(),
            "cup.png": picture.getvalue(),
        }
        for name, content in files.items():
            await upload.handle_uploads([ui.upload.SmallFileUpload(name, "image/png", content)])
            await asyncio.sleep(0.1)
            await until_read(session)
        await user.should_see("wrong.png cannot be a prompt")
        await user.should_see("bomb.png cannot be a prompt: it has 13000 x 13000 pixels")
        await user.should_see("actions from cup.png")
        await user.should_see("This prompt has no simulator state")

    visit(make, story)


def test_the_game_is_played_while_an_image_is_read(visit, make, monkeypatch):
    gate = threading.Event()

    def read(self, files):
        gate.wait(10)
        raise ValueError(f"{files[0][0]} cannot be a prompt")

    async def story(user, session):
        monkeypatch.setattr(type(session.prompts), "images", read)
        user.find("image").click()
        upload = user.find(ui.upload).elements.pop()
        for name in ("first.png", "second.png"):
            await upload.handle_uploads([ui.upload.SmallFileUpload(name, "image/png", b"")])
            await asyncio.sleep(0.05)
        await user.should_see("busy: second.png was not taken, another image is being read")
        user.find(marker="key-1").click()
        await settled(session, 1)
        assert [action.name for action in session.game.actions] == ["1"]
        gate.set()
        await user.should_see("first.png cannot be a prompt")

    visit(make, story)


@pytest.mark.parametrize("seed", ["-3", "4294967296"])
def test_a_seed_that_no_scene_has_is_refused(visit, make, seed):
    async def story(user, session):
        user.find("scene").click()
        user.find("seed").clear().type(seed)
        user.find(marker="start-scene").click()
        before = session.game.prompt
        await user.should_see("of a scene must be between 0 and 4294967295")
        await user.should_see("actions from test episode 0")
        assert session.game.prompt is before

    visit(make, story)


def test_a_recording_is_announced(visit, mapped, tmp_path):
    async def story(user, session):
        user.find(marker="key-record").click()
        await user.should_see("record: there is nothing to record yet")
        user.find(marker="key-4").click()
        await settled(session, 1)
        user.find(marker="key-record").click()
        for _ in range(200):
            await asyncio.sleep(0.05)
            if (tmp_path / "play_000.rrd").exists() and session.turns.running is None:
                break
        await user.should_see(f"wrote {tmp_path / 'play_000.rrd'}")
        assert (tmp_path / "play_000.rrd").is_file()
        assert (tmp_path / "play_000.mp4").is_file()

    visit(mapped, story)


@pytest.mark.parametrize("port", [-1, 70000])
def test_port_that_cannot_be(port):
    with pytest.raises(ValueError, match=rf"port={port} must be between 1 and 65535, or 0"):
        free_port("127.0.0.1", port)


def test_any_free_port_is_a_port():
    assert free_port("127.0.0.1", 0) > 1023


def test_port_in_use_names_the_way_out():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = (
            rf"^cannot listen on port {port} of 127\.0\.0\.1 \(Address already in use\); stop what "
            r"listens there, choose another with port=NUMBER, or take any free one with port=0$"
        )
        with pytest.raises(ValueError, match=said):
            free_port("127.0.0.1", port)
