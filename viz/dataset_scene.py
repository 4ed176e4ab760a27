"""The 3D scene of episodes in turn: shapes are logged where they change, poses at every step."""

from collections.abc import Mapping

import numpy as np
import rerun as rr
from scipy.spatial.transform import Rotation

from genie_robo.sim.replay import GeomShape, Replay
from viz.entities import GEOMS, entity
from viz.recording import at_step, time_columns
from viz.scene import geom_archetype, geom_names, log_axes


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
