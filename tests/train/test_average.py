from dataclasses import replace

import pytest
import torch
from torch import nn

from genie_robo.train.average import WeightAverage
from genie_robo.train.run import train


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
