"""A training checks everything, then claims its run folder; another dataset is not taken unseen."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from genie_robo import provenance
from genie_robo.commands import tokenize
from genie_robo.config import (
    EngineConfig,
    Logger,
    RecordConfig,
    Stage,
    Strategy,
    TokenizeConfig,
    TransformerConfig,
)
from genie_robo.config_file import read_config
from genie_robo.run_folder import RunFolder
from genie_robo.run_lock import only_writer
from genie_robo.sim.record import record_dataset
from genie_robo.train import step as step_module
from genie_robo.train.run import train


@pytest.fixture(scope="module")
def other_dataset(tmp_path_factory) -> Path:
    path = str(tmp_path_factory.mktemp("other") / "dataset")
    settings = {"num_episodes": 5, "num_steps": 10, "image_size": 32, "num_workers": 1, "seed": 4}
    return record_dataset(RecordConfig(path=path, **settings))


def with_path(config, path):
    return replace(config, data=replace(config.data, path=str(path)))


def with_optim(config, **settings):
    """Of the second stage, so that the first could be trained."""
    optim = replace(config.world_model.optim, **settings)
    return replace(config, world_model=replace(config.world_model, optim=optim))


WRONG = {
    "no dataset": lambda c: with_path(c, "/nope"),
    "camera": lambda c: replace(c, data=replace(c.data, views=("wrist",))),
    "one process": lambda c: replace(c, engine=EngineConfig(strategy=Strategy.ddp)),
    "device": lambda c: replace(c, engine=EngineConfig(device="gpu")),
    "batch of the second stage": lambda c: replace(
        c,
        engine=replace(c.engine, accumulate=2),
        world_model=replace(c.world_model, batch_size=3),
    ),
    "period of the second stage": lambda c: replace(
        c, world_model=replace(c.world_model, validate_every=0)
    ),
    "patch": lambda c: replace(
        c, model=replace(c.model, tokenizer=replace(c.model.tokenizer, patch_size=7))
    ),
    "heads": lambda c: replace(
        c,
        model=replace(
            c.model, dynamics=replace(c.model.dynamics, transformer=TransformerConfig(num_heads=0))
        ),
    ),
    "no tokenizer": lambda c: replace(c, stage=Stage.world_model),
    "checkpoints": lambda c: replace(c, num_checkpoints=0),
    "moving average": lambda c: with_optim(c, ema_decay=2.0),
    "learning rate": lambda c: with_optim(c, learning_rate=-1.0),
    "momentum": lambda c: with_optim(c, beta2=2.0),
    "weight decay": lambda c: with_optim(c, weight_decay=-1.0),
    "labels": lambda c: replace(c, stage=Stage.robot_control, labels="foo"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_training_that_cannot_begin_leaves_nothing(config, wrong):
    with pytest.raises((ValueError, LookupError, OSError)):
        train(WRONG[wrong](config))
    assert not Path(config.run).exists()


def test_a_logger_that_is_not_installed_leaves_nothing(config, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match="wandb"):
        train(replace(config, loggers=(Logger.wandb,)))
    assert not Path(config.run).exists()


@pytest.mark.slow
def test_a_folder_in_which_nothing_was_trained_takes_another_configuration(config, monkeypatch):
    original = step_module.compute_loss
    with monkeypatch.context() as patched:
        patched.setattr(
            step_module, "compute_loss", lambda *a: (original(*a)[0] * float("nan"), {})
        )
        with pytest.raises(ValueError, match="nan"):
            train(replace(config, seed=1))
    assert RunFolder.at(config.run).config.exists()
    train(config)
    assert read_config(RunFolder.at(config.run), type(config)).seed == 0


@pytest.mark.slow
def test_a_second_training_in_one_run_is_refused(trained):
    script = "import sys; from genie_robo import cli; sys.exit(cli.main(sys.argv[1:]))"
    words = ("imagine", f"run={trained.run}", "num_episodes=1", "horizon=2")
    with only_writer(RunFolder.at(trained.run)):
        done = subprocess.run(
            [sys.executable, "-c", script, *words],
            capture_output=True,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "another process of genie-robo is writing into" in done.stderr


def test_another_dataset_at_the_same_path_is_refused_with_the_difference(
    copy_of_trained, other_dataset, tmp_path
):
    here = tmp_path / "data"
    config = with_path(copy_of_trained(tokenizer_only=True), here)
    shutil.copytree(other_dataset, here)
    before = RunFolder.at(config.run).provenance.read_text()

    with pytest.raises(ValueError, match=r"6 episodes -> 5, 0 the same.*other_dataset=true") as e:
        train(config)
    assert "is not the dataset that" in str(e.value)
    assert RunFolder.at(config.run).provenance.read_text() == before
    with pytest.raises(ValueError, match=r"data\.path=FOLDER.*other_dataset=true"):
        tokenize.run(TokenizeConfig(run=_pointing(config, here)))


def _pointing(config, path) -> str:
    """The run, with config.yaml saying that its dataset is somewhere else."""
    run = RunFolder.at(config.run)
    stored = read_config(run, type(config))
    run.config.write_text(run.config.read_text().replace(stored.data.path, str(path)))
    return config.run


def test_the_same_dataset_may_move(copy_of_trained, small_dataset, tmp_path, weights, trained):
    shutil.copytree(small_dataset, tmp_path / "moved")
    config = with_path(copy_of_trained(tokenizer_only=True), tmp_path / "moved")
    train(config)
    assert read_config(RunFolder.at(config.run), type(config)).data.path == str(tmp_path / "moved")
    one, other = weights(trained.run), weights(config.run)
    assert all((one[name] == other[name]).all() for name in one)


def test_another_dataset_is_taken_on_purpose_and_the_first_one_stays_listed(
    copy_of_trained, other_dataset
):
    config = copy_of_trained(tokenizer_only=True)
    run = RunFolder.at(config.run)
    before = json.loads(run.provenance.read_text())
    train(replace(with_path(config, other_dataset), other_dataset=True))
    after = json.loads(run.provenance.read_text())
    assert after["dataset_fingerprint"] != before["dataset_fingerprint"]
    (earlier,) = after["earlier_datasets"]
    assert earlier["dataset_fingerprint"] == before["dataset_fingerprint"]
    assert earlier["episodes"] == before["episodes"]


@pytest.mark.parametrize("is_other", [False, True])
def test_a_finished_run_keeps_its_provenance(copy_of_trained, other_dataset, is_other, monkeypatch):
    monkeypatch.setattr(provenance, "git_commit", lambda: "another commit")
    config = copy_of_trained()
    run = RunFolder.at(config.run)
    before = [path.read_bytes() for path in (run.provenance, run.config)]
    for stage in (Stage.tokenizer, Stage.world_model, Stage.all):
        again = replace(config, stage=stage, other_dataset=is_other)
        train(with_path(again, other_dataset) if is_other else again)
    assert [path.read_bytes() for path in (run.provenance, run.config)] == before


def test_an_interrupted_stage_goes_on_with_another_dataset_on_purpose(
    copy_of_trained, other_dataset
):
    config = copy_of_trained()
    (Path(config.run) / "world_model" / "dynamics.safetensors").unlink()
    newest = sorted((Path(config.run) / "world_model" / "checkpoints").glob("step_*"))[-1]
    shutil.rmtree(newest)
    changed = with_path(config, other_dataset)
    with pytest.raises(ValueError, match="other_dataset=true"):
        train(changed)
    train(replace(changed, other_dataset=True))
    assert (Path(config.run) / "world_model" / "dynamics.safetensors").exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"dataset_fingerprint":'])
def test_a_damaged_provenance_is_named(copy_of_trained, text):
    config = copy_of_trained()
    RunFolder.at(config.run).provenance.write_text(text)
    with pytest.raises(ValueError, match=r"provenance\.json cannot be read"):
        train(config)
