"""Data that packages exchange: episodes, windows, batches, rollouts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from genie_robo.data.settings import ACTION_NAMES as ACTION_NAMES
from genie_robo.data.settings import action_names as action_names

ACTION_UNITS = ("m", "m", "m", "rad", "rad", "rad", "1 = open")
XYZ, ROTATION, GRIPPER = slice(0, 3), slice(3, 6), ACTION_NAMES.index("gripper")
"""Indices of the tool's translation (m), its turn (rad) and the gripper in an action."""
END_EFFECTOR, JOINTS = slice(0, len(ACTION_NAMES)), slice(len(ACTION_NAMES), None)
"""Indices of the end-effector action, and of further numbers, such as joint commands."""


def action_units(action_dim: int, joint_units: Sequence[str] = ()) -> tuple[str, ...]:
    """Units of the numbers of an action; `stored` for joints whose unit is not known.

    `joint_units` has one for all joints, or one for each.
    """
    num_joints = action_dim - len(ACTION_NAMES)
    units = tuple(joint_units) or ("stored",)
    return (*ACTION_UNITS, *(units * num_joints if len(units) == 1 else units))


class VideoFrame(NamedTuple):
    """A frame inside a video file that is not decoded yet."""

    file: Path
    time_s: float
    """In the file's own time, where its first frame is mostly at 0."""
    tolerance_s: float
    """The frame may be this far from that time: half a period."""


StoredImage = bytes | VideoFrame
"""A camera's image as it is stored: JPEG or PNG, or a place in a video."""


class Split(Enum):
    """The split of an episode."""

    train = "train"
    val = "val"
    test = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One episode, columnar, images still encoded.

    Step t holds the observation o_t and the action taken in it, so the last step's action is
    invalid and `num_steps` steps give `num_steps - 1` transitions.
    """

    episode_id: str
    """Content hash of the stored record, so equal episodes have equal ids in any dataset."""
    images: Mapping[str, tuple[StoredImage, ...]]
    """Images as stored by camera name or key; `primary` is always there."""
    bgr_cameras: frozenset[str]
    """Names of the cameras whose images store blue, green, red."""
    robot_actions: Float[np.ndarray, "t a"]
    """Named by `action_names`, in the units of `action_units`; zero where not valid."""
    action_mask: Bool[np.ndarray, " a"]
    """Which of these dimensions the dataset has."""
    end_effector_pose: Float[np.ndarray, "t 7"] | None
    """x y z (m), roll pitch yaw (rad), gripper (1 = open), or None without proprioception."""
    pose_mask: Bool[np.ndarray, " 7"]
    """Which of the seven numbers of the pose are measured; the others are zero."""
    pose_starts: Float[np.ndarray, "t 7"] | None = None
    """The pose that each step's end-effector action is relative to, for absolute targets; None
    where the actions of steps follow each other."""
    joints: Float[np.ndarray, "t k"] | None = None
    """Measured values of the joints that the action commands; None where they are not measured."""
    joint_starts: Float[np.ndarray, "t k"] | None = None
    """What each step's joint commands are relative to; None without joint commands."""
    joint_names: tuple[str, ...] = ()
    """Of the joints that the action commands; empty where the dataset has none."""
    joint_units: tuple[str, ...] = ()
    """Of these joints, one for all or one each; empty where they are not known."""
    sim_state: Float[np.ndarray, "t n"] | None
    """Full MuJoCo integration state per step, only in recorded simulation episodes."""
    scene: str
    """JSON of the simulated scene, empty for real episodes."""
    instruction: str
    control_hz: float

    @property
    def action_names(self) -> tuple[str, ...]:
        """Names of the numbers of an action."""
        return action_names(len(self.action_mask), self.joint_names)

    @property
    def action_units(self) -> tuple[str, ...]:
        """Units of the numbers of an action."""
        return action_units(len(self.action_mask), self.joint_units)

    @property
    def num_steps(self) -> int:
        """Number of RLDS steps, one frame each."""
        return len(self.images["primary"])

    @property
    def is_simulated(self) -> bool:
        """Whether MuJoCo can restore every step."""
        return self.sim_state is not None and bool(self.scene)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A fixed-length slice of one episode with decoded frames of one camera."""

    episode_id: str
    start: int
    """Index of the first frame in its episode."""
    video: UInt8[np.ndarray, "t h w c"]
    robot_actions: Float[np.ndarray, "t-1 a"]
    """Action i moves the robot from frame i to frame i + 1 of the window."""
    action_mask: Bool[np.ndarray, " a"]
    is_pad: Bool[np.ndarray, " t"]
    """True where the episode had ended and the last frame is repeated."""
    tokens: Int[np.ndarray, "t s"] | None = None
    """Tokens of the frames, when they are read from a token store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeBatch:
    """Windows stacked for a model; robot actions are for evaluation and ablations only."""

    episode_ids: tuple[str, ...]
    video: UInt8[Tensor, "b t h w c"]
    robot_actions: Float[Tensor, "b t-1 a"]
    action_mask: Bool[Tensor, "b a"]
    is_pad: Bool[Tensor, "b t"]
    positions: Int[Tensor, " b"]
    """Positions in the endless stream; they seed the randomness of each window."""
    tokens: Int[Tensor, "b t s"] | None = None
    """From a token store, None when tokens are made on the fly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """Frames and tokens imagined from a prompt and latent actions."""

    tokens: Int[Tensor, "b t s"]
    video: UInt8[Tensor, "b t h w c"]
    """Decoded frames; the first `num_prompt_frames` are the reconstructed prompt."""
    latent_actions: Int[Tensor, "b t-1"] | None
    """None where robot actions alone steer."""
    num_prompt_frames: int
    token_entropy: Float[Tensor, "b t s"] | None = None
    """Entropy of each token when it was revealed (nats); 0 in the prompt."""

    @property
    def uncertainty(self) -> Float[Tensor, "b t"] | None:
        """Mean token entropy of each frame (nats)."""
        return None if self.token_entropy is None else self.token_entropy.mean(-1)


def move(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host on a device; a copy from pinned memory waits for nothing."""
    source = tensor.pin_memory() if device.type == "cuda" else tensor
    return source.to(device, non_blocking=True)


def video_to_float(video: UInt8[Tensor, "*b h w c"]) -> Float[Tensor, "*b h w c"]:
    """Bytes 0..255 to floats in [0, 1]: the only conversion of pixels."""
    return video.float() / 255.0


def video_to_bytes(video: Float[Tensor, "*b h w c"]) -> UInt8[Tensor, "*b h w c"]:
    """Floats to bytes, clipped to [0, 1] and rounded to the nearest level."""
    return (video.float().clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
