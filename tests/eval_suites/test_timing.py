"""Programs that measure themselves, each on something small."""

import os
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from small_genie import CPU, build_small_genie

from genie_robo.eval_suites import timing
from genie_robo.eval_suites.timing import (
    decode_by_recomputing,
    decode_frames,
    decode_with_cache,
    memory_growth_mb,
    peak_memory_mb,
    random_batch,
    read_windows,
    record,
    run_alone,
    train_dynamics,
)
from genie_robo.inference.settings import Sampler
from genie_robo.settings import Precision
from genie_robo.train.stages import masked_token_loss


@pytest.fixture
def dynamics():
    return build_small_genie().dynamics


@pytest.mark.slow
def test_a_program_runs_and_is_measured_alone():
    ballast = np.ones(40_000_000)
    assert peak_memory_mb() > ballast.nbytes / 1e6
    program = "__import__('genie_robo.eval_suites.timing', fromlist=['_']).peak_memory_mb()"
    assert 5 < run_alone(eval, program) < peak_memory_mb()
    assert run_alone(eval, "__import__('os').getpid()") != os.getpid()


@pytest.mark.slow
def test_timing_loads_no_tensorflow():
    program = "import sys, genie_robo.eval_suites.speed; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_windows_are_read_and_counted(toy_rlds):
    found = read_windows(
        toy_rlds.folder,
        toy_rlds.source,
        batch_size=3,
        num_batches=2,
        seed=0,
        num_frames=4,
        image_size=(8, 8),
        cache_mb=0,
    )
    assert found.num_frames == 2 * 3 * 4
    assert found.frames_per_cpu_s == found.num_frames / found.lap.cpu_s > 0
    assert found.peak_memory_mb > 20
    assert 1 <= found.episodes_per_batch <= 3


def test_training_steps_learn(dynamics):
    batch = random_batch(dynamics, (2, 3), seed=0)

    def loss():
        with torch.no_grad():
            return masked_token_loss(dynamics, *batch)[0]

    before = loss()
    lap = train_dynamics(dynamics, size=(2, 3), num_steps=20, device="cpu", is_bf16=False, seed=0)
    assert min(lap) > 0
    assert loss() < before - 0.01


def test_three_of_four_tokens_are_hidden_and_none_of_the_first_frame(dynamics):
    batch = random_batch(dynamics, (64, 5), seed=0)
    assert batch.tokens.shape == (64, 5, dynamics.tokens_per_frame)
    assert batch.tokens.max() < dynamics.num_tokens
    assert not batch.is_hidden[:, 0].any()
    assert batch.is_hidden[:, 1:].float().mean() == pytest.approx(0.75, abs=0.03)


@torch.inference_mode()
def test_both_ways_decode_the_same_frame(dynamics):
    dynamics.eval()
    sampler, past = Sampler(num_steps=3, temperature=1.0), random_batch(dynamics, (1, 4), seed=0)
    frames = [
        way(dynamics, sampler, past)([torch.Generator().manual_seed(7)])
        for way in (decode_with_cache, decode_by_recomputing)
    ]
    assert torch.equal(*frames)
    assert frames[0].shape == (1, dynamics.tokens_per_frame)
    assert frames[0].max() < dynamics.mask_token


@pytest.mark.parametrize("is_cached", [True, False])
@pytest.mark.parametrize("precision", [Precision.bf16, Precision.fp32])
def test_decoding_measures_itself(dynamics, is_cached, precision):
    lap = decode_frames(
        dynamics,
        Sampler(num_steps=3, precision=precision),
        is_cached=is_cached,
        num_frames=4,
        num_imagined=2,
        device="cpu",
        seed=0,
    )
    assert min(lap) > 0


def test_memory_of_a_rollout_far_beyond_the_window():
    genie, sampler = build_small_genie(), Sampler(num_steps=2)
    assert 0 <= memory_growth_mb(genie, sampler, num_imagined=60, device=CPU.type, seed=0) < 5


@pytest.fixture
def own_writer(monkeypatch):
    """A module of one's own that writes recordings."""
    module = ModuleType("own_writer")
    monkeypatch.setitem(sys.modules, "own_writer", module)
    return module


def test_first_recording_is_told_apart_and_the_rest_is_a_median(own_writer, monkeypatch):
    clock = iter([0.0, 5.0, 10.0, 11.0, 20.0, 23.0, 30.0, 32.0])
    times = SimpleNamespace(perf_counter=lambda: next(clock), process_time=lambda: 0.0)
    monkeypatch.setattr(timing, "time", times)
    own_writer.RolloutView = dict
    own_writer.write_rollouts = lambda path, views, *, name: path.write_text(
        str(dict.fromkeys(views, name))
    )
    found = record("own_writer", {}, num_repeats=3)
    assert (found.first_s, found.lap.wall_s) == (5.0, 2.0)
    assert found.num_bytes == len("{'': 'speed'}")


def test_writers_that_cannot_write_are_named(own_writer):
    with pytest.raises(ValueError, match=r"speed.writer=no.such.module cannot be imported"):
        record("no.such.module", {}, num_repeats=1)
    own_writer.RolloutView = dict
    with pytest.raises(ValueError, match=r"writer=own_writer has no write_rollouts; name a module"):
        record("own_writer", {}, num_repeats=1)
