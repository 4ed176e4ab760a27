"""Policies and given actions in a world, step by step, in a batch of worlds."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from genie_robo.eval_suites.simulated.trials import Start
from genie_robo.eval_suites.simulated.truth import PALETTE, Poses, box_positions
from genie_robo.inference.world import RobotActions, World
from genie_robo.policy.interface import Observation, Policy, actors
from genie_robo.sim.mujoco_world import MujocoWorld
from genie_robo.sim.scene import SceneSpec

Read = Callable[[UInt8[np.ndarray, "b h w c"]], Poses]
"""Poses of a batch of frames that a world shows now, one for each rollout."""


class Played(NamedTuple):
    """Trials of one policy in one world."""

    video: UInt8[np.ndarray, "b t h w c"]
    """Begins with the start."""
    robot_actions: Float[np.ndarray, "b t-1 7"]
    poses: list[Poses]
    """Of every trial over time, as the policy knew them."""
    trust: Float[np.ndarray, "b t-1"] | None
    """Of every imagined frame; None where the world does not say."""


def play(
    policy: Policy,
    world: World,
    read: Read,
    starts: Sequence[Start],
    *,
    num_steps: int,
    seeds: Sequence[int],
    name: str,
    poses_are_read: bool = False,
) -> Played:
    """Act in a batch of worlds, one for each start; `name` of the policy stands in errors.

    The seeds are those of the policy and of the world. `poses_are_read` is passed on to the policy:
    whether `read` reads poses from pixels, or gives MuJoCo's state.
    """
    instructions = [start.scene.instruction for start in starts]
    acting = actors(policy, instructions, seeds, name=name)
    seen = [_Memory(start.scene, poses_are_read=poses_are_read) for start in starts]

    def act(frames: UInt8[np.ndarray, "b h w c"], poses: Poses) -> Float[np.ndarray, "b 7"]:
        pairs = enumerate(zip(acting, seen, strict=True))
        return np.stack(
            [actor.act(memory.observe(frames[row], poses, row)) for row, (actor, memory) in pairs]
        )

    return _run(world, read, starts, act, num_steps=num_steps, seeds=seeds)


def follow(
    robot_actions: Float[np.ndarray, "b n 7"],
    world: World,
    read: Read,
    starts: Sequence[Start],
    *,
    seeds: Sequence[int],
) -> Played:
    """Take given actions in a batch of worlds."""
    steps = iter(robot_actions.swapaxes(0, 1))
    num_steps = robot_actions.shape[1]
    return _run(world, read, starts, lambda *_: next(steps), num_steps=num_steps, seeds=seeds)


def _run(
    world: World,
    read: Read,
    starts: Sequence[Start],
    act: Callable[[UInt8[np.ndarray, "b h w c"], Poses], Float[np.ndarray, "b 7"]],
    *,
    num_steps: int,
    seeds: Sequence[int],
) -> Played:
    frames = [world.start([start.prompt for start in starts], seeds).frames]
    poses, actions, trust = [read(frames[0])], [], []
    for _ in range(num_steps):
        actions.append(act(frames[-1], poses[-1]))
        step = world.step(RobotActions(actions[-1]))
        frames.append(step.frames)
        poses.append(read(frames[-1]))
        if step.trust is not None:
            trust.append(step.trust)
    return Played(
        np.stack(frames, axis=1),
        np.stack(actions, axis=1),
        [_over_time(poses, row) for row in range(len(starts))],
        np.stack(trust, axis=1) if trust else None,
    )


def true_poses(world: MujocoWorld) -> Poses:
    """Where everything is in MuJoCo now, for each rollout."""
    pose = np.stack([env.pose for env in world.envs])
    boxes = np.stack([box_positions(env) for env in world.envs])
    return Poses(pose[:, :3], boxes, pose[:, 5], pose[:, 6])


class _Memory:
    """Observations of one trial; a box that is not seen stays where it was, at first truly."""

    def __init__(self, scene: SceneSpec, *, poses_are_read: bool) -> None:
        self._instruction, self._poses_are_read = scene.instruction, poses_are_read
        self._boxes = {
            box.color: np.array([*box.position, box.half_size[2]]) for box in scene.boxes
        }

    def observe(self, frame: UInt8[np.ndarray, "h w c"], poses: Poses, row: int) -> Observation:
        for color in self._boxes:
            place = poses.boxes[row, PALETTE.index(color)]
            if np.isfinite(place).all():
                self._boxes[color] = place
        pose = np.array([*poses.tool[row], 0.0, 0.0, poses.yaw[row], poses.gripper[row]])
        return Observation(
            pixels=frame,
            instruction=self._instruction,
            agent_pos=pose,
            boxes=dict(self._boxes),
            poses_are_read=self._poses_are_read,
        )


def _over_time(poses: Sequence[Poses], row: int) -> Poses:
    return Poses(*(np.stack([part[row] for part in parts]) for parts in zip(*poses, strict=True)))
