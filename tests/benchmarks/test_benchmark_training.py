from dataclasses import replace

import numpy as np
import pytest
import torch
import training
from plain_model import PlainDynamics
from training import (
    PLAIN,
    TOKENS_PER_FRAME,
    Training,
    TrainingTask,
    build_model,
    choose_ways,
    count_flops,
    make_batch,
    masked_loss,
    peak_of,
    train,
    training_table,
)

from genie_robo.eval_suites.timing import Lap
from genie_robo.models.settings import Backend

TOY = TrainingTask(
    attention=Backend.auto,
    is_bf16=False,
    dim=16,
    num_blocks=1,
    num_heads=2,
    tokens_per_frame=5,
    num_frames=3,
    batch_size=2,
    num_steps=2,
    num_warm_up_steps=1,
)


@pytest.mark.parametrize("attention", [Backend.auto, Backend.matmul, Backend.sdpa, None])
@pytest.mark.parametrize("is_bf16", [False, True])
def test_trains_and_measures_itself(attention, is_bf16):
    found = train(replace(TOY, attention=attention, is_bf16=is_bf16))
    assert found.num_tokens == 2 * 3 * 5
    assert found.tokens_per_cpu_s == found.num_tokens / found.lap.cpu_s > 0
    assert found.tokens_per_s == found.num_tokens / found.lap.wall_s > 0
    assert found.peak_memory_mb > 50
    assert found.last_loss == pytest.approx(np.log(1024), abs=0.5)


def test_the_loss_falls():
    first = train(replace(TOY, num_steps=1, num_warm_up_steps=0))
    assert train(replace(TOY, num_steps=20)).last_loss < first.last_loss - 0.01


@pytest.mark.parametrize("tokens_per_frame", TOKENS_PER_FRAME)
def test_plain_model_is_as_large(tokens_per_frame):
    task = TrainingTask(tokens_per_frame=tokens_per_frame)
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


def test_flops_of_a_step_with_a_clean_past():
    # 2 frames as past and 2 to predict; after the attention over time only the latter go on.
    b, t, s, dim = 2, 3, 5, 16
    both, last = 2 * b * (t - 1) * s, b * (t - 1) * s
    matrices = 7 * dim**2 * both + 9 * dim**2 * last + (dim * 1024 + dim) * b * t * s
    pairs = both * s + last * 2 * (t - 1)
    actions = 2 * 2 * 3 * b * (32 * dim)
    found = count_flops(replace(TOY, clean_past=True, copies=True))
    assert found == pytest.approx(6 * matrices + 12 * pairs * dim, abs=2 * actions)


def test_a_clean_past_computes_30_frames_for_16():
    task = TrainingTask(num_blocks=20)
    assert count_flops(replace(task, clean_past=True)) / count_flops(task) == pytest.approx(
        30 / 16, rel=0.05
    )


def test_all_ways_on_a_cpu(monkeypatch):
    monkeypatch.setattr(training, "run_alone", lambda program, task: program(task))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    small = "--dim 16 --num-blocks 1 --num-heads 2 --num-frames 2 --batch-size 1 --num-steps 1"
    found = training.main(small.split())
    ways = choose_ways("cpu")
    assert set(ways) >= {"auto_fp32", "matmul_fp32", "sdpa_fp32", "plain_fp32"}
    assert len(found) == len(ways) * len(TOKENS_PER_FRAME)
    assert min(way.tokens_per_cpu_s for way in found.values()) > 0


def known(task):
    """2 s of the clock and 4 s of all threads in fp32, a quarter in bf16 or with xformers."""
    quick = 0.25 if task.is_bf16 or task.attention == "xformers" else 1.0
    return Training(Lap(4 * quick, 2 * quick), 800, 10, 7.0, 1.0)


def rows_of(device):
    tasks = {
        (tokens, name): replace(TOY, attention=attention, is_bf16=is_bf16, device=device)
        for tokens in TOKENS_PER_FRAME
        for name, (attention, is_bf16) in choose_ways(device).items()
    }
    rows = training_table(tasks, {key: known(task) for key, task in tasks.items()})
    return {(row["tokens per frame"], row["way"]): row for row in rows}


def test_on_a_known_gpu(monkeypatch):
    monkeypatch.setattr(training, "count_flops", lambda _task: 989e12 / 20)
    monkeypatch.setattr(training, "xformers_works", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100 80GB HBM3")
    rows = rows_of("cuda")
    default = rows[64, "auto_bf16"]
    assert default["tokens per second"] == 1600
    assert rows[64, "xformers_fp32"]["tokens per second"] == 1600
    assert default["times plain_fp32"] == 4
    assert default["bf16 peak (%)"] == pytest.approx(10)
    assert default["GPU memory (MB)"] == 7
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Abacus 3000")
    assert rows_of("cuda")[64, "auto_bf16"]["bf16 peak (%)"] == ""


def test_a_cpu_is_compared_by_processor_time():
    rows = rows_of("cpu")
    assert rows[64, PLAIN]["times plain_fp32"] == 1
    assert rows[64, PLAIN]["tokens per CPU-second"] == 200
    assert rows[64, PLAIN]["memory (MB)"] == 7
    assert rows[64, PLAIN]["bf16 peak (%)"] == ""


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
    peak = peak_of(name)
    assert (peak and peak.data_sheet) == tflops
    assert (peak and peak.in_practice) == (790 if tflops == 989 else None)
