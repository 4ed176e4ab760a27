"""How far imagination is from what the model knows: a number for every imagined frame, no labels.

Three signals of a frame, each larger the stranger it is:

    latent    distance of the latent action that leads to it from the one inferred back from it
    entropy   mean entropy of its tokens (nats)
    prompt    error with which the tokenizer rebuilds the prompt (dB below 0)

Averaged over the frames so far, each counts as far as it is above its median on validation clips,
in units of their spread. `trust` is the share of validation frames that are at least as strange.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8

from genie_robo.inference.world import (
    Actions,
    Codes,
    GenieWorld,
    Latents,
    Prompt,
    RobotActions,
    Step,
)
from genie_robo.types import video_to_float

SIGNALS = ("latent", "entropy", "prompt")
_ABOVE = 84.0
"""Percentile whose distance from the median is the spread: one deviation of a normal one."""
_SMALLEST = 1e-6

ToLatents = Callable[[Float[np.ndarray, "b a"]], Float[np.ndarray, "b e"]]
"""The latents that robot actions usually lead to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """The signals of validation clips."""

    median: Float[np.ndarray, " 3"]
    spread: Float[np.ndarray, " 3"]
    strangeness: Float[np.ndarray, " n"]
    """Of their frames, in rising order."""

    @classmethod
    def of(cls, signals: Float[np.ndarray, "b t 3"]) -> "Usual":
        """Of the signals of clips from their first imagined frame on.

        Raises:
            ValueError: There is no frame, or a signal is not finite.
        """
        if not signals.size:
            raise ValueError("there is no validation clip to compare imagination with")
        if not np.isfinite(signals).all():
            raise ValueError("a signal of validation clips is not finite, so nothing is usual")
        frames = _means(signals).reshape(-1, len(SIGNALS))
        median, above = np.percentile(frames, [50.0, _ABOVE], axis=0)
        usual = cls(
            median=median,
            spread=np.maximum(above - median, _SMALLEST),
            strangeness=np.zeros(0),
        )
        return replace(usual, strangeness=np.sort(usual.how_strange(frames)))

    def how_strange(self, means: Float[np.ndarray, "b 3"]) -> Float[np.ndarray, " b"]:
        """Sum over signals of what is above the median, in units of the spread."""
        return np.maximum((means - self.median) / self.spread, 0.0).sum(axis=-1)

    def trust(self, means: Float[np.ndarray, "b 3"]) -> Float[np.ndarray, " b"]:
        """Share of validation frames that are at least as strange, the frame itself counted."""
        count = len(self.strangeness)
        below = np.searchsorted(self.strangeness, self.how_strange(means), side="left")
        return (count - below + 1) / (count + 1)


class WatchedWorld:
    """A world of a Genie whose steps say how far they can be trusted."""

    def __init__(
        self, world: GenieWorld, usual: Usual | None = None, *, to_latents: ToLatents | None = None
    ) -> None:
        """Watch a world.

        Args:
            world: Its state is replaced.
            usual: Signals of validation clips; without them `trust` stays None.
            to_latents: Needed where robot actions steer the world as they are.
        """
        self._world, self._usual, self._to_latents = world, usual, to_latents
        self.signals: list[Float[np.ndarray, "b 3"]] = []
        """Of every imagined frame since the start."""

    def __copy__(self) -> "WatchedWorld":
        return WatchedWorld(self._world.__copy__(), self._usual, to_latents=self._to_latents)

    @property
    def takes(self) -> Collection[type[Actions]]:
        """The kinds of actions that the world understands."""
        return self._world.takes

    def __getattr__(self, name: str) -> Any:
        """All else is the world's."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._world, name)

    def start(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Step:
        """Start the world."""
        step = self._world.start(prompts, seeds)
        self._frames = step.frames
        self._prompt = self._rebuilding_error(np.stack([p.frames[-1] for p in prompts]))
        self.signals = []
        return step

    def step(self, actions: Actions) -> Step:
        """Advance the world, and compare the frame with the action that led to it."""
        commanded = self._commanded(actions)
        step = self._world.step(actions)
        inferred = self._infer(self._frames, step.frames)
        self._frames = step.frames
        apart = np.linalg.norm(inferred - commanded, axis=-1)
        self.signals.append(np.stack([apart, step.uncertainty, self._prompt], axis=-1))
        if self._usual is None:
            return step
        return replace(step, trust=self._usual.trust(np.mean(self.signals, axis=0)))

    def _commanded(self, actions: Actions) -> Float[np.ndarray, "b e"]:
        """The latents of actions."""
        match actions:
            case Latents(values):
                return np.asarray(values, dtype=np.float64)
            case Codes(values):
                codes = torch.from_numpy(np.asarray(values, np.int64)).to(self._device)
                return self._world.genie.latent_action.codes(codes).detach().double().cpu().numpy()
            case RobotActions(values) if self._to_latents is not None:
                return self._to_latents(values)
        raise ValueError(
            "nothing says which latents robot actions lead to, so imagined frames cannot be "
            "compared with them; give to_latents"
        )

    @torch.no_grad()
    def _infer(
        self, before: UInt8[np.ndarray, "b h w c"], after: UInt8[np.ndarray, "b h w c"]
    ) -> Float[np.ndarray, "b e"]:
        video = torch.from_numpy(np.stack([before, after], axis=1)).to(self._device)
        found = self._world.genie.infer_actions(video_to_float(video)).continuous[:, 0]
        return found.double().cpu().numpy()

    @torch.no_grad()
    def _rebuilding_error(self, frames: UInt8[np.ndarray, "b h w c"]) -> Float[np.ndarray, " b"]:
        tokenizer = self._world.genie.tokenizer
        pixels = video_to_float(torch.from_numpy(frames)[:, None].to(self._device))
        rebuilt = tokenizer.paint(tokenizer.encode(pixels))
        error = (rebuilt - pixels).square().mean(dim=(1, 2, 3, 4))
        return 10 * error.clamp(min=1e-10).log10().double().cpu().numpy()

    @property
    def _device(self) -> torch.device:
        return next(self._world.genie.parameters()).device


def _means(signals: Float[np.ndarray, "b t 3"]) -> Float[np.ndarray, "b t 3"]:
    """Means over the frames so far."""
    count = np.arange(1, signals.shape[1] + 1)[:, None]
    return signals.cumsum(axis=1) / count
