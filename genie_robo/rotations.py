"""Rotations as roll, pitch and yaw about the fixed axes x, y and z: Rz(yaw) Ry(pitch) Rx(roll).

Every formula is exact at the two poles, pitch = -pi/2 and pi/2, where only the sum or the
difference of roll and yaw is defined: there roll is 0. NumPy alone is imported, because recording
processes start faster without PyTorch.
"""

import numpy as np
from jaxtyping import Float

_POLE = 1e-7
"""Cosine of the pitch below which roll is 0. It is above the rounding of angles in float32."""


def rpy_to_matrix(rpy: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3 3"]:
    """Rz(yaw) Ry(pitch) Rx(roll)."""
    (sr, sp, sy), (cr, cp, cy) = np.moveaxis(np.sin(rpy), -1, 0), np.moveaxis(np.cos(rpy), -1, 0)
    rows = (
        (cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr),
        (sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr),
        (-sp, cp * sr, cp * cr),
    )
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def matrix_to_rpy(matrix: Float[np.ndarray, "*n 3 3"]) -> Float[np.ndarray, "*n 3"]:
    """Inverse of `rpy_to_matrix`: pitch in [-pi/2, pi/2], roll 0 at the poles.

    Yaw is read after roll is undone, from entries that are never small, so that the three angles
    make the same matrix again however near it is to a pole.
    """
    cos_pitch = np.hypot(matrix[..., 2, 1], matrix[..., 2, 2])
    is_pole = cos_pitch < _POLE
    roll = np.where(is_pole, 0.0, np.arctan2(matrix[..., 2, 1], matrix[..., 2, 2]))
    pitch = np.arctan2(-matrix[..., 2, 0], cos_pitch)
    sr, cr = np.sin(roll), np.cos(roll)
    yaw = np.arctan2(
        sr * matrix[..., 0, 2] - cr * matrix[..., 0, 1],
        cr * matrix[..., 1, 1] - sr * matrix[..., 1, 2],
    )
    return np.stack([roll, pitch, yaw], axis=-1)


def relative_rpy(
    before: Float[np.ndarray, "*n 3"], after: Float[np.ndarray, "*n 3"]
) -> Float[np.ndarray, "*n 3"]:
    """The turn from one orientation to another about the fixed axes: R_after R_before^T.

    Differences of the angles are no turn: near a pole they are large for a small one.
    """
    turn = rpy_to_matrix(after) @ np.swapaxes(rpy_to_matrix(before), -1, -2)
    return matrix_to_rpy(turn)


def wrap_angle(angles: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """The same angles in (-pi, pi]."""
    return np.asarray(np.pi - np.mod(np.pi - angles, 2 * np.pi), dtype=angles.dtype)
