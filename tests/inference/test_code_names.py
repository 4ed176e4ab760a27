"""What a code is called, and its colour."""

import numpy as np
import pytest

from genie_robo.inference.action_map import ActionDictionary
from genie_robo.inference.code_names import code_colors, code_names, dictionary_names

DIAGONAL = 0.04 * np.sqrt(0.5)


def means(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array([[*row, *[0.0] * (7 - len(row))] for row in rows])


def test_pure_axes():
    rows = np.concatenate([np.eye(6), -np.eye(6)]) * [0.04, 0.04, 0.04, 0.4, 0.4, 0.4]
    directions = [name.split()[1] for name in code_names(np.pad(rows, ((0, 0), (0, 1))))]
    axes = ["x", "y", "z", "roll", "pitch", "yaw"]
    assert directions == [f"+{axis}" for axis in axes] + [f"-{axis}" for axis in axes]


@pytest.mark.parametrize(
    ("move", "direction"),
    [
        ((DIAGONAL, DIAGONAL), "+x+y"),
        ((0.025, -0.020), "+x-y"),
        ((-DIAGONAL, 0, DIAGONAL), "-x+z"),
        ((0.03, -0.03, -0.03), "+x-y-z"),
        ((0.03, 0, 0, 0, 0, 0.3), "+x+yaw"),
    ],
)
def test_diagonals(move, direction):
    assert code_names(means(move)) == (f"0 {direction}",)


@pytest.mark.parametrize(
    ("y", "direction"), [(0.009, "+x"), (0.011, "+x+y"), (-0.011, "+x-y"), (0.089, "+x+y")]
)
def test_an_axis_is_named_from_a_third_of_the_largest_on(y, direction):
    assert code_names(means((0.03, y))) == (f"0 {direction}",)


def test_codes_of_one_direction_differ_by_their_number():
    assert code_names(means((0.04,), (0.02,), (0.03, 0.001))) == ("0 +x", "1 +x", "2 +x")


def test_a_still_code_moves_less_than_a_quarter_of_the_farthest():
    assert code_names(means((0.04,), (0.006, -0.006), (0.011,))) == ("0 +x", "1 still", "2 +x")
    assert code_names(np.zeros((2, 7))) == ("0 still", "1 still")


def test_a_still_code_is_named_by_its_gripper_if_that_differs():
    def of(*grippers: float) -> tuple[str, ...]:
        return code_names(
            np.array([[0.04 * (n == 0), *[0.0] * 5, g] for n, g in enumerate(grippers)])
        )

    assert of(0.5, 1.0, 0.0, 0.5) == ("0 +x", "1 open", "2 close", "3 still")
    assert of(1.0, 1.0, 1.0, 1.0) == ("0 +x", "1 still", "2 still", "3 still")
    assert of(1.0, 0.4, 1.0, 1.0)[1] == "1 still", "neither open nor closed"


def test_small_rotations_and_the_gripper_of_a_moving_code_are_not_named():
    assert code_names(means((0.03, 0, 0, 0, 0, 0.006, 1.0), (0, 0.03)))[0] == "0 +x"


def test_the_joint_that_moves_most_names_a_code_where_no_end_effector_moves():
    rows = np.zeros((3, 9))
    rows[:, 7:] = [[0.3, 0.25], [0.0, -0.3], [0.01, 0.0]]
    assert code_names(rows, ("elbow", "wrist")) == ("0 +elbow", "1 -wrist", "2 still")


def test_a_code_without_labels_keeps_its_number():
    dictionary = ActionDictionary.fit(
        np.array([0, 0, 2]), means((0.04,), (0.02,), (0, -0.03)), num_codes=4
    )
    assert dictionary_names(dictionary) == ("0 +x", "1", "2 -y", "3")


def test_names_are_unique_in_a_run():
    rows = np.random.default_rng(0).normal(size=(64, 7)).round(1)
    assert len(set(code_names(rows))) == 64


def test_a_code_has_its_own_colour_whatever_the_number_of_codes():
    assert code_colors(8) == code_colors(16)[:8]
    assert len(set(code_colors(16))) == 16
