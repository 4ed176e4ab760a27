"""Policies by name, seeded: experts, a random one, and deliberately bad ones to rank below them.

Policies are privileged: they read poses from the simulator, never pixels.
"""

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float

from genie_robo.sim.experts import Pick, Push, Reach
from genie_robo.sim.script import (
    NO_TURN,
    OPEN,
    STEP,
    Action,
    Script,
    random_direction,
)
from genie_robo.sim.tabletop import Tabletop

T = TypeVar("T")


@runtime_checkable
class Policy(Protocol):
    """Chooses the next 7-D action from the environment's state."""

    def act(self, env: Tabletop) -> Action:
        """The action for the current step."""
        ...


class Random(Script):
    """Isotropic motion held for one to three steps, now and then a touch of a box."""

    def _script(self, env: Tabletop) -> Iterator[Action]:
        rng = self._rng
        while True:
            if rng.random() < 0.12:
                yield from self._touch(env)
                continue
            delta = random_direction(rng) * rng.uniform(*STEP)
            if rng.random() < 0.1:
                self._gripper = 1 - self._gripper
            turn = self._turn(env) if rng.random() < 0.1 else NO_TURN
            for _ in range(rng.choice(3, p=(0.6, 0.28, 0.12)) + 1):
                delta = _reflect(env, delta)
                yield self._move(env, delta, turn=turn)
                turn = NO_TURN

    def _turn(self, env: Tabletop) -> Float[np.ndarray, " 3"]:
        """To a new yaw, more rarely to a new roll or pitch."""
        axis = self._rng.choice(3, p=(0.2, 0.2, 0.6))
        turn = np.zeros(3)
        limit = 0.75 * env.robot.rotation_limit[axis]
        turn[axis] = np.clip(self._rng.uniform(-limit, limit) - env.pose[3 + axis], -0.3, 0.3)
        return turn

    def _touch(self, env: Tabletop) -> Iterator[Action]:
        box = env.box_position(int(self._rng.integers(len(env.scene.boxes))))
        goal = box + np.array([*self._rng.normal(0, 0.02, size=2), 0.01])
        yield from self._reach(env, goal, detours=0.2, tolerance=0.02, limit=5)


class Idle(Script):
    """Never moves."""

    def _script(self, env: Tabletop) -> Iterator[Action]:
        while True:
            yield self._move(env, np.zeros(3))


class Jitter(Script):
    """Trembles around the start."""

    def _script(self, env: Tabletop) -> Iterator[Action]:
        start = env.pose[:3]
        while True:
            yield self._move(env, start - env.pose[:3] + self._rng.normal(0, 0.01, size=3))


class WrongWay(Script):
    """Flees from the target box."""

    def _script(self, env: Tabletop) -> Iterator[Action]:
        while True:
            away = env.pose[:3] - env.box_position(env.scene.target)
            yield self._move(env, away / max(float(np.linalg.norm(away)), 1e-6) * 0.04)


class EmptyHanded(Pick):
    """Does everything a pick needs and never closes the gripper."""

    def act(self, env: Tabletop) -> Action:
        """A pick's next action with an open gripper."""
        action = super().act(env)
        action[6] = OPEN
        return action


POLICIES: dict[str, Callable[..., Policy]] = {
    "pick": Pick,
    "push": Push,
    "reach": Reach,
    "random": Random,
    "idle": Idle,
    "jitter": Jitter,
    "wrong_way": WrongWay,
    "empty_handed": EmptyHanded,
}


def make_policy(name: str, *, seed: int, noise: float = 1.0) -> Policy:
    """A policy by name; `noise` scales the detours of the experts (0: straight to the goal).

    Raises:
        ValueError: the policy is unknown.
    """
    if name not in POLICIES:
        raise ValueError(f"policy={name} is not known; choose one of {', '.join(POLICIES)}")
    return POLICIES[name](np.random.default_rng(seed), noise=noise)


def roll_policy(
    env: Tabletop,
    act: Callable[[Tabletop, T], Action],
    look: Callable[[Tabletop], T],
    *,
    num_actions: int,
    until: Callable[[Tabletop], bool] = lambda env: False,
) -> tuple[list[T], list[Action]]:
    """Let a policy act from the current state: what `look` sees, and the actions in between.

    `act` gets the environment and what was seen last. There are `num_actions` actions, fewer
    when `until` holds before.

    Raises:
        ValueError: an action is out of bounds.
    """
    seen, actions = [look(env)], []
    while len(actions) < num_actions and not until(env):
        actions.append(act(env, seen[-1]))
        env.advance(actions[-1])
        seen.append(look(env))
    return seen, actions


def _reflect(env: Tabletop, delta: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"]:
    """Flip the components that would leave the workspace."""
    goal = env.pose[:3] + delta
    is_out = (goal < env.robot.workspace_low) | (goal > env.robot.workspace_high)
    return np.where(is_out, -delta, delta)
