"""Policies to judge: scripted ones that see poses, cloned ones that see pixels, and flawed ones."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from genie_robo.eval_suites.simulated.cloned_policy import clone_actions
from genie_robo.eval_suites.simulated.cloning_task import CloningTask, Demonstration, goal_of
from genie_robo.policy.interface import Observation, Policy
from genie_robo.policy.scripted import EXPERT, ScriptedPolicy
from genie_robo.progress import Advance, progress_bar
from genie_robo.sim.actions import ACTION_HIGH, ACTION_LOW
from genie_robo.sim.scene import read_instruction

FIRST_DEMONSTRATION = 3_000_000
"""First seed of scenes of demonstrations: no trial and no other suite has them."""
OTHER_TASK = {"reach": "push", "push": "pick", "pick": "reach"}

Act = Callable[[np.ndarray, np.ndarray], Float[np.ndarray, " 7"]]
"""A network from frame and goal to a robot action."""


class Cloned:
    """A network that sees pixels and the instruction."""

    def __init__(self, act: Act, *, sees_colour: bool = True) -> None:
        self._act, self._sees_colour = act, sees_colour

    def reset(self, instruction: str, seed: int) -> None:
        """Note the goal."""
        self._goal = goal_of(instruction)

    def act(self, observation: Observation) -> Float[np.ndarray, " 7"]:
        """The network's action."""
        pixels = observation.pixels
        return self._act(pixels if self._sees_colour else grey(pixels), self._goal)


def grey(frames: UInt8[np.ndarray, "*n 3"]) -> UInt8[np.ndarray, "*n 3"]:
    """Frames without colour."""
    return np.broadcast_to(frames.mean(-1, keepdims=True), frames.shape).astype(np.uint8)


def _begun(policy: Policy, instruction: str, seed: int) -> Policy:
    """A copy of a policy that has begun an episode: copies of what holds it share it."""
    policy = copy.copy(policy)
    policy.reset(instruction, seed)
    return policy


class Noisy:
    """A policy some of whose actions are replaced by random ones."""

    def __init__(self, policy: Policy, share: float) -> None:
        self._policy, self._share = policy, share

    def reset(self, instruction: str, seed: int) -> None:
        """Begin an episode."""
        self._policy = _begun(self._policy, instruction, seed)
        self._rng = np.random.default_rng((seed, 1))

    def act(self, observation: Observation) -> Float[np.ndarray, " 7"]:
        """The policy's action, or a random one."""
        action = self._policy.act(observation)
        if self._rng.random() < self._share:
            return self._rng.uniform(ACTION_LOW, ACTION_HIGH)
        return action


class Slow:
    """A policy that moves less far than it should."""

    def __init__(self, policy: Policy, factor: float) -> None:
        self._policy, self._factor = policy, np.array([factor] * 6 + [1.0])

    def reset(self, instruction: str, seed: int) -> None:
        """Begin an episode."""
        self._policy = _begun(self._policy, instruction, seed)

    def act(self, observation: Observation) -> Float[np.ndarray, " 7"]:
        """The policy's action, scaled down."""
        return self._policy.act(observation) * self._factor


class Late:
    """A policy that sees everything one step late."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def reset(self, instruction: str, seed: int) -> None:
        """Begin an episode."""
        self._policy = _begun(self._policy, instruction, seed)
        self._before: Observation | None = None

    def act(self, observation: Observation) -> Float[np.ndarray, " 7"]:
        """The action for the observation before."""
        seen, self._before = self._before or observation, observation
        return self._policy.act(seen)


class WrongTask:
    """A policy that misunderstands what to do with the box."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def reset(self, instruction: str, seed: int) -> None:
        """Begin an episode with another task for the same box."""
        goal = read_instruction(instruction)
        other = OTHER_TASK[goal.task]
        wrong = goal._replace(task=other, direction="left" if other == "push" else "")
        self._policy = _begun(self._policy, wrong.instruction, seed)

    def act(self, observation: Observation) -> Float[np.ndarray, " 7"]:
        """The action for the wrong task."""
        return self._policy.act(observation)


SCRIPTED = (
    "expert",
    "expert_20",
    "expert_40",
    "expert_60",
    "empty_handed",
    "random",
    "idle",
    "wrong_way",
)
CLONED = (
    "cloned",
    "cloned_third",
    "cloned_tenth",
    "cloned_short",
    "cloned_colour_blind",
    "cloned_20",
    "cloned_40",
    "cloned_slow",
    "cloned_late",
    "cloned_wrong_task",
)


class Cloning(NamedTuple):
    """How the policies that see pixels are trained."""

    num_demonstrations: int
    """Over all tasks."""
    train_steps: int
    seed: int


def scripted(name: str, *, robot: str) -> Policy:
    """A policy of SCRIPTED; a number is the percentage of random actions."""
    base, _, percent = name.partition("_") if name.startswith(EXPERT) else (name, "", "")
    return ScriptedPolicy(base, robot=robot, random_share=int(percent or 0) / 100)


def cloned_policies(tasks: Sequence[CloningTask], cloning: Cloning, name: str) -> dict[str, Policy]:
    """The policies of CLONED, trained on demonstrations of scripted experts."""
    shown = _demonstrate(tasks, cloning, name)
    few = max(1, len(shown) // 10)
    plans: Mapping[str, tuple[int, int, bool]] = {
        "cloned": (len(shown), cloning.train_steps, True),
        "cloned_third": (max(1, len(shown) // 3), cloning.train_steps, True),
        "cloned_tenth": (few, cloning.train_steps, True),
        "cloned_short": (len(shown), max(1, cloning.train_steps // 10), True),
        "cloned_colour_blind": (len(shown), cloning.train_steps, False),
    }
    total = sum(steps for _, steps, _ in plans.values())
    with progress_bar(f"{name}: clone", total=total, unit="steps") as advance:
        found: dict[str, Policy] = {
            policy: _clone(
                shown[:count],
                num_steps=steps,
                sees_colour=sees_colour,
                seed=cloning.seed,
                advance=advance,
            )
            for policy, (count, steps, sees_colour) in plans.items()
        }
    cloned = found["cloned"]
    return found | {
        "cloned_20": Noisy(cloned, 0.2),
        "cloned_40": Noisy(cloned, 0.4),
        "cloned_slow": Slow(cloned, 0.5),
        "cloned_late": Late(cloned),
        "cloned_wrong_task": WrongTask(cloned),
    }


def _demonstrate(tasks: Sequence[CloningTask], cloning: Cloning, name: str) -> list[Demonstration]:
    """Demonstrations of all tasks in turn."""
    count = -(-cloning.num_demonstrations // len(tasks))
    first = FIRST_DEMONSTRATION + cloning.seed * count
    total = count * len(tasks)
    with progress_bar(f"{name}: demonstrate", total=total, unit="episodes") as advance:
        by_task = [task.demonstrate(range(first, first + count), advance) for task in tasks]
    most = max(map(len, by_task))
    return [shown[n] for n in range(most) for shown in by_task if n < len(shown)]


def _clone(
    shown: Sequence[Demonstration],
    *,
    num_steps: int,
    sees_colour: bool,
    seed: int,
    advance: Advance,
) -> Policy:
    frames = np.concatenate([one.frames[:-1] for one in shown])
    goals = np.concatenate([np.tile(one.goal, (len(one.robot_actions), 1)) for one in shown])
    act = clone_actions(
        frames if sees_colour else grey(frames),
        goals,
        np.concatenate([one.robot_actions for one in shown]),
        num_steps=num_steps,
        seed=seed,
        advance=advance,
    )
    return Cloned(act, sees_colour=sees_colour)
