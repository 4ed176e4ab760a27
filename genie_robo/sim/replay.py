"""Frames and geometry in MuJoCo from a stored step on, under given actions."""

from contextlib import closing
from dataclasses import dataclass
from functools import partial

import mujoco
import numpy as np
from jaxtyping import Float, Int, UInt8

from genie_robo.data.transforms import stored_size
from genie_robo.sim.render import VISIBLE_GROUPS, geom_colors
from genie_robo.sim.restore import execute, restore, stored_state
from genie_robo.sim.tabletop import Tabletop
from genie_robo.types import Episode

_KINDS = {
    mujoco.mjtGeom.mjGEOM_PLANE: "plane",
    mujoco.mjtGeom.mjGEOM_SPHERE: "sphere",
    mujoco.mjtGeom.mjGEOM_CAPSULE: "capsule",
    mujoco.mjtGeom.mjGEOM_ELLIPSOID: "ellipsoid",
    mujoco.mjtGeom.mjGEOM_CYLINDER: "cylinder",
    mujoco.mjtGeom.mjGEOM_BOX: "box",
    mujoco.mjtGeom.mjGEOM_MESH: "mesh",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GeomShape:
    """One visible geom; sizes are MuJoCo's (half lengths, radius first)."""

    name: str
    kind: str
    """box, sphere, capsule, cylinder, ellipsoid, plane or mesh."""
    size: Float[np.ndarray, " 3"]
    rgba: Float[np.ndarray, " 4"]
    vertices: Float[np.ndarray, "v 3"] | None
    """Only of a mesh, in the geom's frame."""
    faces: Int[np.ndarray, "f 3"] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Frames and geometry of a replay; the first is the restored frame."""

    video: UInt8[np.ndarray, "t h w c"]
    geoms: tuple[GeomShape, ...]
    positions: Float[np.ndarray, "t g 3"]
    """Positions of the geoms (m)."""
    rotations: Float[np.ndarray, "t g 3 3"]
    end_effector: Float[np.ndarray, "t 3"]
    object_positions: Float[np.ndarray, "t o 3"]


def replay(
    episode: Episode,
    *,
    start: int,
    robot_actions: Float[np.ndarray, "n a"],
    image_size: tuple[int, int] | None = None,
    renderer: str = "auto",
    stride: int = 1,
) -> Replay:
    """Restore step `start` of a recorded episode and execute actions from there.

    With the stored actions, image size and renderer the frames are the stored ones, bit for bit.
    A frame is kept after every `stride` actions.

    Raises:
        ValueError: the episode is not from a simulator, `start` is not one of its steps, or an
            action is out of bounds.
    """
    stored_state(episode, start)  # refuses a wrong `start` before its image is read
    if image_size is None:
        height, width = stored_size(episode.images["primary"][start])
        image_size = (height, width)
    with closing(restore(episode, start, image_size=image_size, renderer=renderer)) as env:
        geoms = np.flatnonzero(np.isin(env.model.geom_group, VISIBLE_GROUPS))
        colors = geom_colors(env.model)
        moments = execute(env, robot_actions, partial(_look, geoms=geoms), stride=stride)
        video, positions, rotations, tool, objects = (
            np.stack(column) for column in zip(*moments, strict=True)
        )
        return Replay(
            video=video,
            geoms=tuple(_shape(env.model, int(geom), color=colors[geom]) for geom in geoms),
            positions=positions,
            rotations=rotations,
            end_effector=tool,
            object_positions=objects,
        )


def _look(env: Tabletop, geoms: Int[np.ndarray, " g"]) -> tuple[np.ndarray, ...]:
    """Frame, positions and rotations of geoms, positions of tool and boxes."""
    boxes = [env.box_position(index) for index in range(len(env.scene.boxes))]
    return (
        env.render(),
        env.data.geom_xpos[geoms],
        env.data.geom_xmat[geoms].reshape(-1, 3, 3),
        env.pose[:3],
        np.stack(boxes),
    )


def _shape(model: mujoco.MjModel, geom: int, *, color: Float[np.ndarray, " 3"]) -> GeomShape:
    vertices = faces = None
    mesh = int(model.geom_dataid[geom])
    kind = _KINDS[mujoco.mjtGeom(int(model.geom_type[geom]))]
    if kind == "mesh":
        first, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
        vertices = model.mesh_vert[first : first + count].astype(np.float64)
        first, count = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
        faces = model.mesh_face[first : first + count].astype(np.int64)
    return GeomShape(
        name=model.geom(geom).name or f"{model.body(model.geom_bodyid[geom]).name}_{geom}",
        kind=kind,
        size=model.geom_size[geom].copy(),
        rgba=np.array([*color, 1.0]),
        vertices=vertices,
        faces=faces,
    )
