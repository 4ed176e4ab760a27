"""The format of a rotation, told by the turns of the measured pose."""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from genie_robo.data.actions import to_rpy
from genie_robo.data.settings import RotationFormat
from genie_robo.data.sources import Part
from genie_robo.inspection.episodes import Rows, Sample
from genie_robo.inspection.layouts import QUATERNIONS, SIX_D, is_six_d, is_unit, rotation_formats
from genie_robo.inspection.pose_match import PoseMatch, agreement
from genie_robo.rotations import relative_rpy, rpy_to_matrix

_FULL_TURN = 2 * np.pi + 0.01
_CLEARER = 0.5
"""The best format must have at most this share of the error of the next best."""
_FOLLOWS = 0.7
"""Turns that differ more (1 - correlation) do not follow the commands."""
UNDECIDED = (
    "a 6-D rotation (Zhou et al. 2019), two columns of the matrix (rotation_6d) or two rows "
    "(rotation_6d_rows, as PyTorch3D writes them): the data do not tell which, so it is left out; "
    "add it where you know"
)


class Turning(NamedTuple):
    """A rotation, and its format; both "" where it is left out."""

    part: str
    format: str
    why: str


class Measured(NamedTuple):
    """The rotation of a measured pose, and where its column goes on."""

    part: str
    formats: Sequence[RotationFormat]
    why: str
    end: int


def measured_rotation(position: Part, sample: Sample) -> Measured | None:
    """The numbers after a measured position, where they are a rotation."""
    assert position.stop is not None
    key, start, size = position.key, position.stop, sample.width(position.key)

    def part(count: int) -> str:
        return f"{key}[{start}:{start + count}]"

    if size >= start + 6 and is_six_d(sample.take(part(6))):
        return Measured(part(6), SIX_D, "two unit vectors at a right angle", start + 6)
    if size >= start + 4 and is_unit(sample.take(part(4))):
        return Measured(part(4), QUATERNIONS, "unit length", start + 4)
    if size >= start + 3 and np.abs(sample.take(part(3))).max() <= _FULL_TURN:
        why = "the next three numbers of the pose are within a full turn"
        return Measured(part(3), (RotationFormat.rpy,), why, start + 3)
    return None


def decide_formats(
    rotation: str, rotation_why: str, match: PoseMatch, measured: Measured | None, sample: Sample
) -> tuple[Turning, Turning]:
    """The formats of the action's rotation and of the pose's that agree best.

    Columns and rows of a matrix are told apart by the other rotation, or not at all.
    """
    action = alone(rotation, rotation_why, sample)
    if measured is None:
        return action, Turning("", "", "")
    pose = alone(measured.part, measured.why, sample)
    if not rotation:
        return action, pose
    # A commanded quaternion is taken to be in the first order.
    formats = rotation_formats(rotation, sample) if action.part == "" else (action.format,)
    pairs = list(product(map(RotationFormat, formats), measured.formats))
    if formats == measured.formats == SIX_D or len(pairs) == 1:
        return action, pose
    errors = np.array([_error(rotation, measured.part, *pair, match, sample) for pair in pairs])
    best = int(np.argmin(errors))
    others = np.delete(errors, best)
    if errors[best] > min(_FOLLOWS, _CLEARER * others.min()):
        return action, pose
    found = f"turns differ by {errors[best]:.2f} in this format"
    action_format, pose_format = pairs[best]
    return (
        Turning(rotation, action_format, f"{rotation_why}; {found}"),
        Turning(measured.part, pose_format, f"{measured.why}; {found}"),
    )


def alone(part: str, why: str, sample: Sample) -> Turning:
    """A rotation that nothing can be compared with."""
    if not part:
        return Turning("", "", why)
    formats = rotation_formats(part, sample)
    if formats == SIX_D:
        return Turning("", "", f"{part} is {UNDECIDED}")
    if formats == QUATERNIONS:
        why += "; the order is a guess"
    return Turning(part, formats[0], why)


def _error(
    rotation: str,
    measured: str,
    action_format: RotationFormat,
    pose_format: RotationFormat,
    match: PoseMatch,
    sample: Sample,
) -> float:
    """How badly commands in one format agree with poses in another; 0 is best."""
    commands, pose = to_rpy(sample.take(rotation), action_format), sample.take(measured)
    angles = to_rpy(pose, pose_format)
    if match.motion == "target":
        return _mean_angle(sample.without_last(commands), sample.without_last(angles))
    turns = relative_rpy(angles[:-1], angles[1:])
    return 1 - agreement(commands, np.pad(turns, ((0, 1), (0, 0))), sample)


def _mean_angle(one: Rows, other: Rows) -> float:
    """Between orientations (rad)."""
    turn = rpy_to_matrix(one) @ np.swapaxes(rpy_to_matrix(other), -1, -2)
    cosine = (np.trace(turn, axis1=-2, axis2=-1) - 1) / 2
    return float(np.arccos(np.clip(cosine, -1, 1)).mean())
