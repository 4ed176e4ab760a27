"""A viewer sees what training does, and training is the same with it, without it and after it."""

import signal
import socket
import subprocess
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

import genie_robo.viz.live
from genie_robo.build import build_genie
from genie_robo.commands import train as train_command
from genie_robo.config import Steering, Viz
from genie_robo.train import live
from genie_robo.train.live import LiveLog, Outputs, Viewer, world_model_outputs
from genie_robo.train.run import train
from genie_robo.viz.viewer import find_viewer


class Notebook:
    """A viewer that writes down what it is shown."""

    def __init__(self):
        self.seen, self.looks = [], {}

    def numbers(self, stage, step, numbers):
        self.seen.append((stage, step, dict(numbers)))

    def look(self, stage, step, look):
        self.looks[stage, step] = look


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.fixture(scope="module")
def watched(trained, tmp_path_factory):
    """The training of `trained` again, looked at after every second step."""
    notebook = Notebook()
    stage = replace(trained.tokenizer, validate_every=2)
    config = replace(
        trained,
        run=str(tmp_path_factory.mktemp("watched") / "run"),
        tokenizer=stage,
        world_model=stage,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "BUDGET", 1e9)
        train(config, notebook)
    return config, notebook


def test_looking_changes_nothing_that_is_learned(watched, trained, weights):
    config, notebook = watched
    assert isinstance(notebook, Viewer)
    assert list(notebook.looks) == [
        (stage, step) for stage in ("tokenizer", "world_model") for step in (2, 4, 6, 8)
    ]
    assert_equal(weights(config.run), weights(trained.run))


def test_what_is_shown(watched, logged):
    config, notebook = watched
    shown = [numbers["loss"] for stage, _, numbers in notebook.seen if stage == "tokenizer"]
    assert shown == logged(config.run, "tokenizer")
    assert all(np.isfinite(list(numbers.values())).all() for *_, numbers in notebook.seen)
    assert {"perplexity", "dead_codes"} <= notebook.seen[3][2].keys()
    look = notebook.looks["tokenizer", 8]
    assert {name: row.shape for name, row in look.pictures.items()} == {
        "true": (2, 32, 32, 3),
        "reconstructed": (2, 32, 32, 3),
    }
    assert (len(look.code_use), look.code_use.sum()) == (16, 2 * 4 * 16)
    look = notebook.looks["world_model", 8]
    assert {name: row.shape for name, row in look.pictures.items()} == {
        "true": (4, 32, 32, 3),
        "imagined": (4, 32, 32, 3),
    }
    assert (len(look.code_use), look.code_use.sum()) == (4, 2 * 3)
    earlier = notebook.looks["world_model", 2].pictures
    np.testing.assert_array_equal(earlier["true"], look.pictures["true"])


def test_dynamics_that_robot_actions_steer_is_not_imagined(config):
    dynamics = replace(config.model.dynamics, steered_by=Steering.robot_actions)
    genie = build_genie(replace(config, model=replace(config.model, dynamics=dynamics)))
    video = torch.zeros(2, 4, 32, 32, 3, dtype=torch.uint8)
    look = world_model_outputs(genie, video)
    assert list(look.pictures) == ["true"]
    assert look.code_use.sum() == 2 * 3


def test_looks_stay_within_their_share_of_the_time(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    notebook = Notebook()

    def look():
        now[0] += 2.0
        return Outputs(pictures={}, code_use=np.zeros(1, int))

    log = LiveLog(notebook, "tokenizer", look)
    for step in range(1, 101):
        now[0] += 10.0
        log.write(step, {"loss": 1.0, "val_loss": 1.0})
        log.write(step, {"loss": 1.0})

    assert len(notebook.seen) == 200
    spent, elapsed = 2.0 * len(notebook.looks), now[0]
    assert min(step for _, step in notebook.looks) == 1
    assert 0.9 * live.BUDGET <= spent / elapsed <= 1.1 * live.BUDGET


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_viewer_that_dies_changes_nothing(trained, weights, tmp_path, monkeypatch):
    port, received = free_port(), tmp_path / "received.rrd"
    words = ["--port", str(port), "--bind", "127.0.0.1", "--save", str(received)]
    server = subprocess.Popen([find_viewer(), *words], stderr=subprocess.DEVNULL)

    class Killer(genie_robo.viz.live.LiveViewer):
        """Kills the server in the middle of a stage, when it has received something."""

        def numbers(self, stage, step, numbers):
            if (stage, step) == ("world_model", 4):
                deadline = time.monotonic() + 60
                while received.stat().st_size < 2_000 and time.monotonic() < deadline:
                    time.sleep(0.05)
                server.send_signal(signal.SIGKILL)
                server.wait()
            super().numbers(stage, step, numbers)

    monkeypatch.setattr(train_command, "LiveViewer", Killer)
    watched = replace(
        trained, run=str(tmp_path / "watched"), viz=Viz.live, viewer=f"127.0.0.1:{port}"
    )
    try:
        train_command.run(watched)
    finally:
        server.kill()

    assert server.returncode == -signal.SIGKILL
    assert received.stat().st_size >= 2_000
    assert_equal(weights(watched.run), weights(trained.run))
