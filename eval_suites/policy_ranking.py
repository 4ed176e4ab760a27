"""Can policies be compared in imagination? Their values there against their values in MuJoCo."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from eval_suites import figures
from eval_suites.base import EvalContext, Metric, SuiteResult, undefined
from eval_suites.clips import stable_seed
from eval_suites.metrics.ranking import mmrv, pearson, spearman
from eval_suites.plugs.truth import follow_policy
from eval_suites.simulated.contestants import POLICIES, acting
from eval_suites.simulated.trials import (
    Start,
    Trial,
    choose_starts,
    frame_actions,
    margins,
    read_trials,
    refusal,
    solved,
)
from eval_suites.statistics import bootstrap, notes_on_units, to_metric
from genie_robo.progress import progress_bar

MIN_POLICIES = 6
STATISTICS = {"pearson": pearson, "spearman": spearman, "mmrv": mmrv}
VALUES = {
    "success": "share of starts from which the task is solved within the horizon",
    "return": "share of frames in which the task is solved",
}
PROTOCOL = (
    "policies act in MuJoCo from the first frame of test episodes, whose task is replaced by every "
    "task in turn; the world model imagines the same robot actions from the same frame; whether a "
    "task is solved is decided by MuJoCo's state there, and here by the same rule on poses read "
    "from imagined frames by a regression fitted to real frames; the ceiling is what reading "
    "MuJoCo's own frames gives; interval over test episodes, all policies resampled together"
)


class _Values(NamedTuple):
    """Value of each policy by episode and task."""

    imagined: Float[np.ndarray, "e k p"]
    read: Float[np.ndarray, "e k p"]
    """Read from MuJoCo's frames."""
    true: Float[np.ndarray, "e k p"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRanking:
    """Pearson, Spearman and MMRV of imagined against true success of policies."""

    name: ClassVar[str] = "policy_ranking"
    summary: ClassVar[str] = "whether imagination orders policies as MuJoCo does"

    num_episodes: int = 8
    """Test episodes whose first frame is a start."""
    tasks: Sequence[str] = field(default_factory=lambda: ["reach", "push", "pick"])
    policies: Sequence[str] = field(default_factory=lambda: list(POLICIES))
    horizon: int = 15
    """Frames of a trial, as far as the model's window goes."""
    renderer: str = "auto"
    batch_size: int = 16

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Try every policy in MuJoCo and in imagination."""
        if reason := self._refusal(context):
            return _nothing(reason)
        trials = self._trials(context)
        readings = read_trials(context, trials, batch_size=self.batch_size, name=self.name)
        shown = [margins(trials, poses) > 0 for poses in readings]
        by_frame = (*shown, solved(trials))
        shape = (-1, len(self.tasks), len(self.policies))
        values = {
            "success": _Values(*(x.any(axis=1).astype(float).reshape(shape) for x in by_frame)),
            "return": _Values(*(x.mean(axis=1).reshape(shape) for x in by_frame)),
        }
        metrics = _metrics(values, self.tasks, seed=context.seed)
        num_episodes = len(values["success"].true)
        return SuiteResult(
            metrics=metrics,
            headline=tuple(f"success/{name}" for name in STATISTICS),
            per_episode=_rows(trials, by_frame),
            figures={"ranking": self._figure(values["success"])},
            notes=(
                f"{len(self.policies)} policies, {len(self.tasks)} tasks, {num_episodes} starts "
                "each. Policies act in MuJoCo, and their actions are imagined: they do not see "
                "imagined frames.",
                *notes_on_units(num_episodes),
            ),
        )

    def _refusal(self, context: EvalContext) -> str:
        if len(self.policies) < MIN_POLICIES:
            return (
                f"insufficient: {len(self.policies)} policies, and fewer than {MIN_POLICIES} can "
                "be ordered well by chance"
            )
        if unknown := sorted(set(self.policies) - set(POLICIES)):
            raise ValueError(
                f"suite.policy_ranking.policies={unknown} are not known; choose from "
                f"{', '.join(POLICIES)}"
            )
        return refusal(context)

    def _trials(self, context: EvalContext) -> list[Trial]:
        """By episode, task and policy."""
        starts = choose_starts(context, num_episodes=self.num_episodes, tasks=self.tasks)
        total = len(starts) * len(self.policies)
        trials = []
        with progress_bar(f"{self.name}: MuJoCo", total=total, unit="trials") as advance:
            for start in starts:
                for policy in self.policies:
                    trials.append(self._try(context, start, policy))
                    advance()
        return trials

    def _try(self, context: EvalContext, start: Start, policy: str) -> Trial:
        stride = context.test.frame_stride
        horizon = min(self.horizon, context.num_frames - 1)
        actions, truth = follow_policy(
            context.dataset[context.test.episodes[start.number]],
            acting(policy, start.scene.task, seed=stable_seed(context.seed, start.episode_id)),
            num_steps=horizon * stride,
            task=start.scene.task,
            image_size=start.image_size,
            renderer=self.renderer,
        )
        chosen = frame_actions(actions, stride=stride)
        return Trial(start, policy, chosen, truth.every(stride))

    def _figure(self, values: _Values) -> Figure:
        panels = figures.new_axes(len(self.tasks), width=4.5 * len(self.tasks))
        for k, (axes, task) in enumerate(zip(panels, self.tasks, strict=True)):
            axes.plot([0, 1], [0, 1], color="#BBBBBB", linewidth=1)
            true, imagined = values.true[:, k].mean(axis=0), values.imagined[:, k].mean(axis=0)
            for n, (name, x, y) in enumerate(zip(self.policies, true, imagined, strict=True)):
                axes.scatter(x, y, label=name, marker=f"${n + 1}$", s=90, color=f"C{n}")
            axes.set(xlabel="success in MuJoCo", ylabel="success in imagination", title=task)
            axes.set(xlim=(-0.05, 1.15), ylim=(-0.05, 1.1))
        panels[0].legend(fontsize=8, frameon=False)
        return figures.owner(panels[0])


def _metrics(
    values: Mapping[str, _Values], tasks: Sequence[str], *, seed: int
) -> dict[str, Metric]:
    metrics = {}
    for value, found in values.items():
        slices = {"": slice(None)} | {f"/{task}": slice(k, k + 1) for k, task in enumerate(tasks)}
        for suffix, chosen in slices.items():
            part = _Values(*(x[:, chosen] for x in found))
            for name, statistic in STATISTICS.items():
                metrics[f"{value}/{name}{suffix}"] = _metric(
                    part, statistic, what=f"{name} of {VALUES[value]}", seed=seed
                )
                metrics[f"{value}/{name}/same_reader{suffix}"] = _metric(
                    part._replace(true=part.read),
                    statistic,
                    what=f"{name} of {VALUES[value]}, MuJoCo's read from its frames as well",
                    seed=seed,
                )
    return metrics


def _metric(
    values: _Values,
    statistic: Callable[[np.ndarray, np.ndarray], np.ndarray],
    *,
    what: str,
    seed: int,
) -> Metric:
    """Mean over episodes and tasks of each policy, then the statistic over policies."""
    imagined, read, true = (x.mean(axis=1) for x in values)
    num_episodes = len(true)

    def of(predicted: np.ndarray) -> np.ndarray:
        return np.stack([predicted, true], axis=1)

    def over_policies(totals: Float[np.ndarray, "... 2 p"]) -> Float[np.ndarray, "..."]:
        mean = totals / num_episodes
        return statistic(mean[..., 0, :], mean[..., 1, :])

    estimate = partial(bootstrap, statistic=over_policies, seed=seed)
    return to_metric(
        estimate(of(imagined)),
        n_units=num_episodes,
        unit="success" if statistic is mmrv else "correlation",
        protocol=f"{what}; {PROTOCOL}",
        baselines={"all_equal": estimate(of(np.zeros_like(true))).value},
        ceiling=estimate(of(read)).value,
        reason="all policies have the same value, in MuJoCo or in imagination",
    )


def _rows(
    trials: Sequence[Trial], by_frame: Sequence[np.ndarray]
) -> list[Mapping[str, float | str | None]]:
    names = ("imagined", "read", "true")
    return [
        {
            "episode_id": trial.start.episode_id,
            "task": trial.start.scene.task,
            "policy": trial.name,
            **{f"success_{who}": float(x[m].any()) for who, x in zip(names, by_frame, strict=True)},
            **{f"return_{who}": float(x[m].mean()) for who, x in zip(names, by_frame, strict=True)},
        }
        for m, trial in enumerate(trials)
    ]


def _nothing(reason: str) -> SuiteResult:
    metrics = {
        f"success/{name}": undefined(
            reason, unit="success" if name == "mmrv" else "correlation", protocol=PROTOCOL
        )
        for name in STATISTICS
    }
    return SuiteResult(
        metrics=metrics, headline=tuple(metrics), per_episode=[], figures={}, notes=(reason,)
    )
