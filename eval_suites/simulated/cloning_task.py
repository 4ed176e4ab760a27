"""A MuJoCo task with demonstrations to clone and episodes to try policies in."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from genie_robo.progress import Advance
from genie_robo.sim.policies import Script, make_policy, roll_policy
from genie_robo.sim.scene import COLORS, DIRECTIONS, TASKS, read_instruction
from genie_robo.sim.tabletop import Tabletop
from genie_robo.types import Window

Goal = Float[np.ndarray, " g"]
"""The instruction as numbers: colour of the target box, direction of a push, and the task."""
COLOUR = slice(0, 3)
"""The colour in a goal."""
Act = Callable[[Tabletop, UInt8[np.ndarray, "h w c"]], Float[np.ndarray, " 7"]]
"""A policy: simulator and frame to robot action; cloned ones read the goal and the frame only."""


class Demonstration(NamedTuple):
    """An expert's episode up to its success."""

    frames: UInt8[np.ndarray, "t h w c"]
    goal: Goal
    robot_actions: Float[np.ndarray, "t-1 7"]

    @property
    def window(self) -> Window:
        """Input of a latent action model: the frames, with actions and masks left empty."""
        num_frames = len(self.frames)
        return Window(
            episode_id="demonstration",
            start=0,
            video=self.frames,
            robot_actions=np.zeros((num_frames - 1, 7)),
            action_mask=np.zeros(7, bool),
            is_pad=np.zeros(num_frames, bool),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CloningTask:
    """A task with its robot, camera and step limit."""

    name: str
    robot: str
    image_size: tuple[int, int]
    control_hz: float
    max_steps: int
    renderer: str

    def new_env(self) -> Tabletop:
        """A new environment of the task."""
        return Tabletop(
            task=self.name,
            robot=self.robot,
            image_size=self.image_size,
            control_hz=self.control_hz,
            renderer=self.renderer,
        )

    def demonstrate(self, seeds: Sequence[int], advance: Advance) -> list[Demonstration]:
        """Successful episodes of the scripted expert, at most one per seed.

        The expert takes detours, so that cloned policies learn to return from them.
        """
        found: list[Demonstration] = []
        with closing(self.new_env()) as env:
            for seed in seeds:
                expert = make_policy(self.name, seed=seed)
                frames, actions = self._roll(env, privileged(expert), seed=seed)
                if env.is_success and actions:
                    found.append(
                        Demonstration(
                            np.stack(frames), goal_of(env.scene.instruction), np.stack(actions)
                        )
                    )
                advance()
        return found

    def try_policy(
        self, act: Act, seeds: Sequence[int], advance: Advance
    ) -> Bool[np.ndarray, " n"]:
        """Whether the policy solved each episode within the step limit."""
        solved: list[bool] = []
        with closing(self.new_env()) as env:
            for seed in seeds:
                self._roll(env, act, seed=seed)
                solved.append(env.is_success)
                advance()
        return np.array(solved)

    def _roll(
        self, env: Tabletop, act: Act, *, seed: int
    ) -> tuple[list[UInt8[np.ndarray, "h w c"]], list[Float[np.ndarray, " 7"]]]:
        """Frames and actions of an episode until it is solved or reaches the step limit."""
        env.reset(seed=seed)
        return roll_policy(
            env,
            act,
            Tabletop.render,
            num_actions=self.max_steps,
            until=lambda env: env.is_success,
        )


def privileged(policy: Script) -> Act:
    """A policy that reads the simulator instead of the frame."""
    return lambda env, _: policy.act(env)


def goal_of(instruction: str) -> Goal:
    """An instruction as numbers."""
    goal = read_instruction(instruction)
    direction = DIRECTIONS[goal.direction] if goal.direction else (0, 0)
    task = [float(goal.task == task) for task in TASKS]
    return np.array([*COLORS.get(goal.color, (0.5, 0.5, 0.5)), *direction, *task])
