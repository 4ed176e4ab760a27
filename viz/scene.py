"""The 3D scene of a recording: poses of MuJoCo geoms, paths of the tool and objects."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import rerun as rr
from jaxtyping import Float, Int
from scipy.spatial.transform import Rotation

from genie_robo.inference.code_names import Color
from genie_robo.sim.replay import GeomShape, Replay
from genie_robo.viz.entities import (
    END_EFFECTOR_PATH,
    END_EFFECTOR_POINT,
    GEOMS,
    IMAGINED_PATH,
    IMAGINED_POINT,
    OBJECT_PATHS,
    SCENE,
    SECONDS,
    STEP,
    entity,
)
from genie_robo.viz.recording import Times, log_columns, time_columns

END_EFFECTOR_COLOR = (255, 196, 0)
IMAGINED_COLOR = (255, 96, 210)
OBJECT_COLOR = (160, 200, 255)
INFINITE_PLANE_M = 1.0
"""Half-size at which a plane without bounds is drawn."""
_PLANE_THICKNESS_M = 0.001
_SMALLEST_RADIUS_M = 0.15
_VIEW_DIRECTION = np.array([0.66, 0.60, 0.46])
_TARGET = np.array([0.5, 0.5, 0.36])
"""Where the eye looks, as a share of the extent: near and low parts fill more of the view."""
_SOLID = rr.components.FillMode.Solid

Archetype = rr.Boxes3D | rr.Ellipsoids3D | rr.Capsules3D | rr.Cylinders3D | rr.Mesh3D


class Eye(NamedTuple):
    """Where the 3D view looks from and to (m)."""

    position: tuple[float, float, float]
    target: tuple[float, float, float]


def body_positions(replay: Replay) -> Float[np.ndarray, "n 3"]:
    """Where the robot and the objects are at any time (m): all geoms but the ground."""
    is_body = [geom.kind != "plane" for geom in replay.geoms]
    return replay.positions[:, is_body].reshape(-1, 3)


def eye_on(points: Float[np.ndarray, "n 3"]) -> Eye:
    """An eye in front of the robot, above and to its side, that has all points in view."""
    low, high = points.min(axis=0), points.max(axis=0)
    target = low + (high - low) * _TARGET
    radius = max(float(np.linalg.norm(high - low)) / 2, _SMALLEST_RADIUS_M)
    direction = _VIEW_DIRECTION / np.linalg.norm(_VIEW_DIRECTION)
    position = target + 2.25 * radius * direction
    return Eye(position=_triple(position), target=_triple(target))


def _triple(values: Float[np.ndarray, " 3"]) -> tuple[float, float, float]:
    x, y, z = (round(float(v), 4) for v in values)
    return x, y, z


def log_replay(recording: rr.RecordingStream, replay: Replay, times: Times, *, root: str) -> None:
    """Log every geom, the end effector's path so far and the objects' paths so far."""
    log_axes(recording, root=root)
    for name, geom in _named(replay).items():
        recording.log(_geom_path(root, name), geom_archetype(geom), static=True)
    _log_poses(recording, replay, times, root=root)
    path, point = entity(root, END_EFFECTOR_PATH), entity(root, END_EFFECTOR_POINT)
    _log_paths(recording, path, replay.end_effector[:, None], times, color=END_EFFECTOR_COLOR)
    log_point(recording, point, replay.end_effector, times)
    if replay.object_positions.shape[1]:
        path = entity(root, OBJECT_PATHS)
        _log_paths(recording, path, replay.object_positions, times, color=OBJECT_COLOR)


def log_changed_scene(
    recording: rr.RecordingStream,
    replay: Replay,
    *,
    before: Mapping[str, GeomShape],
    first_step: int,
    control_hz: float,
) -> dict[str, GeomShape]:
    """Log an episode's geoms from `first_step` on, and return them by name.

    Geoms equal to those of the episode `before` are not logged again; missing ones are cleared.
    """
    log_axes(recording)
    geoms = _named(replay)
    recording.set_time(STEP, sequence=first_step)
    if control_hz > 0:
        recording.set_time(SECONDS, duration=first_step / control_hz)
    for name in before.keys() - geoms.keys():
        recording.log(_geom_path("", name), rr.Clear(recursive=True))
    for name, geom in geoms.items():
        if name not in before or not _is_same(geom, before[name]):
            recording.log(_geom_path("", name), geom_archetype(geom))
    recording.reset_time()
    steps = first_step + np.arange(len(replay.positions))
    _log_poses(recording, replay, time_columns(steps, control_hz=control_hz), root="")
    return geoms


def log_imagined_path(
    recording: rr.RecordingStream, positions: Float[np.ndarray, "t 3"], times: Times, *, root: str
) -> None:
    """Log the end effector read from imagined frames: its path so far, and its position (m)."""
    path, point = entity(root, IMAGINED_PATH), entity(root, IMAGINED_POINT)
    _log_paths(recording, path, positions[:, None], times, color=IMAGINED_COLOR)
    log_point(recording, point, positions, times, color=IMAGINED_COLOR)


def log_axes(recording: rr.RecordingStream, *, root: str = "") -> None:
    """Declare that z is up in the scene."""
    recording.log(entity(root, SCENE), rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)


def log_point(
    recording: rr.RecordingStream,
    path: str,
    positions: Float[np.ndarray, "t 3"],
    times: Times,
    *,
    color: Color = END_EFFECTOR_COLOR,
) -> None:
    """Log where the end effector is at each time."""
    static = rr.Points3D.from_fields(colors=[color], radii=_on_screen(5.0))
    log_columns(recording, path, times, rr.Points3D.columns(positions=positions), static=static)


def _log_paths(
    recording: rr.RecordingStream,
    path: str,
    positions: Float[np.ndarray, "t n 3"],
    times: Times,
    *,
    color: Color,
) -> None:
    """Log n line strips that end where each point is at that time."""
    static = rr.LineStrips3D.from_fields(colors=[color], radii=_on_screen(3.0))
    num_steps, num_points, _ = positions.shape
    tracks = positions.astype(np.float32).swapaxes(0, 1)
    strips = [track[: end + 1] for end in range(num_steps) for track in tracks]
    columns = rr.LineStrips3D.columns(strips=strips).partition([num_points] * num_steps)
    log_columns(recording, path, times, columns, static=static)


def _log_poses(recording: rr.RecordingStream, replay: Replay, times: Times, *, root: str) -> None:
    for index, name in enumerate(geom_names(replay.geoms)):
        quaternion = Rotation.from_matrix(replay.rotations[:, index]).as_quat()
        poses = rr.Transform3D.columns(
            translation=replay.positions[:, index], quaternion=quaternion
        )
        recording.send_columns(_geom_path(root, name), times, poses)


def _named(replay: Replay) -> dict[str, GeomShape]:
    return dict(zip(geom_names(replay.geoms), replay.geoms, strict=True))


def _geom_path(root: str, name: str) -> str:
    return f"{entity(root, GEOMS)}/{name}"


def _is_same(one: GeomShape, other: GeomShape) -> bool:
    fields = ("kind", "size", "rgba", "vertices", "faces")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in fields)


def geom_names(geoms: tuple[GeomShape, ...]) -> list[str]:
    """One entity name per geom: its own, or kind and index when it has none or shares it."""
    own = ["".join(c if c.isalnum() or c in "-_" else "_" for c in geom.name) for geom in geoms]
    return [
        name if name and own.count(name) == 1 else f"{name or geom.kind}_{index}"
        for index, (name, geom) in enumerate(zip(own, geoms, strict=True))
    ]


def geom_archetype(geom: GeomShape) -> Archetype:
    """The static shape of a geom in its own frame; sizes as MuJoCo defines them.

    Raises:
        ValueError: the kind is unknown, or a mesh comes without vertices and faces.
    """
    size, color = geom.size, [_color(geom)]
    match geom.kind:
        case "box":
            return rr.Boxes3D(half_sizes=[size], colors=color, fill_mode=_SOLID)
        case "sphere" | "ellipsoid":
            half = size if geom.kind == "ellipsoid" else np.full(3, size[0])
            return rr.Ellipsoids3D(half_sizes=[half], colors=color, fill_mode=_SOLID)
        case "capsule":
            return rr.Capsules3D(
                lengths=[2 * size[1]],
                radii=[size[0]],
                translations=[(0, 0, -size[1])],
                colors=color,
                fill_mode=_SOLID,
            )
        case "cylinder":
            length, radius = 2 * size[1], size[0]
            return rr.Cylinders3D(lengths=[length], radii=[radius], colors=color, fill_mode=_SOLID)
        case "plane":
            x, y = (float(side) or INFINITE_PLANE_M for side in size[:2])
            return rr.Boxes3D(
                half_sizes=[(x, y, _PLANE_THICKNESS_M)],
                centers=[(0, 0, -_PLANE_THICKNESS_M)],
                colors=color,
                fill_mode=_SOLID,
            )
        case "mesh":
            return _mesh(geom)
        case _:
            raise ValueError(
                f"geom {geom.name!r} has kind={geom.kind!r}; known are box, sphere, ellipsoid, "
                f"capsule, cylinder, plane and mesh"
            )


def _mesh(geom: GeomShape) -> rr.Mesh3D:
    if geom.vertices is None or geom.faces is None:
        raise ValueError(f"geom {geom.name!r} is a mesh without vertices and faces")
    return rr.Mesh3D(
        vertex_positions=geom.vertices,
        triangle_indices=geom.faces,
        vertex_normals=vertex_normals(geom.vertices, geom.faces),
        albedo_factor=_color(geom),
    )


def vertex_normals(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> Float[np.ndarray, "v 3"]:
    """Unit normals for smooth shading: the faces around a vertex, weighted by their area."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    face_normals = np.cross(b - a, c - a)
    normals = np.zeros(vertices.shape)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], face_normals)
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(lengths > 0, normals / np.maximum(lengths, 1e-12), (0.0, 0.0, 1.0))


def _on_screen(points: float) -> list[float]:
    """A radius in points on the screen at any zoom, which Rerun marks by a negative sign."""
    return [-points]


def _color(geom: GeomShape) -> tuple[int, ...]:
    return tuple(round(255 * float(channel)) for channel in np.clip(geom.rgba, 0, 1))
