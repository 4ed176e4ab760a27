"""How clearly a transition belongs to its latent action."""

import numpy as np
import pytest
import torch

from genie_robo.models.fsq import FiniteScalarQuantizer
from genie_robo.models.quantizer import ENTROPY_TEMPERATURE, JointQuantizer, VectorQuantizer


def bounded(quantizer, latents: np.ndarray) -> torch.Tensor:
    return quantizer.bound(torch.from_numpy(latents))


def probabilities(quantizer, latents: np.ndarray) -> np.ndarray:
    return quantizer.code_probabilities(bounded(quantizer, latents)).numpy()


def vector_quantizer() -> VectorQuantizer:
    torch.manual_seed(0)
    return VectorQuantizer(num_codes=5, code_dim=3, commitment=0.25, reset_after=10)


@pytest.mark.parametrize(
    "quantizer",
    [
        vector_quantizer(),
        JointQuantizer(vector_quantizer(), 2),
        FiniteScalarQuantizer((3, 2, 4), reset_after=10),
    ],
    ids=["vector", "joint", "scalar"],
)
def test_the_likeliest_code_is_the_one_taken(quantizer):
    latents = np.random.default_rng(0).normal(size=(200, quantizer.code_dim))
    chances = probabilities(quantizer, latents)
    assert chances.shape == (200, quantizer.num_codes)
    np.testing.assert_allclose(chances.sum(axis=1), 1.0)
    taken = quantizer.nearest(bounded(quantizer, latents)).numpy()
    assert (chances.argmax(axis=1) == taken).all()


def test_chances_are_the_soft_assignment_of_the_codebook():
    quantizer, latents = vector_quantizer(), np.random.default_rng(1).normal(size=(9, 3))
    codes = torch.nn.functional.normalize(quantizer.codebook.detach().double(), dim=-1).numpy()
    cosines = latents / np.linalg.norm(latents, axis=1, keepdims=True) @ codes.T
    expected = np.exp(cosines / ENTROPY_TEMPERATURE)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities(quantizer, latents), expected, atol=1e-6)


def test_two_codes_at_equal_distance_are_equally_likely():
    quantizer = FiniteScalarQuantizer((2,), reset_after=10)
    assert probabilities(quantizer, np.zeros((1, 1))).tolist() == [[0.5, 0.5]]
