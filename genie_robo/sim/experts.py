"""Scripted experts, one per task; each goes on with the other boxes when its task is solved."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from genie_robo.sim.scene import DIRECTIONS
from genie_robo.sim.script import CLEARANCE, CLOSED, OPEN, STEP, Action, Script
from genie_robo.sim.tabletop import Tabletop


class Reach(Script):
    """Lowers the tool onto the target box without touching it, then onto the other boxes."""

    def _script(self, env: Tabletop) -> Iterator[Action]:
        target = env.scene.target
        while True:
            top = env.box_position(target)[2] + env.scene.boxes[target].half_size[2]
            above = env.box_position(target) * [1, 1, 0]
            yield from self._reach(env, _raised(above, CLEARANCE), detours=0.3)
            yield from self._reach(env, _raised(above, top + 0.015), limit=5)
            up = _raised(env.pose[:3], self._rng.uniform(0.05, 0.09))
            yield from self._reach(env, up, tolerance=0.02, limit=4)
            others = [i for i in range(len(env.scene.boxes)) if i != target]
            target = int(self._rng.choice(others))


class Pick(Script):
    """Picks the target box up, sets it down elsewhere, and goes on with the other boxes."""

    def _script(self, env: Tabletop) -> Iterator[Action]:
        target = env.scene.target
        while True:
            yield from self._pick(env, target)
            yield from self._place(env, target)
            others = [i for i in range(len(env.scene.boxes)) if i != target]
            target = int(self._rng.choice(others))

    def _pick(self, env: Tabletop, target: int) -> Iterator[Action]:
        self._gripper = OPEN
        yaw = _aligned_yaw(env, target)
        hover = _raised(env.box_position(target), self._rng.uniform(0.06, 0.08))
        yield from self._reach(env, hover, detours=0.3, yaw=yaw)
        grasp = _raised(env.box_position(target), -0.004)
        yield from self._reach(env, grasp, tolerance=0.004, yaw=yaw, limit=5)
        self._gripper = CLOSED
        yield self._move(env, np.zeros(3))

    def _place(self, env: Tabletop, target: int) -> Iterator[Action]:
        up = _raised(env.pose[:3], self._rng.uniform(0.09, 0.12))
        yield from self._reach(env, up, tolerance=0.015, limit=4)
        spot = _free_spot(env, self._rng, besides=target)
        yield from self._reach(env, np.array([*spot, up[2]]), detours=0.3)
        height = env.scene.boxes[target].half_size[2]
        yield from self._reach(env, np.array([*spot, height + 0.002]), tolerance=0.01, limit=5)
        self._gripper = OPEN
        yield self._move(env, np.zeros(3))
        away = _raised(env.pose[:3], self._rng.uniform(0.07, 0.11))
        yield from self._reach(env, away, tolerance=0.02, limit=4)


class Push(Script):
    """Pushes the target box where the task says, then boxes in random directions."""

    def _script(self, env: Tabletop) -> Iterator[Action]:
        target, direction = env.scene.target, env.scene.direction
        while True:
            yield from self._push(env, target, np.array([*DIRECTIONS[direction], 0.0]))
            target = int(self._rng.integers(len(env.scene.boxes)))
            direction = _roomy_direction(env, target, self._rng)

    def _push(
        self, env: Tabletop, target: int, direction: Float[np.ndarray, " 3"]
    ) -> Iterator[Action]:
        self._gripper = CLOSED
        behind = (env.box_position(target) - direction * 0.055)[:2]
        yield from self._reach(env, np.array([*behind, CLEARANCE]), detours=0.3)
        yield from self._reach(env, np.array([*behind, 0.02]), tolerance=0.012, limit=5)
        for _ in range(int(self._rng.integers(3, 5))):
            across = env.box_position(target) - env.pose[:3]
            across = (across - direction * (across @ direction)) * [1, 1, 0]
            yield self._move(env, direction * self._rng.uniform(*STEP) + across)
        up = _raised(env.pose[:3], self._rng.uniform(0.07, 0.12))
        yield from self._reach(env, up, tolerance=0.02, limit=4)


def _raised(point: Float[np.ndarray, " 3"], height: float) -> Float[np.ndarray, " 3"]:
    return point + np.array([0.0, 0.0, height])


def _aligned_yaw(env: Tabletop, box: int) -> float:
    """The smallest tool yaw whose fingers are parallel to the box's faces."""
    quarter = np.pi / 2
    return float((env.box_yaw(box) + quarter / 2) % quarter - quarter / 2)


def _free_spot(env: Tabletop, rng: np.random.Generator, *, besides: int) -> Float[np.ndarray, " 2"]:
    """A place on the table away from the other boxes, the best of some tries."""
    others = [env.box_position(i)[:2] for i in range(len(env.scene.boxes)) if i != besides]
    candidates = rng.uniform(-0.11, 0.11, size=(20, 2))
    room = np.min([np.linalg.norm(candidates - other, axis=1) for other in others], axis=0)
    free = candidates[room > 0.09]
    return free[0] if len(free) else candidates[room.argmax()]


def _roomy_direction(env: Tabletop, box: int, rng: np.random.Generator) -> str:
    """A push direction that keeps the box in the workspace, at random among those that do."""
    position = env.box_position(box)[:2]
    names = sorted(DIRECTIONS)
    ends = [float(np.abs(position + 0.1 * np.array(DIRECTIONS[n])).max()) for n in names]
    roomy = [name for name, end in zip(names, ends, strict=True) if end < 0.12]
    return str(rng.choice(roomy or [names[int(np.argmin(ends))]]))
