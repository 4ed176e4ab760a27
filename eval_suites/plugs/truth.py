"""What MuJoCo knows about an episode besides its frames: where everything is, what is robot."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import NamedTuple

import mujoco
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from genie_robo.sim.raycast import VISIBLE_GROUPS
from genie_robo.sim.scene import CAMERA, COLORS, SceneSpec, box_name
from genie_robo.sim.tabletop import Tabletop
from genie_robo.types import Episode

PALETTE = tuple(COLORS)
"""Colours of boxes; a scene has at most one box of each."""

ON_TABLE = 0.3
"""Metres from the table's centre at which a box has left."""


class Poses(NamedTuple):
    """Where things are (m)."""

    tool: Float[np.ndarray, "t 3"]
    boxes: Float[np.ndarray, "t o 3"]
    """Centres by colour, in the order of PALETTE; NaN for one that is not there, or has left."""


class Truth(NamedTuple):
    """What happened, before and after n actions."""

    video: UInt8[np.ndarray, "t h w c"]
    poses: Poses
    is_robot: Bool[np.ndarray, "t h w"]
    """Pixels whose centre shows the robot."""
    is_solved: Bool[np.ndarray, " t"]
    """Whether the task of the scene is solved at that moment."""

    def every(self, stride: int) -> "Truth":
        """One moment in so many."""
        poses = Poses(self.poses.tool[::stride], self.poses.boxes[::stride])
        return Truth(self.video[::stride], poses, self.is_robot[::stride], self.is_solved[::stride])


def execute(
    episode: Episode,
    *,
    start: int,
    robot_actions: Float[np.ndarray, "n 7"],
    image_size: tuple[int, int],
    renderer: str = "auto",
    task: str = "",
) -> Truth:
    """Restore a recorded step and execute actions from there.

    A task other than the recorded one changes what counts as solved, and nothing else.

    Raises:
        ValueError: an action is out of bounds, or the episode is not from a simulator.
    """
    with closing(restored(episode, start, task=task, size=image_size, renderer=renderer)) as env:
        moments = [_look(env, image_size)]
        for action in robot_actions:
            env.advance(action)
            moments.append(_look(env, image_size))
    return _stacked(moments)


def follow_policy(
    episode: Episode,
    act: Callable[[Tabletop], Float[np.ndarray, " 7"]],
    *,
    num_steps: int,
    task: str,
    image_size: tuple[int, int],
    renderer: str = "auto",
) -> tuple[Float[np.ndarray, "n 7"], Truth]:
    """Let a policy act from the first step of a recorded episode: what it did, what happened.

    Raises:
        ValueError: an action is out of bounds, or the episode is not from a simulator.
    """
    with closing(restored(episode, 0, task=task, size=image_size, renderer=renderer)) as env:
        moments, actions = [_look(env, image_size)], []
        for _ in range(num_steps):
            actions.append(act(env))
            env.advance(actions[-1])
            moments.append(_look(env, image_size))
    return np.stack(actions).astype(np.float64), _stacked(moments)


def _stacked(moments: Sequence[tuple[np.ndarray, ...]]) -> Truth:
    columns = zip(*moments, strict=True)
    video, tool, boxes, is_robot, is_solved = (np.stack(column) for column in columns)
    return Truth(video, Poses(tool, boxes), is_robot, is_solved)


def recorded_poses(episode: Episode, steps: Sequence[int]) -> Poses:
    """Where things were in a recorded episode.

    Raises:
        ValueError: the episode is not from a simulator.
    """
    with closing(restored(episode, 0)) as env:
        found = []
        for step in steps:
            env.restore(env.scene, _state(episode, step))
            found.append((env.pose[:3], _boxes(env)))
    tool, boxes = zip(*found, strict=True)
    return Poses(np.stack(tool), np.stack(boxes))


def restored(
    episode: Episode,
    start: int,
    *,
    task: str = "",
    size: tuple[int, int] = (8, 8),
    renderer: str = "raycast",
) -> Tabletop:
    """The simulator at a recorded step; close it when done.

    Raises:
        ValueError: the episode is not from a simulator.
    """
    scene = SceneSpec.from_json(episode.scene) if episode.scene else None
    state = _state(episode, start)
    assert scene is not None
    scene = replace(scene, task=task or scene.task)
    env = Tabletop(image_size=size, renderer=renderer, scene=scene)
    env.restore(scene, state)
    return env


def robot_pixels(
    model: mujoco.MjModel, data: mujoco.MjData, *, image_size: tuple[int, int]
) -> Bool[np.ndarray, "h w"]:
    """Pixels whose centre shows the robot: one ray each, no graphics library."""
    height, width = image_size
    camera = model.camera(CAMERA).id
    axes, origin = data.cam_xmat[camera].reshape(3, 3), data.cam_xpos[camera]
    rays = _pixel_rays(image_size, fovy=float(model.cam_fovy[camera])) @ axes.T
    count = height * width
    geoms, distances = np.empty(count, np.int32), np.empty(count)
    mujoco.mj_multiRay(
        model,
        data,
        origin,
        rays.ravel(),
        geomgroup=np.isin(np.arange(6), VISIBLE_GROUPS).astype(np.uint8),
        flg_static=True,
        bodyexclude=-1,
        geomid=geoms,
        dist=distances,
        normal=None,
        nray=count,
        cutoff=10.0,
    )
    return (_robot_geoms(model)[geoms] & (geoms >= 0)).reshape(height, width)


def _look(env: Tabletop, image_size: tuple[int, int]) -> tuple[np.ndarray, ...]:
    pixels = robot_pixels(env.model, env.data, image_size=image_size)
    return env.render(), env.pose[:3], _boxes(env), pixels, np.array(env.is_success)


def _boxes(env: Tabletop) -> Float[np.ndarray, "o 3"]:
    positions = np.full((len(PALETTE), 3), np.nan)
    for index, box in enumerate(env.scene.boxes):
        position = env.box_position(index)
        if np.abs(position).max() < ON_TABLE:
            positions[PALETTE.index(box.color)] = position
    return positions


def _state(episode: Episode, step: int) -> Float[np.ndarray, " n"]:
    if episode.sim_state is None or not episode.scene:
        raise ValueError(
            f"episode {episode.episode_id} holds no simulator state, so MuJoCo cannot restore it; "
            "`genie-robo record` makes episodes that it can"
        )
    return episode.sim_state[step]


def _robot_geoms(model: mujoco.MjModel) -> Bool[np.ndarray, " g"]:
    """Everything that is neither a box nor fixed to the world."""
    bodies = model.geom_bodyid
    names = [model.body(int(body)).name for body in bodies]
    boxes = {box_name(index) for index in range(len(PALETTE))}
    return np.array([name not in boxes for name in names]) & (bodies != 0)


def _pixel_rays(image_size: tuple[int, int], *, fovy: float) -> Float[np.ndarray, "p 3"]:
    """Unit directions through pixel centres in the camera frame (x right, y up, -z forward)."""
    height, width = image_size
    scale = 2 * np.tan(np.radians(fovy) / 2) / height
    rows: Int[np.ndarray, "h w"]
    columns: Int[np.ndarray, "h w"]
    rows, columns = np.mgrid[:height, :width]
    x, y = (columns + 0.5 - width / 2) * scale, (height / 2 - rows - 0.5) * scale
    rays = np.stack([x, y, np.full(x.shape, -1.0)], axis=-1).reshape(-1, 3)
    return rays / np.linalg.norm(rays, axis=-1, keepdims=True)
