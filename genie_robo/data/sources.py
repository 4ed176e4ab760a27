"""Which keys of a dataset are the camera, the action and the pose, checked against the dataset."""

from collections.abc import Mapping
from dataclasses import dataclass

ACTION_KEYS = {
    "flat7": (("", 7),),
    "rt1": (
        ("/world_vector", 3),
        ("/rotation_delta", 3),
        ("/gripper_closedness_action", 1),
    ),
}
"""What is below the action key, with its size, by action family."""

GRIPPERS = ("open_one", "closed_one", "relative_close")
_POSE_SIZES = (7, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the parts of an episode are. Keys are relative to `steps/`."""

    camera: str
    """For example observation/image."""
    action: str
    """The action vector, or the dict that holds the family's keys."""
    action_family: str
    """flat7 or rt1."""
    gripper: str
    """open_one, closed_one or relative_close (+1 closes, -1 opens, 0 holds)."""
    action_is_achieved: bool
    """The stored action is the motion that happened, as differences of the pose."""
    pose: tuple[str, ...]
    """Keys joined to x y z, roll pitch yaw or quaternion x y z w, gripper; or empty."""
    instruction: str
    """Key of the language instruction, or empty."""
    sim_state: str
    """Key of the MuJoCo state, only in recorded simulation."""
    control_hz: float
    """Steps per second, 0 when unknown."""

    @property
    def action_keys(self) -> tuple[str, ...]:
        """Keys of the columns that make up the action."""
        return tuple(self.action + suffix for suffix, _ in ACTION_KEYS[self.action_family])

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key that is read."""
        optional = tuple(key for key in (self.instruction, self.sim_state) if key)
        return (self.camera, *self.action_keys, *self.pose, *optional)


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """What a dataset's features.json says about one column."""

    kind: str
    """image, text, tensor or other."""
    dtype: str
    shape: tuple[int | None, ...]
    """Of one step; None where it varies."""
    encoding: str = ""
    """jpeg or png of an image, zlib or bytes of a tensor, empty when plain."""

    @property
    def size(self) -> int | None:
        """Numbers in one step, or None when it varies."""
        size = 1
        for axis in self.shape:
            if axis is None:
                return None
            size *= axis
        return size

    @property
    def is_camera(self) -> bool:
        """Whether this is an 8-bit colour image, not a depth image."""
        return self.kind == "image" and self.dtype == "uint8" and self.shape[-1:] == (3,)

    def __str__(self) -> str:
        if self.kind == "text":
            return "text"
        shape = ",".join("?" if axis is None else str(axis) for axis in self.shape)
        text = f"{self.dtype}[{shape}]" if self.shape else self.dtype
        return f"{text} {self.encoding} image" if self.kind == "image" else text


def check_source(source: Source, features: Mapping[str, Feature]) -> None:
    """Refuse a source that does not fit the dataset, saying what is there.

    Args:
        source: The keys to read.
        features: Columns of a step by key, see `genie_robo.data.schema`.

    Raises:
        KeyError: A key is not there.
        ValueError: A key is there but holds something else than is wanted.
    """
    _check_choice("action_family", source.action_family, tuple(ACTION_KEYS))
    _check_choice("gripper", source.gripper, GRIPPERS)
    _check_camera(source.camera, features)
    for suffix, size in ACTION_KEYS[source.action_family]:
        key = source.action + suffix
        feature = _find("action", key, features, family=source.action_family)
        if feature.kind != "tensor" or feature.size != size:
            raise ValueError(
                f"data.source.action_family={source.action_family} needs {size} numbers in "
                f"{key}, but it is {feature}; choose another action key or action_family"
            )
    _check_pose(source.pose, features)
    if source.instruction:
        _check_kind("instruction", source.instruction, "text", features)
    if source.sim_state:
        _check_kind("sim_state", source.sim_state, "tensor", features)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"data.source.{name}={value} is unknown; use {' or '.join(choices)}")


def _check_camera(key: str, features: Mapping[str, Feature]) -> None:
    cameras = {name: feature for name, feature in features.items() if feature.is_camera}
    if key not in features:
        raise KeyError(_not_there("camera", key, cameras or features))
    if key not in cameras:
        raise ValueError(
            f"data.source.camera={key} is {features[key]}, not an encoded 8-bit colour image; "
            f"cameras there: {_listing(cameras)}"
        )


def _check_pose(keys: tuple[str, ...], features: Mapping[str, Feature]) -> None:
    found = [_find("pose", key, features) for key in keys]
    sizes = [feature.size if feature.kind == "tensor" else None for feature in found]
    if keys and (None in sizes or sum(size or 0 for size in sizes) not in _POSE_SIZES):
        listing = _listing(dict(zip(keys, found, strict=True)))
        raise ValueError(
            "data.source.pose must join 7 numbers (x y z roll pitch yaw gripper) or 8 (x y z, "
            f"quaternion x y z w, gripper), but it joins {listing}"
        )


def _check_kind(name: str, key: str, kind: str, features: Mapping[str, Feature]) -> None:
    feature = _find(name, key, features)
    if feature.kind != kind:
        raise ValueError(f"data.source.{name}={key} must be a {kind} column, but it is {feature}")


def _find(name: str, key: str, features: Mapping[str, Feature], *, family: str = "") -> Feature:
    if key not in features:
        raise KeyError(_not_there(name, key, features, family=family))
    return features[key]


def _not_there(name: str, key: str, features: Mapping[str, Feature], *, family: str = "") -> str:
    reason = f" (action_family={family} reads it)" if family not in ("", "flat7") else ""
    return (
        f"data.source.{name} wants {key}{reason}, which this dataset does not have. It has: "
        f"{_listing(features)}"
    )


def _listing(features: Mapping[str, Feature]) -> str:
    return ", ".join(f"{key} ({feature})" for key, feature in sorted(features.items())) or "none"
