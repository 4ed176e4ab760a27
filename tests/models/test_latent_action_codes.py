"""Several action tokens per frame, whose codes together are the latent action."""

import math

import pytest
import torch

from genie_robo.models.fsq import FiniteScalarQuantizer
from genie_robo.models.quantizer import JointQuantizer, VectorQuantizer
from genie_robo.ranks import OneProcess


def joint(num_codes=3, num_parts=2, **changes):
    torch.manual_seed(0)
    settings = {"code_dim": 4, "commitment": 0.25, "reset_after": 5} | changes
    return JointQuantizer(VectorQuantizer(num_codes=num_codes, **settings), num_parts)


@pytest.mark.parametrize("num_parts", [1, 2, 3])
def test_joint_indices_and_codes_are_one_to_one(num_parts):
    model = joint(num_parts=num_parts)
    indices = torch.arange(3**num_parts)

    assert model.num_codes == 3**num_parts
    assert model.code_dim == 4 * num_parts
    assert model.lookup(indices).unique(dim=0).shape == (3**num_parts, 4 * num_parts)
    assert torch.equal(model.nearest(model.lookup(indices)), indices)


def test_the_first_part_is_the_first_digit():
    model = joint()
    codes = model.part.lookup(torch.tensor([2, 1])).flatten()

    assert model.nearest(codes) == 2 * 3 + 1
    assert torch.equal(model.lookup(torch.tensor(7)), codes)


def test_each_part_is_quantised_as_alone():
    model, encoded = joint(), torch.randn(5, 6, 8)

    together, alone = model(encoded), model.part(encoded.view(5, 6, 2, 4))

    assert torch.equal(together.codes, alone.codes.flatten(-2))
    assert torch.equal(together.loss, alone.loss.mean(-1))
    assert torch.equal(together.indices, alone.indices[..., 0] * 3 + alone.indices[..., 1])


def test_use_is_that_of_joint_codes_and_padding_is_not_counted():
    model = joint()
    encoded = model.lookup(torch.tensor([0, 4, 8, 5]))
    model(encoded, torch.tensor([True, True, True, False]))

    use = model.finish_step(OneProcess(), torch.Generator())

    assert use.perplexity == pytest.approx(3.0)
    assert model.part.age.tolist() == [0, 0, 0]


def test_the_warm_up_of_the_codebook_is_that_of_the_joint():
    model, encoded = joint(warmup_steps=1), torch.randn(40, 8)
    noise = torch.randn(40, 8)

    assert model.adds_noise
    assert torch.equal(model(encoded, noise=noise).codes, model(encoded, noise=noise).codes)
    use = model.finish_step(OneProcess(), torch.Generator())
    assert math.isnan(use.perplexity)
    assert not model.adds_noise
    model(encoded)
    assert 3 < model.finish_step(OneProcess(), torch.Generator()).perplexity <= 9


def test_grids_join_too():
    model = JointQuantizer(FiniteScalarQuantizer((2, 2), reset_after=5), 3)
    indices = torch.arange(64)

    assert torch.equal(model.nearest(model.lookup(indices)), indices)


@pytest.mark.parametrize(("num_codes", "num_parts"), [(41, 3), (3, 0)])
def test_too_many_joint_codes_are_refused(num_codes, num_parts):
    message = rf"codes_per_transition={num_parts} with {num_codes} codes.*at most 1024"
    with pytest.raises(ValueError, match=message):
        joint(num_codes=num_codes, num_parts=num_parts)
