"""Training a run folder: resume, refusals, what reaches the loss."""

import logging
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from genie_robo.build import build_dataset, build_genie, build_windows
from genie_robo.checkpoint import load_genie, load_training_state
from genie_robo.commands import tokenize
from genie_robo.config import DatasetConfig, Stage, TokenizeConfig
from genie_robo.data.loader import WindowLoader
from genie_robo.run_folder import RunFolder
from genie_robo.train import loop as loop_module
from genie_robo.train.loop import compute_loss
from genie_robo.train.metrics import read_log
from genie_robo.train.run import train
from genie_robo.train.stages import TokenizerStage, WorldModelStage
from genie_robo.types import Split


@pytest.fixture
def stop_after(monkeypatch):
    """Ctrl-C while the n-th loss is computed."""
    original = loop_module.compute_loss

    def arm(num_losses):
        calls = iter(range(num_losses))

        def interrupted(module, batch):
            if next(calls, None) is None:
                signal.raise_signal(signal.SIGINT)
            return original(module, batch)

        monkeypatch.setattr(loop_module, "compute_loss", interrupted)

    return arm


def weights(run):
    return {
        f"{path.stem}/{name}": tensor
        for path in sorted(Path(run).glob("*/*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def losses(run, stage):
    return [line["loss"] for line in read_log(RunFolder.at(run).log(stage))]


def test_interrupted_training_goes_on_to_the_same_weights_bit_for_bit(
    config, tmp_path, stop_after, monkeypatch
):
    train(config)
    broken = replace(config, run=str(tmp_path / "broken"))
    for num_losses in (3, 6, 2):  # in the tokenizer, then twice in the world model
        stop_after(num_losses)
        with pytest.raises(KeyboardInterrupt):
            train(broken)
    monkeypatch.undo()
    train(broken)

    straight, resumed = weights(config.run), weights(broken.run)
    assert len(straight) > 60
    assert straight.keys() == resumed.keys()
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)
    for stage in ("tokenizer", "world_model"):
        assert losses(config.run, stage) == losses(broken.run, stage)
        assert len(losses(config.run, stage)) == 8


def test_finished_stages_are_not_trained_again(config, stop_after):
    train(config)
    before = weights(config.run)
    stop_after(0)  # a single loss would raise KeyboardInterrupt

    train(config)

    assert all(torch.equal(before[name], tensor) for name, tensor in weights(config.run).items())


def test_trained_run_loads_ready_for_inference(config):
    train(config)

    genie = load_genie(RunFolder.at(config.run))

    assert not genie.training
    assert genie.num_frames == 4
    for name, tensor in genie.dynamics.state_dict().items():
        assert torch.equal(tensor, weights(config.run)[f"dynamics/{name}"])


def test_world_model_without_a_tokenizer_says_what_to_run(config):
    with pytest.raises(FileNotFoundError, match=r"no trained tokenizer.*stage=tokenizer"):
        train(replace(config, stage=Stage.world_model))


def test_run_folder_of_another_configuration_is_refused_with_the_differences(config):
    train(replace(config, stage=Stage.tokenizer))
    changed = replace(config, tokenizer=replace(config.tokenizer, batch_size=3))

    with pytest.raises(ValueError, match=r"tokenizer\.batch_size: 2 -> 3.*run=FOLDER"):
        train(changed)


def test_robot_actions_change_no_loss(config):
    dataset = build_dataset(config.data)
    windows = build_windows(config.data, dataset, Split.train, num_frames=4)
    batch = next(iter(WindowLoader(windows, batch_size=3, seed=0)))
    other = replace(batch, robot_actions=torch.randn_like(batch.robot_actions) * 100)
    genie = build_genie(config)
    stages = [
        TokenizerStage(genie.tokenizer),
        WorldModelStage(
            genie.latent_action,
            genie.dynamics,
            encode_tokens=genie.tokenizer.encode,
            min_mask_rate=0.5,
        ),
    ]
    for stage in stages:
        stage.eval()
        found = []
        for candidate in (batch, other):
            torch.manual_seed(0)
            found.append(compute_loss(stage, candidate).loss)
        assert torch.equal(*found)


def test_stored_tokens_train_the_same_world_model(config, tmp_path, caplog):
    train(config)
    stored = replace(config, run=str(tmp_path / "stored"))
    train(replace(stored, stage=Stage.tokenizer))
    tokenize.run(TokenizeConfig(run=stored.run))
    with caplog.at_level(logging.INFO):
        train(stored)

    assert "reading tokens from" in caplog.text
    assert losses(config.run, "world_model") == losses(stored.run, "world_model")
    fly, read = weights(config.run), weights(stored.run)
    assert all(torch.equal(fly[name], read[name]) for name in fly)


def test_stored_tokens_of_another_tokenizer_are_refused(config):
    train(replace(config, stage=Stage.tokenizer))
    tokenize.run(TokenizeConfig(run=config.run))
    path = Path(config.run) / "tokenizer" / "tokenizer.safetensors"
    save_file({name: tensor + 1 for name, tensor in load_file(path).items()}, path)

    with pytest.raises(ValueError, match=r"made from something else: tokenizer .* instead of"):
        train(config)


def test_two_datasets_train_together(config, small_dataset):
    other = DatasetConfig(path=str(small_dataset), source=config.data.source, frame_stride=2)
    mixed = replace(config, data=replace(config.data, mix={"other": other}))

    train(mixed)

    assert len(losses(mixed.run, "world_model")) == 8


def test_loss_that_is_not_finite_stops_before_the_step_and_names_the_episodes(config, monkeypatch):
    original = loop_module.compute_loss

    def broken(module, batch):
        output = original(module, batch)
        return replace(output, loss=output.loss * float("nan"))

    monkeypatch.setattr(loop_module, "compute_loss", broken)
    with pytest.raises(ValueError, match=r"loss of nan.*at step 0, in windows of .*[0-9a-f]{16}"):
        train(config)


def test_damaged_checkpoint_is_named(config, stop_after):
    stop_after(4)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    (newest,) = RunFolder.at(config.run).checkpoints("tokenizer").glob("*.pt")
    newest.write_bytes(newest.read_bytes()[:-100])

    with pytest.raises(ValueError, match=r"step_00000005\.pt cannot be read"):
        train(config)


def test_checkpoint_that_would_execute_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("executed",))

    torch.save({"format_version": 1, "step": 1, "bad": Evil()}, tmp_path / "step_00000001.pt")

    with pytest.raises(ValueError, match=r"step_00000001\.pt cannot be read"):
        load_training_state(tmp_path)


def test_checkpoint_of_another_version_is_refused(tmp_path):
    torch.save({"format_version": 99, "step": 1}, tmp_path / "step_00000001.pt")

    with pytest.raises(ValueError, match=r"format version 99.*reads version 1"):
        load_training_state(tmp_path)


def test_damaged_weights_are_named(config):
    train(config)
    path = Path(config.run) / "world_model" / "dynamics.safetensors"
    path.write_bytes(path.read_bytes()[:200])

    with pytest.raises(ValueError, match=r"dynamics\.safetensors do not load"):
        load_genie(RunFolder.at(config.run))
