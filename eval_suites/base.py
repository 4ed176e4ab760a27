"""Interface of an evaluation suite: its context, its result, and the protocols of its models.

Suites access models only through these protocols and World, so that MuJoCo, a held frame, oracle
codes or another project's model can be evaluated in the same way as Genie.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure

from genie_robo.eval_suites.table import (
    Cell,
    Measurement,
    Metric,
    Table,
    UnavailableError,
    undefined,
)
from genie_robo.inference.trust import ToLatents
from genie_robo.inference.world import Codes, Latents, RobotActions, World
from genie_robo.types import Episode, Split, Window

Named = TypeVar("Named", Metric, Measurement)
_VALIDATION = re.compile(r"(?<!cross-)\bvalidation\b")


class Transitions(NamedTuple):
    """Latent actions of one episode: entry i goes from frame i to frame i + 1."""

    codes: Int[np.ndarray, " n"]
    latents: Float[np.ndarray, "n e"]
    """The encoding before quantisation."""


class Reconstruction(NamedTuple):
    """Tokens of a video, and the frames decoded from them."""

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
        """Latent actions of all `t - 1` transitions of a window of any length."""
        ...


@runtime_checkable
class SequenceEncoder(LatentActionEncoder, Protocol):
    """An encoder that also quantises a whole rollout with error feedback."""

    def encode_sequence(self, window: Window, start: int) -> Int[np.ndarray, " n"]:
        """Latent actions from frame `start` on, quantised with error feedback.

        `encode` quantises each transition independently.
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
        """Their indices in the dataset."""
        ...

    @property
    def frame_stride(self) -> int:
        """Steps of an episode from one frame to the next."""
        ...

    def whole_episode(self, e: int) -> Window:
        """All frames of episode `e` of this set."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalContext:
    """Models and held-out data of an evaluation, shared by its suites."""

    encoder: LatentActionEncoder
    untrained_encoder: LatentActionEncoder | None
    """The same architecture with fresh weights, a baseline of the probe."""
    world: World
    """It maps robot actions to latents where these steer it, else to codes with error feedback."""
    tokenizer: FrameTokenizer
    dataset: Sequence[Episode]
    fit: EpisodeSet
    """Validation episodes, or training ones: probes and baselines are fitted here."""
    test: EpisodeSet
    """Test episodes: reported once, never fitted to."""
    num_frames: int
    """Length of the models' window."""
    world_by_control: World | None = None
    """The same world with the dynamics that stage robot_control trained; None without one."""
    world_by_codes: World | None = None
    """The same world, but it maps robot actions to codes with error feedback; None where `world`
    does."""
    world_without_feedback: World | None = None
    """The same world, but it maps each robot action to a code independently, for measurements of
    single transitions; None where both are equal."""
    to_latents: ToLatents | None = None
    """The latents that robot actions usually lead to, by the run's action map; None without one."""
    code_names: Callable[[], Sequence[str]] | None = None
    """The names of the codes of `encoder` by the run's action map; None without one."""
    other_untrained: tuple[LatentActionEncoder, ...] = ()
    """More draws of fresh weights: the baseline is the mean over all draws."""
    action_is_achieved: bool = False
    """True when the actions are the achieved motion, not the commanded one."""
    action_is_pose_change: bool = False
    """True when they are changes of measured poses, which no `data.source.action.lag` shifts."""
    action_lag: int = 0
    """Steps by which the stored commands are shifted (`data.source.action.lag`)."""
    fit_split: Split = Split.val
    """The split that `fit` is of."""
    seed: int = 0
    fast: bool = False
    """Fewer episodes and draws, for a quick run."""
    cache: dict[Any, Any] = field(default_factory=dict, init=False)
    """Encoded transitions and imagined rollouts, shared by suites. `dataclasses.replace` starts an
    empty one, because models or episodes may differ."""

    @property
    def takes_codes(self) -> bool:
        """Whether latent actions steer the world."""
        return Codes in self.world.takes

    @property
    def takes_latents(self) -> bool:
        """Whether the latents of the encoder steer the world."""
        return Latents in self.world.takes and getattr(self.encoder, "latents_steer", False)

    @property
    def robot_world(self) -> World:
        """The world that knows robot actions best."""
        return self.world_by_control or self.world

    @property
    def takes_robot_actions(self) -> bool:
        """Whether robot actions steer the world."""
        return RobotActions in self.robot_world.takes

    def recording(self, side: EpisodeSet, number: int) -> Episode | None:
        """The episode, if a simulator can restore it; None for real robots."""
        episode = self.dataset[side.episodes[number]]
        return None if episode.sim_state is None else episode

    @property
    def is_simulated(self) -> bool:
        """Whether a simulator can restore the test episodes."""
        return bool(len(self.test.episodes)) and self.recording(self.test, 0) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteResult:
    """Metrics, figures and tables of one suite."""

    metrics: Mapping[str, Metric]
    """By name; a slash groups, as in `achieved/r2/dx`."""
    headline: tuple[str, ...]
    """The most important metrics, at most eight."""
    figures: Mapping[str, Figure] = field(default_factory=dict)
    table: Table | None = None
    """One row per test episode (and prompt), for further statistics."""
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    """Measurements behind the metrics, by the same names; needed for paired differences."""
    notes: tuple[str, ...] = ()
    """Caveats for the reader."""
    sections: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """More of the report: lines of Markdown by heading."""
    arrays: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    """Files of compressed arrays by name, such as the frames of trials."""

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
        """Compute metrics from measurements; figures are added afterwards."""
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
    """Names and units of the most important metrics, undefined where the suite is unavailable."""

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Compute the metrics.

        Raises:
            UnavailableError: Nothing can be measured with this dataset and these models.
        """
        ...


def run_suite(suite: EvalSuite, context: EvalContext) -> SuiteResult:
    """Evaluate a suite; if unavailable, its headline metrics are undefined with the reason.

    Suites speak of validation episodes; where others are fitted on, the result speaks of those.
    """
    result = _evaluate(suite, context)
    return result if context.fit_split is Split.val else _of_training_episodes(result)


def _evaluate(suite: EvalSuite, context: EvalContext) -> SuiteResult:
    try:
        return suite.evaluate(context)
    except UnavailableError as cause:
        reason = str(cause)
    missing = {
        name: undefined(reason, unit=unit, protocol=suite.summary)
        for name, unit in suite.headline.items()
    }
    return SuiteResult.of(missing, seed=context.seed, headline=tuple(missing), notes=(reason,))


def _of_training_episodes(result: SuiteResult) -> SuiteResult:
    """The same result, whose texts say that training episodes were fitted on."""

    def say(text: str) -> str:
        return _VALIDATION.sub("training", text)

    def named(found: Named) -> Named:
        return replace(found, protocol=say(found.protocol), reason=say(found.reason))

    return replace(
        result,
        metrics={name: named(metric) for name, metric in result.metrics.items()},
        measurements={name: named(found) for name, found in result.measurements.items()},
        notes=tuple(map(say, result.notes)),
        sections={name: [*map(say, lines)] for name, lines in result.sections.items()},
    )
