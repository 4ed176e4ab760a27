"""True poses and robot pixels of MuJoCo's frames."""

from collections.abc import Sequence
from contextlib import closing
from typing import NamedTuple

import mujoco
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from genie_robo.sim.render import VISIBLE_GROUPS
from genie_robo.sim.restore import restore, stored_state
from genie_robo.sim.scene import CAMERA, COLORS, box_name
from genie_robo.sim.tabletop import Tabletop
from genie_robo.types import Episode

PALETTE = tuple(COLORS)
"""Colours of boxes; a scene has at most one box of each."""

ON_TABLE = 0.3
"""Distance from the table's centre (m) beyond which a box has left."""


class Poses(NamedTuple):
    """Positions of the tool and the boxes (m)."""

    tool: Float[np.ndarray, "t 3"]
    boxes: Float[np.ndarray, "t o 3"]
    """Centres in the order of PALETTE; NaN for a box that is absent or has left the table."""


class Moment(NamedTuple):
    """Frame and state of MuJoCo at one moment."""

    frame: UInt8[np.ndarray, "h w c"]
    tool: Float[np.ndarray, " 3"]
    boxes: Float[np.ndarray, "o 3"]
    is_robot: Bool[np.ndarray, "h w"]
    is_solved: bool


class Truth(NamedTuple):
    """Frames and states before and after n actions."""

    video: UInt8[np.ndarray, "t h w c"]
    poses: Poses
    is_robot: Bool[np.ndarray, "t h w"]
    """Pixels whose centre shows the robot."""
    is_solved: Bool[np.ndarray, " t"]
    """Whether the task of the scene is solved at that moment."""


def look(env: Tabletop) -> Moment:
    """Frame and state of MuJoCo now, for `execute` and `roll_policy`."""
    frame = env.render()
    height, width = frame.shape[:2]
    pixels = robot_pixels(env.model, env.data, image_size=(height, width))
    return Moment(frame, env.pose[:3], box_positions(env), pixels, env.is_success)


def stack(moments: Sequence[Moment]) -> Truth:
    """Stack moments over time."""
    video, tool, boxes, is_robot, is_solved = (np.stack(c) for c in zip(*moments, strict=True))
    return Truth(video, Poses(tool, boxes), is_robot, is_solved)


def recorded_poses(episode: Episode, steps: Sequence[int]) -> Poses:
    """True poses at these steps of a recorded episode.

    Raises:
        ValueError: The episode is not from a simulator.
    """
    with closing(restore(episode, 0)) as env:
        tool, boxes = [], []
        for step in steps:
            env.restore(env.scene, stored_state(episode, step))
            tool.append(env.pose[:3])
            boxes.append(box_positions(env))
    return Poses(np.stack(tool), np.stack(boxes))


def box_positions(env: Tabletop) -> Float[np.ndarray, "o 3"]:
    """Centres by colour, as in Poses."""
    positions = np.full((len(PALETTE), 3), np.nan)
    for index, box in enumerate(env.scene.boxes):
        position = env.box_position(index)
        if np.abs(position).max() < ON_TABLE:
            positions[PALETTE.index(box.color)] = position
    return positions


def robot_pixels(
    model: mujoco.MjModel, data: mujoco.MjData, *, image_size: tuple[int, int]
) -> Bool[np.ndarray, "h w"]:
    """Pixels whose centre shows the robot, by one ray per pixel and without a renderer."""
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


def _robot_geoms(model: mujoco.MjModel) -> Bool[np.ndarray, " g"]:
    """Geometries that are neither boxes nor fixed to the world."""
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
