"""What if the robot had done something else? Perturbed actions in MuJoCo and in imagination."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.figure import Figure

from eval_suites import figures
from eval_suites.base import EvalContext, Metric, SuiteResult, undefined
from eval_suites.clips import stable_seed
from eval_suites.metrics.following import distance
from eval_suites.metrics.verdicts import ByCounts, auroc, gap, share
from eval_suites.plugs.truth import Poses, execute, follow_policy
from eval_suites.simulated.contestants import EXPERT, acting
from eval_suites.simulated.trials import (
    Readings,
    Start,
    Trial,
    choose_starts,
    frame_actions,
    margins,
    read_trials,
    refusal,
    solved,
)
from eval_suites.statistics import (
    bootstrap,
    episode_sums,
    notes_on_units,
    ratio_of_sums,
    to_metric,
)
from genie_robo.progress import progress_bar
from genie_robo.sim.actions import ACTION_HIGH, ACTION_LOW

MEANINGS = {
    "auroc": (
        "chance",
        "chance that a trial that succeeds in MuJoCo scores higher than one that "
        "fails, ties counting half",
    ),
    "optimism": ("share", "of trials that fail in MuJoCo, those imagined to succeed"),
    "pessimism": ("share", "of trials that succeed in MuJoCo, those imagined to fail"),
    "success_failure_gap": (
        "mm",
        "mean imagined score of trials that succeed in MuJoCo minus that of those that fail",
    ),
}
PROTOCOL = (
    "the actions of the task's scripted expert, from the first frame of test episodes, are mixed "
    "with random ones (severity 0: untouched, 1: random), executed in MuJoCo and imagined; the "
    "score is how far beyond the threshold of success the task comes at best, from poses read in "
    "imagined frames by a regression fitted to real frames; the ceiling is what reading MuJoCo's "
    "own frames gives; interval over test episodes"
)
SENSITIVITY = (
    "how far the tool is from where the untouched actions bring it, summed over frames, imagined "
    "over true, both read from pixels; 1 = as much as really happens"
)


class _Scores(NamedTuple):
    """Of every trial."""

    imagined: Float[np.ndarray, " m"]
    """Millimetres beyond success, as read in imagined frames."""
    read: Float[np.ndarray, " m"]
    """The same in MuJoCo's frames."""
    is_success: Bool[np.ndarray, " m"]
    """By MuJoCo's state."""
    episode: Int[np.ndarray, " m"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterfactual:
    """Optimism, pessimism, AUROC and sensitivity under perturbed actions."""

    name: ClassVar[str] = "counterfactual"
    summary: ClassVar[str] = "whether imagination knows which actions would have failed"

    num_episodes: int = 8
    """Test episodes whose first frame is a start."""
    tasks: Sequence[str] = field(default_factory=lambda: ["reach", "push", "pick"])
    severities: Sequence[float] = field(default_factory=lambda: [0.0, 0.25, 0.5, 1.0])
    """Shares of random motion; the first must be 0."""
    horizon: int = 15
    """Frames of a trial, as far as the model's window goes."""
    renderer: str = "auto"
    batch_size: int = 16

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Execute perturbed actions in MuJoCo and imagine them."""
        if not self.severities or self.severities[0] != 0.0:
            raise ValueError(
                f"suite.counterfactual.severities={list(self.severities)} must begin with 0, the "
                "untouched actions that the others are compared with"
            )
        if reason := refusal(context):
            return _nothing(reason)
        trials = self._trials(context)
        readings = read_trials(context, trials, batch_size=self.batch_size, name=self.name)
        imagined, read = (margins(trials, poses).max(axis=1) * 1000.0 for poses in readings)
        is_success = np.asarray(solved(trials).any(axis=1))
        episode = np.array([trial.start.number for trial in trials])
        scores = _Scores(imagined, read, is_success, episode)
        metrics = _verdicts(scores, seed=context.seed)
        apart = self._apart(readings)
        metrics |= self._sensitivities(apart, episode, seed=context.seed)
        num_episodes = len(np.unique(episode))
        return SuiteResult(
            metrics=metrics,
            headline=tuple(metrics),
            per_episode=_rows(trials, scores, apart),
            figures=self._figures(metrics, scores),
            notes=(
                f"{len(trials)} trials from {num_episodes} test episodes; "
                f"{scores.is_success.mean():.0%} of them succeed in MuJoCo.",
                *notes_on_units(num_episodes),
            ),
        )

    def _trials(self, context: EvalContext) -> list[Trial]:
        """By start and severity."""
        starts = choose_starts(context, num_episodes=self.num_episodes, tasks=self.tasks)
        trials = []
        with progress_bar(f"{self.name}: MuJoCo", total=len(starts), unit="starts") as advance:
            for start in starts:
                trials += self._try(context, start)
                advance()
        return trials

    def _try(self, context: EvalContext, start: Start) -> list[Trial]:
        stride = context.test.frame_stride
        episode = context.dataset[context.test.episodes[start.number]]
        seed = stable_seed(context.seed, start.episode_id, start.scene.task)
        chosen, _ = follow_policy(
            episode,
            acting(EXPERT, start.scene.task, seed=seed),
            num_steps=min(self.horizon, context.num_frames - 1) * stride,
            task=start.scene.task,
            image_size=(8, 8),
        )
        trials = []
        for severity in self.severities:
            actions = perturb(chosen, severity, rng=np.random.default_rng(seed))
            truth = execute(
                episode,
                start=0,
                robot_actions=actions,
                image_size=start.image_size,
                renderer=self.renderer,
                task=start.scene.task,
            )
            done = frame_actions(actions, stride=stride)
            trials.append(Trial(start, f"{severity:g}", done, truth.every(stride)))
        return trials

    def _apart(self, readings: Readings) -> Float[np.ndarray, "m 2"]:
        """Deviation of the tool from the untouched trial of the same start: imagined, true (mm)."""
        # Trials of one start follow each other, the untouched one first.
        first = np.arange(len(readings.true)) // len(self.severities) * len(self.severities)
        return np.stack(
            [_apart([read[f] for f in first], read) for read in (readings.imagined, readings.true)],
            axis=1,
        )

    def _sensitivities(
        self, apart: Float[np.ndarray, "m 2"], episode: Int[np.ndarray, " m"], *, seed: int
    ) -> dict[str, Metric]:
        names, number = np.unique(episode, return_inverse=True)
        count = len(self.severities)
        metrics = {}
        for k, severity in enumerate(self.severities[1:], start=1):
            sums = episode_sums(apart[k::count], number[k::count], num_episodes=len(names))
            metrics[f"sensitivity/{severity:g}"] = to_metric(
                bootstrap(sums, ratio_of_sums, seed=seed),
                n_units=len(names),
                unit="ratio",
                protocol=f"severity {severity:g}: {SENSITIVITY}; {PROTOCOL}",
                baselines={"copy_last": 0.0},
                ceiling=1.0,
                reason="the perturbed actions move nothing in MuJoCo",
            )
        return metrics

    def _figures(self, metrics: Mapping[str, Metric], scores: _Scores) -> dict[str, Figure]:
        found = {
            "succeeds in MuJoCo": scores.imagined[scores.is_success],
            "fails in MuJoCo": scores.imagined[~scores.is_success],
        }
        label = "imagined distance beyond success (mm)"
        names = [f"sensitivity/{severity:g}" for severity in self.severities[1:]]
        shown = {
            "scores": figures.histograms({k: v for k, v in found.items() if len(v)}, label=label)
        }
        if names:
            shown["sensitivity"] = figures.forest(
                names,
                [metrics[name].value for name in names],
                [metrics[name].ci95 for name in names],
                label="imagined over true deviation of the tool",
            )
        return shown


def perturb(
    actions: Float[np.ndarray, "n 7"], severity: float, *, rng: np.random.Generator
) -> Float[np.ndarray, "n 7"]:
    """Actions mixed with uniform random ones; a gripper command is replaced with that chance.

    The same generator state gives the same direction at every severity.
    """
    noise = rng.uniform(ACTION_LOW, ACTION_HIGH, size=actions.shape)
    mixed = (1 - severity) * actions + severity * noise
    replaced = rng.random(len(actions)) < severity
    mixed[:, 6] = np.where(replaced, noise[:, 6].round(), actions[:, 6])
    return mixed


def _apart(untouched: Sequence[Poses], perturbed: Sequence[Poses]) -> Float[np.ndarray, " s"]:
    """How far the tool is from where it would have been (mm), summed over frames."""
    pairs = zip(untouched, perturbed, strict=True)
    return np.array([distance(a.tool, b.tool)[1:].sum() for a, b in pairs])


def _verdicts(scores: _Scores, *, seed: int) -> dict[str, Metric]:
    success, (names, episode) = scores.is_success, np.unique(scores.episode, return_inverse=True)
    metrics = {}
    for name, (unit, meaning) in MEANINGS.items():
        imagined, ceiling = (
            bootstrap(np.eye(len(names)), _verdict(name, score, success, episode), seed=seed)
            for score in (scores.imagined, scores.read)
        )
        metrics[name] = to_metric(
            imagined,
            n_units=len(names),
            unit=unit,
            protocol=f"{meaning}; {PROTOCOL}",
            baselines={"coin": 0.5} if name == "auroc" else {},
            ceiling=ceiling.value,
            reason="no trial succeeds in MuJoCo, or none fails",
        )
    return metrics


def _verdict(
    name: str,
    score: Float[np.ndarray, " m"],
    success: Bool[np.ndarray, " m"],
    episode: Int[np.ndarray, " m"],
) -> ByCounts:
    match name:
        case "auroc":
            return auroc(score, success, episode)
        case "optimism":
            return share(score > 0, ~success, episode)
        case "pessimism":
            return share(score <= 0, success, episode)
        case _:
            return gap(score, success, episode)


def _rows(
    trials: Sequence[Trial], scores: _Scores, apart: Float[np.ndarray, "m 2"]
) -> list[Mapping[str, float | str | None]]:
    return [
        {
            "episode_id": trial.start.episode_id,
            "task": trial.start.scene.task,
            "severity": float(trial.name),
            "success": float(scores.is_success[m]),
            "score_imagined_mm": float(scores.imagined[m]),
            "score_read_mm": float(scores.read[m]),
            "apart_imagined_mm": float(apart[m, 0]),
            "apart_true_mm": float(apart[m, 1]),
        }
        for m, trial in enumerate(trials)
    ]


def _nothing(reason: str) -> SuiteResult:
    metrics = {
        name: undefined(reason, unit=unit, protocol=PROTOCOL)
        for name, (unit, _) in MEANINGS.items()
    }
    return SuiteResult(
        metrics=metrics, headline=tuple(metrics), per_episode=[], figures={}, notes=(reason,)
    )
