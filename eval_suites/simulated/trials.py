"""Trials of tasks from the first frame of test episodes, in MuJoCo and in imagination."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from eval_suites.base import EvalContext
from eval_suites.rollouts import imagine, read_episodes, stable_seed
from eval_suites.simulated.pose_reading import fit_pose_readers, shows_decoded
from eval_suites.simulated.truth import PALETTE, Poses, Truth, look, stack
from eval_suites.table import UnavailableError
from genie_robo.data.actions import compose_actions
from genie_robo.inference.world import Prompt, RobotActions
from genie_robo.sim.policies import roll_policy
from genie_robo.sim.restore import restore
from genie_robo.sim.scene import DIRECTIONS, SceneSpec
from genie_robo.sim.tabletop import LIFTED, PUSHED, REACHED, Tabletop
from genie_robo.types import ACTION_NAMES

Act = Callable[[Tabletop], Float[np.ndarray, " 7"]]
"""A policy as a function of the simulator."""
Policies = Callable[[Prompt, str, int], Iterable[tuple[str, Act]]]
"""Named policies for a prompt, a task and a number of steps."""
FAST_STARTS = 3
"""Test episodes under fast=true."""
POSE_EPISODES = 60
"""Validation episodes that the pose reader is fitted to."""


class Trial(NamedTuple):
    """One attempt to solve a task, with its outcome in MuJoCo."""

    prompt: Prompt
    scene: SceneSpec
    """The scene with the task of the trial."""
    name: str
    """Name of the policy, or severity of the perturbation."""
    robot_actions: Float[np.ndarray, "n 7"]
    """One per frame after the prompt."""
    truth: Truth
    """Starts with the prompt frame."""


class Readings(NamedTuple):
    """Poses read from the frames of every trial, starting with the prompt frame."""

    imagined: list[Poses]
    true: list[Poses]
    """From MuJoCo's frames: the result of perfect imagination."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSuite:
    """Shared settings and steps of suites of trials."""

    name: ClassVar[str]

    num_episodes: int = 8
    """Test episodes from whose first frame trials start."""
    tasks: Sequence[str] = field(default_factory=lambda: ["reach", "push", "pick"])
    horizon: int = 15
    """Frames of a trial, limited by the model's window."""
    renderer: str = "auto"
    batch_size: int = 16

    def try_policies(self, context: EvalContext, policies: Policies) -> list[Trial]:
        """Trials in MuJoCo of every policy on every task, from each test episode.

        Raises:
            UnavailableError: No trial can be made with this dataset or world.
        """
        _check(context)
        side = context.test
        num_steps = min(self.horizon, context.num_frames - 1) * side.frame_stride
        count = min(self.num_episodes, FAST_STARTS) if context.fast else self.num_episodes
        trials = []
        for e, window in read_episodes(
            side, max_episodes=count, description=f"{self.name}: MuJoCo"
        ):
            prompt = Prompt(
                frames=window.video[:1],
                name=window.episode_id,
                stride=side.frame_stride,
                recording=context.recording(side, e),
            )
            for task in self.tasks:
                for name, act in policies(prompt, task, num_steps):
                    trials.append(self._try(prompt, task, name, act, num_steps))
        return trials

    def _try(self, prompt: Prompt, task: str, name: str, act: Act, num_steps: int) -> Trial:
        height, width = prompt.frames.shape[1:3]
        size = (height, width)
        with closing(restore_prompt(prompt, task, image_size=size, renderer=self.renderer)) as env:
            moments, actions = roll_policy(
                env, lambda env, _: act(env), look, num_actions=num_steps
            )
        truth = stack(moments[:: prompt.stride])
        per_frame = compose_actions(np.stack(actions), prompt.stride).astype(np.float64)
        return Trial(replace(prompt, frames=truth.video[:1]), env.scene, name, per_frame, truth)

    def read(self, context: EvalContext, trials: Sequence[Trial]) -> Readings:
        """Imagine every trial from its first frame; read poses from imagined and MuJoCo's frames.

        Each source of pictures has its reader, fitted to frames of validation episodes.
        """
        readers = fit_pose_readers(context, max_episodes=POSE_EPISODES, description=self.name)
        reader = readers.of(context.robot_world)
        imagined = imagine(
            context,
            [trial.prompt for trial in trials],
            np.stack([trial.robot_actions for trial in trials]),
            # All trials of a start share the sampler's noise, so that none has an advantage.
            [stable_seed("sampler", context.seed, trial.prompt.name) for trial in trials],
            by=RobotActions,
            batch_size=self.batch_size,
            description=f"{self.name}: imagine",
            world=context.robot_world,
        )
        firsts = [trial.prompt.frames for trial in trials]
        if shows_decoded(context.robot_world):
            firsts = [context.tokenizer.reconstruct(frames).video for frames in firsts]
        return Readings(
            [reader.read(np.concatenate(pair)) for pair in zip(firsts, imagined, strict=True)],
            [readers.recorded.read(trial.truth.video) for trial in trials],
        )


def _check(context: EvalContext) -> None:
    if not context.takes_robot_actions:
        raise UnavailableError("nothing maps robot actions to what steers this world model")
    if not len(context.fit.episodes) or not len(context.test.episodes):
        raise UnavailableError("there is no episode to fit a pose reader on, or none to test on")
    if not context.is_simulated:
        raise UnavailableError(
            "the dataset holds no simulator state, so nothing can be tried in MuJoCo"
        )
    recording = context.recording(context.test, 0)
    assert recording is not None
    if (num_numbers := len(recording.action_mask)) > len(ACTION_NAMES):
        raise UnavailableError(
            f"a policy in MuJoCo gives the {len(ACTION_NAMES)} numbers of an end effector, but an "
            f"action of this dataset has {num_numbers}"
        )


def restore_prompt(
    prompt: Prompt, task: str, *, image_size: tuple[int, int] = (8, 8), renderer: str = "raycast"
) -> Tabletop:
    """The simulator at the last frame of a recorded prompt; close it when done."""
    assert prompt.recording is not None
    step = prompt.last_step
    return restore(prompt.recording, step, task=task, image_size=image_size, renderer=renderer)


def solved(trials: Sequence[Trial]) -> Bool[np.ndarray, "m n"]:
    """Whether the task is solved in MuJoCo, for every frame after the prompt."""
    return np.stack([trial.truth.is_solved[1:] for trial in trials])


def margins(trials: Sequence[Trial], readings: Sequence[Poses]) -> Float[np.ndarray, "m n"]:
    """`task_margin` of the poses read, for every frame after the prompt."""
    pairs = zip(trials, readings, strict=True)
    return np.stack([task_margin(read, trial.scene)[1:] for trial, read in pairs])


def task_margin(poses: Poses, scene: SceneSpec) -> Float[np.ndarray, " t"]:
    """Metres beyond the threshold of success in every frame, positive = solved.

    The rules of Tabletop.is_success as a distance; -1 for a box that has left the table.

    Raises:
        ValueError: The scene's task has no goal.
    """
    box = scene.boxes[scene.target]
    position = poses.boxes[:, PALETTE.index(box.color)]
    match scene.task:
        case "reach":
            top = position + np.array([0.0, 0.0, box.half_size[2]])
            margin = REACHED - np.linalg.norm(poses.tool - top, axis=-1)
        case "pick":
            margin = position[:, 2] - box.half_size[2] - LIFTED
        case "push":
            moved = position[:, :2] - np.array(box.position)
            margin = moved @ np.array(DIRECTIONS[scene.direction], dtype=np.float64) - PUSHED
        case _:
            raise ValueError(f"task={scene.task} has no goal; choose reach, pick or push")
    return np.where(np.isfinite(margin), margin, -1.0)
