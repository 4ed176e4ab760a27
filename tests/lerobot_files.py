"""LeRobot folders of v2.1 and v3.0 written from plain arrays, with pyarrow and av."""

import io
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from genie_robo.data.settings import ActionSource, JointsMotion, PoseSource, Source

FPS = 10
_CLOCK = 90_000
CAMERA, STATE, ACTION = "observation.images.top", "observation.state", "action"
WRIST = "observation.images.wrist"
V3_VIDEO = f"videos/{CAMERA}/chunk-000/file-000.mp4"
V3_EPISODES = "meta/episodes/chunk-000/file-000.parquet"
_LEAD = 3
"""Frames of no episode before those of the wrist camera, in each file of v3.0."""
JOINT_NAMES = ("shoulder", "elbow", "gripper")
LEROBOT_SOURCE = Source(
    camera=CAMERA,
    action=ActionSource(
        translation="",
        rotation="",
        gripper="",
        joints="action[0:3]",
        joints_motion=JointsMotion.target,
    ),
    pose=PoseSource(joints="observation.state[0:3]"),
    instruction=("task",),
)
BOTH_CAMERAS = replace(LEROBOT_SOURCE, cameras={"wrist": WRIST})
V2_PATHS = {
    "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
    "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
}
V3_PATHS = {
    "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
    "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
}


class Demo(NamedTuple):
    """One episode to write."""

    video: np.ndarray
    """t h w c, uint8."""
    state: np.ndarray
    action: np.ndarray
    task: str
    times: np.ndarray | None = None
    """Seconds; by default those of FPS."""
    wrist: np.ndarray | None = None
    """Frames of a second camera."""

    @property
    def cameras(self) -> dict[str, np.ndarray]:
        """Frames by key."""
        return {CAMERA: self.video} | ({} if self.wrist is None else {WRIST: self.wrist})


def make_demo(num_steps: int = 8, *, seed: int = 0, size: tuple[int, int] = (16, 16), times=None):
    """A joint moves in a random walk, and a white bar of the picture with it."""
    rng = np.random.default_rng(seed)
    state = rng.normal(0, 0.3, (num_steps, 3)).cumsum(axis=0).astype(np.float32)
    action = (state + rng.normal(0, 0.1, state.shape)).astype(np.float32)
    video = rng.integers(0, 256, (num_steps, *size, 3), np.uint8)
    for t, row in enumerate(state):
        column = int(np.clip(row[0] * 4 + size[1] // 2, 0, size[1] - 2))
        video[t, :, column : column + 2] = 255
    return Demo(video, state, action, f"task {seed % 2}", times)


def encode_png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_video(
    path: Path,
    video: np.ndarray,
    *,
    codec="libx264rgb",
    gop=4,
    movflags="",
    rate=FPS,
    times=None,
    **options,
) -> None:
    """Write frames at a rate, or at times in seconds, by default without any loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lossless = {"qp": "0", "preset": "ultrafast"} if codec == "libx264rgb" else {}
    flags = {"movflags": movflags} if movflags else {}
    with av.open(str(path), "w", format="mp4", options=flags) as container:
        stream = container.add_stream(codec, rate=rate, options=lossless | options)
        stream.height, stream.width = video.shape[1:3]
        stream.pix_fmt = "rgb24" if codec == "libx264rgb" else "yuv420p"
        stream.gop_size = gop
        unit = Fraction(1, rate if times is None else _CLOCK)
        stream.time_base = stream.codec_context.time_base = unit
        places = range(len(video)) if times is None else (round(t * _CLOCK) for t in times)
        for pixels, place in zip(video, places, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = place, unit
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def with_wrist(demo: Demo) -> Demo:
    """The same with a second camera, whose frames are the first one's in negative and smaller."""
    return demo._replace(wrist=255 - demo.video[:, ::2, ::2])


def write_info(root: Path, version: str, *, images: str, demo: Demo, paths=None, **changes):
    """Write meta/info.json; `images` is the dtype of the cameras."""
    widths = {STATE: demo.state.shape[1], ACTION: demo.action.shape[1]}
    numbers = {
        key: {
            "dtype": "float32",
            "shape": [width],
            "names": [list(JOINT_NAMES)] if width == len(JOINT_NAMES) else None,
        }
        for key, width in widths.items()
    }
    cameras = {
        key: {
            "dtype": images,
            "shape": [*video.shape[1:3], 3],
            "names": ["height", "width", "channels"],
        }
        for key, video in demo.cameras.items()
    }
    info = {
        "codebase_version": version,
        "robot_type": "arm",
        "fps": FPS,
        "chunks_size": 1000,
        "splits": {"train": "0:100"},
        **(paths or (V3_PATHS if version == "v3.0" else V2_PATHS)),
        "features": {
            **numbers,
            **cameras,
            "timestamp": {"dtype": "float32", "shape": [1], "names": None},
            "frame_index": {"dtype": "int64", "shape": [1], "names": None},
            "episode_index": {"dtype": "int64", "shape": [1], "names": None},
            "index": {"dtype": "int64", "shape": [1], "names": None},
            "task_index": {"dtype": "int64", "shape": [1], "names": None},
        },
    } | changes
    (root / "meta").mkdir(parents=True, exist_ok=True)
    (root / "meta/info.json").write_text(json.dumps(info))


def rows_of(demo: Demo, number: int, tasks: list[str], *, images: str, first: int = 0) -> pa.Table:
    """The rows of an episode."""
    count = len(demo.video)
    times = np.arange(count) / FPS if demo.times is None else demo.times
    columns = {
        STATE: pa.array(demo.state.tolist(), pa.list_(pa.float32(), demo.state.shape[1])),
        ACTION: pa.array(demo.action.tolist(), pa.list_(pa.float32())),
        "timestamp": pa.array(times.astype(np.float32)),
        "frame_index": pa.array(np.arange(count)),
        "episode_index": pa.array(np.full(count, number)),
        "index": pa.array(first + np.arange(count)),
        "task_index": pa.array(np.full(count, tasks.index(demo.task))),
    }
    if images == "image":
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        for key, video in demo.cameras.items():
            stored = [{"bytes": encode_png(f), "path": f"{t}.png"} for t, f in enumerate(video)]
            columns[key] = pa.array(stored, kind)
    return pa.table(columns)


def write_v2(
    root: Path, demos: list[Demo], *, version: str = "v2.1", images: str = "video", **info
):
    """Write one table and one video per episode."""
    tasks = _tasks(demos)
    write_info(root, version, images=images, demo=demos[0], **info)
    lines = [json.dumps({"task_index": i, "task": task}) for i, task in enumerate(tasks)]
    (root / "meta/tasks.jsonl").write_text("\n".join(lines))
    lines = [
        json.dumps({"episode_index": i, "tasks": [demo.task], "length": len(demo.video)})
        for i, demo in enumerate(demos)
    ]
    (root / "meta/episodes.jsonl").write_text("\n".join(lines) + "\n")
    for number, demo in enumerate(demos):
        table = rows_of(demo, number, tasks, images=images)
        write_table(v2_table(root, number), table)
        if images == "video":
            for key, video in demo.cameras.items():
                write_video(v2_video(root, number, key), video)
    return root


def v2_table(root: Path, number: int) -> Path:
    return root / f"data/chunk-000/episode_{number:06d}.parquet"


def v2_video(root: Path, number: int, key: str = CAMERA) -> Path:
    return root / f"videos/chunk-000/{key}/episode_{number:06d}.mp4"


def write_v3(root: Path, demos: list[Demo], *, images="video", gop=4, **info) -> Path:
    """Write all episodes into one table and one video; a wrist camera into a video for each two."""
    tasks = _tasks(demos)
    write_info(root, "v3.0", images=images, demo=demos[0], **info)
    frame = pa.table({"task_index": np.arange(len(tasks)), "__index_level_0__": tasks})
    write_table(root / "meta/tasks.parquet", frame)
    starts = np.cumsum([0, *(len(demo.video) for demo in demos)])
    rows = [
        rows_of(demo, i, tasks, images=images, first=int(starts[i])) for i, demo in enumerate(demos)
    ]
    write_table(root / "data/chunk-000/file-000.parquet", pa.concat_tables(rows))
    episodes = {
        "episode_index": np.arange(len(demos)),
        "tasks": pa.array([[demo.task] for demo in demos], pa.list_(pa.string())),
        "length": np.diff(starts),
        "data/chunk_index": np.zeros(len(demos), int),
        "data/file_index": np.zeros(len(demos), int),
        "stats/action/mean": pa.array([[0.0]] * len(demos)),
    }
    if images == "video":
        episodes |= _v3_video(root, CAMERA, [demo.video for demo in demos], gop=gop)
        if demos[0].wrist is not None:
            wrist = [demo.wrist for demo in demos]
            episodes |= _v3_video(root, WRIST, wrist, gop=gop, per_file=2, lead=_LEAD)
    write_table(root / "meta/episodes/chunk-000/file-000.parquet", pa.table(episodes))
    return root


def _v3_video(root: Path, key: str, videos, *, gop: int, per_file=1000, lead=0) -> dict:
    """Write one camera; returns what the list of episodes says of it."""
    files = np.arange(len(videos)) // per_file
    lengths = np.array([len(video) for video in videos])
    stops = np.array(
        [lead + lengths[: i + 1][files[: i + 1] == n].sum() for i, n in enumerate(files)]
    )
    for number in np.unique(files):
        shown = [video for video, n in zip(videos, files, strict=True) if n == number]
        frames = np.concatenate([np.zeros_like(shown[0][:1]).repeat(lead, axis=0), *shown])
        write_video(root / f"videos/{key}/chunk-000/file-{number:03d}.mp4", frames, gop=gop)
    found = {"chunk_index": np.zeros(len(videos), int), "file_index": files}
    found |= {"from_timestamp": (stops - lengths) / FPS, "to_timestamp": stops / FPS}
    return {f"videos/{key}/{name}": values for name, values in found.items()}


def write_table(path: Path, table: pa.Table, *, row_group_size: int | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=row_group_size)


def _tasks(demos: list[Demo]) -> list[str]:
    return sorted({demo.task for demo in demos})
