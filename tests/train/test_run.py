"""Training a run folder: resume, refusals, what reaches the loss."""

import logging
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from genie_robo.build import build_dataset, build_genie, build_windows
from genie_robo.checkpoint import load_genie
from genie_robo.commands import tokenize
from genie_robo.config import DatasetConfig, Stage, TokenizeConfig
from genie_robo.data.loader import WindowLoader
from genie_robo.ranks import OneProcess
from genie_robo.run_folder import RunFolder
from genie_robo.train import step as step_module
from genie_robo.train.run import train
from genie_robo.train.stages import TokenizerStage, WorldModelStage
from genie_robo.train.step import pool
from genie_robo.types import Split


@pytest.fixture
def stop_after(monkeypatch):
    """Ctrl-C while the n-th loss is computed."""
    original = step_module.compute_loss

    def arm(num_losses):
        calls = iter(range(num_losses))

        def interrupted(*arguments):
            if next(calls, None) is None:
                signal.raise_signal(signal.SIGINT)
            return original(*arguments)

        monkeypatch.setattr(step_module, "compute_loss", interrupted)

    return arm


def test_interrupted_training_goes_on_to_the_same_weights_bit_for_bit(
    trained, tmp_path, stop_after, monkeypatch, weights, logged
):
    broken = replace(trained, run=str(tmp_path / "broken"))
    for num_losses in (3, 6, 2):  # in the tokenizer, then twice in the world model
        stop_after(num_losses)
        with pytest.raises(KeyboardInterrupt, match=r"^Ctrl-C\n"):
            train(broken)
    monkeypatch.undo()
    train(broken)

    straight, resumed = weights(trained.run), weights(broken.run)
    assert len(straight) > 60
    assert straight.keys() == resumed.keys()
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)
    for stage in ("tokenizer", "world_model"):
        assert logged(trained.run, stage) == logged(broken.run, stage)
        assert len(logged(trained.run, stage)) == 8


def test_finished_stages_are_not_trained_again(trained, stop_after, weights):
    before = weights(trained.run)
    stop_after(0)  # a single loss would raise KeyboardInterrupt

    train(trained)

    assert all(torch.equal(before[name], tensor) for name, tensor in weights(trained.run).items())


def test_trained_run_loads_ready_for_inference(trained, weights):
    genie = load_genie(RunFolder.at(trained.run))

    assert not genie.training
    assert genie.num_frames == 4
    for name, tensor in genie.dynamics.state_dict().items():
        assert torch.equal(tensor, weights(trained.run)[f"dynamics/{name}"])


def test_world_model_without_a_tokenizer_says_what_to_run(config):
    with pytest.raises(FileNotFoundError, match=r"no trained tokenizer.*stage=tokenizer"):
        train(replace(config, stage=Stage.world_model))


def test_run_folder_of_another_configuration_is_refused_with_the_differences(trained):
    changed = replace(trained, tokenizer=replace(trained.tokenizer, batch_size=3))

    with pytest.raises(ValueError, match=r"tokenizer\.batch_size: 2 -> 3.*run=FOLDER"):
        train(changed)


def test_robot_actions_change_no_loss(config):
    dataset = build_dataset(config.data)
    windows = build_windows(config.data, dataset, Split.train, num_frames=4)
    batch = next(iter(WindowLoader(windows, batch_size=3, seed=0)))
    other = replace(batch, robot_actions=torch.randn_like(batch.robot_actions) * 100)
    genie = build_genie(config)
    stages = [
        TokenizerStage(genie.tokenizer, seed=0),
        WorldModelStage(
            genie.latent_action,
            genie.dynamics,
            encode_tokens=genie.tokenizer.encode,
            min_mask_rate=0.5,
            latents_share=0.5,
            seed=0,
        ),
    ]
    for stage in stages:
        found = []
        for candidate in (batch, other):
            inputs = stage.inputs(candidate, torch.device("cpu"))
            totals = pool([stage.totals(inputs)], OneProcess())
            found.append(step_module.compute_loss(stage.eval(), inputs, totals)[0])
        assert torch.equal(*found)


def test_stored_tokens_train_the_same_world_model(
    trained, copy_of_trained, caplog, weights, logged
):
    stored = copy_of_trained(tokenizer_only=True)
    tokenize.run(TokenizeConfig(run=stored.run))
    with caplog.at_level(logging.INFO):
        train(stored)

    assert "reading tokens from" in caplog.text
    assert logged(trained.run, "world_model") == logged(stored.run, "world_model")
    fly, read = weights(trained.run), weights(stored.run)
    assert all(torch.equal(fly[name], read[name]) for name in fly)


def test_stored_tokens_of_another_tokenizer_are_refused(copy_of_trained):
    config = copy_of_trained(tokenizer_only=True)
    tokenize.run(TokenizeConfig(run=config.run))
    path = Path(config.run) / "tokenizer" / "tokenizer.safetensors"
    save_file({name: tensor + 1 for name, tensor in load_file(path).items()}, path)

    with pytest.raises(ValueError, match=r"made from something else: tokenizer .* instead of"):
        train(config)


def test_two_datasets_train_together(config, small_dataset, logged):
    other = DatasetConfig(path=str(small_dataset), source=config.data.source, frame_stride=2)
    mixed = replace(config, data=replace(config.data, mix={"other": other}))

    train(mixed)

    assert len(logged(mixed.run, "world_model")) == 8


def test_loss_that_is_not_finite_stops_before_the_step_and_names_the_episodes(config, monkeypatch):
    original = step_module.compute_loss

    def broken(*arguments):
        loss, sums = original(*arguments)
        return loss * float("nan"), sums

    monkeypatch.setattr(step_module, "compute_loss", broken)
    with pytest.raises(ValueError, match=r"loss of nan.*at step 0, in windows of .*[0-9a-f]{16}"):
        train(config)


def test_damaged_weights_are_named(copy_of_trained):
    config = copy_of_trained()
    path = Path(config.run) / "world_model" / "dynamics.safetensors"
    path.write_bytes(path.read_bytes()[:200])

    with pytest.raises(ValueError, match=r"dynamics\.safetensors do not load"):
        load_genie(RunFolder.at(config.run))
