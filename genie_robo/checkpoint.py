"""Finished weights on disk: atomic, versioned, loaded without executing code."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from genie_robo.build import build_robot_genie
from genie_robo.config_file import read_config
from genie_robo.pretrained import Genie
from genie_robo.provenance import read_provenance
from genie_robo.run_folder import (
    PARTS_OF_GENIE,
    STAGE_OF_PART,
    RunFolder,
    has_weights,
    require_weights,
    write_atomic,
)
from genie_robo.stored_files import check_regular
from genie_robo.train.settings import TrainConfig
from genie_robo.weights import check_weights, load_checked

FORMAT_VERSION = 1


def parts_of(stage: str) -> tuple[str, ...]:
    """The parts whose weights a training stage makes."""
    return tuple(part for part, maker in STAGE_OF_PART.items() if maker == stage)


def save_weights(run: RunFolder, part: str, weights: Mapping[str, Tensor]) -> None:
    """Write the finished weights of one part of Genie as safetensors."""
    tensors = {name: tensor.contiguous() for name, tensor in weights.items()}
    write_atomic(run.part(part), save(tensors, {"format_version": str(FORMAT_VERSION)}))


def weights_digest(run: RunFolder, part: str) -> str:
    """Hash of the finished weights of a part."""
    path = run.part(part)
    check_regular(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def load_weights(run: RunFolder, part: str, module: nn.Module) -> None:
    """Fill a part of Genie with its finished weights.

    Raises:
        FileNotFoundError: The stage that makes them has not finished in this run.
        ValueError: The file is damaged, belongs to another architecture or holds a number that
            is not finite.
    """
    _with_path(run, part, module, load_checked)


def load_genie(run: RunFolder, device: str | torch.device = "cpu") -> Genie:
    """The trained Genie of a run, ready for inference.

    Raises:
        FileNotFoundError: Not a run folder, or a stage has not finished.
        ValueError: A weights file is damaged or of another architecture, or a number in it is not
            finite.
    """
    config = _with_joint_names(read_config(run, TrainConfig), run)
    with torch.device("meta"):
        outline = Genie(config)
    for part in PARTS_OF_GENIE:
        _with_path(run, part, getattr(outline, part), check_weights)
    genie = Genie(config)
    for part in PARTS_OF_GENIE:
        load_weights(run, part, getattr(genie, part))
    return genie.to(device).eval()


def _with_joint_names(config: TrainConfig, run: RunFolder) -> TrainConfig:
    """A configuration with the names that the dataset has for joints, where it gives none."""
    action = config.data.source.action
    names = (read_provenance(run) or {}).get("joint_names") or []
    if action.joint_names or not action.joints or not isinstance(names, list):
        return config
    action = replace(action, joint_names=tuple(map(str, names)))
    source = replace(config.data.source, action=action)
    return replace(config, data=replace(config.data, source=source))


def load_robot_genie(run: RunFolder, genie: Genie) -> Genie | None:
    """The same models with the dynamics that takes robot actions; None where it is not trained.

    Raises:
        ValueError: Its weights are damaged or of another architecture.
    """
    if not has_weights(run, "robot_dynamics"):
        return None
    with torch.device("meta"):
        steered = Genie(genie.config, robot_control=True)
    _with_path(run, "robot_dynamics", steered.dynamics, check_weights)
    steered.tokenizer, steered.latent_action = genie.tokenizer, genie.latent_action
    steered.dynamics = build_robot_genie(genie.config, genie).dynamics
    load_weights(run, "robot_dynamics", steered.dynamics)
    return steered.to(next(genie.parameters()).device).eval()


def _with_path(
    run: RunFolder, part: str, module: nn.Module, do: Callable[[Path, nn.Module], None]
) -> None:
    """Do something with the weights of a part and name their file in the error."""
    path = require_weights(run, part)
    try:
        do(path, module)
    except ValueError as error:
        raise ValueError(
            f"the weights {path} do not load into the {part} that {run.config} describes: "
            f"{error}. The file is damaged, or the configuration was changed after training"
        ) from error
