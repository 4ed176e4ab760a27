"""A trained Genie as a separate folder in the layout of Hugging Face: config.json and weights.

Nothing is downloaded and nothing is executed: JSON and safetensors only.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypedDict

import torch
from safetensors.torch import save

from genie_robo.build import build_genie, build_robot_genie
from genie_robo.config_file import from_plain
from genie_robo.data.joint_names import clean_names
from genie_robo.data.settings import Resize
from genie_robo.data.sources import MAX_JOINTS, action_dim
from genie_robo.models import genie as networks
from genie_robo.run_folder import write_atomic
from genie_robo.stored_files import read_json
from genie_robo.train.settings import TrainConfig
from genie_robo.types import ACTION_NAMES, action_names, action_units
from genie_robo.weights import check_weights, load_checked

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
FORMAT_VERSION = 1
_MAX_RATE = 10_000.0
"""Frames per second."""

_log = logging.getLogger(__name__)


class Genie(networks.Genie):
    """A Genie with its configuration, as a torch module that can be saved and loaded.

    `genie_robo.load` opens the same folder for videos and actions as arrays, and checks them.
    """

    def __init__(
        self,
        config: TrainConfig,
        *,
        robot_control: bool = False,
        robot_action_dim: int | None = None,
    ) -> None:
        """Fresh weights; with `robot_control` robot actions steer the dynamics too.

        `robot_action_dim` is the width of robot actions; by default that of the dataset.

        Raises:
            ValueError: The sizes do not fit together.
        """
        width = action_dim(config.data.source) if robot_action_dim is None else robot_action_dim
        built = build_genie(config, robot_dim=width)
        if robot_control:
            built = build_robot_genie(config, built, robot_dim=width)
        super().__init__(
            tokenizer=built.tokenizer,
            latent_action=built.latent_action,
            dynamics=built.dynamics,
            num_frames=built.num_frames,
            takes_latents=built.takes_latents,
            joint_names=_checked_names(config.data.source.action.joint_names, width),
        )
        self.config, self.robot_action_dim = config, width

    @property
    def action_names(self) -> tuple[str, ...]:
        """Names of the numbers of a robot action."""
        return action_names(self.robot_action_dim, self.joint_names)

    @property
    def action_units(self) -> tuple[str, ...]:
        """Units of the numbers of a robot action."""
        return action_units(self.robot_action_dim, self.config.data.source.action.joint_units)

    @property
    def frames_per_second(self) -> float:
        """Rate of the frames that it was trained on; 0 when unknown."""
        return self.config.data.source.control_hz / self.config.data.stride

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors, each complete or not at all."""
        folder = Path(folder)
        described = {
            "model_type": "genie_robo",
            "format_version": FORMAT_VERSION,
            "image_height": self.config.data.image_height,
            "image_width": self.config.data.image_width,
            "resize": self.config.data.resize.value,
            "frames_per_second": self.frames_per_second,
            "num_frames": self.num_frames,
            "robot_action_dim": self.robot_action_dim,
            "robot_action_names": self.action_names,
            "robot_control": self.takes_codes and self.takes_robot_actions,
            "model": asdict(self.config.model),
        }
        weights = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        write_atomic(folder / WEIGHTS_FILE, save(weights, {"format": "pt"}))
        text = json.dumps(described, indent=2, default=lambda member: member.name)
        write_atomic(folder / CONFIG_FILE, text + "\n")

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: str | torch.device = "cpu") -> "Genie":
        """Load what `save_pretrained` wrote, ready for inference.

        Raises:
            FileNotFoundError: A file is missing.
            ValueError: A file is damaged, of another version or architecture, or holds a number
                that is out of range or not finite.
        """
        folder = Path(folder)
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            if not (folder / name).exists():
                raise FileNotFoundError(
                    f"{folder} holds no pretrained Genie: {name} is missing. Give a folder that "
                    "`genie-robo export` or `Genie.save_pretrained` wrote"
                )
        config, robot = _read_config(folder / CONFIG_FILE)
        try:
            with torch.device("meta"):
                outline = cls(config, **robot)
            check_weights(folder / WEIGHTS_FILE, outline)
            genie = cls(config, **robot)
            load_checked(folder / WEIGHTS_FILE, genie)
        except ValueError as error:
            raise ValueError(
                f"{folder / WEIGHTS_FILE} does not load into the Genie that {CONFIG_FILE} "
                f"describes: {error}. Export it again"
            ) from error
        return genie.to(device).eval()


class _Robot(TypedDict):
    """Whether robot actions steer the dynamics in addition to latent ones, and their width."""

    robot_control: bool
    robot_action_dim: int


def _read_config(path: Path) -> tuple[TrainConfig, _Robot]:
    """The configuration, and what is known of robot actions."""
    try:
        described: dict[str, Any] = read_json(path)
        version = described["format_version"]
        if described["model_type"] != "genie_robo" or version != FORMAT_VERSION:
            raise ValueError(
                f"it describes a {described['model_type']} of format version {version}, not a "
                f"genie_robo of version {FORMAT_VERSION}"
            )
        size = {name: described[name] for name in ("image_height", "image_width")}
        rate = _checked_rate(described.get("frames_per_second", 0.0))
        if "resize" not in described:
            _log.warning(
                "%s is of an earlier version and does not say how images become frames of its "
                "size; they are stretched. Export it again to have the run's own rule",
                path,
            )
        width = _checked_dim(described.get("robot_action_dim", len(ACTION_NAMES)))
        joints = {"joint_names": _stored_names(described.get("robot_action_names"), width)}
        source = {"camera": "", "control_hz": rate, "action": joints}
        data = {"resize": described.get("resize", Resize.stretch.value), **size}
        config = {
            "run": "",
            "data": {"path": "", "source": source, **data},
            "model": described["model"],
            "world_model": {"num_frames": described["num_frames"]},
        }
        robot: _Robot = {
            "robot_control": bool(described.get("robot_control", False)),
            # Exports of earlier versions had the end-effector action alone.
            "robot_action_dim": width,
        }
        return from_plain(TrainConfig, config), robot
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not describe a Genie: {error}. Export it again") from error


def _checked_dim(width: object) -> int:
    least, most = len(ACTION_NAMES), len(ACTION_NAMES) + MAX_JOINTS
    if type(width) is not int or not least <= width <= most:
        raise ValueError(f"robot_action_dim is {width!r}, not a number from {least} to {most}")
    return width


def _stored_names(names: object, width: int) -> list[str]:
    """Names of the joints; none where they are numbered, as exports of earlier versions did."""
    if names is None or names == list(action_names(width)):
        return []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"robot_action_names is {str(names)[:100]!r}, not a list of names")
    return names[len(ACTION_NAMES) :]


def _checked_names(names: Sequence[str], width: int) -> tuple[str, ...]:
    num_joints = width - len(ACTION_NAMES)
    if names and len(names) != num_joints:
        raise ValueError(f"{len(names)} joints are named, but robot actions have {num_joints}")
    return clean_names(names)


def _checked_rate(rate: object) -> float:
    if not isinstance(rate, int | float) or not 0 <= rate <= _MAX_RATE:
        raise ValueError(f"frames_per_second is {rate!r}, not a number from 0 to {_MAX_RATE:g}")
    return float(rate)
