"""What a code is called."""

import numpy as np

from genie_robo.inference.action_map import ActionDictionary
from genie_robo.inference.code_names import code_names, dictionary_names


def means(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array([[*row, *[0.0] * (7 - len(row))] for row in rows])


def test_names_have_the_dominant_direction():
    found = code_names(
        means((0.04, -0.01), (0, -0.03, 0.02), (0, 0, 0.02), (0.001, -0.002), (0, 0, 0, 0, 0, -0.3))
    )
    assert found == ("0 +x", "1 -y", "2 +z", "3", "4 -yaw")


def test_small_rotations_and_the_gripper_give_no_name():
    moves = means((0.03, 0, 0, 0, 0, 0.006), (0, 0, 0, 0, 0, 0, 1.0))
    assert code_names(moves) == ("0 +x", "1")
    assert code_names(np.zeros((2, 7))) == ("0", "1")


def test_a_code_without_labels_keeps_its_number():
    dictionary = ActionDictionary.fit(
        np.array([0, 0, 2]), means((0.04,), (0.02,), (0, -0.03)), num_codes=3
    )
    assert dictionary_names(dictionary) == ("0 +x", "1", "2 -y")
