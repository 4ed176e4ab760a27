"""A run that was never trained, its dataset, and an action map that is easy to know by heart."""

import gc
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from nicegui import core
from nicegui.server import Server
from nicegui.testing.general import nicegui_reset_globals

from genie_robo.build import build_genie
from genie_robo.checkpoint import PARTS_OF_GENIE, save_weights
from genie_robo.commands.compose import compose_config, to_config
from genie_robo.commands.table import load_command
from genie_robo.config import RecordConfig
from genie_robo.config_file import write_config
from genie_robo.inference.error_feedback import ErrorFeedback
from genie_robo.inference.settings import Sampler
from genie_robo.inference.world import GenieWorld
from genie_robo.play.address import free_port
from genie_robo.play.game import Game
from genie_robo.play.page import serve
from genie_robo.prompts import RunPrompts
from genie_robo.run_folder import RunFolder
from genie_robo.sim.record import record_dataset
from genie_robo.trained_run import TrainedRun, open_run
from genie_robo.types import Split
from tests.models.conftest import toy_config

SAMPLER = Sampler(num_steps=2)


class EasyMap:
    """Code k is 2 cm times k - 2 along x, and the other way round."""

    @property
    def feedback(self) -> ErrorFeedback:
        return ErrorFeedback(
            quantise=self.predict,
            centroids=self.mean(np.arange(5)),
            accumulates=np.arange(7) < 3,
        )

    @property
    def counts(self) -> np.ndarray:
        return np.ones(5, int)

    def mean(self, latent_actions: np.ndarray) -> np.ndarray:
        actions = np.zeros((len(latent_actions), 7))
        actions[:, 0], actions[:, 6] = 0.02 * (latent_actions - 2), 1.0
        return actions

    def predict(self, robot_actions: np.ndarray) -> np.ndarray:
        return np.rint(robot_actions[:, 0] / 0.02).astype(np.int64).clip(-2, 2) + 2


@contextmanager
def served(session):
    """The address of a session's page, served in a thread as `genie-robo play` serves it."""
    handlers = [(core.sio.handlers["/"], {}), (core.sio.eio.handlers, {})]
    for now, before in handlers:
        before.update(now)
    port, is_up = free_port("127.0.0.1", 0), threading.Event()
    settings = {"host": "127.0.0.1", "port": port, "browser": False}
    settings["announce"] = lambda _: is_up.set()
    with nicegui_reset_globals(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("NICEGUI_SCREEN_TEST_PORT", str(port))
        thread = threading.Thread(target=serve, args=(session,), kwargs=settings)
        thread.start()
        assert is_up.wait(20)
        wait_for(lambda: is_listening(port))
        yield f"http://127.0.0.1:{port}"
        Server.instance.should_exit = True
        thread.join(20)
        gc.unfreeze()
    for now, before in handlers:
        now.update(before)


def is_listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition, seconds=10):
    for _ in range(seconds * 50):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s")


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> RunFolder:
    """As training leaves it; the weights are random."""
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "untrained")
    path = str(folder.dataset)
    record_dataset(RecordConfig(path=path, num_episodes=6, num_steps=5, num_workers=1))
    train = load_command("train")
    words = [f"run={folder.path}", "data=tabletop", f"data.path={folder.dataset}"]
    data = to_config(train, compose_config(train, words)).data
    config = replace(toy_config(), run=str(folder.path), data=data)
    write_config(folder, config)
    torch.manual_seed(0)
    genie = build_genie(config)
    for part in PARTS_OF_GENIE:
        save_weights(folder, part, getattr(genie, part).state_dict())
    return folder


@pytest.fixture(scope="session")
def trained(run) -> TrainedRun:
    return open_run(str(run.path), device="cpu")


@pytest.fixture(scope="session")
def prompts(trained) -> RunPrompts:
    return RunPrompts(trained.windows(Split.test))


@pytest.fixture
def make(trained, prompts):
    """A game of the untrained Genie, by default from test episode 0."""
    games = []

    def build(prompt=None, *, action_map=None, seed=0) -> Game:
        to_codes = action_map and (lambda: action_map.feedback)
        game = Game(
            GenieWorld(trained.genie, sampler=SAMPLER, robot_map=to_codes),
            prompt or prompts.episode(0).prompt,
            num_codes=trained.genie.latent_action.num_codes,
            seed=seed,
            meanings=action_map,
        )
        games.append(game)
        return game

    yield build
    for game in games:
        game.close()


@pytest.fixture
def mapped(make):
    return partial(make, action_map=EasyMap())
