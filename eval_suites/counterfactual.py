"""Perturbed actions in MuJoCo and in imagination: does imagination predict their failures?"""

import copy
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from genie_robo.eval_suites import figures
from genie_robo.eval_suites.base import EvalContext, SuiteResult
from genie_robo.eval_suites.metrics.following import distance
from genie_robo.eval_suites.metrics.verdicts import auroc, gap, gap_terms, share_terms
from genie_robo.eval_suites.settings import CounterfactualSettings
from genie_robo.eval_suites.simulated.closed_loop import follow, play, true_poses
from genie_robo.eval_suites.simulated.pose_reading import fit_pose_readers
from genie_robo.eval_suites.simulated.trials import (
    POSE_EPISODES,
    Start,
    choose_starts,
    solved,
    task_margin,
)
from genie_robo.eval_suites.simulated.truth import Poses
from genie_robo.eval_suites.statistics import notes_on_units, ratio_of_sums
from genie_robo.eval_suites.table import Measurement, Metric, Sums, Table
from genie_robo.policy.scripted import EXPERT, ScriptedPolicy
from genie_robo.progress import progress_bar
from genie_robo.sim.actions import ACTION_HIGH, ACTION_LOW
from genie_robo.sim.mujoco_world import MujocoWorld

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
    "score is the largest margin beyond the threshold of success, from poses read in imagined "
    "frames by a regression fitted to real frames; the ceiling uses poses read from MuJoCo's own "
    "frames; interval over test episodes"
)
PAIRS = "trials of different episodes are compared with each other: no p-value"
SENSITIVITY = (
    "distance of the tool from its path under the untouched actions, summed over frames, imagined "
    "over true, both read from pixels; 1 = the true deviation"
)


class _Trial(NamedTuple):
    """The expert's actions, perturbed, in both worlds."""

    start: Start
    severity: float
    imagined: Poses
    read: Poses
    """Read from MuJoCo's frames: what perfect imagination would give."""
    true: Poses


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterfactual(CounterfactualSettings):
    """Optimism, pessimism, AUROC and sensitivity under perturbed actions."""

    summary: ClassVar[str] = "whether imagination predicts which actions would have failed"
    headline: ClassVar[Mapping[str, str]] = {name: unit for name, (unit, _) in MEANINGS.items()}

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Execute perturbed actions in MuJoCo and imagine them."""
        starts = choose_starts(
            context, tasks=self.tasks, num_episodes=self.num_episodes, name=self.name
        )
        table = _table(self._try(context, starts), len(self.severities))
        found = _measurements(table, self.severities)
        result = SuiteResult.of(
            found,
            seed=context.seed,
            headline=tuple(found),
            table=table,
            notes=(
                f"{len(table)} trials from {table.num_episodes} test episodes; "
                f"{table.columns['success'].mean():.0%} of them succeed in MuJoCo.",
                *notes_on_units(table.num_episodes),
            ),
        )
        return replace(result, figures=_figures(result.metrics, table))

    def _try(self, context: EvalContext, starts: Sequence[Start]) -> list[_Trial]:
        """The expert's actions at every severity, in MuJoCo and in imagination.

        Trials of one start are consecutive, the untouched one first.
        """
        readers = fit_pose_readers(context, max_episodes=POSE_EPISODES, description=self.name)
        reader, seeds = readers.of(context.robot_world), [s.seed(context.seed) for s in starts]
        num_steps = min(self.horizon, context.num_frames - 1)
        simulator = MujocoWorld(renderer=self.renderer)
        how = (simulator, lambda _: true_poses(simulator), starts)
        expert = ScriptedPolicy(EXPERT, robot=starts[0].scene.robot)
        found: dict[tuple[int, float], _Trial] = {}
        with (
            closing(simulator),
            progress_bar(
                f"{self.name}: try",
                total=(1 + 2 * len(self.severities)) * len(starts),
                unit="trials",
            ) as advance,
        ):
            untouched = play(expert, *how, num_steps=num_steps, seeds=seeds, name=EXPERT)
            advance(len(starts))
            for severity in self.severities:
                pairs = zip(untouched.robot_actions, seeds, strict=True)
                actions = np.stack(
                    [perturb(own, severity, rng=np.random.default_rng(seed)) for own, seed in pairs]
                )
                real = follow(actions, *how, seeds=seeds)
                advance(len(starts))
                world = copy.copy(context.robot_world)
                dream = follow(actions, world, reader.read, starts, seeds=seeds)
                advance(len(starts))
                for row, start in enumerate(starts):
                    read = readers.recorded.read(real.video[row])
                    found[row, severity] = _Trial(
                        start, severity, dream.poses[row], read, real.poses[row]
                    )
        return [found[row, severity] for row in range(len(starts)) for severity in self.severities]


def perturb(
    actions: Float[np.ndarray, "n 7"], severity: float, *, rng: np.random.Generator
) -> Float[np.ndarray, "n 7"]:
    """Actions mixed with uniform random ones; `severity` is the chance of another gripper command.

    The same generator state gives the same direction at every severity.
    """
    noise = rng.uniform(ACTION_LOW, ACTION_HIGH, size=actions.shape)
    mixed = (1 - severity) * actions + severity * noise
    replaced = rng.random(len(actions)) < severity
    mixed[:, 6] = np.where(replaced, noise[:, 6].round(), actions[:, 6])
    return mixed


def _table(trials: Sequence[_Trial], num_severities: int) -> Table:
    table = Table(
        [trial.start.prompt.name for trial in trials],
        task=[trial.start.scene.task for trial in trials],
        severity=[trial.severity for trial in trials],
    )
    is_solved = [solved(trial.true, trial.start.scene).any() for trial in trials]
    table.add("success", np.array(is_solved))
    for who in ("imagined", "read"):
        best = [task_margin(getattr(t, who), t.start.scene)[1:].max() for t in trials]
        table.add(f"score_{who}_mm", np.array(best) * 1000.0)
    untouched = [trials[n // num_severities * num_severities] for n in range(len(trials))]
    for who, column in (("imagined", "imagined"), ("read", "true")):
        pairs = zip(untouched, trials, strict=True)
        tools = [(getattr(a, who).tool, getattr(b, who).tool) for a, b in pairs]
        moved = np.array([distance(first, second)[1:].sum() for first, second in tools])
        table.add(f"apart_{column}_mm", moved, given=column == "true")
    return table


def _measurements(table: Table, severities: Sequence[float]) -> dict[str, Measurement]:
    imagined, read = (_verdicts(table, f"score_{who}_mm") for who in ("imagined", "read"))
    found = {
        name: Measurement(
            of=imagined[name],
            unit=unit,
            protocol=f"{meaning}; {PROTOCOL}",
            baselines={"coin": 0.5} if name == "auroc" else {},
            ceiling=read[name],
            reason="no trial succeeds in MuJoCo, or none fails",
        )
        for name, (unit, meaning) in MEANINGS.items()
    }
    for severity in severities[1:]:
        rows = table.with_key("severity", severity)
        found[f"sensitivity/{severity:g}"] = Measurement(
            of=rows.ratio("apart_imagined_mm", "apart_true_mm"),
            unit="ratio",
            protocol=f"severity {severity:g}: {SENSITIVITY}; {PROTOCOL}",
            baselines={"copy_last": 0.0},
            ceiling=1.0,
            reason="the perturbed actions move nothing in MuJoCo",
        )
    return found


def _verdicts(table: Table, column: str) -> dict[str, Sums]:
    """The metrics of MEANINGS for a column of scores."""
    score, success, episode = table.columns[column], table.columns["success"] > 0, table.episode
    # Totals are how often each episode counts.
    counts = np.eye(table.num_episodes)[episode] / np.bincount(episode)[episode][:, None]
    return {
        "auroc": Sums(table, counts, auroc(score, success, episode), not_swappable=PAIRS),
        "optimism": Sums(table, share_terms(score > 0, ~success), ratio_of_sums),
        "pessimism": Sums(table, share_terms(score <= 0, success), ratio_of_sums),
        "success_failure_gap": Sums(table, gap_terms(score, success), gap),
    }


def _figures(metrics: Mapping[str, Metric], table: Table) -> dict[str, Figure]:
    score, success = table.columns["score_imagined_mm"], table.columns["success"] > 0
    found = {"succeeds in MuJoCo": score[success], "fails in MuJoCo": score[~success]}
    shown = {
        "scores": figures.histograms(
            {name: scores for name, scores in found.items() if len(scores)},
            label="imagined distance beyond success (mm)",
            of="trials",
        )
    }
    if names := [name for name in metrics if name.startswith("sensitivity/")]:
        shown["sensitivity"] = figures.forest(
            names,
            [metrics[name].value for name in names],
            [metrics[name].ci95 for name in names],
            label="imagined over true deviation of the tool",
            reference=1.0,
        )
    return shown
