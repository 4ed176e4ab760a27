"""The keys of the camera, the action and the pose, checked against the dataset.

Parts of a column are written as in numpy: `action[0:3]`, `action[-1]`, `observation/state`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from genie_robo.data.features import Feature
from genie_robo.data.joint_names import clean_names, match_names
from genie_robo.data.kinematics import open_kinematics, open_urdf
from genie_robo.data.settings import (
    ACTION_NAMES,
    ActionSource,
    JointsMotion,
    Motion,
    PoseSource,
    RotationFormat,
    Source,
)

ROTATION_SIZES = {
    RotationFormat.rpy: 3,
    RotationFormat.axis_angle: 3,
    RotationFormat.quaternion_xyzw: 4,
    RotationFormat.quaternion_wxyz: 4,
    RotationFormat.rotation_6d: 6,
    RotationFormat.rotation_6d_rows: 6,
    RotationFormat.yaw: 1,
}
"""How many numbers a rotation has, by its format."""
MAX_JOINTS = 256
"""A model has weights for every product of two numbers of an action."""

_PART = re.compile(
    r"(?P<key>.+?)(?:\[(?P<index>-?\d+)\]|\[(?P<start>-?\d*):(?P<stop>-?\d*)\])?", re.DOTALL
)
_SLICE = re.compile(r".*\[[^\[\]]*:[^\[\]]*\]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Part:
    """Some numbers of a column: all, one, or a slice of them."""

    key: str
    start: int | None = None
    stop: int | None = None

    @classmethod
    def parse(cls, text: str, *, setting: str) -> "Part":
        """`KEY`, `KEY[3]` or `KEY[0:3]`; `KEY[:]` where the key itself ends like a part.

        Raises:
            ValueError: It is written in another way; the message names the setting.
        """
        found = _PART.fullmatch(text)
        if found is None or (found["key"] == text and _SLICE.fullmatch(text)):
            raise ValueError(
                f"data.source.{setting}={text} is not a part of a column; write KEY, KEY[6] or "
                "KEY[0:3]"
            )
        if found["index"] is not None:
            start = int(found["index"])
            return cls(found["key"], start, start + 1 or None)
        limits = [int(found[name]) if found[name] else None for name in ("start", "stop")]
        return cls(found["key"], *limits)

    def take(self, columns: Mapping[str, np.ndarray]) -> Float[np.ndarray, "t n"]:
        """Its numbers in every step."""
        column = columns[self.key]
        rows = column.reshape(len(column), -1)[:, self.start : self.stop]
        return rows.astype(np.float64)

    def count(self, size: int) -> int:
        """How many numbers it selects from a column of `size` numbers; 0 when out of range."""
        limits = [limit for limit in (self.start, self.stop) if limit is not None]
        if any(abs(limit) > size for limit in limits) or self.start == size:
            return 0
        return len(range(*slice(self.start, self.stop).indices(size)))

    @property
    def width(self) -> int | None:
        """How many numbers it selects from any column that is long enough; None where that depends.

        It is known of limits that count from the same end.
        """
        start, stop = self.start or 0, self.stop
        if stop is None:
            return -start if start < 0 else None
        return stop - start if (start < 0) == (stop < 0) else None

    def __str__(self) -> str:
        if self.start is None and self.stop is None:
            found = _PART.fullmatch(self.key)
            is_plain = found and found["key"] == self.key and not _SLICE.fullmatch(self.key)
            return self.key if is_plain else f"{self.key}[:]"
        start, stop = ("" if limit is None else limit for limit in (self.start, self.stop))
        return f"{self.key}[{start}:{stop}]"


def action_parts(source: Source) -> dict[str, Part]:
    """Parts of the stored action by name, in the order of ACTION_NAMES."""
    if source.action.motion is Motion.pose_change:
        return {}
    return _parts(source.action, "action", ("translation", "rotation", "gripper"))


def pose_parts(source: Source) -> dict[str, Part]:
    """Parts of the measured pose by name, in the order of ACTION_NAMES."""
    return _parts(source.pose, "pose", ("position", "rotation", "gripper"))


def joint_parts(source: Source) -> dict[str, Part]:
    """The joint commands as `action` and, where they are measured, the joints as `pose`."""
    named = {"action": source.action, "pose": source.pose}
    found = {section: _parts(part, section, ("joints",)) for section, part in named.items()}
    return {section: parts["joints"] for section, parts in found.items() if parts}


def action_dim(source: Source) -> int:
    """The numbers of a robot action: seven of the end effector, and the joint commands.

    Raises:
        ValueError: The settings alone do not say how many joints there are.
    """
    joints = joint_parts(source).get("action")
    if joints is None:
        return len(ACTION_NAMES)
    if joints.width is None:
        raise ValueError(
            f"data.source.action.joints={source.action.joints} does not say how many numbers it "
            "is, which the width of a model's actions follows from; write the slice, such as "
            f"data.source.action.joints={joints.key}[0:7]"
        )
    if not 1 <= joints.width <= MAX_JOINTS:
        raise ValueError(
            f"data.source.action.joints={source.action.joints} is {joints.width} numbers, but it "
            f"must be 1 to {MAX_JOINTS}"
        )
    return len(ACTION_NAMES) + joints.width


def with_names(source: Source, features: Mapping[str, Feature]) -> Source:
    """A source with the dataset's names of joints, where it gives none.

    Raises:
        FileNotFoundError: The URDF does not exist.
        ValueError: The URDF is damaged.
    """
    stored = {
        section: features[part.key].names[part.start : part.stop]
        for section, part in joint_parts(source).items()
        if part.key in features
    }
    action, pose = source.action, source.pose
    if not action.joint_names and stored.get("action"):
        action = replace(action, joint_names=clean_names(stored["action"]))
    if pose.urdf and not pose.urdf_joints:
        measured = stored.get("pose") or action.joint_names
        pose = replace(pose, urdf_joints=match_names(measured, open_urdf(pose).moving))
    return replace(source, action=action, pose=pose)


def source_keys(source: Source) -> tuple[str, ...]:
    """Every key that is read, once."""
    ends = (*action_parts(source).values(), *pose_parts(source).values())
    parts = (*ends, *joint_parts(source).values())
    optional = [source.sim_state] if source.sim_state else []
    keys = [*source.camera_keys.values(), *(part.key for part in parts)]
    return tuple(dict.fromkeys([*keys, *source.instruction, *optional]))


def check_source(source: Source, features: Mapping[str, Feature]) -> None:
    """Refuse a source that does not fit the dataset; the error lists what the dataset has.

    Args:
        source: The keys to read.
        features: Columns of a step by key, see `genie_robo.data.schema`.

    Raises:
        KeyError: A key is not there.
        ValueError: A key has another type or size than needed, or the dataset has no action.
    """
    if source.unmapped:
        raise ValueError(
            f"this dataset cannot be mapped to a 7-D end-effector action: {source.unmapped}. If "
            "yours can, name its parts with data.source.action.* and set data.source.unmapped=''; "
            "other commands, such as those of joints, are data.source.action.joints=KEY[0:7]"
        )
    for name, key in source.camera_keys.items():
        _check_camera("camera" if name == "primary" else f"cameras.{name}", key, features)
    _check_bgr(source)
    _check_action(source, features)
    _check_pose(source, features)
    _check_joints(source, features)
    for key in source.instruction:
        if not _find("instruction", key, features).is_text:
            raise ValueError(
                f"data.source.instruction names {key}, which must be text or code points, but it "
                f"is {features[key]}"
            )
    if source.sim_state and not _find("sim_state", source.sim_state, features).holds_numbers:
        raise ValueError(
            f"data.source.sim_state={source.sim_state} must be a tensor column, but it is "
            f"{features[source.sim_state]}"
        )


def _check_action(source: Source, features: Mapping[str, Feature]) -> None:
    action = source.action
    needs_pose = action.motion in (Motion.target, Motion.pose_change)
    if needs_pose and source.has_end_effector and not source.has_pose:
        raise ValueError(
            f"data.source.action.motion={action.motion} needs the measured pose: name it with "
            "data.source.pose.position, or compute it from measured joints with "
            "data.source.pose.urdf"
        )
    if source.angles_are_differences and not source.has_pose_rotation:
        raise ValueError(
            "data.source.action.motion=achieved stores differences of angles, which become turns "
            "by the pose they start from: name its rotation with data.source.pose.rotation, or "
            "leave the action's out with data.source.action.rotation=''"
        )
    is_scaled = action.rotation_scale != 1 or action.motion is Motion.velocity
    if action.rotation and action.rotation_format.is_whole_turn and is_scaled:
        raise ValueError(
            f"data.source.action.rotation_format={action.rotation_format} is a whole turn, which "
            f"rotation_scale={action.rotation_scale} and motion={action.motion} do not scale; "
            "leave the rotation out with data.source.action.rotation=''"
        )
    _check_rate(source)
    if action.motion is Motion.pose_change and action.lag and not action.joints:
        raise ValueError(
            f"data.source.action.lag={action.lag} shifts commands, but motion=pose_change reads "
            "none; set data.source.action.lag=0"
        )
    sizes = {"translation": (2, 3), "rotation": (ROTATION_SIZES[action.rotation_format],)}
    parts = action_parts(source)
    for name, part in parts.items():
        _check_part(f"action.{name}", part, sizes.get(name, (1,)), features)
    if not source.has_end_effector and not action.joints:
        raise ValueError(
            "data.source.action names no part of an action; give at least "
            "data.source.action.translation=KEY[0:3] or data.source.action.joints=KEY[0:7]"
        )


def _check_rate(source: Source) -> None:
    """Refuse velocities of an unknown number of steps per second."""
    action = source.action
    velocities = {
        "motion": action.motion is Motion.velocity and source.has_end_effector,
        "joints_motion": action.joints_motion is JointsMotion.velocity and bool(action.joints),
    }
    for name, is_velocity in velocities.items():
        if is_velocity and source.control_hz <= 0:
            raise ValueError(
                f"data.source.action.{name}=velocity needs data.source.control_hz, the steps per "
                "second"
            )


def _check_pose(source: Source, features: Mapping[str, Feature]) -> None:
    pose = source.pose
    sizes = {"position": (2, 3), "rotation": (ROTATION_SIZES[pose.rotation_format],)}
    for name, part in pose_parts(source).items():
        _check_part(f"pose.{name}", part, sizes.get(name, (1,)), features)
    if pose.urdf:
        _check_urdf(source, features)
    elif given := [n for n in ("link", "base_link", "urdf_joints") if getattr(pose, n)]:
        raise ValueError(
            f"data.source.pose.{given[0]} is about a URDF, but none is given; name its file with "
            "data.source.pose.urdf"
        )


def _check_urdf(source: Source, features: Mapping[str, Feature]) -> None:
    """Refuse a pose that is stored and computed, and joints that do not fit the URDF."""
    pose = source.pose
    if pose.position or pose.rotation:
        raise ValueError(
            "data.source.pose.urdf computes position and rotation of the pose; leave out "
            "data.source.pose.position and data.source.pose.rotation, or data.source.pose.urdf"
        )
    if not pose.joints or not pose.link:
        raise ValueError(
            "data.source.pose.urdf needs the measured joints, data.source.pose.joints=KEY[0:7], "
            "and the link whose pose is computed, data.source.pose.link"
        )
    part = joint_parts(source)["pose"]
    size = _find("pose.joints", part.key, features).size or 0
    if not pose.urdf_joints:
        raise ValueError(
            f"{part.key} has no names of joints; name those of the URDF in the order of "
            f"data.source.pose.joints={part} with data.source.pose.urdf_joints=[...]: "
            f"{', '.join(open_urdf(pose).moving[:MAX_JOINTS])}"
        )
    if len(pose.urdf_joints) != part.count(size):
        raise ValueError(
            f"data.source.pose.urdf_joints has {len(pose.urdf_joints)} names, but "
            f"data.source.pose.joints={part} is {part.count(size)} numbers of {part.key}, which "
            f"is {features[part.key]}; give one each, '' for a number that the URDF lacks"
        )
    open_kinematics(pose)


def _check_joints(source: Source, features: Mapping[str, Feature]) -> None:
    """Refuse joint commands of an unknown number, and measured joints that do not fit them."""
    parts, motion = joint_parts(source), source.action.joints_motion
    if "action" not in parts:
        if "pose" in parts and not source.pose.urdf:
            raise ValueError(
                f"data.source.pose.joints={source.pose.joints} is what data.source.action.joints "
                "commands, which is empty: name the joint commands, or leave both out; with "
                "data.source.pose.urdf a pose is computed from them"
            )
        return
    if motion is JointsMotion.target and "pose" not in parts:
        raise ValueError(
            f"data.source.action.joints_motion={motion} needs the measured joints, which are "
            "subtracted: name them with data.source.pose.joints, or take the commands as they are "
            f"with data.source.action.joints_motion={JointsMotion.position}"
        )
    num_joints = action_dim(source) - len(ACTION_NAMES)
    for section, part in parts.items():
        _check_part(f"{section}.joints", part, (num_joints,), features)
    _check_names(source.action, num_joints)


def _check_names(action: ActionSource, num_joints: int) -> None:
    names, units = action.joint_names, action.joint_units
    if names and (len(names) != num_joints or clean_names(names) != names):
        raise ValueError(
            f"data.source.action.joint_names must be {num_joints} different names of letters, "
            f"digits and _, none of them {' '.join(ACTION_NAMES)}; it is {list(names)}"
        )
    if len(units) not in (0, 1, num_joints) or not all(map(str.isprintable, units)):
        raise ValueError(
            f"data.source.action.joint_units must be one unit for all joints or {num_joints} of "
            f"them; it is {list(units)}"
        )


def _parts(
    source: ActionSource | PoseSource, section: str, names: tuple[str, ...]
) -> dict[str, Part]:
    given = {name: getattr(source, name) for name in names}
    return {
        name: Part.parse(text, setting=f"{section}.{name}") for name, text in given.items() if text
    }


def _check_camera(name: str, key: str, features: Mapping[str, Feature]) -> None:
    cameras = {name: feature for name, feature in features.items() if feature.is_camera}
    if key not in features:
        raise KeyError(_not_there(name, key, cameras or features))
    if key not in cameras:
        raise ValueError(
            f"data.source.{name}={key} is {features[key]}, not an encoded 8-bit colour image; "
            f"cameras there: {_listing(cameras)}"
        )


def _check_bgr(source: Source) -> None:
    if unknown := set(source.bgr) - set(source.camera_keys.values()):
        raise ValueError(
            f"data.source.bgr names {', '.join(sorted(unknown))}, which is none of this source's "
            f"cameras: {', '.join(source.camera_keys.values())}"
        )


def _check_part(
    name: str, part: Part, wanted: tuple[int, ...], features: Mapping[str, Feature]
) -> None:
    feature = _find(name, part.key, features)
    size = feature.size if feature.holds_numbers else None
    found = part.count(size) if size is not None else 0
    if found not in wanted:
        raise ValueError(
            f"data.source.{name}={part} must be {' or '.join(map(str, wanted))} numbers, but "
            f"{part.key} is {feature}" + (f", so it is {found}" if size is not None else "")
        )


def _find(name: str, key: str, features: Mapping[str, Feature]) -> Feature:
    if key not in features:
        raise KeyError(_not_there(name, key, features))
    if why := features[key].why_unreadable:
        raise ValueError(
            f"data.source.{name} wants {key}, which is {features[key]} and cannot be read: {why}; "
            "name another column, or store it again as a plain tensor of one shape"
        )
    return features[key]


def _not_there(name: str, key: str, features: Mapping[str, Feature]) -> str:
    inside = [k for k, f in features.items() if f.why_unreadable and key.startswith(f"{k}/")]
    reason = f" ({inside[0]} is not read: {features[inside[0]].why_unreadable})" if inside else ""
    return (
        f"data.source.{name} wants {key}, which this dataset does not have{reason}. It has: "
        f"{_listing(features)}"
    )


def _listing(features: Mapping[str, Feature]) -> str:
    return ", ".join(f"{key} ({feature})" for key, feature in sorted(features.items())) or "none"
