"""Settings of the data: which dataset, and how its episodes become windows."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from genie_robo.settings import REQUIRED, bounded, take_names

ACTION_NAMES = ("dx", "dy", "dz", "droll", "dpitch", "dyaw", "gripper")
"""The end-effector action, the first seven numbers of every robot action."""

OWN_CAMERA = ""
"""Camera of a source that is the run's own: only the dataset's path is given."""
_MAX_SIDE = 2**13
"""Pixels."""

MAX_LAG = 100
"""Steps."""

MAX_IMAGE_PIXELS = 64_000_000
"""Default of `data.max_image_pixels`."""


class RotationFormat(StrEnum):
    """How a rotation is stored."""

    rpy = "rpy"
    """Roll, pitch, yaw about the fixed axes x, y, z."""
    axis_angle = "axis_angle"
    """Axis times angle, three numbers."""
    quaternion_xyzw = "quaternion_xyzw"
    quaternion_wxyz = "quaternion_wxyz"
    rotation_6d = "rotation_6d"
    """The first two columns of the rotation matrix, one after the other (Zhou et al. 2019)."""
    rotation_6d_rows = "rotation_6d_rows"
    """Its first two rows, one after the other, as PyTorch3D writes them."""
    yaw = "yaw"
    """One angle about z."""

    @property
    def is_whole_turn(self) -> bool:
        """Quaternions and matrices, which no scale or rate can be applied to."""
        return self.startswith(("quaternion", "rotation_6d"))


class Gripper(StrEnum):
    """What the gripper number of a dataset means."""

    open_one = "open_one"
    closed_one = "closed_one"
    relative_close = "relative_close"
    """+1 closes, -1 opens, 0 holds: integrated over the episode."""


class Motion(StrEnum):
    """What the numbers of an action are."""

    delta = "delta"
    """The commanded motion of one step."""
    velocity = "velocity"
    """Per second; divided by control_hz."""
    target = "target"
    """An absolute pose; the measured one, in the same unit, is subtracted."""
    achieved = "achieved"
    """The motion that happened, as difference of poses, number by number. Differences of angles
    become turns by the measured pose."""
    pose_change = "pose_change"
    """No action is read: the motion between measured poses is used."""


class JointsMotion(StrEnum):
    """What the joint commands of an action are."""

    target = "target"
    """Absolute positions; the measured ones of the same step are subtracted."""
    delta = "delta"
    """The commanded change of one step."""
    velocity = "velocity"
    """Per second; divided by control_hz."""
    position = "position"
    """Absolute positions, kept as they are."""


class Resize(StrEnum):
    """How a camera image becomes the model's image."""

    stretch = "stretch"
    crop = "crop"
    """Centre crop to the model's aspect ratio, then scale."""
    letterbox = "letterbox"
    """Scale to fit, black bars around."""


class DatasetFormat(StrEnum):
    """The format of a dataset's folder."""

    rlds = "rlds"
    """Shards of array_record."""
    lerobot = "lerobot"
    """LeRobot v3.0."""


class ImageStorage(StrEnum):
    """How images are written."""

    auto = "auto"
    """video in LeRobot, jpeg in RLDS."""
    jpeg = "jpeg"
    """JPEG; images that are JPEG already stay as they are, byte for byte."""
    lossless = "lossless"
    """Stored JPEG and PNG byte for byte, frames of videos as PNG."""
    video = "video"
    """H.264 in MP4 files, only in LeRobot."""
    lossless_video = "lossless_video"
    """H.264 of RGB pixels without loss, only in LeRobot."""

    @property
    def is_video(self) -> bool:
        """Whether frames are written into MP4 files."""
        return self in (ImageStorage.video, ImageStorage.lossless_video)

    @property
    def is_exact(self) -> bool:
        """Whether every pixel is kept."""
        return self in (ImageStorage.lossless, ImageStorage.lossless_video)


@dataclass(frozen=True, kw_only=True)
class ActionSource:
    """Columns of the action; parts are KEY, KEY[6] or KEY[0:3], or empty.

    The end-effector action is translation, rotation and gripper; joints are further numbers.
    """

    translation: str = "action[0:3]"
    """dx dy dz, or dx dy."""
    rotation: str = "action[3:6]"
    rotation_format: RotationFormat = RotationFormat.rpy
    gripper: str = "action[6]"
    gripper_format: Gripper = Gripper.open_one
    motion: Motion = Motion.delta
    translation_scale: float = 1.0
    """Metres in one stored unit; of motion=target and pose_change also of the pose."""
    rotation_scale: float = 1.0
    """Radians in one stored unit; of motion=target and pose_change also of the pose."""
    in_metres: bool = True
    """Whether these scales are known to give metres and radians; else the unit is the controller's
    or unknown, and sizes mean nothing."""
    joints: str = ""
    """Further numbers of the action, such as joint commands: KEY[0:7] or KEY[6]. A whole column
    KEY is refused, because the width of a model's actions follows from the settings alone."""
    joints_motion: JointsMotion = JointsMotion.delta
    joint_names: tuple[str, ...] = ()
    """Names of these numbers in results; by default the dataset's own, else joint0, joint1, ..."""
    joint_units: tuple[str, ...] = ()
    """Units of these numbers in results, such as rad: one for all, or one for each."""
    lag: int = bounded(0, least=-MAX_LAG, most=MAX_LAG)
    """Steps from a stored command to the motion that it causes: the action of step t is read from
    step t - lag. 1 where commands correlate with the motion of the next step."""

    def __post_init__(self) -> None:
        """Take enums by name."""
        take_names(self, "data.source.action")


@dataclass(frozen=True, kw_only=True)
class PoseSource:
    """Columns of the measured pose of the end effector and of joints; empty where not measured."""

    position: str = ""
    """x y z, or x y."""
    rotation: str = ""
    rotation_format: RotationFormat = RotationFormat.rpy
    gripper: str = ""
    gripper_format: Gripper = Gripper.open_one
    joints: str = ""
    """Measured values of what source.action.joints commands, in the same unit and order; or joints
    that urdf makes a pose of."""
    joints_scale: float = 1.0
    """Radians in one stored unit of turning joints, for urdf: 0.0174533 for degrees."""
    urdf: str = ""
    """URDF file of the robot: position and rotation of a link are computed from the joints."""
    link: str = ""
    """The link of urdf whose pose is taken, such as the wrist or the tool."""
    base_link: str = ""
    """The link of urdf that the pose is relative to; by default the root."""
    urdf_joints: tuple[str, ...] = ()
    """Which joints of urdf the measured ones are, in their order, '' for one that it lacks; by
    default those that are named like the dataset's."""

    def __post_init__(self) -> None:
        """Refuse a format that describes commands instead of a state."""
        take_names(self, "data.source.pose")
        if self.gripper_format is Gripper.relative_close:
            raise ValueError(
                f"data.source.pose.gripper_format={self.gripper_format} describes commands, not a "
                "measured state; use open_one or closed_one"
            )


@dataclass(frozen=True, kw_only=True)
class Source:
    """Keys below `steps/` of the camera, the action and the pose."""

    camera: str = REQUIRED
    """For example observation/image."""
    cameras: dict[str, str] = field(default_factory=dict)
    """More cameras, name to key."""
    bgr: tuple[str, ...] = ()
    """Keys of cameras that store blue, green, red."""
    action: ActionSource = field(default_factory=ActionSource)
    pose: PoseSource = field(default_factory=PoseSource)
    instruction: tuple[str, ...] = ()
    """Keys of the language instruction; the first that is not empty is used."""
    sim_state: str = ""
    """Key of the MuJoCo state, only in recorded simulation."""
    control_hz: float = bounded(0.0, least=0.0, most=1e6)
    """Steps per second, 0 when unknown or to be taken from a LeRobot folder."""
    unmapped: str = ""
    """Why its actions cannot be read; such a dataset is refused."""

    @property
    def has_end_effector(self) -> bool:
        """Whether there is an end-effector action, not joint commands alone."""
        action = self.action
        is_stored = action.translation or action.rotation or action.gripper
        return bool(is_stored) or action.motion is Motion.pose_change

    @property
    def has_pose(self) -> bool:
        """Whether the end effector's position is measured, or computed from measured joints."""
        return bool(self.pose.position or self.pose.urdf)

    @property
    def has_pose_rotation(self) -> bool:
        """Whether all three angles of the end effector are measured."""
        is_whole = self.pose.rotation_format is not RotationFormat.yaw
        return bool(self.pose.urdf) or (self.has_pose and bool(self.pose.rotation) and is_whole)

    @property
    def is_achieved(self) -> bool:
        """Actions are the motion that happened, not commands."""
        return self.action.motion in (Motion.achieved, Motion.pose_change)

    @property
    def angles_are_differences(self) -> bool:
        """The action's three angles are differences of the pose's, which are no turns."""
        action = self.action
        has_angles = action.rotation and action.rotation_format is RotationFormat.rpy
        return bool(has_angles) and action.motion is Motion.achieved

    @property
    def pose_scales(self) -> tuple[float, float]:
        """Metres and radians in one stored unit of the pose.

        Those of the action where the action is made of the stored pose, else 1.
        """
        action = self.action
        if not self.pose.urdf and action.motion in (Motion.target, Motion.pose_change):
            return action.translation_scale, action.rotation_scale
        return 1.0, 1.0

    @property
    def reading(self) -> dict[str, Any]:
        """All that decides what is read from a record; the name of a unit or a file does not."""
        settings = asdict(self)
        for name in ("in_metres", "joint_names", "joint_units"):
            del settings["action"][name]
        # Without joints and a URDF as before there were any: fingerprints are made of this.
        if not self.action.joints:
            del settings["action"]["joints"], settings["action"]["joints_motion"]
        if not (self.action.joints or self.pose.urdf):
            del settings["pose"]["joints"]
        del settings["pose"]["urdf"]
        if not self.pose.urdf:
            for name in ("joints_scale", "link", "base_link", "urdf_joints"):
                del settings["pose"][name]
        if not self.action.lag:
            del settings["action"]["lag"]
        if self.pose_scales != (1.0, 1.0):  # earlier versions scaled the target alone
            settings["pose"]["scales"] = self.pose_scales
        return settings

    @property
    def camera_keys(self) -> dict[str, str]:
        """Key by camera name, `primary` first."""
        return {"primary": self.camera, **self.cameras}


@dataclass(frozen=True, kw_only=True)
class DatasetFolder:
    """The folder of a dataset, and how it is read."""

    path: str = REQUIRED
    """Folder of an RLDS dataset (features.json, dataset_info.json) or of a LeRobot dataset
    (meta/info.json), or one above a single such folder; or the address of an RLDS folder: https://,
    gs:// or s3://."""
    source: Source = field(default_factory=Source)
    rlds_splits: tuple[str, ...] = ()
    """RLDS splits to pool, whole or in part as "train[:3shards]"; empty takes all. Train, val and
    test are split by episode hash."""
    shards: str = ""
    """Numbers of the shards to read, of each RLDS split, from 0, such as 0-63,70; empty takes all.
    Names the shards of a partial download that are there."""
    bad_episode_limit: float = bounded(0.01, least=0.0, most=1.0)
    """Share of unreadable episodes above which a run stops."""
    max_image_pixels: int = MAX_IMAGE_PIXELS
    """Pixels of the largest image that is read, with sides up to twice the root of this (64
    million: 16,000). An episode with a larger one is unreadable."""

    def __post_init__(self) -> None:
        """Refuse a limit that no image keeps."""
        take_names(self, "data")
        if self.max_image_pixels < 1:
            raise ValueError(f"data.max_image_pixels={self.max_image_pixels} must be at least 1")


@dataclass(frozen=True, kw_only=True)
class DatasetConfig(DatasetFolder):
    """One dataset and how its episodes become windows."""

    views: tuple[str, ...] = ("primary",)
    """Cameras to train on, by name; each gives separate windows. Evaluation takes the first."""
    frame_stride: int = bounded(1, least=1, most=10**6)
    """Take every n-th step; actions in between are composed."""
    target_hz: float = bounded(0.0, least=0.0, most=1e6)
    """Frames per second; sets frame_stride from source.control_hz. 0 leaves frame_stride as is."""
    weight: float = bounded(0.0, least=0.0, most=1e9)
    """Share of training windows relative to the other datasets of a mixture; when no dataset has
    one, all windows are equally likely."""

    def __post_init__(self) -> None:
        """Refuse two ways of choosing frames at once, and a rate that is unknown."""
        super().__post_init__()
        if self.target_hz and (self.frame_stride != 1 or self.source.control_hz <= 0):
            raise ValueError(
                f"data.target_hz={self.target_hz} needs data.source.control_hz, which is "
                f"{self.source.control_hz}, and data.frame_stride=1, which is {self.frame_stride}: "
                "give one of target_hz and frame_stride"
            )
        if not self.views:
            raise ValueError("data.views is empty: name at least one camera, such as primary")

    @property
    def stride(self) -> int:
        """Steps from one frame to the next."""
        if not self.target_hz:
            return self.frame_stride
        return max(1, round(self.source.control_hz / self.target_hz))


@dataclass(frozen=True, kw_only=True)
class DataConfig(DatasetConfig):
    """What to train and evaluate on: one dataset, or several mixed by weight."""

    mix: dict[str, DatasetConfig] = field(default_factory=dict)
    """More datasets to train on, by any name: +data@data.mix.NAME=CHOICE."""
    image_height: int = bounded(64, least=1, most=_MAX_SIDE)
    image_width: int = bounded(64, least=1, most=_MAX_SIDE)
    resize: Resize = Resize.stretch
    val_fraction: float = 0.15
    test_fraction: float = 0.15
    fold: int = 0
    """Fold of cross-validation: 0, 1, 2, ... have disjoint test episodes; one that would share
    some with an earlier fold is refused."""
    cache_mb: int = bounded(512, least=0, most=10**9)
    """Decoded frames kept in memory."""

    def __post_init__(self) -> None:
        """Refuse fractions that leave nothing to train on, and a negative fold."""
        super().__post_init__()
        if not 0 < self.val_fraction + self.test_fraction < 1:
            raise ValueError(
                f"data.val_fraction={self.val_fraction} and data.test_fraction="
                f"{self.test_fraction} must be positive and leave episodes to train on"
            )
        if self.fold < 0:
            raise ValueError(f"data.fold={self.fold} must be 0 or more")


def members(config: DataConfig) -> dict[str, DatasetConfig]:
    """Every dataset of a mixture by name; the first one has no name."""
    return {"": config, **config.mix}


def action_names(action_dim: int, joint_names: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of the numbers of an action: those of the end effector, then those of the joints.

    Joints without a name are joint0, joint1, ...
    """
    num_joints = action_dim - len(ACTION_NAMES)
    return (*ACTION_NAMES, *(joint_names or (f"joint{j}" for j in range(num_joints))))
