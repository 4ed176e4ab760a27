"""TensorBoard and Weights & Biases, in addition to log.jsonl, which is always written."""

import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import pytest

from genie_robo.config import Logger, Stage
from genie_robo.run_folder import RunFolder
from genie_robo.train.metrics import open_logs
from genie_robo.train.run import train


def write(folder, logger, *, resume_at=0, steps=(1, 2)):
    logs = open_logs(
        RunFolder.at(folder), "tokenizer", [logger], resume_at=resume_at, settings={"seed": 3}
    )
    for step in steps:
        for log in logs:
            log.write(step, {"loss": 1.0 / step, "perplexity": float("nan")})
    for log in logs:
        log.close()


@pytest.fixture
def wandb(monkeypatch):
    """A fake package; collects what is logged."""
    calls = []
    run = SimpleNamespace(
        log=lambda numbers, step: calls.append((step, numbers)),
        finish=lambda: calls.append("finish"),
    )
    package = ModuleType("wandb")
    package.init = lambda **settings: calls.append(settings) or run
    monkeypatch.setitem(sys.modules, "wandb", package)
    return calls


def events(folder):
    """Scalars of all event files as (step, name, value), and the steps that purges begin at."""
    proto = pytest.importorskip("tensorboardX.proto.event_pb2")
    scalars, purges = [], []
    for path in sorted(folder.glob("events.*")):
        data = path.read_bytes()
        while data:  # length (8), its checksum (4), event, its checksum (4)
            length = int.from_bytes(data[:8], "little")
            event = proto.Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            scalars += [(event.step, v.tag, v.simple_value) for v in event.summary.value]
            if event.HasField("session_log"):
                purges.append(event.step)
    return scalars, purges


def test_tensorboard_writes_an_event_file_that_can_be_read_back(tmp_path):
    write(tmp_path, Logger.tensorboard)
    scalars, purges = events(tmp_path / "tokenizer" / "tensorboard")
    assert scalars == [(1, "loss", 1.0), (2, "loss", 0.5)]
    assert purges == [1]


def test_tensorboard_drops_what_a_resume_repeats(tmp_path):
    write(tmp_path, Logger.tensorboard, steps=(1, 2, 3))
    write(tmp_path, Logger.tensorboard, resume_at=2, steps=(3,))
    _, purges = events(tmp_path / "tokenizer" / "tensorboard")
    assert 3 in purges


def test_wandb_gets_the_settings_and_every_finite_number(tmp_path, wandb):
    write(tmp_path / "mine", Logger.wandb)
    settings, *points = wandb
    assert settings["project"] == "genie_robo"
    assert settings["name"] == "mine-tokenizer"
    assert settings["resume"] == "allow"
    assert settings["config"] == {"seed": 3}
    assert points == [(1, {"loss": 1.0}), (2, {"loss": 0.5}), "finish"]


def test_a_training_logs_to_both(config, wandb, logged):
    stage = replace(config.tokenizer, num_steps=2, validation_windows=0)
    loggers = (Logger.tensorboard, Logger.wandb)
    train(replace(config, tokenizer=stage, stage=Stage.tokenizer, loggers=loggers))

    losses = logged(config.run, "tokenizer")
    assert [numbers["loss"] for _, numbers in wandb[1:-1]] == losses
    scalars, _ = events(RunFolder.at(config.run).path / "tokenizer" / "tensorboard")
    found = [value for _, name, value in scalars if name == "loss"]
    assert found == pytest.approx(losses)
    assert (
        wandb[0]["config"]["model"]["tokenizer"]["patch_size"] == config.model.tokenizer.patch_size
    )


@pytest.mark.parametrize(
    ("logger", "package"), [(Logger.tensorboard, "tensorboardX"), (Logger.wandb, "wandb")]
)
def test_a_missing_package_is_named_with_what_to_do(tmp_path, monkeypatch, logger, package):
    monkeypatch.setitem(sys.modules, package, None)
    name = logger.value
    message = rf"loggers=\[{name}\] needs the package {package}.*genie-robo\[{name}\]'`, or leave"
    with pytest.raises(ImportError, match=message):
        write(tmp_path, logger)
