"""Which dataset, and how its episodes become windows."""

from dataclasses import dataclass, field
from enum import Enum

from genie_robo.config.required import REQUIRED


class ActionFamily(Enum):
    """How a dataset stores its end-effector actions."""

    flat7 = "flat7"
    """dx dy dz droll dpitch dyaw gripper in one vector."""
    rt1 = "rt1"
    """RT-1's dict: world_vector, rotation_delta, gripper_closedness_action."""


class Gripper(Enum):
    """What the gripper number of a dataset means."""

    open_one = "open_one"
    closed_one = "closed_one"
    relative_close = "relative_close"
    """+1 closes, -1 opens, 0 holds: integrated over the episode."""


class Resize(Enum):
    """How a camera image becomes the model's image."""

    stretch = "stretch"
    crop = "crop"
    """Centre crop to the model's aspect ratio, then scale."""
    letterbox = "letterbox"
    """Scale to fit, black bars around."""


@dataclass
class SourceConfig:
    """Which keys below `steps/` are the camera, the action and the pose."""

    camera: str = REQUIRED
    """For example observation/image."""
    action: str = "action"
    """The action vector, or the dict that holds the family's keys."""
    action_family: ActionFamily = ActionFamily.flat7
    gripper: Gripper = Gripper.open_one
    action_is_achieved: bool = False
    """True when the stored action is the motion that happened, not the one commanded."""
    pose: list[str] = field(default_factory=list)
    """Keys joined to x y z roll pitch yaw gripper; empty without proprioception."""
    instruction: str = ""
    """Key of the language instruction, or empty."""
    sim_state: str = ""
    """Key of the MuJoCo state, only in recorded simulation."""
    control_hz: float = 0.0
    """Steps per second, 0 when unknown."""


@dataclass
class DataConfig:
    """One RLDS dataset and how its episodes become windows."""

    path: str = REQUIRED
    """Folder with features.json and dataset_info.json, or one above a single version folder."""
    source: SourceConfig = field(default_factory=SourceConfig)
    rlds_splits: list[str] = field(default_factory=list)
    """RLDS splits to pool; empty takes all. Train, val and test are cut by episode hash."""
    image_height: int = 64
    image_width: int = 64
    resize: Resize = Resize.stretch
    frame_stride: int = 1
    """Take every n-th step; actions in between are composed."""
    val_fraction: float = 0.15
    test_fraction: float = 0.15
    cache_mb: int = 512
    """Decoded frames kept in memory."""
    bad_episode_limit: float = 0.01
    """Share of unreadable episodes above which a run stops."""

    def __post_init__(self) -> None:
        """Refuse fractions that leave nothing to train on."""
        if not 0 < self.val_fraction + self.test_fraction < 1:
            raise ValueError(
                f"data.val_fraction={self.val_fraction} and data.test_fraction="
                f"{self.test_fraction} must be positive and leave episodes to train on"
            )
