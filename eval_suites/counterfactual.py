"""Perturbed actions in MuJoCo and in imagination: does imagination predict their failures?"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from eval_suites import figures
from eval_suites.base import EvalContext, SuiteResult
from eval_suites.metrics.following import distance
from eval_suites.metrics.verdicts import auroc, gap, gap_terms, share_terms
from eval_suites.rollouts import stable_seed
from eval_suites.simulated.trials import (
    Act,
    Readings,
    Trial,
    TrialSuite,
    margins,
    restore_prompt,
)
from eval_suites.statistics import notes_on_units, ratio_of_sums
from eval_suites.table import Measurement, Metric, Sums, Table
from genie_robo.inference.world import Prompt
from genie_robo.sim.actions import ACTION_HIGH, ACTION_LOW
from genie_robo.sim.policies import make_policy, roll_policy

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterfactual(TrialSuite):
    """Optimism, pessimism, AUROC and sensitivity under perturbed actions."""

    name: ClassVar[str] = "counterfactual"
    summary: ClassVar[str] = "whether imagination predicts which actions would have failed"
    headline: ClassVar[Mapping[str, str]] = {name: unit for name, (unit, _) in MEANINGS.items()}

    severities: Sequence[float] = field(default_factory=lambda: [0.0, 0.25, 0.5, 1.0])
    """Shares of random motion in the actions; the first must be 0."""

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Execute perturbed actions in MuJoCo and imagine them."""
        if not self.severities or self.severities[0] != 0.0:
            raise ValueError(
                f"suite.counterfactual.severities={list(self.severities)} must begin with 0, the "
                "untouched actions that the others are compared with"
            )
        trials = self.try_policies(context, partial(self._perturbed_experts, context.seed))
        table = _table(trials, self.read(context, trials), self.severities)
        found = _measurements(table, self.severities)
        result = SuiteResult.of(
            found,
            seed=context.seed,
            headline=tuple(found),
            table=table,
            notes=(
                f"{len(trials)} trials from {table.num_episodes} test episodes; "
                f"{table.columns['success'].mean():.0%} of them succeed in MuJoCo.",
                *notes_on_units(table.num_episodes),
            ),
        )
        return replace(result, figures=_figures(result.metrics, table))

    def _perturbed_experts(
        self, seed: int, prompt: Prompt, task: str, num_steps: int
    ) -> Iterator[tuple[str, Act]]:
        """Policies that execute the expert's actions, perturbed at each severity."""
        seed = stable_seed(seed, prompt.name, task)
        expert = make_policy(task, seed=seed, noise=0.0)
        with closing(restore_prompt(prompt, task)) as env:
            _, actions = roll_policy(
                env, lambda env, _: expert.act(env), lambda _: None, num_actions=num_steps
            )
        for severity in self.severities:
            rng = np.random.default_rng(seed)
            perturbed = iter(perturb(np.stack(actions), severity, rng=rng))
            yield f"{severity:g}", lambda _, rest=perturbed: next(rest)


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


def _table(trials: Sequence[Trial], readings: Readings, severities: Sequence[float]) -> Table:
    # Trials of one start are consecutive, the untouched one first.
    count = len(severities)
    table = Table(
        [trial.prompt.name for trial in trials],
        task=[trial.scene.task for trial in trials],
        severity=[*severities] * (len(trials) // count),
    )
    table.add("success", np.array([trial.truth.is_solved[1:].any() for trial in trials]))
    for who, poses in (("imagined", readings.imagined), ("read", readings.true)):
        table.add(f"score_{who}_mm", margins(trials, poses).max(axis=1) * 1000.0)
    for who, poses in (("imagined", readings.imagined), ("true", readings.true)):
        untouched = [poses[m // count * count] for m in range(len(trials))]
        moved = [distance(a.tool, b.tool)[1:].sum() for a, b in zip(untouched, poses, strict=True)]
        table.add(f"apart_{who}_mm", np.array(moved), given=who == "true")
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
        )
    }
    if names := [name for name in metrics if name.startswith("sensitivity/")]:
        shown["sensitivity"] = figures.forest(
            names,
            [metrics[name].value for name in names],
            [metrics[name].ci95 for name in names],
            label="imagined over true deviation of the tool",
        )
    return shown
