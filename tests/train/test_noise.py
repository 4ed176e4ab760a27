import pytest
import torch

from genie_robo.train.noise import ENCODING, MASK, STEP, WindowNoise, step_generator


def drawn(*positions: int, seed=0, purpose=MASK, shape=(3,)):
    return WindowNoise(seed, torch.tensor(positions), purpose).uniform(*shape)


def test_a_window_has_its_own_numbers_in_any_batch():
    together = drawn(4, 9, 2)
    assert torch.equal(together[1:2], drawn(9))
    assert torch.equal(together, drawn(2, 4, 9)[[1, 2, 0]])


def test_position_seed_and_purpose_change_them():
    found = [
        drawn(4),
        drawn(5),
        drawn(4, seed=5),
        drawn(5, seed=4),
        drawn(4, purpose=ENCODING),
        torch.rand(1, 3, generator=step_generator(0, 4)),
        torch.rand(1, 3, generator=step_generator(0, 5)),
    ]
    assert len({tuple(numbers.flatten().tolist()) for numbers in found}) == len(found)


def test_no_purpose_is_zero():
    """To numpy's SeedSequence (seed, position, 0) is (seed, position)."""
    assert 0 not in (STEP, MASK, ENCODING)


def test_a_generator_draws_on():
    noise = WindowNoise(0, torch.tensor([1]), MASK)
    assert not torch.equal(noise.uniform(3), noise.uniform(3))


def test_numbers_are_distributed_as_they_say():
    noise = WindowNoise(1, torch.arange(50), MASK)
    uniform, normal = noise.uniform(400), noise.normal(400)
    assert uniform.shape == normal.shape == (50, 400)
    assert 0 <= uniform.min() < 0.001
    assert 0.999 < uniform.max() < 1
    assert uniform.mean() == pytest.approx(0.5, abs=0.01)
    assert uniform.std() == pytest.approx(12**-0.5, abs=0.01)
    assert normal.mean() == pytest.approx(0.0, abs=0.03)
    assert normal.std() == pytest.approx(1.0, abs=0.03)
    assert abs(torch.corrcoef(normal)[0, 1:]).max() < 0.25  # windows know nothing of each other
