"""Scripted policies by name, seeded: experts, a random one, and bad ones to rank below them.

They read poses, never pixels: those of the simulator, or any other view of the table.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float

from genie_robo.sim.robots import Robot
from genie_robo.sim.scene import DIRECTIONS, SceneSpec
from genie_robo.sim.tabletop import Tabletop

T = TypeVar("T")
Action = Float[np.ndarray, " 7"]
OPEN, CLOSED = 1.0, 0.0
STEP = (0.032, 0.05)
"""Shortest and longest free motion in one step (m)."""
NO_TURN = (0.0, 0.0, 0.0)
CLEARANCE = 0.1
"""Height of the fingertips at which they pass over every box (m)."""


@runtime_checkable
class View(Protocol):
    """What scripts know of the table, at the current moment; Tabletop is one."""

    @property
    def scene(self) -> SceneSpec:
        """Target, direction and boxes, whose positions here are those of the start."""
        ...

    @property
    def robot(self) -> Robot:
        """The robot's limits."""
        ...

    @property
    def pose(self) -> Float[np.ndarray, " 7"]:
        """Pose of the tool: x y z (m) roll pitch yaw (rad) gripper (1 = open)."""
        ...

    def box_position(self, index: int) -> Float[np.ndarray, " 3"]:
        """Centre of a box (m)."""
        ...

    def box_yaw(self, index: int) -> float:
        """Rotation of a box about the vertical (rad)."""
        ...


class Script(ABC):
    """A policy written as a generator that yields one action per step of a view."""

    def __init__(self, rng: np.random.Generator, *, noise: float = 1.0) -> None:
        self._rng = rng
        self._noise = noise
        self._steps: Iterator[Action] | None = None
        self._gripper = OPEN

    def act(self, view: View) -> Action:
        """The next action of the script."""
        if self._steps is None:
            self._steps = self._script(view)
        return next(self._steps)

    @abstractmethod
    def _script(self, view: View) -> Iterator[Action]:
        """The actions of one episode, without an end."""

    def _move(
        self,
        view: View,
        delta: Float[np.ndarray, " 3"],
        *,
        turn: Sequence[float] | Float[np.ndarray, " 3"] = NO_TURN,
    ) -> Action:
        return np.array([*_inside(view, delta), *turn, self._gripper])

    def _detour(self, view: View) -> Action:
        """A random direction at full speed, not below the height at which boxes are passed."""
        delta = _random_direction(self._rng) * self._rng.uniform(*STEP)
        if view.pose[2] + delta[2] < CLEARANCE:
            delta[2] = abs(delta[2])
        return self._move(view, delta)

    def _reach(
        self,
        view: View,
        goal: Float[np.ndarray, " 3"],
        *,
        detours: float = 0.0,
        tolerance: float = 0.006,
        yaw: float | None = None,
        limit: int = 14,
    ) -> Iterator[Action]:
        """Straight steps to a goal, with detours in random directions in between."""
        goal = np.clip(goal, view.robot.workspace_low, view.robot.workspace_high)
        for _ in range(limit):
            pose = view.pose
            offset = goal - pose[:3]
            distance = float(np.linalg.norm(offset))
            if distance < tolerance:
                return
            if self._rng.random() < detours * self._noise and distance > 0.03:
                yield self._detour(view)
                continue
            length = min(distance, self._rng.uniform(*STEP))
            # A last step of a few millimetres would show no motion in the image.
            if length < distance < length + 0.015:
                length = distance / 2 if distance > STEP[1] else distance
            delta = offset / distance * length
            if detours and length < distance:
                delta = delta + self._noise * self._rng.normal(0, 0.014, size=3)
            turn = 0.0 if yaw is None else float(np.clip(yaw - pose[5], -0.3, 0.3))
            if abs(turn) < 0.05:
                turn = 0.0
            delta *= min(1.0, STEP[1] / max(float(np.linalg.norm(delta)), 1e-9))
            yield self._move(view, delta, turn=(0.0, 0.0, turn))


def _random_direction(rng: np.random.Generator) -> Float[np.ndarray, " 3"]:
    """A unit vector, uniform on the sphere."""
    direction = rng.normal(size=3)
    return direction / np.linalg.norm(direction)


def _inside(view: View, delta: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"]:
    """The part of a motion that stays in the workspace."""
    position = view.pose[:3]
    goal = np.clip(position + delta, view.robot.workspace_low, view.robot.workspace_high)
    return np.clip(goal - position, -0.05, 0.05)


# Experts, one per task; when its task is solved each continues with the other boxes.


class Reach(Script):
    """Lowers the tool onto the target box without touching it, then onto the other boxes."""

    def _script(self, view: View) -> Iterator[Action]:
        target = view.scene.target
        while True:
            top = view.box_position(target)[2] + view.scene.boxes[target].half_size[2]
            above = view.box_position(target) * [1, 1, 0]
            yield from self._reach(view, _raised(above, CLEARANCE), detours=0.3)
            yield from self._reach(view, _raised(above, top + 0.015), limit=5)
            up = _raised(view.pose[:3], self._rng.uniform(0.05, 0.09))
            yield from self._reach(view, up, tolerance=0.02, limit=4)
            target = int(self._rng.choice(_other_boxes(view, target)))


class Pick(Script):
    """Picks the target box up and sets it down elsewhere, then the other boxes."""

    def _script(self, view: View) -> Iterator[Action]:
        target = view.scene.target
        while True:
            yield from self._pick(view, target)
            yield from self._place(view, target)
            target = int(self._rng.choice(_other_boxes(view, target)))

    def _pick(self, view: View, target: int) -> Iterator[Action]:
        self._gripper = OPEN
        yaw = _aligned_yaw(view, target)
        hover = _raised(view.box_position(target), self._rng.uniform(0.06, 0.08))
        yield from self._reach(view, hover, detours=0.3, yaw=yaw)
        grasp = _raised(view.box_position(target), -0.004)
        yield from self._reach(view, grasp, tolerance=0.004, yaw=yaw, limit=5)
        self._gripper = CLOSED
        yield self._move(view, np.zeros(3))

    def _place(self, view: View, target: int) -> Iterator[Action]:
        up = _raised(view.pose[:3], self._rng.uniform(0.09, 0.12))
        yield from self._reach(view, up, tolerance=0.015, limit=4)
        spot = self._free_spot(view, target)
        yield from self._reach(view, np.array([*spot, up[2]]), detours=0.3)
        height = view.scene.boxes[target].half_size[2]
        yield from self._reach(view, np.array([*spot, height + 0.002]), tolerance=0.01, limit=5)
        self._gripper = OPEN
        yield self._move(view, np.zeros(3))
        away = _raised(view.pose[:3], self._rng.uniform(0.07, 0.11))
        yield from self._reach(view, away, tolerance=0.02, limit=4)

    def _free_spot(self, view: View, target: int) -> Float[np.ndarray, " 2"]:
        """A place on the table away from the other boxes, the best of 20 tries."""
        others = [view.box_position(i)[:2] for i in _other_boxes(view, target)]
        candidates = self._rng.uniform(-0.11, 0.11, size=(20, 2))
        room = np.min([np.linalg.norm(candidates - other, axis=1) for other in others], axis=0)
        free = candidates[room > 0.09]
        return free[0] if len(free) else candidates[room.argmax()]


class Push(Script):
    """Pushes the target box in the direction of the task, then boxes in random directions."""

    def _script(self, view: View) -> Iterator[Action]:
        target, direction = view.scene.target, view.scene.direction
        while True:
            yield from self._push(view, target, np.array([*DIRECTIONS[direction], 0.0]))
            target = int(self._rng.integers(len(view.scene.boxes)))
            direction = _roomy_direction(view, target, self._rng)

    def _push(
        self, view: View, target: int, direction: Float[np.ndarray, " 3"]
    ) -> Iterator[Action]:
        self._gripper = CLOSED
        behind = (view.box_position(target) - direction * 0.055)[:2]
        yield from self._reach(view, np.array([*behind, CLEARANCE]), detours=0.3)
        yield from self._reach(view, np.array([*behind, 0.02]), tolerance=0.012, limit=5)
        for _ in range(int(self._rng.integers(3, 5))):
            across = view.box_position(target) - view.pose[:3]
            across = (across - direction * (across @ direction)) * [1, 1, 0]
            yield self._move(view, direction * self._rng.uniform(*STEP) + across)
        up = _raised(view.pose[:3], self._rng.uniform(0.07, 0.12))
        yield from self._reach(view, up, tolerance=0.02, limit=4)


def _raised(point: Float[np.ndarray, " 3"], height: float) -> Float[np.ndarray, " 3"]:
    return point + np.array([0.0, 0.0, height])


def _aligned_yaw(view: View, box: int) -> float:
    """The smallest tool yaw whose fingers are parallel to the box's faces."""
    quarter = np.pi / 2
    return float((view.box_yaw(box) + quarter / 2) % quarter - quarter / 2)


def _other_boxes(view: View, box: int) -> list[int]:
    return [i for i in range(len(view.scene.boxes)) if i != box]


def _roomy_direction(view: View, box: int, rng: np.random.Generator) -> str:
    """A push direction that keeps the box in the workspace, at random among those that do."""
    position = view.box_position(box)[:2]
    names = sorted(DIRECTIONS)
    ends = [float(np.abs(position + 0.1 * np.array(DIRECTIONS[n])).max()) for n in names]
    roomy = [name for name, end in zip(names, ends, strict=True) if end < 0.12]
    return str(rng.choice(roomy or [names[int(np.argmin(ends))]]))


class Random(Script):
    """Isotropic motion held for one to three steps; sometimes touches a box."""

    def _script(self, view: View) -> Iterator[Action]:
        rng = self._rng
        while True:
            if rng.random() < 0.12:
                yield from self._touch(view)
                continue
            delta = _random_direction(rng) * rng.uniform(*STEP)
            if rng.random() < 0.1:
                self._gripper = 1 - self._gripper
            turn = self._turn(view) if rng.random() < 0.1 else NO_TURN
            for _ in range(rng.choice(3, p=(0.6, 0.28, 0.12)) + 1):
                goal = view.pose[:3] + delta
                is_out = (goal < view.robot.workspace_low) | (goal > view.robot.workspace_high)
                delta = np.where(is_out, -delta, delta)
                yield self._move(view, delta, turn=turn)
                turn = NO_TURN

    def _turn(self, view: View) -> Float[np.ndarray, " 3"]:
        """Turn to a new yaw, more rarely to a new roll or pitch."""
        axis = self._rng.choice(3, p=(0.2, 0.2, 0.6))
        turn = np.zeros(3)
        limit = 0.75 * view.robot.rotation_limit[axis]
        turn[axis] = np.clip(self._rng.uniform(-limit, limit) - view.pose[3 + axis], -0.3, 0.3)
        return turn

    def _touch(self, view: View) -> Iterator[Action]:
        box = view.box_position(int(self._rng.integers(len(view.scene.boxes))))
        goal = box + np.array([*self._rng.normal(0, 0.02, size=2), 0.01])
        yield from self._reach(view, goal, detours=0.2, tolerance=0.02, limit=5)


class Play(Pick):
    """Handles boxes without a goal: pushes, carries, drags, drops and misses them, turning."""

    def _script(self, view: View) -> Iterator[Action]:
        while True:
            handle = self._rng.choice(5, p=(0.3, 0.25, 0.15, 0.15, 0.15))
            target = int(self._rng.integers(len(view.scene.boxes)))
            match handle:
                case 0:
                    yield from self._shove(view, target)
                case 1:
                    yield from self._pick(view, target)
                    yield from self._turn_by(view, self._rng.uniform(-0.8, 0.8))
                    yield from self._place(view, target)
                case 2:
                    yield from self._pick(view, target)
                    yield from self._drag(view)
                case 3:
                    yield from self._pick(view, target)
                    yield from self._drop(view)
                case _:
                    yield from self._miss(view, target)

    def _turn_by(self, view: View, yaw: float) -> Iterator[Action]:
        """Turn the wrist to a yaw, rising a little on the way."""
        for _ in range(4):
            turn = float(np.clip(yaw - view.pose[5], -0.3, 0.3))
            if abs(turn) < 0.05:
                return
            rise = np.array([0.0, 0.0, self._rng.uniform(0.0, 0.02)])
            yield self._move(view, rise, turn=(0.0, 0.0, turn))

    def _shove(self, view: View, target: int) -> Iterator[Action]:
        """Push a box from any side, with the fingers at any yaw."""
        angle = self._rng.uniform(-np.pi, np.pi)
        direction = np.array([np.cos(angle), np.sin(angle), 0.0])
        yaw = float(self._rng.uniform(-0.8, 0.8))
        self._gripper = CLOSED if self._rng.random() < 0.7 else OPEN
        behind = (view.box_position(target) - direction * 0.055)[:2]
        yield from self._reach(view, np.array([*behind, CLEARANCE]), detours=0.2, yaw=yaw)
        yield from self._reach(view, np.array([*behind, 0.02]), tolerance=0.012, limit=5)
        for _ in range(int(self._rng.integers(2, 5))):
            yield self._move(view, direction * self._rng.uniform(*STEP))
        up = _raised(view.pose[:3], self._rng.uniform(0.05, 0.1))
        yield from self._reach(view, up, tolerance=0.02, limit=3)

    def _drag(self, view: View) -> Iterator[Action]:
        """Move the held box along the table, then let go."""
        for _ in range(int(self._rng.integers(2, 5))):
            delta = _random_direction(self._rng) * [1, 1, 0] * self._rng.uniform(*STEP)
            yield self._move(view, delta)
        self._gripper = OPEN
        yield self._move(view, np.zeros(3))

    def _drop(self, view: View) -> Iterator[Action]:
        """Lift the held box, carry it a little and let it fall."""
        up = _raised(view.pose[:3], self._rng.uniform(0.04, 0.11))
        yield from self._reach(view, up, tolerance=0.015, limit=4)
        for _ in range(int(self._rng.integers(1, 4))):
            yield self._detour(view)
        self._gripper = OPEN
        yield self._move(view, np.zeros(3))

    def _miss(self, view: View, target: int) -> Iterator[Action]:
        """Grasp beside a box and lift nothing, or only touch it."""
        self._gripper = OPEN
        angle = self._rng.uniform(-np.pi, np.pi)
        offset = np.array([np.cos(angle), np.sin(angle), 0.0]) * self._rng.uniform(0.02, 0.05)
        yaw = float(self._rng.uniform(-0.8, 0.8))
        beside = view.box_position(target) + offset
        yield from self._reach(view, _raised(beside, 0.07), detours=0.2, yaw=yaw)
        yield from self._reach(view, beside, tolerance=0.01, yaw=yaw, limit=5)
        self._gripper = CLOSED
        yield self._move(view, np.zeros(3))
        up = _raised(view.pose[:3], self._rng.uniform(0.05, 0.1))
        yield from self._reach(view, up, tolerance=0.02, limit=3)


class Idle(Script):
    """Never moves."""

    def _script(self, view: View) -> Iterator[Action]:
        while True:
            yield self._move(view, np.zeros(3))


class Jitter(Script):
    """Trembles around the start."""

    def _script(self, view: View) -> Iterator[Action]:
        start = view.pose[:3]
        while True:
            yield self._move(view, start - view.pose[:3] + self._rng.normal(0, 0.01, size=3))


class WrongWay(Script):
    """Moves away from the target box."""

    def _script(self, view: View) -> Iterator[Action]:
        while True:
            away = view.pose[:3] - view.box_position(view.scene.target)
            yield self._move(view, away / max(float(np.linalg.norm(away)), 1e-6) * 0.04)


class EmptyHanded(Pick):
    """Picks without ever closing the gripper."""

    def act(self, view: View) -> Action:
        """A pick's next action with an open gripper."""
        action = super().act(view)
        action[6] = OPEN
        return action


POLICIES: dict[str, Callable[..., Script]] = {
    "pick": Pick,
    "push": Push,
    "reach": Reach,
    "random": Random,
    "play": Play,
    "idle": Idle,
    "jitter": Jitter,
    "wrong_way": WrongWay,
    "empty_handed": EmptyHanded,
}


def make_policy(name: str, *, seed: int, noise: float = 1.0) -> Script:
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
    """Run a policy: results of `look`, the first before any action, and the actions between them.

    `act` gets the environment and what `look` returned last. There are `num_actions` actions, fewer
    when `until` holds earlier.

    Raises:
        ValueError: an action is out of bounds.
    """
    seen, actions = [look(env)], []
    while len(actions) < num_actions and not until(env):
        actions.append(act(env, seen[-1]))
        env.advance(actions[-1])
        seen.append(look(env))
    return seen, actions
