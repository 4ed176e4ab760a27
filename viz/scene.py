"""The 3D scene of a recording: MuJoCo geoms posed per step, and the paths of what moves."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import rerun as rr
from jaxtyping import Float, Int
from scipy.spatial.transform import Rotation

from genie_robo.sim.replay import GeomShape, Replay
from viz.entities import (
    END_EFFECTOR_PATH,
    END_EFFECTOR_POINT,
    GEOMS,
    IMAGINED_PATH,
    IMAGINED_POINT,
    OBJECT_PATHS,
    SCENE,
    entity,
)
from viz.recording import at_step, time_columns

END_EFFECTOR_COLOR = (255, 196, 0)
IMAGINED_COLOR = (255, 96, 210)
OBJECT_COLOR = (160, 200, 255)
INFINITE_PLANE = 1.0
"""Half-size (m) at which a plane without bounds is drawn."""
_PLANE_THICKNESS = 0.001
_VIEW_DIRECTION = np.array([0.66, 0.60, 0.46])
_TARGET = np.array([0.5, 0.5, 0.36])
"""Where the eye looks, as a share of the extent: what is near and low fills more of the view."""
_SMALLEST_RADIUS = 0.15
"""Metres."""

Archetype = rr.Boxes3D | rr.Ellipsoids3D | rr.Capsules3D | rr.Cylinders3D | rr.Mesh3D


class Eye(NamedTuple):
    """Where the 3D view looks from and to (m)."""

    position: tuple[float, float, float]
    target: tuple[float, float, float]


def eye_on(points: Float[np.ndarray, "n 3"]) -> Eye:
    """An eye in front of the robot, above and to its side, that has all points in view."""
    low, high = points.min(axis=0), points.max(axis=0)
    target = low + (high - low) * _TARGET
    radius = max(float(np.linalg.norm(high - low)) / 2, _SMALLEST_RADIUS)
    direction = _VIEW_DIRECTION / np.linalg.norm(_VIEW_DIRECTION)
    position = target + 2.25 * radius * direction
    return Eye(position=_triple(position), target=_triple(target))


def _triple(values: Float[np.ndarray, " 3"]) -> tuple[float, float, float]:
    x, y, z = (round(float(v), 4) for v in values)
    return x, y, z


def log_replay(
    recording: rr.RecordingStream,
    replay: Replay,
    times: list[rr.TimeColumn],
    *,
    root: str = "",
) -> None:
    """Log every geom, the end-effector's path so far and the objects' paths so far."""
    log_axes(recording, root=root)
    names = geom_names(replay.geoms)
    for index, (name, geom) in enumerate(zip(names, replay.geoms, strict=True)):
        path = f"{entity(root, GEOMS)}/{name}"
        recording.log(path, geom_archetype(geom), static=True)
        recording.send_columns(
            path,
            times,
            rr.Transform3D.columns(
                translation=replay.positions[:, index],
                quaternion=Rotation.from_matrix(replay.rotations[:, index]).as_quat(),
            ),
        )
    paths = entity(root, END_EFFECTOR_PATH), entity(root, END_EFFECTOR_POINT)
    _log_moving(recording, paths, replay.end_effector, times, color=END_EFFECTOR_COLOR)
    if replay.object_positions.shape[1]:
        log_growing_paths(
            recording,
            entity(root, OBJECT_PATHS),
            replay.object_positions,
            times,
            color=OBJECT_COLOR,
        )


def log_imagined_path(
    recording: rr.RecordingStream,
    positions: Float[np.ndarray, "t 3"],
    times: list[rr.TimeColumn],
    *,
    root: str = "",
) -> None:
    """Log where imagined frames show the end effector: its path so far, and where it is (m)."""
    paths = entity(root, IMAGINED_PATH), entity(root, IMAGINED_POINT)
    _log_moving(recording, paths, positions, times, color=IMAGINED_COLOR)


def _log_moving(
    recording: rr.RecordingStream,
    paths: tuple[str, str],
    positions: Float[np.ndarray, "t 3"],
    times: list[rr.TimeColumn],
    *,
    color: tuple[int, int, int],
) -> None:
    path, point = paths
    log_growing_paths(recording, path, positions[:, None], times, color=color)
    log_point(recording, point, positions, times, color=color)


def log_axes(recording: rr.RecordingStream, *, root: str = "") -> None:
    """Say that z is up in the scene."""
    recording.log(entity(root, SCENE), rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)


def log_growing_paths(
    recording: rr.RecordingStream,
    path: str,
    positions: Float[np.ndarray, "t n 3"],
    times: list[rr.TimeColumn],
    *,
    color: tuple[int, int, int],
) -> None:
    """Log n line strips that end where each point is at that time."""
    static = rr.LineStrips3D.from_fields(colors=[color], radii=_on_screen(3.0))
    recording.log(path, static, static=True)
    num_steps, num_points, _ = positions.shape
    tracks = positions.astype(np.float32).swapaxes(0, 1)
    strips = [track[: end + 1] for end in range(num_steps) for track in tracks]
    columns = rr.LineStrips3D.columns(strips=strips).partition([num_points] * num_steps)
    recording.send_columns(path, times, columns)


def log_point(
    recording: rr.RecordingStream,
    path: str,
    positions: Float[np.ndarray, "t 3"],
    times: list[rr.TimeColumn],
    *,
    color: tuple[int, int, int] = END_EFFECTOR_COLOR,
) -> None:
    """Log where the end effector is now."""
    static = rr.Points3D.from_fields(colors=[color], radii=_on_screen(5.0))
    recording.log(path, static, static=True)
    recording.send_columns(path, times, rr.Points3D.columns(positions=positions))


def geom_names(geoms: tuple[GeomShape, ...]) -> list[str]:
    """One entity name per geom: its own, or kind and index when it has none or shares it."""
    own = [_escaped(geom.name) for geom in geoms]
    return [
        name if name and own.count(name) == 1 else f"{name or geom.kind}_{index}"
        for index, (name, geom) in enumerate(zip(own, geoms, strict=True))
    ]


def _escaped(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name)


def geom_archetype(geom: GeomShape) -> Archetype:
    """The static shape of a geom in its own frame; sizes as MuJoCo defines them.

    Raises:
        ValueError: the kind is unknown, or a mesh comes without vertices and faces.
    """
    color = [_color(geom)]
    solid = rr.components.FillMode.Solid
    match geom.kind:
        case "box":
            return rr.Boxes3D(half_sizes=[geom.size], colors=color, fill_mode=solid)
        case "sphere":
            half = np.full(3, geom.size[0])
            return rr.Ellipsoids3D(half_sizes=[half], colors=color, fill_mode=solid)
        case "ellipsoid":
            return rr.Ellipsoids3D(half_sizes=[geom.size], colors=color, fill_mode=solid)
        case "capsule":
            return rr.Capsules3D(
                lengths=[2 * geom.size[1]],
                radii=[geom.size[0]],
                translations=[(0, 0, -geom.size[1])],
                colors=color,
                fill_mode=solid,
            )
        case "cylinder":
            return rr.Cylinders3D(
                lengths=[2 * geom.size[1]], radii=[geom.size[0]], colors=color, fill_mode=solid
            )
        case "plane":
            return _plane(geom, color)
        case "mesh":
            return _mesh(geom)
        case _:
            raise ValueError(
                f"geom {geom.name!r} has kind={geom.kind!r}; known are box, sphere, ellipsoid, "
                f"capsule, cylinder, plane and mesh"
            )


def _plane(geom: GeomShape, color: list[tuple[int, ...]]) -> rr.Boxes3D:
    x, y = (float(side) or INFINITE_PLANE for side in geom.size[:2])
    return rr.Boxes3D(
        half_sizes=[(x, y, _PLANE_THICKNESS)],
        centers=[(0, 0, -_PLANE_THICKNESS)],
        colors=color,
        fill_mode=rr.components.FillMode.Solid,
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
    """Rerun takes a negative radius for points on the screen, whatever the zoom."""
    return [-points]


def _color(geom: GeomShape) -> tuple[int, ...]:
    return tuple(round(255 * float(channel)) for channel in np.clip(geom.rgba, 0, 1))


def log_changed_scene(
    recording: rr.RecordingStream,
    replay: Replay,
    *,
    before: Mapping[str, GeomShape],
    first_step: int,
    control_hz: float,
) -> dict[str, GeomShape]:
    """Log an episode's geoms from `first_step` on, and give them by name.

    Args:
        recording: Where to.
        replay: What happened in the episode.
        before: Geoms of the episode before: equal ones stay, those that are no longer there go.
        first_step: Of the episode on the timeline `step`.
        control_hz: Steps per second, 0 when unknown.
    """
    log_axes(recording)
    geoms = dict(zip(geom_names(replay.geoms), replay.geoms, strict=True))
    with at_step(recording, first_step, control_hz=control_hz):
        for name in before.keys() - geoms.keys():
            recording.log(_path(name), rr.Clear(recursive=True))
        for name, geom in geoms.items():
            if name not in before or not _is_same(geom, before[name]):
                recording.log(_path(name), geom_archetype(geom))
    steps = first_step + np.arange(len(replay.positions))
    times = time_columns(steps, control_hz=control_hz)
    for index, name in enumerate(geoms):
        rotations = Rotation.from_matrix(replay.rotations[:, index])
        poses = rr.Transform3D.columns(
            translation=replay.positions[:, index], quaternion=rotations.as_quat()
        )
        recording.send_columns(_path(name), times, poses)
    return geoms


def _path(name: str) -> str:
    return f"{entity('', GEOMS)}/{name}"


def _is_same(one: GeomShape, other: GeomShape) -> bool:
    """Whether two geoms look alike."""
    if one.kind != other.kind:
        return False
    fields = ("size", "rgba", "vertices", "faces")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in fields)
