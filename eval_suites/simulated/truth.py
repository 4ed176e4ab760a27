"""True poses in MuJoCo's frames, and what their pixels show."""

from collections.abc import Sequence
from contextlib import closing
from typing import NamedTuple

import mujoco
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from genie_robo.sim.render import VISIBLE_GROUPS
from genie_robo.sim.restore import restore, stored_state
from genie_robo.sim.scene import CAMERA, COLORS, CameraSpec, box_name
from genie_robo.sim.tabletop import LIFTED, Tabletop
from genie_robo.types import GRIPPER, ROTATION, XYZ, Episode

PALETTE = tuple(COLORS)
"""Colours of boxes; a scene has at most one box of each."""

YAW = ROTATION.stop - 1
"""Index of the yaw in a pose."""
ON_TABLE = 0.3
"""Distance from the table's centre (m) beyond which a box has left."""


NOTHING, ROBOT, FIRST_BOX = 0, 1, 2
"""What a pixel shows; FIRST_BOX + k is the box of colour PALETTE[k]."""


class Poses(NamedTuple):
    """Poses of the tool and positions of the boxes."""

    tool: Float[np.ndarray, "t 3"]
    """Metres."""
    boxes: Float[np.ndarray, "t o 3"]
    """Centres in the order of PALETTE (m); NaN for a box that is absent or has left the table."""
    yaw: Float[np.ndarray, " t"]
    """Of the tool (rad)."""
    gripper: Float[np.ndarray, " t"]
    """1 = open."""


class Moment(NamedTuple):
    """Frame and state of MuJoCo at one moment."""

    frame: UInt8[np.ndarray, "h w c"]
    pose: Float[np.ndarray, " 7"]
    """x y z (m) roll pitch yaw (rad) gripper (1 = open)."""
    boxes: Float[np.ndarray, "o 3"]
    is_lifted: Bool[np.ndarray, " o"]
    shows: UInt8[np.ndarray, "h w"]


class Truth(NamedTuple):
    """Frames and states before and after n actions."""

    video: UInt8[np.ndarray, "t h w c"]
    poses: Poses
    is_lifted: Bool[np.ndarray, "t o"]
    """Whether a box is higher than the task `pick` asks for, in the order of PALETTE."""
    shows: UInt8[np.ndarray, "t h w"]
    """What the centre of every pixel shows."""


def look(env: Tabletop) -> Moment:
    """Frame and state of MuJoCo now, for `execute` and `roll_policy`."""
    frame = env.render()
    height, width = frame.shape[:2]
    shows = visible_things(env, image_size=(height, width))
    boxes, lifted = box_positions(env), np.zeros(len(PALETTE), bool)
    for index, box in enumerate(env.scene.boxes):
        lifted[PALETTE.index(box.color)] = env.box_position(index)[2] - box.half_size[2] > LIFTED
    return Moment(frame, env.pose, boxes, lifted, shows)


def stack(moments: Sequence[Moment]) -> Truth:
    """Stack moments over time."""
    video, pose, boxes, lifted, shows = (np.stack(c) for c in zip(*moments, strict=True))
    return Truth(video, _poses(pose, boxes), lifted, shows)


def _poses(pose: Float[np.ndarray, "t 7"], boxes: Float[np.ndarray, "t o 3"]) -> Poses:
    return Poses(pose[:, XYZ], boxes, pose[:, YAW], pose[:, GRIPPER])


def recorded_poses(episode: Episode, steps: Sequence[int]) -> Poses:
    """True poses at these steps of a recorded episode.

    Raises:
        ValueError: The episode is not from a simulator.
    """
    with closing(restore(episode, 0)) as env:
        poses, boxes = [], []
        for step in steps:
            env.restore(env.scene, stored_state(episode, step))
            poses.append(env.pose)
            boxes.append(box_positions(env))
    return _poses(np.stack(poses), np.stack(boxes))


def box_positions(env: Tabletop) -> Float[np.ndarray, "o 3"]:
    """Centres by colour, as in Poses."""
    positions = np.full((len(PALETTE), 3), np.nan)
    for index, box in enumerate(env.scene.boxes):
        position = env.box_position(index)
        if np.abs(position).max() < ON_TABLE:
            positions[PALETTE.index(box.color)] = position
    return positions


def visible_things(env: Tabletop, *, image_size: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
    """What the centre of every pixel shows, by one ray per pixel and without a renderer."""
    model, data = env.model, env.data
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
    return np.where(geoms >= 0, _things(env)[geoms], NOTHING).reshape(height, width)


def _things(env: Tabletop) -> UInt8[np.ndarray, " g"]:
    """What each geometry belongs to: nothing where it is fixed to the world."""
    bodies = env.model.geom_bodyid
    colors = {box_name(i): PALETTE.index(box.color) for i, box in enumerate(env.scene.boxes)}
    names = [env.model.body(int(body)).name for body in bodies]
    moving = [FIRST_BOX + colors[name] if name in colors else ROBOT for name in names]
    return np.where(bodies != 0, moving, NOTHING).astype(np.uint8)


def to_pixels(
    points: Float[np.ndarray, "n 3"], camera: CameraSpec, *, image_size: tuple[int, int]
) -> Float[np.ndarray, "n 2"]:
    """Row and column of points (m) in the square image of a camera, scaled to a size."""
    position, target = np.array(camera.position), np.array(camera.target)
    backward = (position - target) / np.linalg.norm(position - target)
    right = np.cross([0.0, 0.0, 1.0], backward)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(backward, right), backward], axis=1)
    x, y, z = ((points - position) @ axes).T
    reach = 2 * np.tan(np.radians(camera.fovy) / 2)
    shares = np.stack([0.5 + y / z / reach, 0.5 - x / z / reach], axis=1)
    return shares * np.array(image_size)


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
