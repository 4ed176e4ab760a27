"""How well would a policy do, and which is better? Success in imagination against MuJoCo."""

import copy
import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float

from genie_robo.eval_suites.audit.checks import STATISTICS, Audit, audit
from genie_robo.eval_suites.audit.claims import claims
from genie_robo.eval_suites.audit.page import audit_figure, findings_table, policies_table
from genie_robo.eval_suites.audit.trials import Outcomes
from genie_robo.eval_suites.base import EvalContext, SuiteResult
from genie_robo.eval_suites.rollouts import frame_size
from genie_robo.eval_suites.settings import PANEL, Mode, PolicyEvaluationSettings
from genie_robo.eval_suites.simulated.cloning_task import CloningTask
from genie_robo.eval_suites.simulated.closed_loop import Played, follow, play, true_poses
from genie_robo.eval_suites.simulated.kept_trials import arrays_of, file_of
from genie_robo.eval_suites.simulated.panel import (
    CLONED,
    SCRIPTED,
    Cloning,
    cloned_policies,
    scripted,
)
from genie_robo.eval_suites.simulated.pose_reading import (
    PoseReader,
    fit_pose_readers,
    read_seen,
)
from genie_robo.eval_suites.simulated.trials import (
    POSE_EPISODES,
    Start,
    choose_starts,
    solved,
)
from genie_robo.eval_suites.simulated.truth import Poses
from genie_robo.eval_suites.table import Fixed, Measurement, Table, UnavailableError
from genie_robo.eval_suites.watching import watch
from genie_robo.inference.trust import WatchedWorld
from genie_robo.inference.world import RobotActions, World
from genie_robo.policy.find import find_policy
from genie_robo.policy.interface import Policy
from genie_robo.progress import progress_bar
from genie_robo.sim.mujoco_world import MujocoWorld
from genie_robo.types import XYZ

MOSTLY = 0.5
"""With a smaller share of trusted trials policies are not ranked."""
MIN_POLICIES = 6
"""Fewer can be ordered well by chance."""
FAST_DEMONSTRATIONS, FAST_TRAIN_STEPS = 24, 40
UNITS = {"pearson": "correlation", "spearman": "correlation", "mmrv": "success"}
BLIND = ("name", "motion")
"""Judges that see no pixels: a guess from the policy's name, and the mean length of its motions."""


class _Trial(NamedTuple):
    """One policy from one start, in both worlds."""

    policy: str
    start: Start
    imagined: Poses
    """Read from imagined frames; a box that is not seen there solves nothing."""
    read: Poses
    """Read from MuJoCo's frames in the same way: what perfect imagination would give."""
    true: Poses
    motion: float
    """Mean length of the tool's commanded motions in imagination (m)."""
    trust: float
    """Share of validation clips that are at least as strange; NaN where it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyEvaluation(PolicyEvaluationSettings):
    """Success of policies in imagination, against MuJoCo, with an audit of their ranking."""

    summary: ClassVar[str] = "whether policies do in imagination as they do in MuJoCo"
    headline: ClassVar[Mapping[str, str]] = UNITS | {"absolute_error": "success"}

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Let every policy act in MuJoCo and in imagination."""
        names = self._names()
        starts = choose_starts(
            context, tasks=self.tasks, num_episodes=self.num_starts, name=self.name
        )
        policies = self._find(names, context, starts)
        trials, arrays = self._try(context, policies, starts)
        table = _table(trials, names, min_trust=self.min_trust)
        audits, refusals = _audits(table), _refusals(table)
        result = SuiteResult.of(
            self._measurements(table, audits, refusals),
            seed=context.seed,
            headline=(
                *UNITS,
                "absolute_error",
                "trusted",
                *(f"pearson/{task}" for task in self.tasks),
            ),
            table=table,
            notes=_notes(audits[""], refusals),
        )
        sections = {"Policies": policies_table(audits[""])}
        if "" in refusals:  # success rates are kept, but nothing that ranks by them
            return replace(result, sections=sections, arrays=arrays)
        sections = {"Checks": findings_table(audits[""])} | sections
        ranked = {task: found for task, found in audits.items() if task not in refusals}
        return replace(
            result, figures={"policies": audit_figure(ranked)}, sections=sections, arrays=arrays
        )

    def _names(self) -> list[str]:
        """The policies to try, each once.

        Raises:
            UnavailableError: There are too few.
        """
        asked = [*self.policies, self.policy] if self.policy else self.policies
        names = [*dict.fromkeys(asked)]
        if len(names) < MIN_POLICIES:
            raise UnavailableError(
                f"insufficient: {len(names)} policies, and fewer than {MIN_POLICIES} can be "
                "ordered well by chance"
            )
        return names

    def _find(
        self, names: Sequence[str], context: EvalContext, starts: Sequence[Start]
    ) -> dict[str, Policy]:
        """Policies by name; networks are trained only if one of theirs is asked for."""
        scene, prompt = starts[0].scene, starts[0].prompt
        others = [name for name in names if name not in PANEL]
        found = {name: find_policy(name, known=PANEL) for name in others}
        found |= {n: scripted(n, robot=scene.robot) for n in names if n in SCRIPTED}
        if any(name in CLONED for name in names):
            tasks = [
                CloningTask(
                    name=task,
                    robot=scene.robot,
                    image_size=frame_size(context.test),
                    control_hz=prompt.control_hz,
                    max_steps=self.horizon + 5,
                    renderer=self.renderer,
                )
                for task in self.tasks
            ]
            fast = context.fast
            cloning = Cloning(
                FAST_DEMONSTRATIONS if fast else self.num_demonstrations,
                FAST_TRAIN_STEPS if fast else self.train_steps,
                context.seed,
            )
            found |= cloned_policies(tasks, cloning, self.name)
        return {name: found[name] for name in names}

    def _try(
        self, context: EvalContext, policies: Mapping[str, Policy], starts: Sequence[Start]
    ) -> tuple[list[_Trial], dict[str, Mapping[str, np.ndarray]]]:
        """Every policy from every start, in MuJoCo and in imagination, and what is kept of it."""
        readers = fit_pose_readers(context, max_episodes=POSE_EPISODES, description=self.name)
        watched, num_steps = _watched(context), min(self.horizon, context.num_frames - 1)
        trials, arrays = [], {}
        total = 2 * len(policies) * len(starts)
        with progress_bar(f"{self.name}: try", total=total, unit="trials") as advance:
            for name, policy in policies.items():
                batches: tuple[list[Played], list[Played]] = ([], [])
                for first in range(0, len(starts), self.batch_size):
                    some = starts[first : first + self.batch_size]
                    seeds = [start.seed(context.seed) for start in some]
                    how = {"num_steps": num_steps, "seeds": seeds, "name": name}
                    with closing(MujocoWorld(renderer=self.renderer)) as simulator:
                        real = play(
                            policy, simulator, lambda _, now=simulator: true_poses(now), some, **how
                        )
                    advance(len(some))
                    world = copy.copy(watched)
                    dream = self._imagine(policy, world, readers.of(world), some, real, **how)
                    trust = self._trust(watched, dream)
                    advance(len(some))
                    batches[0].append(dream)
                    batches[1].append(real)
                    trials += [
                        _Trial(
                            name,
                            start,
                            dream.poses[row],
                            read_seen(readers.recorded, real.video[row]),
                            real.poses[row],
                            float(_lengths(dream.robot_actions[row]).mean()),
                            float(trust[row]),
                        )
                        for row, start in enumerate(some)
                    ]
                arrays[file_of(name)] = arrays_of(starts, *batches)
        return trials, arrays

    def _imagine(
        self,
        policy: Policy,
        world: World,
        reader: PoseReader,
        starts: Sequence[Start],
        real: Played,
        *,
        num_steps: int,
        seeds: Sequence[int],
        name: str,
    ) -> Played:
        """The policy in imagination, or its actions in MuJoCo imagined."""
        read = partial(read_seen, reader)
        if self.mode is Mode.closed_loop:
            how = {"num_steps": num_steps, "seeds": seeds, "name": name}
            return play(policy, world, read, starts, poses_are_read=True, **how)
        return follow(real.robot_actions, world, read, starts, seeds=seeds)

    def _trust(self, world: World, dream: Played) -> Float[np.ndarray, " b"]:
        """Trust in each trial; NaN where the world does not say, or has too few clips to say."""
        unknown = np.full(len(dream.poses), math.nan)
        if dream.trust is None:
            return unknown
        if not isinstance(world, WatchedWorld):
            return dream.trust.min(axis=1)
        usual = world.usual[RobotActions]
        least_possible = 1 / (usual.num_clips + 1)
        return usual.trust_in_rollouts(dream.trust) if least_possible < self.min_trust else unknown

    def _measurements(
        self, table: Table, audits: Mapping[str, Audit], refusals: Mapping[str, str]
    ) -> dict[str, Measurement]:
        """Agreement over policies, of all trials, of each task and of the trusted trials.

        Where there is a refusal, ranks are undefined for this reason.
        """
        protocol = self._protocol()
        found: dict[str, Measurement] = {}
        for task, one in audits.items():
            part = table.with_key("task", task) if task else table
            found |= _agreement(part, one, f"/{task}" if task else "", protocol)
        known = np.isfinite(table.columns["trusted"])
        trusted = table.where(table.columns["trusted"] > 0)
        meaning = (
            f"trials that are not stranger than {1 - self.min_trust:.0%} of validation clips, each "
            "by its least trusted frame"
        )
        found["trusted"] = Measurement(
            of=table.mean(["trusted"]) if known.any() else None,
            unit="share",
            protocol=f"{meaning}; {protocol}",
            reason="this world does not say how far its frames can be trusted, or there are too "
            "few validation clips",
        )
        if len(set(trusted.keys["policy"])) >= MIN_POLICIES:
            only = f"only {meaning}; {protocol}"
            found |= _agreement(trusted, _audit(trusted), "/trusted", only)
        for name in found:
            statistic, _, task = name.partition("/")
            reason = refusals.get("") or refusals.get(task)
            if reason and statistic in STATISTICS:
                found[name] = replace(found[name], of=None, reason=reason)
        return found

    def _protocol(self) -> str:
        seen = (
            "policies see imagined frames and act on them"
            if self.mode is Mode.closed_loop
            else "the actions that policies take in MuJoCo are imagined"
        )
        return (
            f"the same policies, starts, tasks and seeds in MuJoCo and in imagination: {seen}; "
            "success within the horizon by MuJoCo's state there, and by the same rule on poses "
            "read from imagined frames here; interval over policies and starts, drawn together; "
            "ceiling: the same rule on poses read from MuJoCo's frames; baselines see no pixels: "
            "the order of the policies' names from good to bad, and the mean length of their "
            "motions"
        )


def _refusals(table: Table) -> dict[str, str]:
    """Why policies are not ranked over all trials, under "", and in single tasks."""
    found = {}
    for task, part in _parts(table).items():
        trusted = part.columns["trusted"]
        share = trusted[np.isfinite(trusted)].mean() if np.isfinite(trusted).any() else 1.0
        if share < MOSTLY:
            found[task] = (
                f"Policies are not ranked{f' in {task}' if task else ''}: {1 - share:.0%} of the "
                "trials are stranger in imagination than nearly all validation clips"
            )
    return found


def _notes(found: Audit, refusals: Mapping[str, str]) -> tuple[str, ...]:
    said = [refusals[""]] if "" in refusals else [*claims(found), *refusals.values()]
    return tuple(f"{sentence}." for sentence in said)


def _watched(context: EvalContext) -> World:
    """The world under watch where that is possible."""
    try:
        return watch(context)
    except UnavailableError:
        return context.robot_world


def _lengths(robot_actions: Float[np.ndarray, "n 7"]) -> Float[np.ndarray, " n"]:
    return np.linalg.norm(robot_actions[:, XYZ], axis=-1)


def _table(trials: Sequence[_Trial], names: Sequence[str], *, min_trust: float) -> Table:
    """A row for each trial, in the columns that `genie-robo audit` reads."""
    table = Table(
        [trial.start.prompt.name for trial in trials],
        unit="trial",
        task=[trial.start.scene.task for trial in trials],
        policy=[trial.policy for trial in trials],
    )
    for column, poses, given in (
        ("predicted", "imagined", False),
        ("read", "read", False),
        ("true", "true", True),
    ):
        frames = [solved(getattr(trial, poses), trial.start.scene) for trial in trials]
        table.add(column, np.array([is_solved.any() for is_solved in frames]), given=given)
        table.add(f"{column}_share", np.array([is_solved.mean() for is_solved in frames]))
    order = [name for name in PANEL if name in names] + [n for n in names if n not in PANEL]
    guess = dict(zip(order, np.linspace(1, 0, len(order)), strict=True))
    table.add("blind_name", np.array([guess[trial.policy] for trial in trials]), given=True)
    table.add("blind_motion", np.array([trial.motion for trial in trials]))
    trust = np.array([trial.trust for trial in trials])
    table.add("trust", trust)
    table.add("trusted", np.where(np.isfinite(trust), trust >= min_trust, np.nan))
    return table


def _parts(table: Table) -> dict[str, Table]:
    """All trials under "", and those of each task where there are several."""
    tasks = list(dict.fromkeys(table.keys["task"]))
    parts = {str(task): table.with_key("task", task) for task in tasks}
    return {"": table} | (parts if len(tasks) > 1 else {})


def _audits(table: Table) -> dict[str, Audit]:
    return {task: _audit(part) for task, part in _parts(table).items()}


def _audit(table: Table) -> Audit:
    """The audit of a table of trials."""
    trials = zip(table.keys["task"], table.episodes, strict=True)
    return audit(
        Outcomes(
            policy=[str(name) for name in table.keys["policy"]],
            trial=[f"{task}/{episode}" for task, episode in trials],
            start=table.episodes,
            predicted=table.columns["predicted"],
            true=table.columns["true"],
            blind={name: table.columns[f"blind_{name}"] for name in BLIND},
        )
    )


def _agreement(table: Table, one: Audit, suffix: str, protocol: str) -> dict[str, Measurement]:
    """The numbers of one audit."""
    parts = [table.with_key("policy", policy) for policy in one.policies]
    read, true = (np.array([p.columns[name].mean() for p in parts]) for name in ("read", "true"))
    found = {}
    for name, statistic in STATISTICS.items():
        finding, ceiling = one.findings[name], float(statistic(read, true))
        found[name + suffix] = Measurement(
            of=Fixed(table, finding.value, ci95=finding.over_both),
            unit=UNITS[name],
            protocol=f"agreement over policies of their mean success; {protocol}",
            baselines={f"blind_{judge}": finding.blind[judge] for judge in BLIND},
            ceiling=ceiling if math.isfinite(ceiling) else None,
            reason="all policies have the same success, in MuJoCo or in imagination",
        )
    meanings = {
        "absolute_error": (one.absolute_error, "mean over policies of |imagined - true success|"),
        "bias": (one.bias, "mean imagined minus mean true success"),
    }
    return found | {
        name + suffix: Measurement(
            of=Fixed(table, value), unit="success", protocol=f"{meaning}; {protocol}"
        )
        for name, (value, meaning) in meanings.items()
    }
