"""What scripted policies share: an episode written as a generator of motions."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float

from genie_robo.sim.tabletop import Tabletop

Action = Float[np.ndarray, " 7"]
OPEN, CLOSED = 1.0, 0.0
STEP = (0.032, 0.05)
"""Shortest and longest free motion in one step (m)."""
NO_TURN = (0.0, 0.0, 0.0)
CLEARANCE = 0.1
"""Height of the fingertips at which they pass over every box (m)."""


class Script(ABC):
    """A policy written as a generator that yields one action per step."""

    def __init__(self, rng: np.random.Generator, *, noise: float = 1.0) -> None:
        self._rng = rng
        self._noise = noise
        self._steps: Iterator[Action] | None = None
        self._gripper = OPEN

    def act(self, env: Tabletop) -> Action:
        """The next action of the script."""
        if self._steps is None:
            self._steps = self._script(env)
        return next(self._steps)

    @abstractmethod
    def _script(self, env: Tabletop) -> Iterator[Action]:
        """The actions of one episode, without an end."""

    def _move(
        self,
        env: Tabletop,
        delta: Float[np.ndarray, " 3"],
        *,
        turn: Sequence[float] | Float[np.ndarray, " 3"] = NO_TURN,
    ) -> Action:
        return np.array([*_inside(env, delta), *turn, self._gripper])

    def _hop(self, env: Tabletop, *, floor: float) -> Action:
        """A detour: a random direction at full speed, not below `floor`."""
        delta = random_direction(self._rng) * self._rng.uniform(*STEP)
        if env.pose[2] + delta[2] < floor:
            delta[2] = abs(delta[2])
        return self._move(env, delta)

    def _reach(
        self,
        env: Tabletop,
        goal: Float[np.ndarray, " 3"],
        *,
        detours: float = 0.0,
        tolerance: float = 0.006,
        yaw: float | None = None,
        limit: int = 14,
    ) -> Iterator[Action]:
        """Straight steps to a goal, with detours in random directions in between."""
        low, high = np.array(env.robot.workspace_low), np.array(env.robot.workspace_high)
        goal = np.clip(goal, low, high)
        for _ in range(limit):
            pose = env.pose
            offset = goal - pose[:3]
            distance = float(np.linalg.norm(offset))
            if distance < tolerance:
                return
            if self._rng.random() < detours * self._noise and distance > 0.03:
                yield self._hop(env, floor=CLEARANCE)
                continue
            length = min(distance, self._rng.uniform(*STEP))
            # No crumbs: a last step of a few millimetres shows no motion in the picture.
            if length < distance < length + 0.015:
                length = distance / 2 if distance > STEP[1] else distance
            delta = offset / distance * length
            if detours and length < distance:
                delta = delta + self._noise * self._rng.normal(0, 0.014, size=3)
            turn = 0.0 if yaw is None else float(np.clip(yaw - pose[5], -0.3, 0.3))
            if abs(turn) < 0.05:
                turn = 0.0
            yield self._move(env, _shorten(delta), turn=(0.0, 0.0, turn))


def random_direction(rng: np.random.Generator) -> Float[np.ndarray, " 3"]:
    """A unit vector, all directions alike."""
    direction = rng.normal(size=3)
    return direction / np.linalg.norm(direction)


def _shorten(delta: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"]:
    return delta * min(1.0, STEP[1] / max(float(np.linalg.norm(delta)), 1e-9))


def _inside(env: Tabletop, delta: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"]:
    """The part of a motion that stays in the workspace."""
    position = env.pose[:3]
    low, high = np.array(env.robot.workspace_low), np.array(env.robot.workspace_high)
    return np.clip(np.clip(position + delta, low, high) - position, -0.05, 0.05)
