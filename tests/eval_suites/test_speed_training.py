from dataclasses import replace

import numpy as np
import pytest
import torch
from eval_fakes import FakeEncoder, ToyRobot, make_context

from eval_suites.results import report_markdown
from eval_suites.speed import Speed
from eval_suites.timing import process
from eval_suites.timing import training as speed_training
from eval_suites.timing import training_metrics as speed_training_metrics
from eval_suites.timing.gpu import peak_flops
from eval_suites.timing.plain_model import PlainDynamics
from eval_suites.timing.trainers import (
    Training,
    TrainingTask,
    build_model,
    count_flops,
    make_batch,
    masked_loss,
    train,
)
from eval_suites.timing.training import TrainingSpeed, choose_ways, default_is_bf16
from eval_suites.timing.training_metrics import GOALS, PLAIN
from genie_robo.config import EngineConfig
from genie_robo.train.engine import make_fabric

TOY = TrainingTask(
    attention="auto",
    is_bf16=False,
    dim=16,
    num_blocks=1,
    num_heads=2,
    tokens_per_frame=5,
    num_frames=3,
    batch_size=2,
    num_steps=2,
    num_warm_up_steps=1,
    device="cpu",
    num_threads=1,
)
SUITE = Speed(
    parts=["training"],
    training=TrainingSpeed(
        dim=16, num_blocks=1, num_heads=2, num_frames=2, batch_size=1, num_steps=1, num_threads=1
    ),
)
GPU_METRICS = ("peak_share", "gpu_memory", "times_sdpa")


@pytest.fixture(scope="module")
def context():
    encoder = FakeEncoder(1, lambda window: np.zeros(len(window.video) - 1))
    return make_context(ToyRobot(4), encoder=encoder)


@pytest.fixture
def in_this_process(monkeypatch):
    monkeypatch.setattr(process, "run_alone", lambda program, task: program(task))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize("attention", ["auto", "matmul", "sdpa", None])
@pytest.mark.parametrize("is_bf16", [False, True])
def test_trains_and_measures_itself(attention, is_bf16):
    found = train(replace(TOY, attention=attention, is_bf16=is_bf16))
    assert found.num_tokens == 2 * 3 * 5
    assert found.tokens_per_cpu_s == found.num_tokens / found.cpu_s > 0
    assert found.tokens_per_s == found.num_tokens / found.wall_s > 0
    assert found.peak_memory_mb > 50
    assert found.last_loss == pytest.approx(np.log(1024), abs=0.5)


def test_the_loss_falls():
    first = train(replace(TOY, num_steps=1, num_warm_up_steps=0))
    assert train(replace(TOY, num_steps=20)).last_loss < first.last_loss - 0.01


@pytest.mark.parametrize("tokens_per_frame", GOALS)
def test_plain_model_is_as_large(tokens_per_frame):
    defaults = TrainingSpeed()
    task = replace(
        TOY,
        dim=defaults.dim,
        num_blocks=defaults.num_blocks,
        num_heads=defaults.num_heads,
        num_frames=defaults.num_frames,
        tokens_per_frame=tokens_per_frame,
    )
    with torch.device("meta"):
        ours, plain = (
            sum(parameter.numel() for parameter in build_model(way).parameters())
            for way in (task, replace(task, attention=None))
        )
    assert plain == pytest.approx(ours, rel=0.02)
    assert ours > 6 * 16 * 256**2


def test_plain_model_sees_no_future_and_each_window_alone():
    torch.manual_seed(0)
    model = PlainDynamics(
        num_tokens=7,
        tokens_per_frame=5,
        num_frames=4,
        action_dim=3,
        num_blocks=2,
        dim=8,
        num_heads=2,
    )
    tokens, actions = torch.randint(7, (2, 4, 5)), torch.randn(2, 3, 3)
    before = model(tokens, actions)
    tokens[0, 2] = (tokens[0, 2] + 1) % 7
    after = model(tokens, actions)
    assert torch.equal(before[0, :2], after[0, :2])
    assert not torch.isclose(before[0, 2:], after[0, 2:]).all(-1).any()
    assert torch.equal(before[1], after[1])


def test_only_hidden_tokens_count():
    batch = make_batch(replace(TOY, batch_size=8, tokens_per_frame=64))
    assert not batch.is_hidden[:, 0].any()
    assert batch.is_hidden[:, 1:].float().mean() == pytest.approx(0.75, abs=0.03)

    class KnowsThem(torch.nn.Module):
        def forward(self, seen, _actions):
            assert (seen == 1024).equal(batch.is_hidden)
            return 50.0 * torch.nn.functional.one_hot(batch.tokens, 1024)

    assert masked_loss(KnowsThem(), batch, TOY) < 1e-6


def test_our_loss_is_the_plain_one():
    torch.manual_seed(0)
    model, batch = build_model(TOY), make_batch(TOY)
    logits = model(batch.tokens.masked_fill(batch.is_hidden, 1024), batch.actions)
    plain = torch.nn.functional.cross_entropy(
        logits[batch.is_hidden], batch.tokens[batch.is_hidden]
    )
    assert torch.isclose(masked_loss(model, batch, TOY), plain)


def test_flops_of_a_step():
    # 6 per parameter of a matrix and token; attention twice per pair, 3 passes, 2 operations.
    tokens, dim = 2 * 3 * 5, 16
    matrices = 16 * dim**2 + dim * 1024
    pairs = tokens * (5 + 3)
    actions = 2 * 2 * 2 * (32 * dim)
    assert count_flops(TOY) == pytest.approx(
        6 * matrices * tokens + 12 * pairs * dim, abs=2 * actions
    )


def test_all_ways_on_a_cpu(context, in_this_process):
    result = SUITE.evaluate(context)
    default, ways = choose_ways("cpu")
    assert set(ways) >= {"auto_fp32", "matmul_fp32", "sdpa_fp32", "plain_fp32"}
    assert len(result.per_episode) == len(ways) * len(GOALS)
    for tokens in GOALS:
        speed = result.metrics[f"training/tokens_per_cpu_second/{tokens}"]
        assert set(speed.baselines) == set(ways) - {default}
        assert min(speed.value, *speed.baselines.values()) > 0
        times = result.metrics[f"training/times_plain/{tokens}"]
        assert times.value == pytest.approx(speed.value / speed.baselines[PLAIN])
        for name in GPU_METRICS:
            metric = result.metrics[f"training/{name}/{tokens}"]
            assert metric.value is None
            assert metric.reason == "torch sees no CUDA device here"
    assert set(result.headline) == {
        f"training/{name}/{tokens}"
        for name in ("tokens_per_cpu_second", "times_plain")
        for tokens in GOALS
    }
    assert set(result.figures) == {"training"}
    assert "1 blocks of width 16, 2 heads; 1 windows of 2 frames" in report_markdown(result, SUITE)


def known(task):
    """2 s of the clock and 4 s of all threads in fp32, a quarter in bf16 or with xformers."""
    quick = 0.25 if task.is_bf16 or task.attention == "xformers" else 1.0
    return Training(
        cpu_s=4 * quick,
        wall_s=2 * quick,
        num_tokens=800,
        num_parameters=10,
        peak_memory_mb=7.0,
        last_loss=1.0,
    )


def test_on_a_known_gpu(context, monkeypatch):
    monkeypatch.setattr(process, "run_alone", lambda _program, task: known(task))
    monkeypatch.setattr(speed_training_metrics, "count_flops", lambda _task: 989e12 / 20)
    monkeypatch.setattr(speed_training, "xformers_works", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100 80GB HBM3")
    result = SUITE.evaluate(context)
    metrics = result.metrics
    assert metrics["training/tokens_per_second/64"].value == 1600
    assert metrics["training/tokens_per_second/64"].baselines["xformers_fp32"] == 1600
    assert metrics["training/times_plain/64"].value == 4
    assert metrics["training/times_sdpa/64"].value == 1
    assert metrics["training/peak_share/64"].value == pytest.approx(10)
    assert metrics["training/gpu_memory/64"].value == 7
    assert "see training/tokens_per_second" in metrics["training/tokens_per_cpu_second/64"].reason
    assert all(metrics[name].value is not None for name in result.headline)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Abacus 3000")
    reason = SUITE.evaluate(context).metrics["training/peak_share/64"].reason
    assert reason == "the peak of Abacus 3000 is not known here"


def test_fast_trains_the_default_and_the_plain_model(context, monkeypatch):
    seen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(
        process, "run_alone", lambda _program, task: seen.append(task) or known(task)
    )
    Speed(parts=["training"]).evaluate(replace(context, fast=True))
    assert [task.attention for task in seen] == ["auto", None] * len(GOALS)
    assert {(task.dim, task.num_blocks, task.batch_size) for task in seen} == {(64, 2, 1)}


def test_default_precision_is_the_engines():
    with make_fabric(EngineConfig(device="cpu")).autocast():
        in_bf16 = torch.is_autocast_enabled("cpu")
    assert default_is_bf16("cpu") == in_bf16
    assert choose_ways("cpu")[0] == ("auto_bf16" if in_bf16 else "auto_fp32")


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H200", 989),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA L40S", 362),
        ("NVIDIA L4", 121),
        ("NVIDIA GeForce RTX 4090", 165),
        ("NVIDIA A10", None),
        ("Tesla T4", None),
    ],
)
def test_peak_by_name(name, tflops):
    assert peak_flops(name) == (tflops and tflops * 1e12)


@pytest.mark.parametrize("wrong", [{"num_steps": 0}, {"num_threads": -1}])
def test_numbers_too_small(context, wrong):
    with pytest.raises(ValueError, match=r"every number of suite.speed.training must be at least"):
        replace(SUITE, training=replace(SUITE.training, **wrong)).evaluate(context)
