from dataclasses import replace

import pytest
import torch
from torch import nn

from genie_robo.train.optim import (
    WeightAverage,
    build_optimizers,
    evaluation_weights,
    learning_rate_at,
)
from genie_robo.train.run import train
from genie_robo.train.settings import Method, Schedule


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

    (optimizer,) = build_optimizers(module, learning_rate=1.0, betas=(0.9, 0.9), weight_decay=0.5)

    decayed, plain = optimizer.param_groups
    assert [p is module["linear"].weight for p in decayed["params"]] == [True]
    assert decayed["weight_decay"] == 0.5
    assert plain["weight_decay"] == 0.0
    assert len(plain["params"]) == 4


def test_muon_takes_the_matrices_between_embedding_and_output():
    module = nn.ModuleDict(
        {"embed": nn.Linear(3, 4), "hidden": nn.Linear(4, 6), "to_logits": nn.Linear(6, 9)}
    )

    adamw, muon = build_optimizers(
        module, method=Method.muon, learning_rate=0.01, betas=(0.9, 0.9), weight_decay=0.0
    )

    assert [id(p) for g in muon.param_groups for p in g["params"]] == [id(module["hidden"].weight)]
    shared = [id(p) for each in (adamw, muon) for g in each.param_groups for p in g["params"]]
    assert sorted(shared) == sorted(id(p) for p in module.parameters())


def test_a_step_of_muon_is_orthogonal_and_as_large_as_one_of_adamw():
    """arXiv 2502.16982: 0.2 sqrt(max(rows, columns)) times an orthogonal matrix."""
    torch.manual_seed(0)
    module = nn.ModuleDict({"hidden": nn.Linear(8, 32)})
    weight = module["hidden"].weight
    *_, muon = build_optimizers(
        module, method=Method.muon, learning_rate=0.01, betas=(0.9, 0.9), weight_decay=0.0
    )
    before = weight.detach().clone()
    weight.grad = torch.randn(32, 8)
    muon.step()

    moved = torch.linalg.svdvals((before - weight.detach()) / (0.01 * 0.2 * 32**0.5))
    assert moved.min() > 0.6
    assert moved.max() < 1.3


def test_wsd_stays_at_the_peak_and_goes_down_at_the_end():
    """40 of 200 steps go down: 1.0 at step 160, half way at 180, 0.1 at 200."""
    settings = {"num_steps": 200, "warmup_steps": 10, "peak": 1.0, "final": 0.1}
    found = [
        learning_rate_at(step, **settings, schedule=Schedule.wsd, decay_fraction=0.2)
        for step in (0, 9, 10, 100, 160, 170, 180, 200, 300)
    ]
    assert found == pytest.approx([0.1, 1.0, 1.0, 1.0, 1.0, 0.775, 0.55, 0.1, 0.1])


def test_constant_stays_at_the_peak():
    settings = {"num_steps": 20, "warmup_steps": 4, "peak": 2.0, "final": 0.1}
    found = [
        learning_rate_at(s, **settings, schedule=Schedule.constant) for s in (0, 1, 4, 19, 20, 99)
    ]
    assert found == pytest.approx([0.5, 1.0, 2.0, 2.0, 2.0, 2.0])


def at(value: float) -> nn.Linear:
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, value)
    return module


def test_the_average_follows_the_schedule():
    """Decay (1 + n) / (10 + n) until that exceeds 0.25: 1/10, 2/11, 3/12, 1/4."""
    module = at(8.0)
    average = WeightAverage(module, 0.25)
    expected = 8.0
    for step, decay in enumerate((1 / 10, 2 / 11, 3 / 12, 1 / 4, 1 / 4)):
        nn.init.constant_(module.weight, float(step))
        average.update(step)
        expected = decay * expected + (1 - decay) * step
        assert float(average.state_dict()["weight"]) == pytest.approx(expected, rel=1e-6)


def test_swapping_twice_leaves_everything_as_it_was():
    module = at(1.0)
    average = WeightAverage(module, 0.5)
    nn.init.constant_(module.weight, 3.0)

    average.swap()
    assert module.weight.item() == 1.0
    assert float(average.state_dict()["weight"]) == 3.0
    average.swap()

    assert module.weight.item() == 3.0
    assert float(average.state_dict()["weight"]) == 1.0


def test_a_saved_average_comes_back():
    average = WeightAverage(at(1.0), 0.5)
    average.load_state_dict({"weight": torch.tensor([[7.0]])})
    assert float(average.state_dict()["weight"]) == 7.0


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_decay_out_of_range(decay):
    with pytest.raises(ValueError, match=rf"optim.ema_decay={decay} must be at least 0 and less "):
        WeightAverage(at(0.0), decay)


def test_the_average_is_what_is_kept_and_trained_weights_are_not(
    config, trained, weights, logged, monkeypatch
):
    optim = replace(config.tokenizer.optim, ema_decay=0.5)
    averaged = replace(config, tokenizer=replace(config.tokenizer, optim=optim))
    kept = []
    swap = WeightAverage.swap
    monkeypatch.setattr(WeightAverage, "swap", lambda self: kept.append(self) or swap(self))

    train(averaged)

    assert logged(averaged.run, "tokenizer") == logged(trained.run, "tokenizer")
    assert len(kept) == 3  # before and after validation, then for good
    behind = kept[0].state_dict()  # after the last swap: the weights of the last step
    found, last = weights(averaged.run), weights(trained.run)
    names = [name.removeprefix("tokenizer.") for name in behind]
    assert all(torch.equal(behind[f"tokenizer.{n}"], last[f"tokenizer/{n}"]) for n in names)
    assert not all(torch.equal(found[f"tokenizer/{n}"], last[f"tokenizer/{n}"]) for n in names)


def test_evaluation_sees_the_averaged_weights_and_leaves_the_others():
    module = at(8.0).train()
    average = WeightAverage(module, 0.9)
    nn.init.constant_(module.weight, 9.0)

    with evaluation_weights(module, average):
        assert module.weight.item() == 8.0
        assert not module.training

    assert module.weight.item() == 9.0
    assert module.training
