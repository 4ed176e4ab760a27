import pytest
from torch import nn

from genie_robo.train.optim import build_optimizer, learning_rate_at


def rate(step):
    return learning_rate_at(step, num_steps=110, warmup_steps=10, peak=1.0, final=0.1)


def test_learning_rate_warms_up_then_falls_as_a_cosine():
    assert rate(0) == pytest.approx(0.1)
    assert rate(9) == pytest.approx(1.0)
    assert rate(10) == pytest.approx(1.0)
    assert rate(60) == pytest.approx(0.55)
    assert rate(110) == pytest.approx(0.1)
    assert rate(500) == pytest.approx(0.1)


def test_learning_rate_without_warm_up_or_without_steps():
    assert learning_rate_at(0, num_steps=1, warmup_steps=0, peak=1.0, final=0.1) == 1.0
    assert learning_rate_at(3, num_steps=3, warmup_steps=3, peak=1.0, final=0.1) == 1.0


def test_only_matrices_decay():
    module = nn.ModuleDict({"embed": nn.Embedding(3, 4), "linear": nn.Linear(4, 4)})
    module["norm"] = nn.LayerNorm(4)

    optimizer = build_optimizer(module, learning_rate=1.0, betas=(0.9, 0.9), weight_decay=0.5)

    decayed, plain = optimizer.param_groups
    assert [p is module["linear"].weight for p in decayed["params"]] == [True]
    assert decayed["weight_decay"] == 0.5
    assert plain["weight_decay"] == 0.0
    assert len(plain["params"]) == 4
