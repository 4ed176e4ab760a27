"""What a code is called, and how clearly a transition belongs to it."""

import numpy as np
import pytest
import torch

from genie_robo.inference.action_map import ActionDictionary
from genie_robo.inference.code_chances import code_chances
from genie_robo.inference.code_names import code_names, dictionary_names
from genie_robo.models.fsq import FiniteScalarQuantizer
from genie_robo.models.quantizer import ENTROPY_TEMPERATURE, JointQuantizer, VectorQuantizer


def means(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array([[*row, *[0.0] * (7 - len(row))] for row in rows])


def test_names_tell_the_dominant_direction():
    found = code_names(
        means((0.04, -0.01), (0, -0.03, 0.02), (0, 0, 0.02), (0.001, -0.002), (0, 0, 0, 0, 0, -0.3))
    )
    assert found == ("0 +x", "1 -y", "2 +z", "3", "4 -yaw")


def test_turning_by_a_trifle_and_the_gripper_give_no_name():
    moves = means((0.03, 0, 0, 0, 0, 0.006), (0, 0, 0, 0, 0, 0, 1.0))
    assert code_names(moves) == ("0 +x", "1")
    assert code_names(np.zeros((2, 7))) == ("0", "1")


def test_a_code_without_labels_keeps_its_number():
    dictionary = ActionDictionary.fit(
        np.array([0, 0, 2]), means((0.04,), (0.02,), (0, -0.03)), num_codes=3
    )
    assert dictionary_names(dictionary) == ("0 +x", "1", "2 -y")


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
    chances = code_chances(quantizer, latents)
    assert chances.shape == (200, quantizer.num_codes)
    np.testing.assert_allclose(chances.sum(axis=1), 1.0)
    taken = quantizer.nearest(torch.from_numpy(latents)).numpy()
    assert (chances.argmax(axis=1) == taken).all()


def test_chances_are_the_soft_assignment_of_the_codebook():
    quantizer, latents = vector_quantizer(), np.random.default_rng(1).normal(size=(9, 3))
    codes = torch.nn.functional.normalize(quantizer.codebook.detach().double(), dim=-1).numpy()
    cosines = latents / np.linalg.norm(latents, axis=1, keepdims=True) @ codes.T
    expected = np.exp(cosines / ENTROPY_TEMPERATURE)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(code_chances(quantizer, latents), expected, atol=1e-6)


def test_two_codes_at_equal_distance_are_equally_likely():
    quantizer = FiniteScalarQuantizer((2,), reset_after=10)
    assert code_chances(quantizer, np.zeros((1, 1))).tolist() == [[0.5, 0.5]]
