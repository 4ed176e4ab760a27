"""An imagined episode that is steered one action at a time, and the key of each action."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Bool, Float, UInt8

from genie_robo.inference.code_names import LabelledCodes, dictionary_names
from genie_robo.inference.world import (
    Actions,
    Codes,
    Prompt,
    Rewindable,
    RobotActions,
    Step,
    World,
    WorldState,
    check_codes,
    close_world,
)
from genie_robo.sim.mujoco_world import MujocoWorld
from genie_robo.types import ACTION_NAMES, GRIPPER, JOINTS, XYZ

CODE_KEYS = "0123456789behijklmnoptvyz"
"""One key per latent action; a model with more codes has buttons for the others."""
UNDO, RESET, RECORD, QUIT = "u", "x", "c", "q"
STEP_M = 0.04
"""How far a direction key moves the tool."""
DIRECTIONS = {
    "w": ("+x", (STEP_M, 0.0, 0.0)),
    "s": ("-x", (-STEP_M, 0.0, 0.0)),
    "a": ("+y", (0.0, STEP_M, 0.0)),
    "d": ("-y", (0.0, -STEP_M, 0.0)),
    "r": ("+z", (0.0, 0.0, STEP_M)),
    "f": ("-z", (0.0, 0.0, -STEP_M)),
}
"""Metres along the axes of the robot: x away from it, y to its left, z up."""
GRIPPER_KEY = "g"
UNKNOWN_RATE_HZ = 3.0
"""Frames per second where neither the prompt nor the world knows."""
UNDO_BYTES = 512 * 2**20
"""For states of earlier frames, besides those of the last two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """The action that led to a frame."""

    name: str
    """The code's name, or a direction."""
    given: Actions
    """The action that the world gets."""
    robot_action: Float[np.ndarray, " a"] | None
    """Executed by MuJoCo; for a code its mean motion, None where that is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A frame of the game."""

    frame: UInt8[np.ndarray, "h w c"]
    """The world's frame; of the prompt, as the world shows it."""
    uncertainty: float
    """Mean entropy of the frame's tokens when they were revealed (nats), 0 for the prompt."""
    trust: float | None
    """How usual the game is so far, from 1 to 0; None where that is not known."""
    action: Action | None
    """None for the prompt."""
    code: int | None
    """The latent action that led here, in worlds that have them."""
    latency_s: float
    true_frame: UInt8[np.ndarray, "h w c"] | None
    """MuJoCo's, under the same robot actions."""


class Game:
    """A rollout of a world that a player steers, with MuJoCo next to it where possible.

    The same prompt, seed and actions give the same frames. Undo is immediate. The next action goes
    on from the state of the world at that frame, which is kept for the last frames (`UNDO_BYTES`);
    before them, and in worlds that are not `Rewindable`, the remaining steps are repeated first.
    """

    def __init__(
        self,
        world: World,
        prompt: Prompt,
        *,
        num_codes: int,
        seed: int = 0,
        meanings: LabelledCodes | None = None,
        joints_hold: bool = False,
        renderer: str = "auto",
    ) -> None:
        """Start from a prompt.

        Args:
            world: Steered by latent actions, robot actions or both.
            prompt: The first frame.
            num_codes: Latent actions are 0 .. num_codes - 1.
            seed: Of everything that is sampled.
            meanings: The robot actions of latent actions, which MuJoCo executes.
            joints_hold: Joint commands are positions, so the prompt's last one holds; else 0 does.
            renderer: Of the true frames.
        """
        self.world, self.num_codes, self.seed = world, num_codes, seed
        self.meanings, self.renderer = meanings, renderer
        self._joints_hold = joints_hold
        self.action_mask: Bool[np.ndarray, " a"] = (
            np.ones(len(ACTION_NAMES), bool)
            if prompt.recording is None
            else prompt.recording.action_mask
        )
        """Dimensions of a robot action that the dataset of the first prompt has."""
        self.latencies_s: list[float] = []
        """Of all frames ever imagined, including undone ones."""
        self._mujoco = MujocoWorld(renderer=renderer)
        self._next: Moment | None = None
        """Computed, but not shown yet."""
        self.start(prompt)

    def start(self, prompt: Prompt) -> None:
        """Start from another prompt.

        Raises:
            ValueError: The world cannot start from it; the game is unchanged.
        """
        self._reached = self._next = None
        shown, true = self._start_worlds(prompt)
        self.prompt = prompt
        self._gripper_at_start = 1.0
        if true is not None:
            self._gripper_at_start = float(self._mujoco.envs[0].pose[GRIPPER] >= 0.5)
        self.moments = [_moment(shown, true, action=None, latency_s=0.0)]
        self._reached: Moment | None = self.now
        """The moment whose state the worlds have; None while they are being stepped."""
        self._states: dict[int, tuple[WorldState, WorldState | None]] = {}
        """Of the world and of MuJoCo, by the number of actions until then, in rising order."""
        self._keep_state(0)

    @property
    def now(self) -> Moment:
        """The current frame."""
        return self.moments[-1]

    @property
    def code_names(self) -> tuple[str, ...]:
        """The name of each latent action; its number where its robot actions are not known."""
        if self.meanings is None:
            return tuple(map(str, range(self.num_codes)))
        return dictionary_names(self.meanings, self.prompt.joint_names)

    @property
    def actions(self) -> list[Action]:
        """All actions since the prompt."""
        return [moment.action for moment in self.moments if moment.action is not None]

    @property
    def frames_per_second(self) -> float:
        """By the median latency of all frames ever imagined; 0 before the first."""
        return 1 / statistics.median(self.latencies_s) if self.latencies_s else 0.0

    @property
    def frame_hz(self) -> float:
        """Frames per second of the prompt's recording, else of the world's training data."""
        trained_hz = getattr(self.world, "frames_per_second", 0.0)
        return self.prompt.control_hz or trained_hz or UNKNOWN_RATE_HZ

    @property
    def speed(self) -> str:
        """How fast frames are imagined, in words."""
        if not self.latencies_s:
            return "no frame imagined"
        rate = self.frames_per_second
        return (
            f"{len(self.latencies_s)} frames imagined, {1000 / rate:.0f} ms each (median), "
            f"{rate:.1f} frames per second"
        )

    def code_action(self, code: int) -> Action:
        """A latent action. MuJoCo moves by its mean robot action and holds the gripper as it was.

        Raises:
            ValueError: The model has no such code.
        """
        codes = np.array([code])
        check_codes(codes, num_codes=self.num_codes)
        means = None if self.meanings is None else self.meanings.mean(codes)[0].astype(np.float64)
        if means is not None and self.action_mask[GRIPPER]:
            means[GRIPPER] = self.gripper  # a position: its mean over steps is no command
        return Action(name=self.code_names[code], given=Codes(codes), robot_action=means)

    def move_action(self, name: str, delta: Float[np.ndarray, " 3"]) -> Action:
        """A motion of the tool by dx dy dz (m), the gripper as it was.

        Raises:
            ValueError: The world takes no robot actions.
        """
        return self._robot_action(name, np.array([*delta, 0.0, 0.0, 0.0, self.gripper]))

    def gripper_action(self) -> Action:
        """What opens a closed gripper, and closes an open one.

        Raises:
            ValueError: The world takes no robot actions.
        """
        gripper = 0.0 if self.gripper >= 0.5 else 1.0
        action = np.array([0.0] * GRIPPER + [gripper])
        return self._robot_action("open" if gripper else "close", action)

    def act(self, action: Action) -> None:
        """Imagine and show the next frame."""
        self.look_ahead(action)
        self.show_next()

    def look_ahead(self, action: Action) -> None:
        """Imagine the next frame without showing it; another action may still be taken instead."""
        self._catch_up()
        self._reached = self._next = None
        true = self._step_mujoco(action)
        began = time.perf_counter()
        shown = self.world.step(action.given)
        latency_s = time.perf_counter() - began
        self.latencies_s.append(latency_s)
        self._next = self._reached = _moment(shown, true, action=action, latency_s=latency_s)
        self._keep_state(len(self.moments))

    def show_next(self) -> None:
        """Show the frame that was looked ahead to; nothing where undo or reset came between."""
        if self._next is not None:
            self.moments.append(self._next)
            self._next = None

    @property
    def _still_joints(self) -> Float[np.ndarray, " k"]:
        """Joint commands under which the joints stay where they are at the prompt."""
        recording, prompt = self.prompt.recording, self.prompt
        if recording is None or not self._joints_hold:
            return np.zeros(len(self.action_mask[JOINTS]))
        return recording.robot_actions[max(prompt.last_step - 1, 0), JOINTS].astype(np.float64)

    @property
    def gripper(self) -> float:
        """The last gripper command, 1 = open."""
        known = [a.robot_action[GRIPPER] for a in self.actions if a.robot_action is not None]
        return float(known[-1]) if known else self._gripper_at_start

    def undo(self) -> None:
        """Take the last action back."""
        self._next = None
        if len(self.moments) > 1:
            self.moments.pop()

    def reset(self) -> None:
        """Go back to the prompt."""
        self._next = None
        self.moments = self.moments[:1]

    def close(self) -> None:
        """Free the simulators."""
        self._mujoco.close()
        close_world(self.world)

    def _robot_action(self, name: str, end_effector: Float[np.ndarray, " 7"]) -> Action:
        if RobotActions not in self.world.takes:
            raise ValueError(
                "robot actions cannot steer this world: the run has no action map, or the world "
                "takes latent actions only"
            )
        robot_action = np.concatenate([end_effector, self._still_joints])
        given = RobotActions(robot_action[None])
        return Action(name=name, given=given, robot_action=robot_action)

    @property
    def can_look_ahead(self) -> bool:
        """Whether the world can take a step back without repeating those before."""
        return isinstance(self.world, Rewindable)

    def _keep_state(self, num_actions: int) -> None:
        """Keep the state that the worlds have after so many actions, and forget the oldest."""
        if not isinstance(self.world, Rewindable):
            return
        true = self._mujoco.get_state() if self._mujoco.envs else None
        earlier = {n: state for n, state in self._states.items() if n < num_actions}
        self._states = earlier | {num_actions: (self.world.get_state(), true)}
        sizes = {n: world.num_bytes for n, (world, _) in self._states.items()}
        while len(sizes) > 2 and sum(sizes.values()) > UNDO_BYTES:
            del sizes[min(sizes)], self._states[min(self._states)]

    def _catch_up(self) -> None:
        """Go back to the current frame after steps were undone, not shown or failed."""
        if self._reached is self.now:
            return
        self._reached = None
        num_done = self._restore_latest()
        for action in self.actions[num_done:]:
            self._step_mujoco(action)
            self.world.step(action.given)
        self._reached = self.now

    def _restore_latest(self) -> int:
        """Set the latest state that is kept, else start anew; returns the actions until then."""
        kept = [n for n in self._states if n <= len(self.actions)]
        world, true = self._states[kept[-1]] if kept else (None, None)
        is_lost = true is not None and not self._mujoco.envs  # another prompt failed to start
        if world is None or is_lost or not isinstance(self.world, Rewindable):
            self._start_worlds(self.prompt)
            return 0
        self.world.set_state(world)
        if true is not None:
            self._mujoco.set_state(true)
        return kept[-1]

    def _start_worlds(self, prompt: Prompt) -> tuple[Step, Step | None]:
        """Start the world, and MuJoCo where it has the prompt's state and the robot actions."""
        shown = self.world.start([prompt], [self.seed])
        self._mujoco.close()
        if not prompt.is_simulated or (Codes in self.world.takes and self.meanings is None):
            return shown, None
        return shown, self._mujoco.start([prompt], [self.seed])

    def _step_mujoco(self, action: Action) -> Step | None:
        if not self._mujoco.envs or action.robot_action is None:
            return None
        return self._mujoco.step(RobotActions(action.robot_action[None]))


def _moment(shown: Step, true: Step | None, *, action: Action | None, latency_s: float) -> Moment:
    code = None if action is None or shown.codes is None else int(shown.codes[0])
    return Moment(
        frame=shown.frames[0],
        uncertainty=float(shown.uncertainty[0]),
        trust=None if shown.trust is None else float(shown.trust[0]),
        action=action,
        code=code,
        latency_s=latency_s,
        true_frame=None if true is None else true.frames[0],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key, its name and its effect; the key is empty where there is only a button."""

    key: str
    name: str
    press: Callable[[], str | None]
    """May return a message for the player."""
    label: str
    """Of its button."""
    action: Callable[[], Action] | None = None
    """What it does to the robot, again and again while it is held; None for undo and reset."""


def _action_key(game: Game, key: str, name: str, action: Callable[[], Action], label: str) -> Key:
    return Key(key=key, name=name, label=label, press=lambda: game.act(action()), action=action)


def code_keys(game: Game) -> list[Key]:
    """A key for each latent action; none where the world takes robot actions only."""
    if Codes not in game.world.takes:
        return []
    return [
        _action_key(game, CODE_KEYS[c : c + 1], str(c), partial(game.code_action, c), label)
        for c, label in enumerate(game.code_names)
    ]


def robot_keys(game: Game) -> list[Key]:
    """Keys that move the robot, of what the dataset has; none where only latent actions steer."""
    if RobotActions not in game.world.takes:
        return []
    moves = [
        _action_key(game, key, name, partial(game.move_action, name, np.array(delta)), name)
        for key, (name, delta) in DIRECTIONS.items()
        if game.action_mask[XYZ].any()
    ]
    if not game.action_mask[GRIPPER]:
        return moves
    return [*moves, _action_key(game, GRIPPER_KEY, "gripper", game.gripper_action, "gripper")]


def session_keys(game: Game) -> list[Key]:
    """Undo and reset."""
    return [
        Key(key=UNDO, name="undo", press=game.undo, label="undo"),
        Key(key=RESET, name="reset", press=game.reset, label="reset"),
    ]
