"""What a suite is given, what it gives back, and what can be plugged into it.

Suites see models only through the protocols here and through World, so MuJoCo, a held frame, oracle
codes or another project's model run through the same measurements as Genie.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure

from eval_suites.table import Cell, Measurement, Metric, Table, UnavailableError, undefined
from genie_robo.inference.world import Codes, RobotActions, World
from genie_robo.types import Episode, Window


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
    """Infers the latent action of each transition from the frames of an episode."""

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
    "these latent actions are looked up by episode and step, so they are undefined for frames that "
    "were reversed, imagined or newly recorded"
)


def why_unavailable(encoder: LatentActionEncoder) -> str:
    """Why an encoder cannot encode frames outside the dataset; empty when it can.

    An encoder that looks its codes up in a table has an attribute `sees_frames = False`.
    """
    return "" if getattr(encoder, "sees_frames", True) else LOOKED_UP


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
    """Models and held-out data for suites that are run one after another."""

    encoder: LatentActionEncoder
    untrained_encoder: LatentActionEncoder | None
    """The same architecture with fresh weights, a baseline of the probe."""
    world: World
    """Robot actions of a whole rollout are quantised with error feedback where they are mapped to
    codes."""
    tokenizer: FrameTokenizer
    dataset: Sequence[Episode]
    fit: EpisodeSet
    """Validation episodes: probes and baselines are fitted here."""
    test: EpisodeSet
    """Test episodes: reported once, never fitted to."""
    num_frames: int
    """Frames that the models see at once."""
    world_without_feedback: World | None = None
    """The world that maps each robot action alone, for measurements of single transitions; None
    where that makes no difference."""
    action_is_achieved: bool = False
    """True when the stored actions are the motion that happened, not the one commanded."""
    seed: int = 0
    fast: bool = False
    """Fewer episodes and draws, for a first look."""
    cache: dict[Any, Any] = field(default_factory=dict, init=False)
    """What one suite has encoded or imagined and the next one needs again; a context with other
    models or episodes (dataclasses.replace) begins an empty one."""

    @property
    def takes_codes(self) -> bool:
        """Whether latent actions steer the world."""
        return Codes in self.world.takes

    @property
    def takes_robot_actions(self) -> bool:
        """Whether robot actions steer the world."""
        return RobotActions in self.world.takes

    def recording(self, side: EpisodeSet, number: int) -> Episode | None:
        """An episode that a simulator can restore; None of real robots."""
        episode = self.dataset[side.episodes[number]]
        return None if episode.sim_state is None else episode

    @property
    def is_simulated(self) -> bool:
        """Whether a simulator can restore the test episodes."""
        return bool(len(self.test.episodes)) and self.recording(self.test, 0) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteResult:
    """Everything that a suite found."""

    metrics: Mapping[str, Metric]
    """By name; a slash groups, as in `achieved/r2/dx`."""
    headline: tuple[str, ...]
    """The metrics to read first, at most eight."""
    figures: Mapping[str, Figure] = field(default_factory=dict)
    table: Table | None = None
    """One row per test episode (and prompt), for statistics of the reader's own."""
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    """What the metrics follow from, by the same names; paired differences need them."""
    notes: tuple[str, ...] = ()
    """What a reader must know before believing the numbers."""

    @property
    def per_episode(self) -> list[dict[str, Cell]]:
        """The rows of per_episode.csv."""
        return list(self.table.rows()) if self.table else []

    @classmethod
    def of(
        cls,
        measurements: Mapping[str, Measurement],
        *,
        seed: int,
        headline: Sequence[str],
        table: Table | None = None,
        notes: tuple[str, ...] = (),
    ) -> "SuiteResult":
        """Evaluate measurements; figures are drawn from the metrics and added afterwards."""
        return cls(
            metrics={name: found.metric(seed) for name, found in measurements.items()},
            headline=tuple(name for name in headline if name in measurements),
            table=table,
            measurements=measurements,
            notes=notes,
        )


@runtime_checkable
class EvalSuite(Protocol):
    """A measurement, configured by its dataclass fields in conf/suite/."""

    name: ClassVar[str]
    """As in `suite=NAME`."""
    summary: ClassVar[str]
    """One line: what it measures."""
    headline: ClassVar[Mapping[str, str]]
    """Names and units of the metrics to read first; undefined where nothing can be measured."""

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Measure.

        Raises:
            UnavailableError: Nothing can be measured with this dataset and these models.
        """
        ...


def run_suite(suite: EvalSuite, context: EvalContext) -> SuiteResult:
    """Evaluate a suite; where nothing can be measured its headline metrics hold the reason."""
    try:
        return suite.evaluate(context)
    except UnavailableError as cause:
        reason = str(cause)
    missing = {
        name: undefined(reason, unit=unit, protocol=suite.summary)
        for name, unit in suite.headline.items()
    }
    return SuiteResult.of(missing, seed=context.seed, headline=tuple(missing), notes=(reason,))
