"""A MuJoCo task with demonstrations to clone and episodes to try policies in."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from genie_robo.progress import Advance
from genie_robo.sim.policies import make_policy
from genie_robo.sim.scene import DIRECTIONS
from genie_robo.sim.tabletop import Tabletop
from genie_robo.types import Window

Goal = Float[np.ndarray, " g"]
"""The instruction as numbers: colour of the target box, direction of a push."""
Act = Callable[[Tabletop, UInt8[np.ndarray, "h w c"], Goal], Float[np.ndarray, " 7"]]
"""A policy: the frame and the goal to a robot action; only a privileged one looks at the rest."""


class Demonstration(NamedTuple):
    """An expert's episode up to its success."""

    frames: UInt8[np.ndarray, "t h w c"]
    goal: Goal
    robot_actions: Float[np.ndarray, "t-1 7"]

    @property
    def window(self) -> Window:
        """What a latent action model may see: the frames; actions and masks are empty."""
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
    """Which task, by which robot, seen how."""

    name: str
    robot: str
    image_size: tuple[int, int]
    control_hz: float
    max_steps: int
    renderer: str

    def new_env(self) -> Tabletop:
        """The environment of the task."""
        return Tabletop(
            task=self.name,
            robot=self.robot,
            image_size=self.image_size,
            control_hz=self.control_hz,
            max_steps=self.max_steps,
            renderer=self.renderer,
        )

    def demonstrate(self, seeds: Sequence[int], advance: Advance) -> list[Demonstration]:
        """Episodes of the scripted expert, one per seed, failed ones left out.

        With its detours: a policy that strays must have seen the way back.
        """
        found: list[Demonstration] = []
        with closing(self.new_env()) as env:
            for seed in seeds:
                expert = make_policy(self.name, seed=seed)
                frames, actions = _roll(env, lambda env, *_, e=expert: e.act(env), seed)
                if env.is_success and actions:
                    found.append(Demonstration(np.stack(frames), goal_of(env), np.stack(actions)))
                advance()
        return found

    def try_policy(
        self, act: Act, seeds: Sequence[int], advance: Advance
    ) -> Bool[np.ndarray, " n"]:
        """Whether the policy solved each episode before its steps were used up."""
        solved: list[bool] = []
        with closing(self.new_env()) as env:
            for seed in seeds:
                _roll(env, act, seed)
                solved.append(env.is_success)
                advance()
        return np.array(solved)


def goal_of(env: Tabletop) -> Goal:
    """The instruction of an environment as five numbers."""
    scene = env.scene
    direction = DIRECTIONS[scene.direction] if scene.task == "push" else (0, 0)
    return np.array([*scene.boxes[scene.target].rgba[:3], *direction], dtype=np.float64)


def _roll(
    env: Tabletop, act: Act, seed: int
) -> tuple[list[UInt8[np.ndarray, "h w c"]], list[Float[np.ndarray, " 7"]]]:
    """One episode until it is solved or truncated: its frames, and the actions between them."""
    observation, info = env.reset(seed=seed)
    frames, actions, goal = [observation["pixels"]], [], goal_of(env)
    is_over = info["is_success"]
    while not is_over:
        action = act(env, frames[-1], goal)
        observation, _, _, is_truncated, info = env.step(action)
        frames.append(observation["pixels"])
        actions.append(action)
        is_over = is_truncated or info["is_success"]
    return frames, actions
