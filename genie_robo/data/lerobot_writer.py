"""A LeRobot folder of v3.0, written episode by episode: tables, videos and their metadata.

Source of the layout: lerobot 0.4, `lerobot/datasets/utils.py` and `compute_stats.py`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import UInt8

from genie_robo.data.features import Feature
from genie_robo.data.folders import LEROBOT_INFO
from genie_robo.video_files import VideoWriter

_CHUNK_SIZE = 1000
"""Files in a folder."""
_TABLE_MB, _VIDEO_MB = 100, 200
"""A file that has grown beyond this gets no further episode."""
_MB = 2**20
_FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
_TABLES, _EPISODES = f"data/{_FILE}.parquet", f"meta/episodes/{_FILE}.parquet"
_VIDEOS = f"videos/{{video_key}}/{_FILE}.mp4"
_TASKS_FILE, _STATISTICS_FILE = "meta/tasks.parquet", "meta/stats.json"
_BUFFERED = 200
"""Episodes whose metadata is in memory."""
_MAX_DENOMINATOR = 1000
"""Of the steps per second as a fraction."""
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_BOOKKEEPING = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}

Frame = UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeRobotEpisode:
    """What is written of an episode, by the names of columns."""

    columns: Mapping[str, Sequence[Any] | np.ndarray]
    """Numbers of every step as arrays, texts as strings, images as bytes of JPEG or PNG."""
    videos: Mapping[str, Iterable[Frame]]
    """RGB frames of the cameras that are stored in videos."""
    seen: Mapping[str, UInt8[np.ndarray, "n h w 3"]]
    """Some frames of each camera, for the statistics of its pixels."""
    tasks: Sequence[str]
    """Of every step."""
    source_id: str
    """Id of the episode that it is a copy of."""


class LeRobotWriter:
    """Appends episodes to an empty folder; `finish` writes the metadata, without which it is none.

    Memory is bounded by one episode.
    """

    def __init__(
        self,
        folder: Path,
        *,
        fps: float,
        features: Mapping[str, Feature],
        is_lossless: bool = False,
    ) -> None:
        """Begin a dataset.

        Args:
            folder: An empty folder.
            fps: Steps per second.
            features: Columns by name; cameras of the encoding `video` go to MP4 files.
            is_lossless: Videos keep every pixel.

        Raises:
            ValueError: A camera's frames have odd sides, which videos with loss cannot have.
        """
        self._folder, self._fps, self._features = folder, fps, dict(features)
        self._tables = _TableFiles(folder, _TABLES, limit=_TABLE_MB * _MB)
        self._episodes = _TableFiles(folder, _EPISODES, limit=_TABLE_MB * _MB)
        self._videos = {
            name: _VideoFiles(folder, name, feature, fps=fps, is_lossless=is_lossless)
            for name, feature in features.items()
            if feature.encoding == "video"
        }
        self._statistics = {name: _Statistics() for name in (*features, *_BOOKKEEPING)}
        self._tasks: dict[str, int] = {}
        self._rows: list[dict[str, Any]] = []
        """Metadata of episodes that is not written yet."""
        self.num_episodes = self._num_steps = 0

    def write(self, episode: LeRobotEpisode) -> None:
        """Append one episode.

        Raises:
            ValueError: A frame cannot be decoded; nothing of the episode is kept.
        """
        places = {name: self._videos[name].append(episode.videos[name]) for name in self._videos}
        length = len(episode.tasks)
        columns = {**episode.columns, **self._bookkeeping(episode.tasks)}
        table = self._tables.append(self._table(columns))
        row = {
            "episode_index": self.num_episodes,
            "tasks": list(dict.fromkeys(episode.tasks)),
            "length": length,
            "data/chunk_index": table["chunk_index"],
            "data/file_index": table["file_index"],
            "dataset_from_index": self._num_steps,
            "dataset_to_index": self._num_steps + length,
            "source_id": episode.source_id,
        }
        for name, place in places.items():
            row |= {f"videos/{name}/{key}": value for key, value in place.items()}
        self._rows.append(row)
        self._count(columns, episode.seen)
        self.num_episodes += 1
        self._num_steps += length
        if len(self._rows) == _BUFFERED:
            self._write_rows()

    def finish(self) -> None:
        """Write what is left, and last the file that makes the folder a dataset."""
        self._write_rows()
        self.close()
        tasks = pd.Index(list(self._tasks), name="task", dtype=object)
        frame = pd.DataFrame({"task_index": range(len(tasks))}, index=tasks)
        frame.to_parquet(self._folder / _TASKS_FILE)
        statistics = {name: found.summary() for name, found in self._statistics.items()}
        found = {name: values for name, values in statistics.items() if values}
        (self._folder / _STATISTICS_FILE).write_text(json.dumps(found, indent=4))
        (self._folder / LEROBOT_INFO).write_text(json.dumps(self._info(), indent=4))

    def close(self) -> None:
        """Close what is open; the folder is no dataset yet."""
        for files in (self._tables, self._episodes, *self._videos.values()):
            files.close()

    def _bookkeeping(self, tasks: Sequence[str]) -> dict[str, np.ndarray]:
        """The columns that every LeRobot table has."""
        steps = np.arange(len(tasks))
        numbers = [self._tasks.setdefault(task, len(self._tasks)) for task in tasks]
        return {
            "timestamp": (steps / self._fps).astype(np.float32),
            "frame_index": steps,
            "episode_index": np.full(len(tasks), self.num_episodes),
            "index": self._num_steps + steps,
            "task_index": np.array(numbers, np.int64),
        }

    def _table(self, columns: Mapping[str, Sequence[Any] | np.ndarray]) -> pa.Table:
        return pa.table(
            {name: _to_arrow(values, self._features.get(name)) for name, values in columns.items()}
        )

    def _count(
        self,
        columns: Mapping[str, Sequence[Any] | np.ndarray],
        seen: Mapping[str, UInt8[np.ndarray, "n h w 3"]],
    ) -> None:
        for name, values in columns.items():
            if isinstance(values, np.ndarray):
                self._statistics[name].add(values.reshape(len(values), -1))
        for name, frames in seen.items():
            self._statistics[name].add(frames.reshape(-1, 3) / 255, shape=(3, 1, 1))

    def _write_rows(self) -> None:
        """Write metadata of episodes, which names its own file."""
        if not self._rows:
            return
        place = self._episodes.next_place()
        own = {f"meta/episodes/{key}": value for key, value in place.items()}
        self._episodes.append(pa.Table.from_pylist([row | own for row in self._rows]))
        self._rows = []

    def _info(self) -> dict[str, Any]:
        cameras = {name: files.info() for name, files in self._videos.items()}
        features = {
            name: _describe(feature, cameras.get(name)) for name, feature in self._features.items()
        }
        counted = {
            name: {"dtype": dtype, "shape": [1], "names": None}
            for name, dtype in _BOOKKEEPING.items()
        }
        return {
            "codebase_version": "v3.0",
            "robot_type": "unknown",
            "total_episodes": self.num_episodes,
            "total_frames": self._num_steps,
            "total_tasks": len(self._tasks),
            "chunks_size": _CHUNK_SIZE,
            "data_files_size_in_mb": _TABLE_MB,
            "video_files_size_in_mb": _VIDEO_MB,
            "fps": _whole(self._fps),
            "splits": {"train": f"0:{self.num_episodes}"},
            "data_path": _TABLES,
            "video_path": _VIDEOS if self._videos else None,
            "features": features | counted,
        }


class _TableFiles:
    """Parquet files, one after the other; each has whole episodes."""

    def __init__(self, folder: Path, template: str, *, limit: int) -> None:
        self._folder, self._template, self._limit = folder, template, limit
        self._number = 0
        self._file: BinaryIO | None = None
        self._writer: pq.ParquetWriter | None = None

    def next_place(self) -> dict[str, int]:
        """Where the next rows go."""
        if self._file is not None and self._file.tell() >= self._limit:
            self.close()
            self._number += 1
        return _place(self._number)

    def append(self, rows: pa.Table) -> dict[str, int]:
        """Append rows as a group of their own, and return their file."""
        place = self.next_place()
        if self._writer is None:
            path = self._folder / self._template.format(**place)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb")
            self._writer = pq.ParquetWriter(self._file, rows.schema)
        self._writer.write_table(rows)
        return place

    def close(self) -> None:
        """Complete the open file."""
        writer, file = self._writer, self._file
        self._writer = self._file = None
        if writer is not None and file is not None:
            with file:
                writer.close()


class _VideoFiles:
    """MP4 files of one camera, one after the other; each has whole episodes."""

    def __init__(
        self, folder: Path, name: str, feature: Feature, *, fps: float, is_lossless: bool
    ) -> None:
        height, width, _ = feature.shape
        assert height is not None
        assert width is not None
        if not is_lossless and (height % 2 or width % 2):
            raise ValueError(
                f"{name} has frames of {width} x {height} pixels, but a video has even sides: "
                "store them with images=lossless, images=jpeg or images=lossless_video"
            )
        self._folder, self._name, self._size = folder, name, (height, width)
        self._fps, self._is_lossless = fps, is_lossless
        self._number = 0
        self._writer: VideoWriter | None = None

    def append(self, frames: Iterable[Frame]) -> dict[str, int | float]:
        """Append the frames of an episode, and return their file and their times in it (s).

        Frames of an episode that fails midway stay in the file, where no episode names them.
        """
        if self._writer is not None and self._writer.num_bytes >= _VIDEO_MB * _MB:
            self.close()
            self._number += 1
        writer = self._writer = self._writer or self._open()
        first = writer.num_frames
        for frame in frames:
            writer.append(frame)
        times = {"from_timestamp": first / self._fps, "to_timestamp": writer.num_frames / self._fps}
        return _place(self._number) | times

    def close(self) -> None:
        """Complete the open file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def info(self) -> dict[str, Any]:
        """What info.json says of the videos."""
        height, width = self._size
        return {
            "video.height": height,
            "video.width": width,
            "video.codec": "h264",
            "video.pix_fmt": "gbrp" if self._is_lossless else "yuv420p",
            "video.is_depth_map": False,
            "video.fps": _whole(self._fps),
            "video.channels": 3,
            "has_audio": False,
        }

    def _open(self) -> VideoWriter:
        place = _place(self._number)
        path = self._folder / _VIDEOS.format(video_key=self._name, **place)
        path.parent.mkdir(parents=True, exist_ok=True)
        rate = Fraction(self._fps).limit_denominator(_MAX_DENOMINATOR)
        return VideoWriter(path, size=self._size, rate=rate, is_lossless=self._is_lossless)


class _Statistics:
    """Least, most, mean and standard deviation of rows that come in parts."""

    def __init__(self) -> None:
        self._count = 0
        self._shape: tuple[int, ...] = (-1,)
        self._values: dict[str, np.ndarray] = {}

    def add(self, rows: np.ndarray, *, shape: tuple[int, ...] = (-1,)) -> None:
        """Take rows of one width, without those that are not finite.

        `shape` is that of the summary.
        """
        rows, self._shape = rows.astype(np.float64), shape
        rows = rows[np.isfinite(rows).all(axis=1)]
        if not len(rows):
            return
        new = {"min": rows.min(0), "max": rows.max(0), "mean": rows.mean(0), "var": rows.var(0)}
        old, total = self._values or new, self._count + len(rows)
        share = len(rows) / total
        apart = new["mean"] - old["mean"]
        self._values = {
            "min": np.minimum(old["min"], new["min"]),
            "max": np.maximum(old["max"], new["max"]),
            "mean": old["mean"] + share * apart,
            "var": (1 - share) * old["var"] + share * new["var"] + share * (1 - share) * apart**2,
        }
        self._count = total

    def summary(self) -> dict[str, Any]:
        """For stats.json; empty where there were no rows."""
        if not self._count:
            return {}
        values = self._values | {"std": np.sqrt(self._values["var"])}
        del values["var"]
        found = {name: value.reshape(self._shape).tolist() for name, value in values.items()}
        return found | {"count": [self._count]}


def _to_arrow(values: Sequence[Any] | np.ndarray, feature: Feature | None) -> pa.Array:
    """A column of a table: numbers, vectors, nested lists, texts or encoded images."""
    if feature is not None and feature.kind == "image":
        return pa.array([{"bytes": image, "path": None} for image in values], _IMAGE)
    if not isinstance(values, np.ndarray):
        return pa.array(values, pa.string())
    flat = pa.array(values.reshape(-1))
    inner = values.shape[1:] if values[0].size > 1 else ()
    for depth, axis in reversed([*enumerate(inner)]):
        # Only a vector has a fixed length: LeRobot's nested ones are lists.
        starts = np.arange(0, len(flat) + 1, axis, dtype=np.int32)
        is_vector = len(inner) == 1 and depth == 0
        flat = (
            pa.FixedSizeListArray.from_arrays(flat, axis)
            if is_vector
            else pa.ListArray.from_arrays(starts, flat)
        )
    return flat


def _describe(feature: Feature, video: Mapping[str, Any] | None) -> dict[str, Any]:
    """A column, for info.json."""
    if feature.kind == "image":
        described = {"dtype": "video" if video else "image", "shape": list(feature.shape)}
        described["names"] = ["height", "width", "channels"]
        return described | ({"info": dict(video)} if video else {})
    if feature.kind == "text":
        return {"dtype": "string", "shape": [1], "names": None}
    shape = list(feature.shape) if (feature.size or 1) > 1 else [1]
    names = list(feature.names) if feature.names else None
    return {"dtype": feature.dtype, "shape": shape, "names": names}


def _place(number: int) -> dict[str, int]:
    return {"chunk_index": number // _CHUNK_SIZE, "file_index": number % _CHUNK_SIZE}


def _whole(value: float) -> float | int:
    """30 instead of 30.0, which some readers want."""
    return int(value) if value == int(value) else value
