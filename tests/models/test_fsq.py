"""Finite scalar quantisation: every code is reachable, and no gradient is lost on the way."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

from genie_robo.build import build_genie, build_quantizer
from genie_robo.config import QuantizerConfig, TrainConfig
from genie_robo.models.fsq import FiniteScalarQuantizer
from genie_robo.models.settings import QuantizerKind
from genie_robo.models.sizes import LEVELS, count_latent_actions, levels_for
from genie_robo.ranks import OneProcess

GRIDS = [(2,), (2, 2, 2), (8, 5, 5, 5), (7, 3), (4, 4)]


@pytest.mark.parametrize("levels", GRIDS)
def test_indices_and_codes_are_one_to_one(levels):
    model = FiniteScalarQuantizer(levels, reset_after=50)
    indices = torch.arange(model.num_codes)
    codes = model.lookup(indices)

    assert model.num_codes == math.prod(levels)
    assert model.code_dim == len(levels)
    expected = set(itertools.product(*(range(number) for number in levels)))
    digits = ((codes + 1) / 2 * (torch.tensor(levels) - 1)).round().long()
    assert set(map(tuple, digits.tolist())) == expected
    assert torch.equal(model.nearest(codes * 0.999), indices)


def test_levels_lie_evenly_between_minus_one_and_one():
    model = FiniteScalarQuantizer((4, 3), reset_after=50)
    codes = model.lookup(torch.arange(12))

    torch.testing.assert_close(codes[:4, 0], torch.tensor([-1.0, -1 / 3, 1 / 3, 1.0]))
    assert codes[::4, 1].tolist() == [-1.0, 0.0, 1.0]


def test_two_levels_are_the_sign():
    model = FiniteScalarQuantizer((2, 2, 2), reset_after=50)

    quantized = model(torch.tensor([[0.1, -0.1, 3.0], [-5.0, 0.2, -0.2]]))

    assert quantized.codes.tolist() == [[1.0, -1.0, 1.0], [-1.0, 1.0, -1.0]]
    assert quantized.indices.tolist() == [0b101, 0b010]


def test_normal_encodings_use_most_codes():
    model = FiniteScalarQuantizer((8, 5, 5, 5), reset_after=50)
    encoded = torch.randn(50_000, 4, generator=torch.Generator().manual_seed(0))

    assert len(model(encoded).indices.unique()) > 950


def test_gradient_is_that_of_tanh_and_there_is_no_loss():
    model = FiniteScalarQuantizer((5, 4), reset_after=50)
    encoded = torch.tensor([[0.3, -1.2], [2.0, 0.0]], requires_grad=True)

    quantized = model(encoded)
    quantized.codes.sum().backward()

    torch.testing.assert_close(encoded.grad, 1 - encoded.detach().tanh().square())
    torch.testing.assert_close(quantized.codes, model.lookup(quantized.indices))
    assert quantized.loss.tolist() == [0.0, 0.0]


def test_it_computes_in_fp32_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        codes = FiniteScalarQuantizer((5, 5), reset_after=50)(torch.randn(3, 2).bfloat16()).codes

    assert codes.dtype == torch.float32


def test_use_is_counted_over_a_step_without_padding():
    model = FiniteScalarQuantizer((2, 2), reset_after=2)
    encoded = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0]])
    for _ in range(2):
        model(encoded, torch.tensor([True, True, False]))
        use = model.finish_step(OneProcess(), torch.Generator())

    assert use.perplexity == pytest.approx(2.0)
    assert use.num_dead == 2
    assert use.num_restarted == 0


def test_evaluation_counts_nothing():
    model = FiniteScalarQuantizer((2, 2), reset_after=2).eval()
    model(torch.randn(9, 2))

    assert model.use.sum() == 0


def test_levels_follow_from_the_number_of_codes():
    assert levels_for(8) == (2, 2, 2)
    assert levels_for(1024) == (8, 5, 5, 5)
    for num_codes, levels in LEVELS.items():
        assert 0.9 * num_codes <= math.prod(levels) <= 1.07 * num_codes


def test_a_number_of_codes_without_levels_names_those_that_have():
    config = QuantizerConfig(kind=QuantizerKind.fsq, num_codes=20)

    with pytest.raises(ValueError, match=r"num_codes=20; take one of 2, 4, 8, 16, 64, .*levels"):
        build_quantizer(config)
    assert build_quantizer(replace(config, levels=(5, 4))).num_codes == 20


@pytest.mark.parametrize("levels", [(), (8, 1)])
def test_levels_that_make_no_grid_are_refused(levels):
    with pytest.raises(ValueError, match=rf"levels=\[{', '.join(map(str, levels))}\] must"):
        FiniteScalarQuantizer(levels, reset_after=50)


@pytest.mark.parametrize(
    ("settings", "codes_per_transition", "count"),
    [
        ({"kind": QuantizerKind.vq, "num_codes": 6}, 1, 6),
        ({"kind": QuantizerKind.continuous, "num_codes": 4}, 2, 16),
        ({"kind": QuantizerKind.fsq, "num_codes": 16}, 1, 16),
        ({"kind": QuantizerKind.fsq, "levels": (3, 5)}, 1, 15),
        ({"kind": QuantizerKind.fsq, "levels": (3, 2)}, 2, 36),
    ],
)
def test_latent_actions_are_counted_as_the_model_has_them(settings, codes_per_transition, count):
    config = TrainConfig()
    quantizer = replace(config.model.latent_action.quantizer, **settings)
    latent_action = replace(
        config.model.latent_action, quantizer=quantizer, codes_per_transition=codes_per_transition
    )
    assert count_latent_actions(latent_action) == count
    with torch.device("meta"):
        built = build_genie(
            replace(config, model=replace(config.model, latent_action=latent_action))
        )
    assert built.latent_action.num_codes == count
