"""Columns that may hold an end-effector action, by their names, sizes and values."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from genie_robo.data.settings import RotationFormat
from genie_robo.data.sources import Part
from genie_robo.inspection.episodes import Rows, Sample

GRIPPER = re.compile(r"grip|finger", re.IGNORECASE)
_TRANSLATION = re.compile(
    r"world_vector|transl|xyz|pos(ition)?(_delta)?$|delta_pos|linear_vel", re.IGNORECASE
)
_ROTATION = re.compile(r"rot|rpy|euler|quat|orient|angular", re.IGNORECASE)
_NOT_HAND = re.compile(r"joint|base|terminat|stop|mode|qpos|qvel|motor", re.IGNORECASE)
_UNIT = 0.01
"""Largest error of the length of a unit vector, and of the cosine of a right angle."""
_LARGEST = 8
"""Numbers of an action whose rotation is no part of a matrix: x y z, a quaternion, a gripper."""

QUATERNIONS = (RotationFormat.quaternion_xyzw, RotationFormat.quaternion_wxyz)
SIX_D = (RotationFormat.rotation_6d, RotationFormat.rotation_6d_rows)
_FORMATS = {3: (RotationFormat.rpy,), 4: QUATERNIONS, 6: SIX_D}


class Layout(NamedTuple):
    """Parts of an action, as written on the command line; "" where there is none."""

    translation: str
    rotation: str
    gripper: str
    why: str
    rotation_why: str
    looks_absolute: bool = False

    @property
    def key(self) -> str:
        """The column of the translation."""
        return Part.parse(self.translation, setting="action").key


def layouts(sample: Sample) -> list[Layout]:
    """End-effector actions that the columns may hold, the clearest names first."""
    keys = [k for k in sample.numbers if k.startswith("action") and not _NOT_HAND.search(k)]
    return [*_by_name(keys, sample), *_by_place(keys, sample)]


def rotation_formats(part: str, sample: Sample) -> tuple[RotationFormat, ...]:
    """The formats that a rotation may have by its size, the most common one first."""
    return _FORMATS[sample.size(part)]


def is_unit(rows: Rows) -> bool:
    """Whether all rows have the length 1, as quaternions have."""
    return bool(np.abs(np.linalg.norm(rows, axis=1) - 1).max() < _UNIT)


def is_six_d(rows: Rows) -> bool:
    """Whether six numbers are two columns, or two rows, of rotation matrices."""
    one, other = rows[:, :3], rows[:, 3:]
    is_right_angle = np.abs((one * other).sum(axis=1)).max() < _UNIT
    return is_unit(one) and is_unit(other) and bool(is_right_angle)


def _by_name(keys: list[str], sample: Sample) -> Iterator[Layout]:
    """An action in several columns, each named for what it holds."""

    def first(pattern: re.Pattern[str], *sizes: int) -> str:
        named = (k for k in keys if pattern.search(k) and sample.width(k) in sizes)
        return next((str(Part(key)) for key in named), "")

    translation, rotation = first(_TRANSLATION, 2, 3), first(_ROTATION, 3, 4, 6)
    if rotation and sample.size(rotation) == 6 and not is_six_d(sample.take(rotation)):
        rotation = first(_ROTATION, 3, 4)
    if translation:
        rotation_why = "no column is named so"
        if rotation:
            rotation_why = f"named so; {rotation_formats(rotation, sample)[0]}"
        yield Layout(translation, rotation, first(GRIPPER, 1), "named so", rotation_why)


def _by_place(keys: list[str], sample: Sample) -> Iterator[Layout]:
    """One vector for everything."""
    grippers = (k for k in keys if GRIPPER.search(k) and sample.width(k) == 1)
    gripper = next((str(Part(key)) for key in grippers), "")
    # `action` before `action_dict/...`, Cartesian columns before all.
    for key in sorted(keys, key=lambda k: ("cartesian" not in k.lower(), len(k))):
        size, (_, slash, name) = sample.width(key), key.rpartition("/")
        is_named_part = slash and (GRIPPER.search(name) or _ROTATION.search(name))
        rotation, end, rotation_why = _rotation_after(key, size, sample)
        is_known_size = size in (2, 3, 4, 6, 7, 8) or (end == 9 and size <= end + 1)
        if not is_known_size or is_named_part:
            continue
        translation = f"{key}[0:{min(size, 3)}]"
        rows = sample.take(translation)
        yield Layout(
            translation,
            rotation,
            f"{key}[{end}]" if size > end else gripper,
            f"the first of {size} numbers in {key}",
            rotation_why,
            # Positions change little from step to step, compared with their size.
            looks_absolute=np.abs(sample.changes(rows)).mean() < 0.1 * np.abs(rows).mean(),
        )


def _rotation_after(key: str, size: int, sample: Sample) -> tuple[str, int, str]:
    """The rotation behind a translation of three numbers, where it ends, and why."""
    if size >= 9 and is_six_d(sample.take(f"{key}[3:9]")):
        return f"{key}[3:9]", 9, "the next numbers; two unit vectors at a right angle"
    if 7 <= size <= _LARGEST and is_unit(sample.take(f"{key}[3:7]")):
        return f"{key}[3:7]", 7, "the next numbers; unit length"
    if 6 <= size <= _LARGEST:
        return f"{key}[3:6]", 6, "the next numbers; taken as angles"
    return "", 3, "none left"
