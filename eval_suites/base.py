"""What a suite is given, what it gives back, and what can be plugged into it.

Suites see models only through the small protocols here, so MuJoCo, a copied frame, oracle codes
or another project's model run through the same measurements as Genie.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure

from genie_robo.types import Episode, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One number that can be believed, or None with the reason why there is none.

    Raises:
        ValueError: A value that is not finite, or None without a reason.
    """

    value: float | None
    ci95: tuple[float, float] | None = None
    """95 % interval over episodes; None when there are too few episodes for one."""
    n_units: int
    """Number of independent units, always episodes."""
    unit: str
    protocol: str
    """How it was measured, in one sentence."""
    baselines: Mapping[str, float | None] = field(default_factory=dict)
    ceiling: float | None = None
    """The best value that any model of this kind could reach here."""
    reason: str = ""
    """Why the value is undefined."""

    def __post_init__(self) -> None:
        """Refuse what would turn into NaN or a silent zero in a report."""
        numbers = [self.value, self.ceiling, *self.baselines.values(), *(self.ci95 or ())]
        if not all(number is None or math.isfinite(number) for number in numbers):
            raise ValueError(
                f"a metric holds a number that is not finite (value {self.value}, ci95 "
                f"{self.ci95}, ceiling {self.ceiling}, baselines {dict(self.baselines)}); give "
                "None and a reason for what is undefined"
            )
        if self.value is None and not self.reason:
            raise ValueError(f"a metric without a value needs a reason (protocol: {self.protocol})")


class Prompt(NamedTuple):
    """Where an imagined rollout starts."""

    episode_id: str
    start: int
    """Step of the episode that the first frame shows."""
    frames: UInt8[np.ndarray, "p h w c"]


class Transitions(NamedTuple):
    """Latent actions of one episode: entry i goes from frame i to frame i + 1."""

    codes: Int[np.ndarray, " n"]
    latents: Float[np.ndarray, "n e"]
    """The encoding before quantisation."""


class Reconstruction(NamedTuple):
    """What a tokenizer makes of a video."""

    tokens: Int[np.ndarray, "t s"]
    video: UInt8[np.ndarray, "t h w c"]


@runtime_checkable
class LatentActionEncoder(Protocol):
    """Sees the frames of an episode, names what happened between them."""

    @property
    def num_codes(self) -> int:
        """Codes are 0 .. num_codes - 1."""
        ...

    def encode(self, window: Window) -> Transitions:
        """The latent action of every transition, `t - 1` of them, however long the window."""
        ...


@runtime_checkable
class SequenceEncoder(LatentActionEncoder, Protocol):
    """An encoder that also quantises a whole rollout with error feedback."""

    def encode_sequence(self, window: Window, start: int) -> Int[np.ndarray, " n"]:
        """The latent actions from frame `start` on, each with the residual of those before it.

        `encode` quantises every transition alone.
        """
        ...


LOOKED_UP = (
    "these latent actions are looked up by episode and step: nothing is seen in frames that were "
    "turned round, imagined or made anew"
)


def blindness(encoder: LatentActionEncoder) -> str:
    """Why an encoder sees nothing in frames made anew; empty when it looks at frames.

    One that looks its codes up in a table has an attribute `sees_frames = False`.
    """
    return "" if getattr(encoder, "sees_frames", True) else LOOKED_UP


@runtime_checkable
class WorldModel(Protocol):
    """Sees prompt frames and latent actions, imagines what follows."""

    def imagine(
        self,
        prompts: Sequence[Prompt],
        latent_actions: Int[np.ndarray, "b n"],
        seeds: Sequence[int],
    ) -> UInt8[np.ndarray, "b n h w c"]:
        """The n frames after each prompt; the first action leads on from its last frame.

        The same prompt, actions and seed must give the same frames in any batch.
        """
        ...


@runtime_checkable
class RobotWorldModel(Protocol):
    """Sees prompt frames and robot actions, imagines what follows."""

    def imagine_robot(
        self,
        prompts: Sequence[Prompt],
        robot_actions: Float[np.ndarray, "b n 7"],
        seeds: Sequence[int],
    ) -> UInt8[np.ndarray, "b n h w c"]:
        """The n frames after each prompt, one per action.

        Actions are dx dy dz (m), droll dpitch dyaw (rad), gripper (1 = open); the first one leads
        on from the last prompt frame. The same prompt, actions and seed must give the same frames
        in any batch.
        """
        ...


@runtime_checkable
class FrameTokenizer(Protocol):
    """Turns video into tokens and back."""

    @property
    def num_codes(self) -> int:
        """Tokens are 0 .. num_codes - 1."""
        ...

    def reconstruct(self, video: UInt8[np.ndarray, "t h w c"]) -> Reconstruction:
        """Tokens and decoded frames of a video of any length."""
        ...


@runtime_checkable
class EpisodeSet(Protocol):
    """The episodes on one side of the split."""

    @property
    def episodes(self) -> Sequence[int]:
        """Their numbers in the dataset."""
        ...

    @property
    def frame_stride(self) -> int:
        """Steps of an episode between two frames."""
        ...

    def whole_episode(self, e: int) -> Window:
        """All frames of the e-th episode of this set."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalContext:
    """Models and held-out data for a suite."""

    encoder: LatentActionEncoder
    untrained_encoder: LatentActionEncoder | None
    """The same architecture with fresh weights, a baseline of the probe."""
    world_model: WorldModel
    tokenizer: FrameTokenizer
    dataset: Sequence[Episode]
    fit: EpisodeSet
    """Validation episodes: probes and baselines are fitted here."""
    test: EpisodeSet
    """Test episodes: reported once, never fitted to."""
    num_frames: int
    """Frames that the models see at once."""
    robot_world_model: RobotWorldModel | None = None
    """Steered by robot actions, for whole rollouts; None where nothing maps those to latent
    actions."""
    alone_world_model: RobotWorldModel | None = None
    """The same where each action is mapped alone, for measurements of single transitions; None
    where that makes no difference."""
    action_is_achieved: bool = False
    """True when the stored actions are the motion that happened, not the one commanded."""
    seed: int = 0
    fast: bool = False
    """Fewer episodes and draws, for a first look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteResult:
    """Everything that a suite found."""

    metrics: Mapping[str, Metric]
    """By name; a slash groups, as in `achieved/r2/dx`."""
    headline: tuple[str, ...]
    """The few metrics to read first."""
    per_episode: Sequence[Mapping[str, float | str | None]]
    """One row per test episode (and prompt), for people who want to do their own statistics."""
    figures: Mapping[str, Figure]
    notes: tuple[str, ...] = ()
    """What a reader must know before believing the numbers."""


@runtime_checkable
class EvalSuite(Protocol):
    """A measurement, configured by its dataclass fields in conf/suite/."""

    @property
    def name(self) -> str:
        """As in `suite=NAME`."""
        ...

    @property
    def summary(self) -> str:
        """One line: what it measures."""
        ...

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Measure."""
        ...


def undefined(reason: str, *, unit: str, protocol: str, n_units: int = 0) -> Metric:
    """A metric that has no value here."""
    return Metric(value=None, n_units=n_units, unit=unit, protocol=protocol, reason=reason)
