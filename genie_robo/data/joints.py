"""The further numbers of an action: joint commands, and what they are relative to.

A command is where a joint is sent, less where its step starts. Over several steps it is where the
last one sends it, less where the first one starts; `joint_starts` of an episode has these starts:
the measured joints for a target, the sum of all earlier deltas for a delta or a velocity, 0 for a
position.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from genie_robo.data.lag import has_command, shift_commands
from genie_robo.data.settings import JointsMotion, Source
from genie_robo.data.sources import joint_parts

_CHANGES = (JointsMotion.delta, JointsMotion.velocity)


class JointColumns(NamedTuple):
    """Joints of every step of an episode."""

    commands: Float[np.ndarray, "t k"]
    """Relative to `starts`; the last one is not valid and zero."""
    starts: Float[np.ndarray, "t k"]
    measured: Float[np.ndarray, "t k"] | None


def to_joints(columns: Mapping[str, np.ndarray], source: Source) -> JointColumns | None:
    """The joint commands of an episode; None where the source names none.

    Raises:
        ValueError: A command, or a measured joint, is not finite.
    """
    parts = joint_parts(source)
    if "action" not in parts:
        return None
    lag, motion = source.action.lag, source.action.joints_motion
    stored = shift_commands(parts["action"].take(columns), lag)[:-1]
    measured = parts["pose"].take(columns) if "pose" in parts else None
    check_finite("joint command", stored)
    if measured is not None:
        check_finite("measured joint", measured)
    if motion is JointsMotion.velocity:
        stored = stored / source.control_hz
    if motion in _CHANGES:
        stored = stored * has_command(len(stored) + 1, lag)[:-1, None]
    starts = _starts(stored, measured, motion)
    commands = np.zeros_like(starts)
    commands[:-1] = stored
    if motion is JointsMotion.target:
        commands[:-1] -= starts[:-1]
    return JointColumns(commands, starts, measured)


def _starts(
    commands: Float[np.ndarray, "n k"],
    measured: Float[np.ndarray, "t k"] | None,
    motion: JointsMotion,
) -> Float[np.ndarray, "t k"]:
    if motion is JointsMotion.target:
        assert measured is not None, "check_source refuses targets without measured joints"
        return measured
    first = np.zeros((1, commands.shape[1]))
    if motion in _CHANGES:
        return np.concatenate([first, np.cumsum(commands, axis=0)])
    return np.zeros((len(commands) + 1, commands.shape[1]))


def check_finite(what: str, values: Float[np.ndarray, "n k"]) -> None:
    """Refuse numbers that are missing or infinite.

    Raises:
        ValueError: There is one; the message names its step.
    """
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise ValueError(f"a {what} of step {bad[0]} is not finite")
