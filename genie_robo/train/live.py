"""What a viewer is shown while a stage trains: numbers, and now and then what the models make."""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Int, UInt8
from torch import Tensor

from genie_robo.inference.rollout import imagine
from genie_robo.models.genie import Genie
from genie_robo.models.tokenizer import VideoTokenizer
from genie_robo.train.optim import WeightAverage
from genie_robo.types import video_to_bytes, video_to_float

MAX_WINDOWS, MAX_IMAGINED = 4, 7
"""Validation windows that are looked at, and frames imagined of the first one."""
BUDGET = 0.02
"""Share of the time of training that may go into looking; a look that exceeds it waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the models make of a few validation windows at some step of a training."""

    pictures: Mapping[str, UInt8[np.ndarray, "n h w c"]]
    """A row of frames by name; rows belong together frame by frame."""
    code_use: Int[np.ndarray, " k"]
    """How often each code of the codebook that is learned was taken."""


@runtime_checkable
class Viewer(Protocol):
    """Takes what it is shown at once; whatever becomes of it, training goes on."""

    def numbers(self, stage: str, step: int, numbers: Mapping[str, float]) -> None:
        """The finite numbers of a training step."""
        ...

    def look(self, stage: str, step: int, look: Look) -> None:
        """What the models make after a training step."""
        ...


class LiveLog:
    """A log that shows numbers to a viewer, and a look after validation when it can afford one."""

    def __init__(self, viewer: Viewer, stage: str, look: Callable[[], Look] | None) -> None:
        """Begin to count the time; `look` None shows numbers alone."""
        self._viewer, self._stage, self._look = viewer, stage, look
        self._begin = time.monotonic()
        self._spent_s = self._last_s = 0.0

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Show the numbers of a training step."""
        finite = {name: value for name, value in numbers.items() if math.isfinite(value)}
        self._viewer.numbers(self._stage, step, finite)
        if self._look and "val_loss" in numbers and self._can_afford_a_look():
            begin = time.monotonic()
            self._viewer.look(self._stage, step, self._look())
            self._last_s = time.monotonic() - begin
            self._spent_s += self._last_s

    def close(self) -> None:
        """Nothing: the viewer belongs to whoever opened it."""

    def _can_afford_a_look(self) -> bool:
        """The first one in any case; the next ones cost about as much as the last."""
        elapsed_s = time.monotonic() - self._begin
        return self._spent_s + self._last_s <= BUDGET * elapsed_s


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerLook:
    """Frames of the validation windows, before and after the tokenizer."""

    tokenizer: VideoTokenizer
    video: UInt8[Tensor, "b t h w c"]

    def __call__(self) -> Look:
        """The middle frame of each window, and the tokens of all frames."""
        tokens = self.tokenizer.encode(video_to_float(self.video))
        middle = self.video.shape[1] // 2
        rows = {"true": self.video, "reconstructed": video_to_bytes(self.tokenizer.decode(tokens))}
        return Look(
            pictures={name: video[:, middle].cpu().numpy() for name, video in rows.items()},
            code_use=count(tokens, self.tokenizer.num_codes),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldModelLook:
    """A validation window imagined from its first frame under the latent actions it implies."""

    genie: Genie
    video: UInt8[Tensor, "b t h w c"]
    imagines: bool
    """False for dynamics that no latent action can steer."""

    def __call__(self) -> Look:
        """The first frames of the first window, and the latent actions of all windows."""
        codes = self.genie.infer_actions(video_to_float(self.video)).indices
        first, actions = self.video[:1], codes[:1, :MAX_IMAGINED]
        pictures = {"true": first[0, : 1 + actions.shape[1]].cpu().numpy()}
        if self.imagines:
            rollout = imagine(self.genie, first[:, :1], actions, seeds=[0])
            pictures["imagined"] = rollout.video[0].cpu().numpy()
        return Look(pictures=pictures, code_use=count(codes, self.genie.latent_action.num_codes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """A look in the middle of training: with the weights that are validated, leaving no trace."""

    module: torch.nn.Module
    average: WeightAverage | None
    autocast: Callable[[], AbstractContextManager[object]]
    look: Callable[[], Look]

    @torch.no_grad()
    def __call__(self) -> Look:
        """Look, then go on as before."""
        self.module.eval()
        if self.average:
            self.average.swap()
        with self.autocast():
            look = self.look()
        if self.average:
            self.average.swap()
        self.module.train()
        return look


def count(codes: Int[Tensor, "..."], num_codes: int) -> Int[np.ndarray, " k"]:
    """How often each code occurs."""
    return torch.bincount(rearrange(codes, "... -> (...)"), minlength=num_codes).cpu().numpy()
