"""Turns between orientations, at the poles and at half turns too."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from genie_robo.rotations import matrix_to_rpy, relative_rpy, rpy_to_matrix, wrap_angle

POLE = np.pi / 2
any_angles = arrays(np.float64, (4, 3), elements=st.floats(-7, 7))


@given(any_angles)
def test_matrices_agree_with_scipy(angles):
    expected = Rotation.from_euler("xyz", angles).as_matrix()
    np.testing.assert_allclose(rpy_to_matrix(angles), expected, atol=1e-12)


@given(any_angles, st.sampled_from([None, POLE, -POLE, POLE - 1e-8, 1e-9 - POLE]))
def test_angles_make_the_same_matrix_again(angles, pitch):
    if pitch is not None:
        angles[:, 1] = pitch
    matrices = rpy_to_matrix(angles)
    again = matrix_to_rpy(matrices)
    np.testing.assert_allclose(rpy_to_matrix(again), matrices, atol=3e-7)
    assert (np.abs(again[:, 1]) <= POLE).all()


@pytest.mark.parametrize(
    ("pitch", "roll", "yaw", "expected_yaw"),
    # At a pole only yaw - roll (up) or yaw + roll (down) is defined, and roll is 0.
    [(POLE, 0.3, 1.0, 0.7), (-POLE, 0.3, 1.0, 1.3), (POLE, -0.5, 0.0, 0.5), (-POLE, 0.0, 0.4, 0.4)],
)
def test_roll_is_zero_at_the_poles(pitch, roll, yaw, expected_yaw):
    found = matrix_to_rpy(rpy_to_matrix(np.array([roll, pitch, yaw])))
    np.testing.assert_allclose(found, [0, pitch, expected_yaw], atol=1e-7)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("sign", [-1, 1])
def test_half_turns(axis, sign):
    turn = Rotation.from_rotvec(sign * np.pi * np.eye(3)[axis])
    before = np.array([0.2, -0.4, 1.1])
    after = (turn * Rotation.from_euler("xyz", before)).as_euler("xyz")
    found = rpy_to_matrix(relative_rpy(before, after))
    np.testing.assert_allclose(found, turn.as_matrix(), atol=1e-12)


def test_a_turn_is_about_the_fixed_axes():
    """Turned a quarter about z, then about the base's x: not the tool's."""
    before = np.array([0, 0, np.pi / 2])
    after = (Rotation.from_euler("x", 0.3) * Rotation.from_euler("z", np.pi / 2)).as_euler("xyz")
    np.testing.assert_allclose(relative_rpy(before, after), [0.3, 0, 0], atol=1e-12)


@pytest.mark.parametrize("pitch", [POLE, -POLE, POLE - 1e-3, 1e-3 - POLE])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_noise_at_a_pole_stays_small(pitch, dtype):
    """Orientations 0.01 rad apart have angles far apart; the turn between them is small."""
    rng = np.random.default_rng(0)
    still = Rotation.from_euler("xyz", [0.4, pitch, -0.2])
    noisy = Rotation.from_rotvec(rng.normal(size=(500, 3)) * 0.01) * still
    angles = noisy.as_matrix()
    angles = matrix_to_rpy(angles).astype(dtype).astype(np.float64)
    assert np.abs(wrap_angle(np.diff(angles, axis=0))).max() > 1
    turns = relative_rpy(angles[:-1], angles[1:])
    # Two draws of 0.01 rad differ by sqrt(2) times as much.
    np.testing.assert_allclose(turns.std(axis=0), 0.01 * np.sqrt(2), rtol=0.1)
    assert np.abs(turns).max() < 0.07


@pytest.mark.parametrize(
    ("angle", "expected"),
    [
        (0, 0),
        (np.pi, np.pi),
        (-np.pi, np.pi),
        (3 * np.pi, np.pi),
        (4, 4 - 2 * np.pi),
        (-4, 2.283185),
    ],
)
def test_wrapped_angles(angle, expected):
    assert float(wrap_angle(np.array([angle], float))[0]) == pytest.approx(expected, abs=1e-6)
