"""Weights and training state on disk: atomic, versioned, loaded without executing code."""

import hashlib
import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from genie_robo.build import build_genie
from genie_robo.config import TrainConfig
from genie_robo.config_file import read_config
from genie_robo.models.genie import Genie
from genie_robo.run_folder import RunFolder, write_atomic

FORMAT_VERSION = 1
NUM_KEPT = 2
"""Training checkpoints that stay on disk."""

STAGE_OF_PART = {
    "tokenizer": "tokenizer",
    "latent_action": "world_model",
    "dynamics": "world_model",
}


def save_training_state(folder: Path, step: int, state: Mapping[str, Any]) -> Path:
    """Write everything needed to go on at `step`; older checkpoints go, the last two stay."""
    path = folder / f"step_{step:08d}.pt"
    buffer = io.BytesIO()
    torch.save({"format_version": FORMAT_VERSION, "step": step, **state}, buffer)
    write_atomic(path, buffer.getvalue())
    for old in _training_states(folder)[:-NUM_KEPT]:
        old.unlink()
    return path


def load_training_state(folder: Path) -> dict[str, Any] | None:
    """The newest training state, or None when there is none.

    Raises:
        ValueError: The file is broken or of another format version.
    """
    paths = _training_states(folder)
    if not paths:
        return None
    try:
        state = torch.load(paths[-1], map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, OSError) as error:
        raise ValueError(
            f"the checkpoint {paths[-1]} cannot be read ({type(error).__name__}); it is damaged "
            "or was not written by genie_robo. Delete it to go on from the one before it"
        ) from error
    if not isinstance(state, dict) or state.get("format_version") != FORMAT_VERSION:
        found = state.get("format_version") if isinstance(state, dict) else None
        raise ValueError(
            f"the checkpoint {paths[-1]} has format version {found}, this genie_robo reads "
            f"version {FORMAT_VERSION}; train into another run folder"
        )
    return state


def save_weights(run: RunFolder, part: str, module: nn.Module) -> None:
    """Write the finished weights of one part of Genie as safetensors."""
    tensors = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
    write_atomic(_weights(run, part), save(tensors, {"format_version": str(FORMAT_VERSION)}))


def has_weights(run: RunFolder, part: str) -> bool:
    """Whether this part of Genie has been trained to its end in this run."""
    return _weights(run, part).exists()


def weights_digest(run: RunFolder, part: str) -> str:
    """Hash of the finished weights of a part, as a fingerprint of what they compute."""
    with _weights(run, part).open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def load_weights(run: RunFolder, part: str, module: nn.Module) -> None:
    """Fill a part of Genie with its finished weights.

    Raises:
        FileNotFoundError: The stage that makes them has not finished in this run.
        ValueError: The file is damaged or belongs to another architecture.
    """
    path = _weights(run, part)
    if not path.exists():
        stage = STAGE_OF_PART[part]
        raise FileNotFoundError(
            f"{run.path} has no trained {part}: {path} is missing. Run "
            f"`genie-robo train run={run.path} stage={stage} ...` to the end first"
        )
    try:
        module.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"the weights {path} do not load into the {part} that {run.config} describes: "
            f"{reason}. The file is damaged, or the configuration was changed after training"
        ) from error


def load_genie(run: RunFolder, device: str | torch.device = "cpu") -> Genie:
    """The trained Genie of a run, ready for inference.

    Raises:
        FileNotFoundError: Not a run folder, or a stage has not finished.
        ValueError: A weights file is damaged or of another architecture.
    """
    genie = build_genie(read_config(run, TrainConfig))
    for part in STAGE_OF_PART:
        load_weights(run, part, getattr(genie, part))
    return genie.to(device).eval()


def rng_state() -> dict[str, Tensor]:
    """State of torch's random generators."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_rng(state: Mapping[str, Tensor]) -> None:
    """Put the random generators back where `rng_state` saw them."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def _weights(run: RunFolder, part: str) -> Path:
    return run.weights(STAGE_OF_PART[part], part)


def _training_states(folder: Path) -> list[Path]:
    return sorted(folder.glob("step_*.pt"))
