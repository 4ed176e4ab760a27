"""Does imagination rank policies correctly? Imagined values against those in MuJoCo."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from eval_suites import figures
from eval_suites.base import EvalContext, SuiteResult
from eval_suites.metrics.ranking import mmrv, pearson, spearman
from eval_suites.rollouts import stable_seed
from eval_suites.simulated.trials import (
    Act,
    Readings,
    Trial,
    TrialSuite,
    margins,
    solved,
)
from eval_suites.statistics import notes_on_units
from eval_suites.table import Measurement, Sums, Table, UnavailableError
from genie_robo.inference.world import Prompt
from genie_robo.sim.actions import ACTION_HIGH, ACTION_LOW
from genie_robo.sim.policies import make_policy
from genie_robo.sim.tabletop import Tabletop

EXPERT = "expert"
POLICIES: Mapping[str, tuple[str, float]] = {
    "expert": (EXPERT, 0.0),
    "expert_20": (EXPERT, 0.2),
    "expert_40": (EXPERT, 0.4),
    "expert_60": (EXPERT, 0.6),
    "empty_handed": ("empty_handed", 0.0),
    "random": ("random", 0.0),
    "jitter": ("jitter", 0.0),
    "idle": ("idle", 0.0),
    "wrong_way": ("wrong_way", 0.0),
}
"""From good to bad: a scripted policy (the expert is that of the task), and the share of its
actions that are replaced by random ones."""
MIN_POLICIES = 6
STATISTICS = {"pearson": pearson, "spearman": spearman, "mmrv": mmrv}
UNITS = {"pearson": "correlation", "spearman": "correlation", "mmrv": "success"}
WHO = ("imagined", "read", "true")
"""Source of success: poses read from imagined or from MuJoCo's frames, or MuJoCo's state."""
VALUES = {
    "success": "share of starts from which the task is solved within the horizon",
    "return": "share of frames in which the task is solved",
}
PROTOCOL = (
    "policies act in MuJoCo from the first frame of test episodes, whose task is replaced by each "
    "of the tasks; the world model imagines the same robot actions from the same frame; whether a "
    "task is solved is decided by MuJoCo's state, and in imagination by the same rule on poses "
    "read from imagined frames by a regression fitted to real frames; the ceiling uses poses read "
    "from MuJoCo's own frames; interval over test episodes, all policies resampled together"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRanking(TrialSuite):
    """Pearson, Spearman and MMRV of imagined against true success of policies."""

    name: ClassVar[str] = "policy_ranking"
    summary: ClassVar[str] = "whether imagination ranks policies as MuJoCo does"
    headline: ClassVar[Mapping[str, str]] = {f"success/{n}": unit for n, unit in UNITS.items()}

    policies: Sequence[str] = field(default_factory=lambda: list(POLICIES))

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Try every policy in MuJoCo and in imagination."""
        self._check_policies()
        trials = self.try_policies(context, partial(self._policies, context.seed))
        table = _table(trials, self.read(context, trials))
        result = SuiteResult.of(
            _measurements(table, self.tasks),
            seed=context.seed,
            headline=tuple(self.headline),
            table=table,
            notes=(
                f"{len(self.policies)} policies, {len(self.tasks)} tasks, {table.num_episodes} "
                "starts each. Policies act in MuJoCo, and their actions are imagined: they do not "
                "see imagined frames.",
                *notes_on_units(table.num_episodes),
            ),
        )
        return replace(result, figures={"ranking": self._figure(table)})

    def _check_policies(self) -> None:
        if len(self.policies) < MIN_POLICIES:
            raise UnavailableError(
                f"insufficient: {len(self.policies)} policies, and fewer than {MIN_POLICIES} can "
                "be ordered well by chance"
            )
        if unknown := sorted(set(self.policies) - set(POLICIES)):
            raise ValueError(
                f"suite.policy_ranking.policies={unknown} are not known; choose from "
                f"{', '.join(POLICIES)}"
            )

    def _policies(
        self, seed: int, prompt: Prompt, task: str, num_steps: int
    ) -> list[tuple[str, Act]]:
        seed = stable_seed(seed, prompt.name)
        return [(policy, _acting(policy, task, seed=seed)) for policy in self.policies]

    def _figure(self, table: Table) -> Figure:
        panels = figures.new_axes(len(self.tasks), width=4.5 * len(self.tasks))
        for axes, task in zip(panels, self.tasks, strict=True):
            axes.plot([0, 1], [0, 1], color="#BBBBBB", linewidth=1)
            for n, policy in enumerate(self.policies):
                rows = table.with_key("task", task).with_key("policy", policy)
                x, y = (rows.columns[f"success_{who}"].mean() for who in ("true", "imagined"))
                axes.scatter(x, y, label=policy, marker=f"${n + 1}$", s=90, color=f"C{n}")
            axes.set(xlabel="success in MuJoCo", ylabel="success in imagination", title=task)
            axes.set(xlim=(-0.05, 1.15), ylim=(-0.05, 1.1))
        panels[0].legend(fontsize=8, frameon=False)
        return figures.owner(panels[0])


def _acting(policy: str, task: str, *, seed: int) -> Act:
    """A policy of POLICIES."""
    base, share = POLICIES[policy]
    scripted = make_policy(task if base == EXPERT else base, seed=seed, noise=0.0)
    rng = np.random.default_rng(stable_seed("replaced", seed, policy))

    def act(env: Tabletop) -> Float[np.ndarray, " 7"]:
        chosen = scripted.act(env)
        return rng.uniform(ACTION_LOW, ACTION_HIGH) if rng.random() < share else chosen

    return act


def _table(trials: Sequence[Trial], readings: Readings) -> Table:
    """Success and return of every trial."""
    imagined, read = (margins(trials, poses) > 0 for poses in readings)
    is_solved = dict(zip(WHO, (imagined, read, solved(trials)), strict=True))
    table = Table(
        [trial.prompt.name for trial in trials],
        task=[trial.scene.task for trial in trials],
        policy=[trial.name for trial in trials],
    )
    for who, frames in is_solved.items():
        table.add(f"success_{who}", np.any(frames, axis=1), given=who == "true")
        table.add(f"return_{who}", frames.mean(axis=1), given=who == "true")
    return table


def _measurements(table: Table, tasks: Sequence[str]) -> dict[str, Measurement]:
    """Measurements by value, statistic and task; `same_reader` reads MuJoCo's frames as well."""
    found = {}
    parts = {"": table} | {f"/{task}": table.with_key("task", task) for task in tasks}
    for (value, meaning), (suffix, part) in product(VALUES.items(), parts.items()):
        imagined, read, true = (part.columns[f"{value}_{who}"] for who in WHO)
        readers = {
            "": (true, ""),
            "/same_reader": (read, ", with MuJoCo's values read from its frames too"),
        }
        for (name, statistic), (reader, (real, how)) in product(
            STATISTICS.items(), readers.items()
        ):
            found[f"{value}/{name}{reader}{suffix}"] = Measurement(
                of=_ranking(part, imagined, real, statistic),
                unit=UNITS[name],
                protocol=f"{name} of {meaning}{how}; {PROTOCOL}",
                baselines={"all_equal": _ranking(part, np.zeros(len(part)), real, statistic)},
                ceiling=_ranking(part, read, real, statistic),
                reason="all policies have the same value, in MuJoCo or in imagination",
            )
    return found


def _ranking(
    table: Table,
    predicted: Float[np.ndarray, " n"],
    real: Float[np.ndarray, " n"],
    statistic: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Sums:
    """The statistic over policies of their mean values over trials."""
    own = table.keys["policy"]
    is_policy = np.array([[policy == p for p in dict.fromkeys(own)] for policy in own], dtype=float)

    def over_policies(totals: Float[np.ndarray, "... 3 p"]) -> Float[np.ndarray, "..."]:
        first, second, count = (totals[..., row, :] for row in range(3))
        return statistic(first / count, second / count)

    values = np.stack([predicted, real, np.ones(len(table))], axis=1)
    return Sums(table, values[:, :, None] * is_policy[:, None], over_policies)
