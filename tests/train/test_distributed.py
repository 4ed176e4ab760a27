"""One process, accumulated parts, DDP and FSDP2 train the same model, through the command line."""

import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from genie_robo.commands.compose import compose_config, to_config
from genie_robo.commands.table import COMMANDS
from genie_robo.train.metrics import read_log
from genie_robo.train.run import train

pytestmark = pytest.mark.slow

STAGES = ("tokenizer", "world_model", "robot_control")
STACK = "{num_blocks: 2, dim: 16, num_heads: 2, head_dim: 8}"
"""Two blocks, so that FSDP gathers one while another computes."""
RESTARTED = "warmup_steps: 3, reset_after: 2, entropy_weight: 0.1"
STEPS = (
    "num_steps: 10, batch_size: 4, validate_every: 5, validation_windows: 4, "
    "optim: {method: adamw, schedule: cosine, warmup_steps: 2, ema_decay: 0.8}"
)
WORDS = (
    "engine=exact",
    "log_every=1",
    "data.image_height=32",
    "data.image_width=32",
    f"model.tokenizer.encoder={STACK}",
    f"model.tokenizer.decoder={STACK}",
    f"model.tokenizer.quantizer={{num_codes: 16, code_dim: 4, {RESTARTED}}}",
    "model.latent_action.downscale=2",
    f"model.latent_action.encoder={STACK}",
    f"model.latent_action.decoder={STACK}",
    f"model.latent_action.quantizer={{num_codes: 8, code_dim: 4, {RESTARTED}}}",
    f"model.dynamics.transformer={STACK}",
    f"tokenizer={{{STEPS}, num_frames: 4}}",
    f"world_model={{{STEPS}, num_frames: 4}}",
    f"robot_control={{{STEPS}, min_labels: 0}}",
)
TOLERANCE = 1e-4
"""Relative, of everything logged; measured: 3e-6 for the VQ loss, 2e-7 for the others."""
WEIGHT_TOLERANCE = 1e-4
"""Absolute, of weights; measured: 1.3e-6."""
MUON = (
    *(f"{stage}.optim.method=muon" for stage in STAGES),
    *(f"model.tokenizer.{part}.num_blocks=1" for part in ("encoder", "decoder")),
    *(f"model.latent_action.{part}.num_blocks=1" for part in ("encoder", "decoder")),
    "model.dynamics.transformer.num_blocks=1",
)
MUON_TOLERANCE = 3e-3
"""Relative, of losses: Muon makes its steps orthogonal in bf16, which enlarges rounding, with every
block more."""


def train_here(words) -> None:
    train(to_config(COMMANDS["train"], compose_config(COMMANDS["train"], words)))


def train_on_two(words) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", "-m", "genie_robo", "train", *words),
        ],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def words(tmp_path_factory, small_dataset):
    root = tmp_path_factory.mktemp("distributed")
    return lambda name, *more: [f"run={root / name}", f"data.path={small_dataset}", *WORDS, *more]


@pytest.fixture(scope="module")
def runs(words) -> dict[str, Path]:
    """The same training of all stages in four ways."""
    names = ("one", "parts", "ddp", "fsdp")
    for stage in ("all", "robot_control"):
        train_here(words("one", f"stage={stage}"))
        train_here(words("parts", f"stage={stage}", "engine.accumulate=2"))
        train_on_two(words("ddp", f"stage={stage}"))
        train_on_two(words("fsdp", f"stage={stage}", "engine.strategy=fsdp"))
    return {name: Path(words(name)[0].removeprefix("run=")) for name in names}


def lines(run: Path, stage: str) -> list[dict]:
    """What was logged; nothing, as in the perplexity of the warm-up, is NaN."""
    found = read_log(run / stage / "log.jsonl")
    return [{k: math.nan if v is None else v for k, v in line.items()} for line in found]


def farthest(one: dict, other: dict) -> float:
    assert one.keys() == other.keys()
    assert len(one) > 60
    return max(float((one[name] - other[name]).abs().max()) for name in one)


@pytest.mark.parametrize("name", ["parts", "ddp", "fsdp"])
def test_losses_are_those_of_one_process(runs, name):
    for stage in STAGES:
        wanted, found = lines(runs["one"], stage), lines(runs[name], stage)
        assert [line["step"] for line in found] == list(range(1, 11))
        assert sum("val_loss" in line for line in found) == 2
        for one, other in zip(wanted, found, strict=True):
            assert other == pytest.approx(one, rel=TOLERANCE, abs=1e-6, nan_ok=True), stage


def test_muon_on_shards_learns_what_it_learns_alone(words):
    """Without skips, which hold a token that turns by rounding: AdamW above is exact with them."""
    muon = (*MUON, "model.tokenizer.skips=false")
    train_here(words("muon", *muon))
    train_on_two(words("muon_shards", *muon, "engine.strategy=fsdp"))
    alone, shards = (Path(words(n)[0].removeprefix("run=")) for n in ("muon", "muon_shards"))
    for stage in STAGES[:2]:
        wanted, found = ([line["loss"] for line in lines(run, stage)] for run in (alone, shards))
        assert found == pytest.approx(wanted, rel=MUON_TOLERANCE)
        assert found[-1] < found[0]


@pytest.mark.parametrize("name", ["parts", "ddp", "fsdp"])
def test_final_weights_are_those_of_one_process(runs, name, weights):
    assert farthest(weights(runs["one"]), weights(runs[name])) < WEIGHT_TOLERANCE


def test_codes_were_restarted_after_the_warm_up(runs):
    """Otherwise the comparison would say nothing about restarts."""
    for stage, prefix in (("tokenizer", ""), ("world_model", "lam_")):
        found = lines(runs["one"], stage)
        assert all(math.isnan(line[f"{prefix}perplexity"]) for line in found[:3])
        assert sum(line[f"{prefix}code_resets"] for line in found) > 0


def test_a_sharded_checkpoint_goes_on_in_one_process(runs, words, weights):
    run = runs["fsdp"].with_name("resumed")
    shutil.copytree(runs["fsdp"], run)
    for stage in STAGES:
        folder = run / stage / "checkpoints"
        assert len(list((folder / "step_00000005").glob("*.safetensors"))) == 2
        shutil.rmtree(folder / "step_00000010")
        for path in (run / stage).glob("*.safetensors"):
            path.unlink()

    train_here(words("resumed"))
    train_here(words("resumed", "stage=robot_control"))

    assert farthest(weights(runs["one"]), weights(run)) < WEIGHT_TOLERANCE
    for stage in STAGES:
        losses = [line["loss"] for line in lines(runs["one"], stage)]
        assert [line["loss"] for line in lines(run, stage)] == pytest.approx(losses, rel=TOLERANCE)


def test_sharded_training_in_bf16(words, weights):
    train_on_two(words("bf16", "engine.strategy=fsdp", "engine.precision=bf16"))

    run = Path(words("bf16")[0].removeprefix("run="))
    for stage in STAGES[:2]:
        found = [line["loss"] for line in lines(run, stage)]
        assert len(found) == 10
        assert max(found[-3:]) < min(found[:3])
    assert all(torch.isfinite(tensor).all() for tensor in weights(run).values())
    assert all(tensor.dtype != torch.bfloat16 for tensor in weights(run).values())
