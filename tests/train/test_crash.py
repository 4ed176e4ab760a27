"""Killed without a warning, and asked to stop: the command line goes on and loses nothing."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from genie_robo.commands.compose import compose_config, to_config
from genie_robo.commands.table import COMMANDS
from genie_robo.train.run import train

pytestmark = pytest.mark.slow

STAGES = ("tokenizer", "world_model")
STACK = "{num_blocks: 1, dim: 16, num_heads: 2, head_dim: 8}"
STAGE = "{num_steps: 60, batch_size: 2, num_frames: 4, validate_every: 25, validation_windows: 2}"
WORDS = (
    "engine=exact",
    "log_every=1",
    "data.image_height=32",
    "data.image_width=32",
    f"model.tokenizer.encoder={STACK}",
    f"model.tokenizer.decoder={STACK}",
    "model.tokenizer.quantizer={num_codes: 16, code_dim: 4, warmup_steps: 5, reset_after: 5}",
    "model.latent_action.downscale=2",
    f"model.latent_action.encoder={STACK}",
    f"model.latent_action.decoder={STACK}",
    "model.latent_action.quantizer.warmup_steps=5",
    f"model.dynamics.transformer={STACK}",
    f"tokenizer={STAGE}",
    f"world_model={STAGE}",
)


def stop(words, log: Path, *, after: int, by: signal.Signals) -> tuple[int, str]:
    """Start a training and send it a signal when it has logged a step: status and messages."""
    process = subprocess.Popen(
        [sys.executable, "-m", "genie_robo", "train", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 300
    while not (log.exists() and f'{{"step": {after},' in log.read_text()):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(by)
    _, messages = process.communicate(timeout=60)
    return process.returncode, messages


def test_killed_and_stopped_training_ends_in_the_same_weights(
    tmp_path, small_dataset, weights, logged
):
    run = tmp_path / "broken"
    words = [f"run={run}", f"data.path={small_dataset}", "save_every_s=0.2", *WORDS]
    tokenizer, world_model = (run / stage / "log.jsonl" for stage in STAGES)

    status, _ = stop(words, tokenizer, after=30, by=signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert not (run / "tokenizer" / "tokenizer.safetensors").exists()
    status, _ = stop(words, world_model, after=10, by=signal.SIGKILL)
    assert status == -signal.SIGKILL
    status, message = stop(words, world_model, after=40, by=signal.SIGTERM)
    assert status == 130
    assert "Stopped by SIGTERM. Finished work is kept" in message
    done = len(logged(run, "world_model"))
    assert 40 <= done < 60
    assert (run / "world_model" / "checkpoints" / f"step_{done:08d}").is_dir()

    config = to_config(COMMANDS["train"], compose_config(COMMANDS["train"], words))
    train(config)
    straight = replace(config, run=str(tmp_path / "straight"), save_every_s=60.0)
    train(straight)

    for stage in STAGES:
        for name in ("loss", "val_loss", "grad_norm"):
            assert logged(run, stage, name) == logged(straight.run, stage, name)
        assert len(logged(run, stage)) == 60
    one, other = weights(straight.run), weights(run)
    assert len(one) > 60
    assert all(torch.equal(one[name], other[name]) for name in one)
