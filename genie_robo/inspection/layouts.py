"""Which numbers of a column may be translation, rotation and gripper."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from genie_robo.data.actions import matrix_to_rpy, rpy_to_matrix, to_rpy
from genie_robo.data.sources import Part
from genie_robo.inspection.columns import (
    Rows,
    Sample,
    agreement,
    is_constant,
    is_unit,
)

_TRANSLATION = re.compile(r"world_vector|transl|xyz|pos(ition)?(_delta)?$|delta_pos", re.IGNORECASE)
_ROTATION = re.compile(r"rot|rpy|euler|quat|orient", re.IGNORECASE)
_GRIPPER = re.compile(r"grip|finger", re.IGNORECASE)
_NOT_HAND = re.compile(r"joint|base|terminat|stop|mode|qpos|qvel", re.IGNORECASE)
_CLOSED = re.compile(r"clos", re.IGNORECASE)
_OPEN = re.compile(r"open", re.IGNORECASE)
_FULL_TURN = 2 * np.pi + 0.01
_OPPOSITE = {"open_one": "closed_one", "closed_one": "open_one"}
_QUATERNIONS = ("quaternion_xyzw", "quaternion_wxyz")


class Layout(NamedTuple):
    """Parts of an action, as written on the command line; empty ones are not there."""

    translation: str
    rotation: str
    rotation_format: str
    gripper: str
    why: str
    rotation_why: str
    looks_absolute: bool = False


class GripperGuess(NamedTuple):
    """What a gripper number means; no part when it has no format here."""

    part: str
    format: str
    confidence: str
    why: str


class RotationGuess(NamedTuple):
    """What follows a measured position; empty parts when there is nothing."""

    part: str
    format: str
    gripper: str
    confidence: str
    why: str


def find_layouts(sample: Sample) -> list[Layout]:
    """End-effector actions that the columns may hold, the clearest names first."""
    keys = [k for k in sample.numbers if k.startswith("action") and not _NOT_HAND.search(k)]
    return [*_by_names(keys, sample), *_flat(keys, sample)]


def _by_names(keys: list[str], sample: Sample) -> Iterator[Layout]:
    """An action of several columns that are named for what they hold."""
    named = {
        "translation": [k for k in keys if _TRANSLATION.search(k) and _size(sample, k) in (2, 3)],
        "rotation": [k for k in keys if _ROTATION.search(k) and _size(sample, k) in (3, 4)],
        "gripper": [k for k in keys if _GRIPPER.search(k) and _size(sample, k) == 1],
    }
    if named["translation"]:
        first = {name: found[0] if found else "" for name, found in named.items()}
        rotation_format = _rotation_format(sample, first["rotation"])
        yield Layout(
            first["translation"],
            first["rotation"],
            rotation_format,
            first["gripper"],
            "named so",
            f"named so; {rotation_format}" if first["rotation"] else "no column is named so",
        )


def _flat(keys: list[str], sample: Sample) -> Iterator[Layout]:
    """One vector for everything."""
    grippers = [k for k in keys if _GRIPPER.search(k) and _size(sample, k) == 1]
    # `action` before `action_dict/...`, Cartesian columns before all.
    for key in sorted(keys, key=lambda k: ("cartesian" not in k.lower(), len(k))):
        size = _size(sample, key)
        if size < 2 or size > 8 or size == 5 or _is_named_part(key):
            continue
        why = f"the first of {size} numbers in {key}"
        has_quaternion = size >= 7 and is_unit(sample.take(f"{key}[3:7]"))
        rotation = {True: f"{key}[3:7]", False: f"{key}[3:6]" if size >= 6 else ""}[has_quaternion]
        next_number = 7 if has_quaternion else 6 if size >= 6 else 3
        inside = f"{key}[{next_number}]" if size > next_number else ""
        beside = grippers[0] if grippers else ""
        rotation_format = _rotation_format(sample, rotation)
        yield Layout(
            f"{key}[0:{min(size, 3)}]",
            rotation,
            rotation_format,
            inside or beside,
            why,
            f"the next numbers; {_format_reason(rotation_format)}" if rotation else "none left",
            looks_absolute=_looks_absolute(sample.take(f"{key}[0:{min(size, 3)}]")),
        )


def guess_gripper(part: str, sample: Sample, like: GripperGuess | None = None) -> GripperGuess:
    """What a gripper number means, by its name, its values and where episodes begin.

    `like` is another gripper of the dataset whose meaning is known: the two move together.
    """
    if not part:
        return GripperGuess("", "", "guess", "no number is left for it")
    rows = sample.take(part)
    values, first = np.concatenate([r[:-1] for r in rows]), np.median([r[0, 0] for r in rows])
    low, high = float(values.min()), float(values.max())
    reach = f"{low:.3g} to {high:.3g}"
    if low < -1.2 or high > 1.2 or 0 < high - low < 0.3:
        why = f"{part} goes from {reach}, not from 0 to 1: there is no format for it"
        return GripperGuess("", "", "guess", why)
    if low < -0.5:
        return GripperGuess(part, "relative_close", "guess", f"{reach}: does -1 open, +1 close?")
    if _CLOSED.search(part) or _OPEN.search(part):
        word = "closed_one" if _CLOSED.search(part) else "open_one"
        return GripperGuess(part, word, "likely", f"{reach}, and its name")
    if like is not None and like.format in _OPPOSITE:
        alike = agreement(sample.take(like.part), rows)
        word = like.format if alike >= 0 else _OPPOSITE[like.format]
        why = f"{reach}, correlates {alike:.2f} with {like.part}"
        return GripperGuess(part, word, like.confidence, why)
    word = "open_one" if first >= 0.5 else "closed_one"
    why = f"{reach}, episodes begin at {first:.2g}, and most grippers begin open"
    return GripperGuess(part, word, "guess", why)


def find_rotation(position: Part, action_rotation: str, sample: Sample) -> RotationGuess:
    """What follows a measured position in its column, or stands in columns beside it."""
    assert position.stop is not None
    key, start, size = position.key, position.stop, _size(sample, position.key)
    quaternion = f"{key}[{start}:{start + 4}]"
    angles = f"{key}[{start}:{start + 3}]"
    grippers = [k for k in sample.numbers if _is_measured_gripper(k, sample)]
    beside = grippers[0] if grippers else ""
    if size >= start + 4 and is_unit(sample.take(quaternion)):
        order, why = _quaternion_order(quaternion, action_rotation, sample)
        inside = f"{key}[{start + 4}]" if size == start + 5 else ""
        return RotationGuess(quaternion, order, beside or inside, "likely", why)
    if size >= start + 3 and _are_angles(sample.take(angles)):
        inside = f"{key}[{size - 1}]" if size > start + 3 else ""
        why = "the next three numbers of the pose are within a full turn"
        return RotationGuess(angles, "rpy", beside or inside, "likely", why)
    return RotationGuess("", "rpy", beside, "guess", "")


def _quaternion_order(part: str, action_rotation: str, sample: Sample) -> tuple[str, str]:
    rows = sample.take(part)
    if action_rotation and _size_of(sample, action_rotation) == 3:
        wanted = sample.take(action_rotation)
        scores = [agreement(wanted, _turns(rows, order)) for order in _QUATERNIONS]
        best = int(np.argmax(scores))
        return _QUATERNIONS[best], f"unit length; turns correlate {scores[best]:.2f} in this order"
    return _QUATERNIONS[0], "unit length; the order is a guess"


def _turns(rows: Rows, order: str) -> Rows:
    """Rotations from each step to the next, in the base frame; a last row of zeros."""
    found = []
    for quaternions in rows:
        matrices = rpy_to_matrix(to_rpy(quaternions, order))
        turns = matrix_to_rpy(matrices[1:] @ np.swapaxes(matrices[:-1], 1, 2))
        found.append(np.concatenate([turns, np.zeros((1, 3))]))
    return found


def _rotation_format(sample: Sample, part: str) -> str:
    is_quaternion = bool(part) and _size_of(sample, part) == 4
    return "quaternion_xyzw" if is_quaternion else "rpy"


def _format_reason(rotation_format: str) -> str:
    return "unit length" if rotation_format.startswith("quaternion") else "taken as angles"


def _looks_absolute(rows: Rows) -> bool:
    """Positions change little from step to step, compared with their size."""
    joined, change = np.concatenate(rows), np.concatenate([np.diff(r, axis=0) for r in rows])
    return bool(np.abs(change).mean() < 0.1 * np.abs(joined).mean())


def _are_angles(rows: Rows) -> bool:
    return bool(np.abs(np.concatenate(rows)).max() <= _FULL_TURN)


def _is_measured_gripper(key: str, sample: Sample) -> bool:
    is_named = bool(_GRIPPER.search(key)) and not key.startswith("action")
    return is_named and _size(sample, key) == 1 and not is_constant(sample.numbers[key])


def _is_named_part(key: str) -> bool:
    last = key.rpartition("/")[2]
    return "/" in key and bool(_GRIPPER.search(last) or _ROTATION.search(last))


def _size(sample: Sample, key: str) -> int:
    return sample.numbers[key][0].shape[1]


def _size_of(sample: Sample, part: str) -> int:
    return sample.take(part)[0].shape[1]
