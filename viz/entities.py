"""Entity paths and timelines of every recording."""

import re

STEP = "step"
"""Sequence timeline: index of the frame in the episode window."""
SECONDS = "seconds"
"""Duration timeline: step / control_hz; absent when the rate is unknown."""
TRAIN_STEP = "train_step"
"""Sequence timeline of a training run."""

CAMERA = "camera"
TRUE_CAMERA = "camera/true"
IMAGINED_CAMERA = "camera/imagined"
DIFFERENCE = "camera/difference"
CHANGED_TOKENS = "tokens/change"
ENTROPY_MAP = "tokens/entropy"

ROBOT_ACTION = "robot_action"
DECODED = "decoded"
"""Below a group of robot actions: the mean robot actions of the latent actions."""
IMAGINED_ACTION = "imagined"
"""Below a group of robot actions: those that a policy took in imagination."""
PROPRIOCEPTION = "proprioception"
LATENT_ACTION = "latent_action/code"
LATENT_INDEX = "latent_action/index"
LATENT_CHANCE = "latent_action/chance"

PSNR = "psnr"
POSE_ERROR = "pose_error"
UNCERTAINTY = "uncertainty"
TRUST = "trust"
SUMMARY = "summary"

SCENE = "scene"
GEOMS = "scene/geoms"
END_EFFECTOR_PATH = "scene/end_effector/true/path"
END_EFFECTOR_POINT = "scene/end_effector/true/point"
IMAGINED_PATH = "scene/end_effector/imagined/path"
IMAGINED_POINT = "scene/end_effector/imagined/point"
OBJECT_PATHS = "scene/objects/true/paths"

INSTRUCTION = "instruction"
EPISODE = "episode"
"""Strip of the episodes of a dataset, one after another."""
EPISODE_TABLE = "episodes"
STORED = "stored"
"""Numeric columns shown as stored, without a mapping."""

ATLAS_CODE = "atlas/code"
"""Below it, by number, the video imagined while a latent action is held."""
ATLAS_MOTION = "atlas/motion"
ATLAS_AXES = "atlas/motion/axes"

LIVE_NUMBERS = "numbers"
LIVE_PICTURES = "pictures"
LIVE_CODE_USE = "code_use"

_ROOT = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")


def entity(root: str, path: str) -> str:
    """The path of an entity below `root`, which separates the episodes of one recording.

    Raises:
        ValueError: the root is not made of words of letters, digits, - and _ between slashes.
    """
    if not root:
        return f"/{path}"
    if not _ROOT.fullmatch(root):
        raise ValueError(
            f"root={root!r} cannot begin an entity path; use letters, digits, - and _, "
            f"with / between levels, for example episode_0/model_a"
        )
    return f"/{root}/{path}"
