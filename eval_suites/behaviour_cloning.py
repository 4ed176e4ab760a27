"""Behaviour cloning from video without action labels (paper Appendix E)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure

from genie_robo.eval_suites import figures
from genie_robo.eval_suites.base import EvalContext, SuiteResult, why_unavailable
from genie_robo.eval_suites.rollouts import frame_size
from genie_robo.eval_suites.settings import BehaviourCloningSettings
from genie_robo.eval_suites.simulated.cloned_policy import clone_actions, clone_codes
from genie_robo.eval_suites.simulated.cloning_task import (
    Act,
    CloningTask,
    Demonstration,
    goal_of,
    privileged,
)
from genie_robo.eval_suites.table import Interval, Measurement, Sums, Table, UnavailableError
from genie_robo.inference.action_map import ActionDictionary
from genie_robo.progress import progress_bar
from genie_robo.sim.actions import ACTION_HIGH, ACTION_LOW
from genie_robo.sim.policies import make_policy
from genie_robo.sim.restore import stored_scene
from genie_robo.sim.tabletop import Tabletop

LATENT, LABELS_ONLY, ORACLE, EXPERT, RANDOM = "latent", "labels_only", "oracle", "expert", "random"
FAST_EPISODES, FAST_DEMONSTRATIONS, FAST_STEPS, FAST_LABELS = 4, 12, 40, (20,)
FIRST_DEMONSTRATION, FIRST_TRIAL = 1_000_000, 2_000_000
"""First seeds of scenes, so that demonstrations and trials share no scene."""


class _Steps(NamedTuple):
    """The steps of all demonstrations, one after the other."""

    frames: UInt8[np.ndarray, "n h w c"]
    goals: Float[np.ndarray, "n g"]
    codes: Int[np.ndarray, " n"]
    robot_actions: Float[np.ndarray, "n 7"]
    """Used only for the labelled steps and by the oracle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BehaviourCloning(BehaviourCloningSettings):
    """Success rate of a policy cloned from latent actions, by number of action labels."""

    summary: ClassVar[str] = (
        "whether a robot can learn a task from video, and how many labels it needs"
    )
    headline: ClassVar[Mapping[str, str]] = {"success": "share"}

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Record demonstrations, infer their codes, clone policies and try them."""
        if reason := why_unavailable(context.encoder):
            raise UnavailableError(reason)
        task, fast = self._task(context), context.fast
        demonstrations = self._demonstrate(
            task, FAST_DEMONSTRATIONS if fast else self.num_demonstrations, seed=context.seed
        )
        if not demonstrations:
            raise UnavailableError(f"the scripted expert solved no {self.task} episode")
        steps = _label(demonstrations, context)
        wanted = FAST_LABELS if fast else self.labels
        labels = sorted({min(count, len(steps.codes)) for count in wanted})
        policies = self._clone(steps, labels, context)
        table = self._try(task, policies, FAST_EPISODES if fast else self.num_trials, context.seed)
        result = SuiteResult.of(
            _measurements(table, labels, self._protocol(len(demonstrations), steps)),
            seed=context.seed,
            headline=(f"success/{labels[-1]}", *(f"success/{n}" for n in labels[:-1])),
            table=table,
            notes=(
                "All policies are given the goal: colour of the target box, direction of a push. "
                "The expert reads poses from the simulator, the cloned ones see pixels only.",
            ),
        )
        return replace(result, figures={"success": _figure(table, labels)})

    def _task(self, context: EvalContext) -> CloningTask:
        """The task with the robot, camera and rate of the run's dataset."""
        episode = context.recording(context.test, 0) if context.is_simulated else None
        if episode is None:
            raise UnavailableError(
                "the dataset holds no simulated scene, so there is no task to try policies in"
            )
        return CloningTask(
            name=self.task,
            robot=stored_scene(episode).robot,
            image_size=frame_size(context.test),
            control_hz=episode.control_hz / context.test.frame_stride,
            max_steps=self.max_steps,
            renderer=self.renderer,
        )

    def _demonstrate(self, task: CloningTask, count: int, *, seed: int) -> list[Demonstration]:
        first = FIRST_DEMONSTRATION + seed * count
        with progress_bar(f"{self.name}: demonstrate", total=count, unit="episodes") as advance:
            return task.demonstrate(range(first, first + count), advance)

    def _clone(self, steps: _Steps, labels: Sequence[int], context: EvalContext) -> dict[str, Act]:
        """Every policy by name."""
        num_steps = FAST_STEPS if context.fast else self.train_steps
        seed = context.seed
        chosen = np.random.default_rng(seed).permutation(len(steps.codes))
        total = num_steps * (2 + len(labels))
        with progress_bar(f"{self.name}: clone", total=total, unit="steps") as advance:

            def clone(rows: Int[np.ndarray, " n"]) -> Act:
                parts = (steps.frames[rows], steps.goals[rows], steps.robot_actions[rows])
                cloned = clone_actions(*parts, num_steps=num_steps, seed=seed, advance=advance)
                return lambda env, frame: _inside(cloned(frame, goal_of(env.scene.instruction)))

            choose = clone_codes(
                steps.frames,
                steps.goals,
                steps.codes,
                num_codes=context.encoder.num_codes,
                num_steps=num_steps,
                seed=seed,
                advance=advance,
            )
            policies: dict[str, Act] = {ORACLE: clone(np.arange(len(steps.codes)))}
            for count in labels:
                known = chosen[:count]
                dictionary = ActionDictionary.fit(
                    steps.codes[known],
                    steps.robot_actions[known],
                    num_codes=context.encoder.num_codes,
                )
                policies[f"{LATENT}/{count}"] = _through(dictionary, choose, seed=seed)
                policies[f"{LABELS_ONLY}/{count}"] = clone(known)
        space = np.random.default_rng(seed)
        policies[RANDOM] = lambda *_: space.uniform(ACTION_LOW, ACTION_HIGH)
        return policies

    def _try(self, task: CloningTask, policies: dict[str, Act], count: int, seed: int) -> Table:
        """Success of every policy in the same scenes, with a new expert in each."""
        seeds = range(FIRST_TRIAL + seed * count, FIRST_TRIAL + (seed + 1) * count)
        total = count * (1 + len(policies))
        with progress_bar(f"{self.name}: try", total=total, unit="episodes") as advance:
            solved = {name: task.try_policy(act, seeds, advance) for name, act in policies.items()}
            experts = [privileged(make_policy(self.task, seed=s, noise=0.0)) for s in seeds]
            pairs = zip(experts, seeds, strict=True)
            tried = [task.try_policy(expert, [s], advance) for expert, s in pairs]
        solved[EXPERT] = np.concatenate(tried)
        table = Table(
            [str(trial) for trial in range(count)] * len(solved),
            unit="trial",
            policy=np.repeat(list(solved), count).tolist(),
        )
        table.add("solved", np.concatenate(list(solved.values())))
        return table

    def _protocol(self, num_demonstrations: int, steps: _Steps) -> str:
        return (
            f"share of new {self.task} scenes that are solved within {self.max_steps} steps; a "
            "network from pixels and goal to latent actions is trained on "
            f"{num_demonstrations} videos of the expert ({len(steps.codes)} steps) with the codes "
            "of the latent action model; at run time a robot action is drawn from the labelled "
            "steps with the same code; interval of a proportion (Wilson) over scenes"
        )


def _label(demonstrations: Sequence[Demonstration], context: EvalContext) -> _Steps:
    """Steps with codes inferred from the frames alone."""
    codes = [context.encoder.encode(shown.window).codes for shown in demonstrations]
    return _Steps(
        frames=np.concatenate([shown.frames[:-1] for shown in demonstrations]),
        goals=np.concatenate(
            [np.tile(shown.goal, (len(shown.robot_actions), 1)) for shown in demonstrations]
        ),
        codes=np.concatenate(codes),
        robot_actions=np.concatenate([shown.robot_actions for shown in demonstrations]),
    )


def _through(
    dictionary: ActionDictionary, choose: Callable[[np.ndarray, np.ndarray], int], *, seed: int
) -> Act:
    """A latent action policy whose codes a dictionary maps to robot actions."""
    rng = np.random.default_rng(seed)

    def act(env: Tabletop, frame: UInt8[np.ndarray, "h w c"]) -> Float[np.ndarray, " 7"]:
        code = choose(frame, goal_of(env.scene.instruction))
        return _inside(dictionary.sample(np.array([code]), rng)[0])

    return act


def _inside(action: Float[np.ndarray, " 7"]) -> Float[np.ndarray, " 7"]:
    return np.clip(action, ACTION_LOW, ACTION_HIGH)


def _rate(table: Table, policy: str) -> Sums:
    """Share of scenes that a policy solves, with its Wilson interval."""
    solved = table.with_key("policy", policy).mean(["solved"])
    return replace(solved, interval=Interval.wilson)


def _measurements(table: Table, labels: Sequence[int], protocol: str) -> dict[str, Measurement]:
    return {
        f"success/{count}": Measurement(
            of=_rate(table, f"{LATENT}/{count}"),
            unit="share",
            protocol=f"{protocol}; {count} labelled steps",
            baselines={
                "random": _rate(table, RANDOM),
                "labels only": _rate(table, f"{LABELS_ONLY}/{count}"),
                "all labels": _rate(table, ORACLE),
            },
            ceiling=_rate(table, EXPERT),
        )
        for count in labels
    }


def _figure(table: Table, labels: Sequence[int]) -> Figure:
    """Success by number of labels; policies independent of it are horizontal lines."""
    (axes,) = figures.new_axes(1, width=7.0, height=4.5)
    for name, colour in ((LATENT, figures.BLUE), (LABELS_ONLY, figures.ORANGE)):
        rates = [_rate(table, f"{name}/{count}").estimate(seed=0) for count in labels]
        low, high = zip(*(rate.ci95 for rate in rates if rate.ci95), strict=True)
        axes.fill_between(labels, low, high, color=colour, alpha=0.15)
        values = [rate.value for rate in rates if rate.value is not None]
        axes.plot(labels, values, marker="o", color=colour, label=name.replace("_", " "))
    for name, style in ((EXPERT, "-"), (ORACLE, "--"), (RANDOM, ":")):
        rate = table.with_key("policy", name).columns["solved"].mean()
        axes.axhline(rate, color="black", linestyle=style, linewidth=1, label=name)
    axes.set_xscale("log")
    axes.set_xticks(labels, [str(n) for n in labels])
    axes.set_xlabel("steps with a robot action")
    axes.set_ylabel("share of scenes solved")
    axes.set_ylim(-0.03, 1.03)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figures.owner(axes)
