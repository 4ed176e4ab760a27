"""How far imagination is from what the model knows: a number for every imagined frame, no labels.

Three signals of a frame, each larger the stranger it is:

    latent    distance of the latent action that leads to it from the one inferred back from it
    entropy   mean entropy of its tokens (nats)
    prompt    error with which the tokenizer rebuilds the prompt (dB below 0)

Averaged over the frames so far, each counts as far as it is above its median on validation clips
of as many frames, in units of their spread and at most three of them. `trust` is the share of
validation frames that are at least as strange.
Codes, latents and robot actions steer differently well, so each kind has validation clips of its
own.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
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
    WorldState,
)
from genie_robo.types import video_to_float

SIGNALS = ("latent", "entropy", "prompt")
_ABOVE = 84.0
"""Percentile whose distance from the median is the spread: one deviation of a normal one."""
_SMALLEST = 1e-6
_MOST = 3.0
"""Spreads by which one signal counts at most: alone, large ones say little about the others."""

ToLatents = Callable[[Float[np.ndarray, "b a"]], Float[np.ndarray, "b e"]]
"""The latents that robot actions usually lead to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """The signals of validation clips, averaged over their first 1 .. t imagined frames."""

    median: Float[np.ndarray, "t 3"]
    spread: Float[np.ndarray, "t 3"]
    strangeness: Float[np.ndarray, " n"]
    """Of their frames, in rising order."""
    least_trust: Float[np.ndarray, "t m"]
    """In the least trusted of the first 1 .. t frames of each clip, in rising order of clips."""

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
        means = signals.cumsum(axis=1) / np.arange(1, signals.shape[1] + 1)[:, None]
        median, above = np.percentile(means, [50.0, _ABOVE], axis=0)
        usual = cls(
            median=median,
            spread=np.maximum(above - median, _SMALLEST),
            strangeness=np.zeros(0),
            least_trust=np.zeros((len(median), 0)),
        )
        by_frame = list(enumerate(means.swapaxes(0, 1), start=1))
        strange = np.concatenate([usual.how_strange(rows, frame) for frame, rows in by_frame])
        usual = replace(usual, strangeness=np.sort(strange))
        trust = np.stack([usual.trust(rows, frame) for frame, rows in by_frame])
        return replace(usual, least_trust=np.sort(np.minimum.accumulate(trust), axis=1))

    @property
    def numbers(self) -> dict[str, list[Any]]:
        """All of it as numbers, for a file."""
        return {field.name: getattr(self, field.name).tolist() for field in fields(self)}

    @classmethod
    def from_numbers(cls, numbers: Mapping[str, Any]) -> "Usual":
        """What `numbers` gave.

        Raises:
            KeyError: A part is missing.
            ValueError: It is no such numbers.
        """
        parts = {f.name: np.asarray(numbers[f.name], np.float64) for f in fields(cls)}
        by_frame = (max(1, len(np.atleast_1d(parts["median"]))), len(SIGNALS))
        is_right = parts["median"].shape == parts["spread"].shape == by_frame
        is_right = is_right and parts["least_trust"].shape[:1] == by_frame[:1]
        if not is_right or parts["strangeness"].ndim != 1 or parts["least_trust"].ndim != 2:
            raise ValueError("its numbers have other shapes")
        if not all(np.isfinite(p).all() for p in parts.values()) or parts["spread"].min() <= 0:
            raise ValueError("a number is not finite, or a spread is not positive")
        return cls(**parts)

    def how_strange(self, means: Float[np.ndarray, "b 3"], frame: int) -> Float[np.ndarray, " b"]:
        """Sum over signals of what is above the median, in units of the spread.

        Args:
            means: Over the frames so far.
            frame: How many these are; beyond those of validation clips the last one counts.
        """
        row = min(frame, len(self.median)) - 1
        above = (means - self.median[row]) / self.spread[row]
        return above.clip(0.0, _MOST).sum(axis=-1)

    def trust(self, means: Float[np.ndarray, "b 3"], frame: int) -> Float[np.ndarray, " b"]:
        """Share of validation frames that are at least as strange, the frame itself counted."""
        count = len(self.strangeness)
        below = np.searchsorted(self.strangeness, self.how_strange(means, frame), side="left")
        return (count - below + 1) / (count + 1)

    @property
    def num_clips(self) -> int:
        """How many validation clips there are."""
        return self.least_trust.shape[1]

    def trust_in_rollouts(self, trust: Float[np.ndarray, "b t"]) -> Float[np.ndarray, " b"]:
        """Share of validation clips whose least trusted frame is trusted at most as much.

        Of the clips as many frames count as the rollouts have: the more frames, the lower the least
        trust in them.

        Args:
            trust: In every imagined frame of each rollout; beyond the frames of validation clips
                all of theirs count.
        """
        usual = self.least_trust[min(trust.shape[1], len(self.least_trust)) - 1]
        no_more = np.searchsorted(usual, trust.min(axis=1), side="right")
        return (no_more + 1) / (len(usual) + 1)


class WatchedWorld:
    """A world of a Genie whose steps say how far they can be trusted."""

    def __init__(
        self,
        world: GenieWorld,
        usual: Mapping[type[Actions], Usual],
        *,
        to_latents: ToLatents | None = None,
    ) -> None:
        """Watch a world.

        Args:
            world: Its state is replaced.
            usual: Signals of validation clips, for each kind of actions. Under other kinds `trust`
                is None.
            to_latents: Without it frames under robot actions are not judged.
        """
        self._world, self.usual, self._to_latents = world, usual, to_latents
        self.signals: list[Float[np.ndarray, "b 3"]] = []
        """Of every judged frame since the start."""

    def __copy__(self) -> "WatchedWorld":
        return WatchedWorld(self._world.__copy__(), self.usual, to_latents=self._to_latents)

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
        before, self._frames = self._frames, step.frames
        if commanded is None:
            return step
        inferred = self._infer(before, step.frames)
        apart = np.linalg.norm(inferred - commanded, axis=-1)
        self.signals.append(np.stack([apart, step.uncertainty, self._prompt], axis=-1))
        usual = self.usual.get(type(actions))
        if usual is None:
            return step
        return replace(step, trust=usual.trust(np.mean(self.signals, axis=0), len(self.signals)))

    def get_state(self) -> WorldState:
        """The state of the world, with the signals so far."""
        inner = self._world.get_state()
        seen = (self._frames, self._prompt, tuple(self.signals))
        return WorldState((inner, seen), inner.num_bytes)

    def set_state(self, state: WorldState) -> None:
        """Go on from a state of this world."""
        inner, (self._frames, self._prompt, signals) = state.content
        self._world.set_state(inner)
        self.signals = list(signals)

    def _commanded(self, actions: Actions) -> Float[np.ndarray, "b e"] | None:
        """The latents of actions; None where nothing says which robot actions lead to."""
        match actions:
            case Latents(values):
                return np.asarray(values, dtype=np.float64)
            case Codes(values):
                codes = torch.from_numpy(np.asarray(values, np.int64)).to(self._device)
                return self._world.genie.latent_action.codes(codes).detach().double().cpu().numpy()
            case RobotActions(values):
                return None if self._to_latents is None else self._to_latents(values)

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
