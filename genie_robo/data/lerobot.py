"""Episodes of a LeRobot folder: rows of Parquet files, and frames of videos at their times."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from genie_robo.data.cache import (
    NOT_CACHED,
    cache_file,
    digest,
    file_stamp,
    read_stamped,
    write_stamped,
)
from genie_robo.data.dataset import EpisodeDataset
from genie_robo.data.features import Feature
from genie_robo.data.folders import LEROBOT_INFO, find_lerobot_folder
from genie_robo.data.index import (
    SAVED,
    DatasetIndex,
    RecordEntry,
    check_columns,
    is_plausible,
    warn_not_kept,
)
from genie_robo.data.lerobot_layout import (
    EPISODE_INDEX,
    TASK,
    TASK_INDEX,
    TIMESTAMP,
    LeRobotSchema,
    StoredEpisode,
    VideoPart,
    open_lerobot_schema,
)
from genie_robo.data.parquet import (
    column_digest,
    open_table,
    to_images,
    to_numbers,
    to_objects,
    to_texts,
)
from genie_robo.data.records import Columns, Steps
from genie_robo.data.settings import Source
from genie_robo.data.sources import check_source, source_keys
from genie_robo.data.video import ScannedVideo, scan_video
from genie_robo.progress import progress_bar
from genie_robo.types import VideoFrame

_INDEX_FORMAT = 1
"""Version of the cache; older index files are rebuilt."""
_QUIET_BYTES = 200_000_000
_NO_IDENTITY = (EPISODE_INDEX, TASK_INDEX, "index")
"""Numbers that change when datasets are merged or split: no part of an episode's identity."""
_TIME = Feature(kind="tensor", dtype="float64", shape=())
_NUMBER = Feature(kind="tensor", dtype="int64", shape=())

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeRobotIndex(DatasetIndex):
    """All episodes of a LeRobot folder."""

    schema: LeRobotSchema
    jitter_s: Mapping[str, float] = field(default_factory=dict)
    """By camera in a video, how far its frames are at most from the times of their steps; under
    `timestamp`, how far these are from steps of equal length."""

    def name(self, entry: RecordEntry) -> str:
        """An episode's id and place, for messages."""
        return f"{entry.episode_id} (episode {entry.number} in {entry.shard.name})"

    def read(self, entry: RecordEntry) -> Columns:
        """One episode, whose columns are decoded when they are asked for."""
        return Columns(_steps(self.schema, entry))


class LeRobotDataset(EpisodeDataset):
    """The episodes of a LeRobot folder of v2.0, v2.1 or v3.0, read in place."""

    def __init__(
        self, path: Path | LeRobotSchema, source: Source, *, bad_episode_limit: float = 0.01
    ) -> None:
        """Open a dataset.

        Args:
            path: Folder with meta/info.json, or one above a single such folder; or its schema.
            source: Which keys are the camera, the action and so on. A rate of 0 becomes the
                dataset's own.
            bad_episode_limit: Share of unreadable episodes above which opening or reading fails.

        Raises:
            FileNotFoundError: There is no dataset, or a file of its metadata is missing.
            KeyError: The source names a key that is not there.
            ValueError: The metadata is damaged, the source does not fit, or too many episodes are
                unreadable.
        """
        schema = path if isinstance(path, LeRobotSchema) else _schema_at(path)
        source = schema.complete(source)
        check_source(source, schema.features)
        index = build_lerobot_index(schema, keys=source_keys(source))
        super().__init__(index, source, bad_episode_limit=bad_episode_limit)


def _schema_at(path: Path) -> LeRobotSchema:
    folder = find_lerobot_folder(path)
    if folder is None:
        raise FileNotFoundError(f"data.path={path} is no LeRobot dataset: it has no {LEROBOT_INFO}")
    return open_lerobot_schema(folder)


def build_lerobot_index(schema: LeRobotSchema, *, keys: Sequence[str] = ()) -> LeRobotIndex:
    """Index a folder: one pass over its tables and videos, or the cached result of one.

    No video is decoded. An episode's id is a hash of its rows, its tasks and the compressed frames
    of all videos that are there, so it is the same in v2.1 and in v3.0.

    Args:
        schema: The folder's metadata.
        keys: The columns in use, which are checked in every episode.

    Raises:
        ValueError: It has no episodes.
    """
    if not schema.episodes:
        raise ValueError(f"{schema.folder} holds no episodes")
    keys = sorted(set(keys))
    file, stamp = _cache_place(schema, keys), _stamp(schema)
    found = _load(file, stamp, schema)
    if found is None:
        found = _scan(schema, keys)
        rows = [[getattr(entry, name) for name in SAVED] for entry in found.entries]
        if not write_stamped(file, stamp, {"episodes": rows, "jitter_s": found.jitter_s}):
            warn_not_kept(schema.folder, file)
    return LeRobotIndex(
        schema=schema,
        entries=found.entries,
        fingerprint=digest(*(entry.episode_id.encode() for entry in found.entries)),
        jitter_s=found.jitter_s,
    )


class _Scan(NamedTuple):
    """What is known after a pass over all episodes."""

    entries: tuple[RecordEntry, ...]
    jitter_s: dict[str, float]


class _Matched(NamedTuple):
    """The frames of a video that belong to the steps of an episode."""

    digests: str
    """Their hashes, joined."""
    jitter_s: float
    problem: str
    """Why a step has no frame; empty when all have one."""


def _scan(schema: LeRobotSchema, keys: Sequence[str]) -> _Scan:
    entries, jitter_s = [], dict[str, float]()
    title, total = f"index {schema.name}", len(schema.episodes)
    is_large = schema.num_bytes >= _QUIET_BYTES
    with progress_bar(title, total=total, unit="episodes", visible=is_large) as advance:
        for stored in schema.episodes.values():
            entry, found = _examine(schema, stored, keys)
            entries.append(entry)
            for key, jitter in found.items():
                jitter_s[key] = max(jitter, jitter_s.get(key, 0.0))
            advance()
    return _Scan(tuple(entries), jitter_s)


def _examine(
    schema: LeRobotSchema, stored: StoredEpisode, keys: Sequence[str]
) -> tuple[RecordEntry, dict[str, float]]:
    """Identity and problems of an episode, and the jitter of its times."""
    place: dict[str, Any] = {"shard": stored.table, "number": stored.number}
    start = stop = 0
    try:
        open_table(stored.table)  # says what is wrong with a file that is missing
        start, stop = _rows(stored)
        identity, times = _identity(schema, stored, start, stop)
    except ValueError as error:
        place |= {"offset": start, "length": stop - start, "num_steps": 0}
        unknown = digest(f"{stored.table.name} {stored.number}".encode())
        return RecordEntry(**place, episode_id=unknown, problem=str(error)), {}
    place |= {"offset": start, "length": stop - start, "num_steps": stop - start}
    matched = {
        key: _match(part, times, period_s=1 / schema.fps) for key, part in stored.videos.items()
    }
    parts = [identity, *(matched[key].digests for key in sorted(matched))]
    entry = RecordEntry(**place, episode_id=digest("\n".join(parts).encode()))
    try:
        _, faults = check_columns(_steps(schema, entry), schema.features, keys)
    except ValueError as error:
        return replace(entry, problem=str(error)), {}
    faults |= {k: found.problem for k, found in matched.items() if k in keys and found.problem}
    jitter = {key: found.jitter_s for key, found in matched.items() if not found.problem}
    grid = times[0] + np.arange(len(times)) / schema.fps
    return replace(entry, faults=faults), {
        TIMESTAMP: float(np.abs(times - grid).max()),
        **jitter,
    }


def _rows(stored: StoredEpisode) -> tuple[int, int]:
    """First row of an episode in its table, and the row after its last one.

    Raises:
        ValueError: The table is missing or damaged, or has other rows.
    """
    numbers = _episode_numbers(stored.table, stored.table.stat().st_mtime_ns)
    rows = np.flatnonzero(numbers == stored.number)
    start, stop = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
    if len(rows) != stored.num_steps or stop - start != len(rows) or not len(rows):
        raise ValueError(
            f"{stored.table.name} has {len(rows)} rows of the episode {stored.number}, but the "
            f"list of episodes says {stored.num_steps}"
        )
    return start, stop


@lru_cache(maxsize=2)
def _episode_numbers(file: Path, mtime_ns: int) -> Int[np.ndarray, " n"]:
    """The episode of every row; of v3.0, where a file has many episodes, it is read once."""
    del mtime_ns
    column = open_table(file).read([EPISODE_INDEX])[EPISODE_INDEX]
    return to_numbers(column, _NUMBER)


def _identity(
    schema: LeRobotSchema, stored: StoredEpisode, start: int, stop: int
) -> tuple[str, Float[np.ndarray, " t"]]:
    """A hash of all that the rows hold, and the times of the steps in seconds."""
    table = open_table(stored.table)
    names = sorted(name for name in table.columns if name not in _NO_IDENTITY)
    rows = table.read(table.columns, start, stop)
    if TIMESTAMP not in names:
        raise ValueError(f"{stored.table.name} has no column {TIMESTAMP}")
    times = to_numbers(rows[TIMESTAMP], _TIME)
    if not np.isfinite(times).all() or (np.diff(times) < 0).any():
        raise ValueError("the times of its steps are not finite or do not ascend")
    parts = [f"{name}={column_digest(rows[name])}" for name in names]
    tasks = digest(*(len(task).to_bytes(8) + task for task in _tasks(schema, stored, rows)))
    return "\n".join([*parts, tasks]), times


def _match(part: VideoPart, times: Float[np.ndarray, " t"], *, period_s: float) -> _Matched:
    """Find the frame of every step: the first one less than half a period from its time."""
    try:
        video = _scanned(part.file, part.file.stat().st_mtime_ns)
    except OSError:
        return _Matched("", 0.0, f"is missing: there is no {part.file.name}")
    except ValueError as error:
        return _Matched("", 0.0, f"cannot be read: {error}")
    wanted = part.start_s + times
    found = np.searchsorted(video.times_s, wanted - period_s / 2)
    distances = np.abs(np.append(video.times_s, np.inf)[found] - wanted)
    absent = np.flatnonzero(distances > period_s / 2)
    good = np.delete(found, absent)
    digests = "".join(video.digests[i] for i in np.unique(good))
    if not len(absent):
        return _Matched(digests, float(distances.max()), "")
    reason = (
        f"has no frame for {len(absent)} of {len(times)} steps, the first at "
        f"{wanted[absent[0]]:.3f} s of {part.file.name}, which has {len(video.times_s)} frames"
    )
    return _Matched(digests, 0.0, f"{reason}: {video.problem}" if video.problem else reason)


@lru_cache(maxsize=16)
def _scanned(file: Path, mtime_ns: int) -> ScannedVideo:
    """Scanned videos; of v3.0, where a file has many episodes, each is read once."""
    del mtime_ns
    return scan_video(file)


class _StoredColumns:
    """The columns of one episode. Those without images are small, and read together."""

    def __init__(self, schema: LeRobotSchema, entry: RecordEntry) -> None:
        self._schema = schema
        self._entry = entry
        self._stored = schema.episodes[entry.number]
        self._rows: Any = None
        """All columns but images, once one of them is asked for."""

    def decode(self, key: str) -> np.ndarray:
        """One column, see `Steps`."""
        feature = self._schema.features[key]
        if feature.encoding == "video":
            times = to_numbers(self._column(TIMESTAMP), _TIME)
            part, tolerance_s = self._stored.videos[key], 0.5 / self._schema.fps
            return _video_frames(part, times, tolerance_s=tolerance_s)
        if key == TASK and TASK not in open_table(self._entry.shard).columns:
            return to_objects(_tasks(self._schema, self._stored, self._small_columns()))
        if feature.kind == "image":
            return to_images(self._read([key])[key])
        column = self._column(key)
        return to_texts(column) if feature.kind == "text" else to_numbers(column, feature)

    def _column(self, key: str) -> Any:
        rows = self._small_columns()
        if key not in rows.column_names:
            raise ValueError(f"is missing: {self._entry.shard.name} has no such column")
        return rows[key]

    def _small_columns(self) -> Any:
        if self._rows is None:
            features = self._schema.features
            images = {key for key, feature in features.items() if feature.kind == "image"}
            columns = open_table(self._entry.shard).columns
            self._rows = self._read([name for name in columns if name not in images])
        return self._rows

    def _read(self, names: Sequence[str]) -> Any:
        start = self._entry.offset
        return open_table(self._entry.shard).read(names, start, start + self._entry.length)


def _steps(schema: LeRobotSchema, entry: RecordEntry) -> Steps:
    return Steps(schema.features, entry.num_steps, _StoredColumns(schema, entry).decode)


def _video_frames(
    part: VideoPart, times: Float[np.ndarray, " t"], *, tolerance_s: float
) -> np.ndarray:
    """The place of every step's frame."""
    if not part.file.exists():
        raise ValueError(f"is missing: there is no {part.file.name}")
    wanted = (part.start_s + times).tolist()
    return to_objects([VideoFrame(part.file, time_s, tolerance_s) for time_s in wanted])


def _tasks(schema: LeRobotSchema, stored: StoredEpisode, rows: Any) -> list[bytes]:
    """The task of every row."""
    if TASK_INDEX not in rows.column_names:
        return [stored.task.encode()] * rows.num_rows
    numbers = to_numbers(rows[TASK_INDEX], _NUMBER)
    return [schema.tasks.get(int(number), stored.task).encode() for number in numbers]


def _files(schema: LeRobotSchema) -> Iterator[Path]:
    """Every file that the index depends on."""
    yield from sorted((schema.folder / "meta").rglob("*.*"))
    videos = (part.file for found in schema.episodes.values() for part in found.videos.values())
    yield from dict.fromkeys([*(found.table for found in schema.episodes.values()), *videos])


def _stamp(schema: LeRobotSchema) -> str:
    return file_stamp(_INDEX_FORMAT, _files(schema), folder=schema.folder)


def _cache_place(schema: LeRobotSchema, keys: Sequence[str]) -> Path:
    return cache_file("lerobot", str(schema.folder.resolve()), *keys)


def _load(file: Path, stamp: str, schema: LeRobotSchema) -> _Scan | None:
    """The cached index, or None if there is none, it does not fit or the dataset has changed."""
    try:
        content = read_stamped(file, stamp)
        if content is None:
            return None
        entries = tuple(_entry(row, schema) for row in content["episodes"])
        jitter = {str(key): float(value) for key, value in content["jitter_s"].items()}
    except (OSError, *NOT_CACHED) as error:
        _log.debug("no usable index in %s: %s", file, error)
        return None
    return _Scan(entries, jitter) if len(entries) == len(schema.episodes) else None


def _entry(row: Sequence[Any], schema: LeRobotSchema) -> RecordEntry:
    """An episode of the cache.

    Raises:
        ValueError: What the cache says of it cannot be true.
    """
    values = dict(zip(SAVED, row, strict=True))
    entry = RecordEntry(shard=schema.episodes[values["number"]].table, **values)
    if not is_plausible(entry):
        raise ValueError(f"the cached episode {entry.number} is damaged")
    return entry
