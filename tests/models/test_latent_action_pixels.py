"""Units that are measured in the first training steps."""

import pytest
import torch

from genie_robo.models.latent_action_pixels import MEASURED_STEPS, InitialRMS
from genie_robo.ranks import OneProcess


def see(size, values, *, steps=1):
    valid = torch.ones(values.shape[:2], dtype=torch.bool)
    for _ in range(steps):
        size.update(values, valid)
        size.finish_step(OneProcess())


def test_the_guess_before_any_update():
    size = InitialRMS(0.3)
    assert float(size()) == pytest.approx(0.3)
    see(size, torch.zeros(2, 3, 4))
    assert float(size()) == pytest.approx(0.3)


def test_the_root_mean_square_of_valid_values_over_steps_and_parts():
    size, valid = InitialRMS(1.0), torch.tensor([[True, False]])
    size.update(torch.tensor([[[3.0], [99.0]]]), valid)
    size.update(torch.tensor([[[4.0], [99.0]]]), valid)
    assert float(size()) == 1.0  # parts of a step count when it is finished
    size.finish_step(OneProcess())
    assert float(size()) == pytest.approx((25 / 2) ** 0.5)
    size.update(torch.tensor([[[5.0], [0.0]]]), valid)
    size.finish_step(OneProcess())
    assert float(size()) == pytest.approx((50 / 3) ** 0.5)


def test_it_is_fixed_after_the_measured_steps():
    size = InitialRMS(1.0)
    see(size, torch.full((2, 2, 2), 2.0), steps=MEASURED_STEPS)
    see(size, torch.full((2, 2, 2), 50.0), steps=3)
    assert float(size()) == pytest.approx(2.0)


def test_evaluation_measures_nothing():
    size = InitialRMS(1.0).eval()
    see(size, torch.full((1, 1), 7.0))
    assert float(size()) == 1.0


def test_it_is_saved():
    size, other = InitialRMS(1.0), InitialRMS(1.0)
    see(size, torch.full((1, 1), 7.0))
    other.load_state_dict(size.state_dict())
    assert float(other()) == pytest.approx(7.0)
