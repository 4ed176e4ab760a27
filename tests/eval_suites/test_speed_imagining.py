from dataclasses import replace

import numpy as np
import pytest
import torch
from eval_fakes import FakeEncoder, ToyRobot, make_context

from eval_suites.results import report_markdown
from eval_suites.speed import Speed
from eval_suites.timing import imagining as speed_imagining
from eval_suites.timing import process
from eval_suites.timing.dynamics import build_dynamics
from eval_suites.timing.imaginers import (
    Imagining,
    ImaginingTask,
    LongTask,
    Memory,
    cached_decoder,
    imagine_frames,
    recomputing_decoder,
    watch_memory,
)
from eval_suites.timing.imagining import GOALS, ImaginingSpeed
from genie_robo.inference.sampler import Sampler

TOY = ImaginingTask(
    is_cached=True,
    is_bf16=False,
    dim=16,
    num_blocks=2,
    num_heads=2,
    tokens_per_frame=6,
    num_frames=4,
    num_decode_steps=3,
    num_imagined=2,
    num_threads=1,
)
SUITE = Speed(
    parts=["imagining"],
    imagining=ImaginingSpeed(
        dim=16,
        num_blocks=1,
        num_heads=2,
        num_frames=3,
        num_decode_steps=2,
        num_imagined=1,
        num_long=20,
        num_threads=1,
    ),
)


@pytest.fixture(scope="module")
def context():
    encoder = FakeEncoder(1, lambda window: np.zeros(len(window.video) - 1))
    return make_context(ToyRobot(4), encoder=encoder)


def run_here(monkeypatch, run_alone):
    for module in (process, speed_imagining):
        monkeypatch.setattr(module, "run_alone", run_alone)


@pytest.fixture
def in_this_process(monkeypatch):
    run_here(monkeypatch, lambda program, task: program(task))


@torch.inference_mode()
def test_both_ways_decode_the_same_frame():
    model, sampler = build_dynamics(TOY), Sampler(num_steps=3, temperature=1.0)
    frames = [
        decoder(model, TOY)(sampler, [torch.Generator().manual_seed(7)])
        for decoder in (cached_decoder, recomputing_decoder)
    ]

    assert torch.equal(*frames)
    assert frames[0].shape == (1, TOY.tokens_per_frame)
    assert frames[0].max() < model.mask_token


@pytest.mark.parametrize("is_cached", [True, False])
@pytest.mark.parametrize("is_bf16", [True, False])
def test_measures_itself(is_cached, is_bf16):
    found = imagine_frames(replace(TOY, is_cached=is_cached, is_bf16=is_bf16))

    assert min(found.cpu_s, found.wall_s) > 0


def test_memory_of_a_rollout_far_beyond_the_window():
    memory = watch_memory(LongTask(num_frames=4, num_imagined=60))
    assert 50 < memory.first <= memory.last < memory.first + 5


def test_all_ways(context, in_this_process):
    result = SUITE.evaluate(context)

    metrics = result.metrics
    for tokens in GOALS:
        cost = metrics[f"imagining/cpu_seconds_per_frame/{tokens}"]
        times = metrics[f"imagining/times_recomputed/{tokens}"]
        assert times.value == pytest.approx(cost.baselines["recomputed_fp32"] / cost.value)
    assert metrics["imagining/memory_growth"].value >= 0
    assert "after 20 frames of one rollout" in metrics["imagining/memory_growth"].protocol
    assert metrics["imagining/frames_per_second"].value > 0
    assert "1 blocks of width 16, 2 heads" in report_markdown(result, SUITE)


def test_known_costs(context, monkeypatch):
    def known(_program, task):
        if isinstance(task, LongTask):
            return Memory(first=70.0, last=75.0)
        seconds = 1.0 if task.is_cached else 10.0
        return Imagining(cpu_s=seconds, wall_s=seconds)

    run_here(monkeypatch, known)
    metrics = SUITE.evaluate(context).metrics

    assert metrics["imagining/times_recomputed/64"].value == 10
    assert metrics["imagining/memory_growth"].value == 5


@pytest.mark.parametrize("wrong", [{"num_imagined": 0}, {"num_threads": -1}])
def test_numbers_too_small_for_imagining(context, wrong):
    with pytest.raises(ValueError, match=r"every number of suite.speed.imagining must be at least"):
        replace(SUITE, imagining=replace(SUITE.imagining, **wrong)).evaluate(context)
