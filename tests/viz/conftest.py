"""Small rollouts and episodes built by hand, and a reader of what a recording holds."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import rerun as rr
from PIL import Image
from scipy.spatial.transform import Rotation

from genie_robo.sim.replay import GeomShape, Replay
from genie_robo.types import Episode
from genie_robo.viz.rollout_view import RolloutView

NUM_FRAMES = 7
CONTROL_HZ = 3.0


class Column(NamedTuple):
    """One component of one entity, in the order of its steps; static data has no steps."""

    steps: list[int]
    seconds: list[float]
    values: list[Any]


class Contents(dict[str, Column]):
    """Columns by `entity:Archetype:component`, with the recording's identity."""

    application_id: str
    recording_id: str
    num_blueprints: int
    timelines: set[str]


def read_recording(path: Path) -> Contents:
    reader = rr.chunk.RrdReader(path)
    (store,) = reader.recordings()
    contents = Contents()
    contents.application_id, contents.recording_id = store.application_id, store.recording_id
    contents.num_blueprints = len(reader.blueprints())
    contents.timelines = set()
    rows: dict[str, list[tuple[int, float, Any]]] = {}
    for chunk in reader.stream():
        contents.timelines |= set(chunk.timeline_names)
        table = chunk.to_record_batch()
        batch = {n: table[n].to_pylist() for n in table.schema.names if n != "seconds"}
        steps = batch.get("step", [-1] * chunk.num_rows)
        seconds = [0.0] * chunk.num_rows
        if "seconds" in table.schema.names:
            seconds = [ns / 1e9 for ns in table["seconds"].cast("int64").to_pylist()]
        for name, values in batch.items():
            if ":" in name:
                key = f"{chunk.entity_path}:{name}"
                rows.setdefault(key, []).extend(zip(steps, seconds, values, strict=True))
    for key, entries in rows.items():
        entries.sort(key=lambda entry: entry[0])
        steps, seconds, values = zip(*entries, strict=True)
        contents[key] = Column(list(steps), list(seconds), list(values))
    return contents


@pytest.fixture(scope="session")
def read() -> Callable[[Path], Contents]:
    return read_recording


def _geom(name: str, kind: str, size: tuple, **mesh) -> GeomShape:
    return GeomShape(
        name=name,
        kind=kind,
        size=np.array(size, dtype=np.float64),
        rgba=np.array([1.0, 0.5, 0.0, 1.0]),
        vertices=mesh.get("vertices"),
        faces=mesh.get("faces"),
    )


@pytest.fixture(scope="session")
def replay() -> Replay:
    rng = np.random.default_rng(1)
    tetrahedron = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float64)
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    geoms = (
        _geom("table", "box", (0.5, 0.4, 0.02)),
        _geom("", "capsule", (0.03, 0.1, 0)),
        _geom("", "cylinder", (0.05, 0.2, 0)),
        _geom("ball", "sphere", (0.04, 0, 0)),
        _geom("egg", "ellipsoid", (0.1, 0.2, 0.3)),
        _geom("floor", "plane", (0, 0.7, 0.1)),
        _geom("gripper/tip", "mesh", (0, 0, 0), vertices=tetrahedron, faces=faces),
    )
    rotations = Rotation.random(NUM_FRAMES * len(geoms), rng=rng).as_matrix()
    return Replay(
        video=rng.integers(0, 256, (NUM_FRAMES, 16, 16, 3), dtype=np.uint8),
        geoms=geoms,
        positions=rng.normal(size=(NUM_FRAMES, len(geoms), 3)),
        rotations=rotations.reshape(NUM_FRAMES, len(geoms), 3, 3),
        end_effector=rng.normal(size=(NUM_FRAMES, 3)),
        object_positions=rng.normal(size=(NUM_FRAMES, 2, 3)),
    )


@pytest.fixture(scope="session")
def make_view(replay: Replay) -> Callable[..., RolloutView]:
    def make(**changes) -> RolloutView:
        rng = np.random.default_rng(2)
        video = rng.integers(0, 256, (NUM_FRAMES, 16, 24, 3), dtype=np.uint8)
        fields = {
            "episode_id": "0123456789abcdef",
            "control_hz": CONTROL_HZ,
            "true_video": video,
            "imagined_video": rng.integers(0, 256, video.shape, dtype=np.uint8),
            "robot_actions": rng.normal(size=(NUM_FRAMES - 1, 7)).astype(np.float32),
            "latent_actions": np.array([3, 3, 0, 1, 3, 2]),
            "num_codes": 4,
            "num_prompt_frames": 2,
            "replay": replay,
            "psnr": {
                "imagined": np.linspace(30, 20, NUM_FRAMES),
                "copy_last": np.array([np.inf, np.inf, 20.0, 19.0, 18.0, np.nan, 16.0]),
            },
            "summary": "# pick up the *red* box",
        }
        return RolloutView(**{**fields, **changes})

    return make


@pytest.fixture(scope="session")
def make_episode() -> Callable[..., Episode]:
    def encode(frame: np.ndarray, kind: str) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, format=kind)
        return buffer.getvalue()

    def make(**changes) -> Episode:
        rng = np.random.default_rng(3)
        frames = rng.integers(0, 256, (NUM_FRAMES, 16, 16, 3), dtype=np.uint8)
        fields = {
            "episode_id": "fedcba9876543210",
            "images": {
                "primary": tuple(encode(frame, "PNG") for frame in frames),
                "wrist": tuple(encode(frame, "JPEG") for frame in frames),
            },
            "robot_actions": rng.normal(size=(NUM_FRAMES, 7)).astype(np.float32),
            "action_mask": np.array([True, True, True, False, False, True, True]),
            "bgr_cameras": frozenset(),
            "pose_mask": np.ones(7, bool),
            "end_effector_pose": rng.normal(size=(NUM_FRAMES, 7)).astype(np.float32),
            "sim_state": None,
            "scene": "",
            "instruction": "pick up the red box",
            "control_hz": CONTROL_HZ,
        }
        return Episode(**{**fields, **changes})

    return make
