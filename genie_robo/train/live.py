"""What a live viewer receives while a stage trains: numbers, and outputs after validation."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from genie_robo.inference.rollout import imagine
from genie_robo.models.genie import Genie
from genie_robo.models.tokenizer import VideoTokenizer
from genie_robo.types import video_to_bytes, video_to_float

MAX_WINDOWS, MAX_IMAGINED = 4, 7
"""Validation windows to show, and frames to imagine of the first one."""
BUDGET = 0.02
"""Share of the training time that outputs for the viewer may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Model outputs for a few validation windows at some training step."""

    pictures: Mapping[str, UInt8[np.ndarray, "n h w c"]]
    """A row of frames by name; rows are aligned frame by frame."""
    code_use: Int[np.ndarray, " k"]
    """How often each code of the learned codebook was chosen."""


@runtime_checkable
class Viewer(Protocol):
    """Receives a training run; must return at once and never raise."""

    def numbers(self, stage: str, step: int, numbers: Mapping[str, float]) -> None:
        """The finite numbers of a training step."""
        ...

    def look(self, stage: str, step: int, look: Outputs) -> None:
        """The model outputs after a training step."""
        ...


class LiveLog:
    """A log that sends numbers to a viewer, and outputs after validation within a time budget."""

    def __init__(self, viewer: Viewer, stage: str, look: Callable[[], Outputs] | None) -> None:
        """Start the clock; without `look` only numbers are sent."""
        self._viewer, self._stage, self._look = viewer, stage, look
        self._begin = time.monotonic()
        self._spent_s = self._last_s = 0.0

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Show the numbers of a training step."""
        finite = {name: value for name, value in numbers.items() if math.isfinite(value)}
        self._viewer.numbers(self._stage, step, finite)
        if self._look and "val_loss" in numbers and self._has_budget():
            begin = time.monotonic()
            self._viewer.look(self._stage, step, self._look())
            self._last_s = time.monotonic() - begin
            self._spent_s += self._last_s

    def close(self) -> None:
        """Nothing to do: the caller closes the viewer."""

    def _has_budget(self) -> bool:
        """True for the first; later ones are expected to take as long as the last."""
        elapsed_s = time.monotonic() - self._begin
        return self._spent_s + self._last_s <= BUDGET * elapsed_s


def tokenizer_outputs(tokenizer: VideoTokenizer, video: UInt8[Tensor, "b t h w c"]) -> Outputs:
    """The middle frame of each window before and after the tokenizer, and the tokens of all."""
    tokens = tokenizer.encode(video_to_float(video))
    rows = {"true": video, "reconstructed": video_to_bytes(tokenizer.decode(tokens))}
    middle = video.shape[1] // 2
    return Outputs(
        pictures={name: frames[:, middle].cpu().numpy() for name, frames in rows.items()},
        code_use=count_codes(tokens, tokenizer.num_codes),
    )


def world_model_outputs(genie: Genie, video: UInt8[Tensor, "b t h w c"]) -> Outputs:
    """The first window imagined from its first frame, and the latent actions of all windows.

    Nothing is imagined where no latent action steers the dynamics.
    """
    codes = genie.infer_actions(video_to_float(video)).indices
    first, actions = video[:1], codes[:1, :MAX_IMAGINED]
    pictures = {"true": first[0, : 1 + actions.shape[1]].cpu().numpy()}
    if genie.takes_codes:
        rollout = imagine(genie, first[:, :1], actions, seeds=[0])
        pictures["imagined"] = rollout.video[0].cpu().numpy()
    return Outputs(pictures=pictures, code_use=count_codes(codes, genie.latent_action.num_codes))


def count_codes(codes: Int[Tensor, "..."], num_codes: int) -> Int[np.ndarray, " k"]:
    """How often each code occurs."""
    return torch.bincount(codes.flatten(), minlength=num_codes).cpu().numpy()
