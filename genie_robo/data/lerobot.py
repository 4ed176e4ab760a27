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
from genie_robo.data.frame_match import match_frames
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
from genie_robo.data.shards import COMPLETE
from genie_robo.data.sources import check_source, source_keys
from genie_robo.progress import progress_bar
from genie_robo.types import VideoFrame

_INDEX_FORMAT = 2
"""Version of the cache; older index files are rebuilt."""
_QUIET_BYTES = 200_000_000
_NO_IDENTITY = (EPISODE_INDEX, TASK_INDEX, "index")
"""Numbers that change when datasets are merged or split: no part of an episode's identity."""
_SAVED = (*SAVED, "gaps")
_LONG_STEP = 1.75
"""A step that takes more times the median is a gap: 2 where one row is missing, while times that
jitter by less than half a period rarely take as much."""
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
    step_s: float = 0.0
    """Seconds from a step to the next, the median of all episodes; 0 where it is not known."""

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
        rows = [[getattr(entry, name) for name in _SAVED] for entry in found.entries]
        content = {"episodes": rows, "jitter_s": found.jitter_s, "step_s": found.step_s}
        if not write_stamped(file, stamp, content):
            warn_not_kept(schema.folder, file)
    return LeRobotIndex(
        schema=schema,
        entries=found.entries,
        fingerprint=digest(*(entry.episode_id.encode() for entry in found.entries)),
        jitter_s=found.jitter_s,
        step_s=found.step_s,
    )


class _Scan(NamedTuple):
    """What is known after a pass over all episodes."""

    entries: tuple[RecordEntry, ...]
    jitter_s: dict[str, float]
    step_s: float


class _Times(NamedTuple):
    """When the steps of an episode are."""

    values_s: Float[np.ndarray, " t"]
    """Empty where they cannot be read."""
    problem: str
    """Why no frame of a video can be found by them; empty when it can."""

    @property
    def step_s(self) -> float:
        """The median of the time from a step to the next; 0 where it is not known."""
        return float(np.median(np.diff(self.values_s))) if self._is_usable else 0.0

    @property
    def gaps(self) -> tuple[int, ...]:
        """Steps after which time is missing."""
        if not self._is_usable:
            return ()
        return tuple(np.flatnonzero(np.diff(self.values_s) > _LONG_STEP * self.step_s).tolist())

    def jitter_s(self, *, period_s: float) -> float:
        """How far the steps are at most from steps of equal length."""
        if self.problem:
            return 0.0
        grid = self.values_s[0] + np.arange(len(self.values_s)) * period_s
        return float(np.abs(self.values_s - grid).max())

    @property
    def _is_usable(self) -> bool:
        return not self.problem and len(self.values_s) > 1


class _Examined(NamedTuple):
    """What is known of an episode."""

    entry: RecordEntry
    jitter_s: Mapping[str, float]
    step_s: float = 0.0


def _scan(schema: LeRobotSchema, keys: Sequence[str]) -> _Scan:
    found, jitter_s = [], dict[str, float]()
    title, total = f"index {schema.name}", len(schema.episodes)
    is_large = schema.num_bytes >= _QUIET_BYTES
    with progress_bar(title, total=total, unit="episodes", visible=is_large) as advance:
        for stored in schema.episodes.values():
            found.append(_examine(schema, stored, keys))
            for key, jitter in found[-1].jitter_s.items():
                jitter_s[key] = max(jitter, jitter_s.get(key, 0.0))
            advance()
    known = [one.step_s for one in found if one.step_s]
    step_s = float(np.median(known)) if known else 0.0
    return _Scan(tuple(one.entry for one in found), jitter_s, step_s)


def _examine(schema: LeRobotSchema, stored: StoredEpisode, keys: Sequence[str]) -> _Examined:
    """Identity and problems of an episode, and its times."""
    place: dict[str, Any] = {"shard": stored.table, "number": stored.number}
    start = stop = 0
    try:
        open_table(stored.table)  # says what is wrong with a file that is missing
        start, stop = _rows(stored)
        identity, times = _identity(schema, stored, start, stop), _times(stored, start, stop)
    except ValueError as error:
        place |= {"offset": start, "length": stop - start, "num_steps": 0}
        unknown = digest(f"{stored.table.name} {stored.number}".encode())
        return _Examined(RecordEntry(**place, episode_id=unknown, problem=str(error)), {})
    place |= {"offset": start, "length": stop - start, "num_steps": stop - start}
    period_s = 1 / schema.fps
    matched = {
        key: match_frames(part, times.values_s, period_s=period_s)
        for key, part in stored.videos.items()
    }
    parts = [identity, *(matched[key].digests for key in sorted(matched))]
    entry = RecordEntry(**place, episode_id=digest("\n".join(parts).encode()), gaps=times.gaps)
    try:
        _, faults = check_columns(_steps(schema, entry), schema.features, keys)
    except ValueError as error:
        return _Examined(replace(entry, problem=str(error)), {})
    reasons = {key: times.problem or found.problem for key, found in matched.items()}
    faults |= {key: reason for key, reason in reasons.items() if key in keys and reason}
    jitter = {key: found.jitter_s for key, found in matched.items() if not reasons[key]}
    if not times.problem:
        jitter[TIMESTAMP] = times.jitter_s(period_s=period_s)
    return _Examined(replace(entry, faults=faults), jitter, times.step_s)


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


def _identity(schema: LeRobotSchema, stored: StoredEpisode, start: int, stop: int) -> str:
    """A hash of all that the rows hold. One column is in memory at a time."""
    table = open_table(stored.table)
    names = sorted(name for name in table.columns if name not in _NO_IDENTITY)
    columns = (table.read([name], start, stop)[name] for name in names)
    parts = [f"{name}={column_digest(column)}" for name, column in zip(names, columns, strict=True)]
    tasks = _tasks(schema, stored, start, stop)
    return "\n".join([*parts, digest(*(len(task).to_bytes(8) + task for task in tasks))])


def _times(stored: StoredEpisode, start: int, stop: int) -> _Times:
    """The times of the steps. They are needed for frames of videos alone."""
    table, unknown = open_table(stored.table), np.zeros(0)
    if TIMESTAMP not in table.columns:
        return _Times(unknown, f"cannot be used: {stored.table.name} has no column {TIMESTAMP}")
    try:
        values_s = to_numbers(table.read([TIMESTAMP], start, stop)[TIMESTAMP], _TIME)
    except ValueError as error:
        return _Times(unknown, f"cannot be used: {TIMESTAMP} {error}")
    if not np.isfinite(values_s).all() or (np.diff(values_s) <= 0).any():
        why = "cannot be used: the times of its steps are not finite or do not increase"
        return _Times(values_s, why)
    return _Times(values_s, "")


class _StoredColumns:
    """The columns of one episode. Those without images are small, and read together."""

    def __init__(self, schema: LeRobotSchema, entry: RecordEntry) -> None:
        self._schema = schema
        self._entry = entry
        self._stored = schema.episodes[entry.number]
        self._span = (entry.offset, entry.offset + entry.length)
        self._rows: Any = None
        """All columns but images, once one of them is asked for."""

    def decode(self, key: str) -> np.ndarray:
        """One column, see `Steps`."""
        feature = self._schema.features[key]
        if feature.encoding == "video":
            return self._video_frames(key)
        if key == TASK and TASK not in open_table(self._entry.shard).columns:
            return to_objects(_tasks(self._schema, self._stored, *self._span))
        if feature.kind == "image":
            return to_images(self._read([key])[key])
        column = self._column(key)
        return to_texts(column) if feature.kind == "text" else to_numbers(column, feature)

    def _video_frames(self, key: str) -> np.ndarray:
        """The place of every step's frame, which a decoder takes as the index has found it."""
        part = self._stored.videos.get(key)
        if part is None:
            raise ValueError("is missing: meta/episodes does not say where its videos are")
        if not part.file.exists():
            raise ValueError(f"is missing: there is no {part.file.name}; {COMPLETE}")
        times_s, tolerance_s = to_numbers(self._column(TIMESTAMP), _TIME), 0.5 / self._schema.fps
        wanted = (part.start_s + times_s).tolist()
        return to_objects([VideoFrame(part.file, time_s, tolerance_s) for time_s in wanted])

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
        return open_table(self._entry.shard).read(names, *self._span)


def _steps(schema: LeRobotSchema, entry: RecordEntry) -> Steps:
    return Steps(schema.features, entry.num_steps, _StoredColumns(schema, entry).decode)


def _tasks(schema: LeRobotSchema, stored: StoredEpisode, start: int, stop: int) -> list[bytes]:
    """The task of every row."""
    table = open_table(stored.table)
    if TASK_INDEX not in table.columns:
        return [stored.task.encode()] * (stop - start)
    numbers = to_numbers(table.read([TASK_INDEX], start, stop)[TASK_INDEX], _NUMBER)
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
        step_s = float(content["step_s"])
    except (OSError, *NOT_CACHED) as error:
        _log.debug("no usable index in %s: %s", file, error)
        return None
    return _Scan(entries, jitter, step_s) if len(entries) == len(schema.episodes) else None


def _entry(row: Sequence[Any], schema: LeRobotSchema) -> RecordEntry:
    """An episode of the cache.

    Raises:
        ValueError: What the cache says of it cannot be true.
    """
    values = dict(zip(_SAVED, row, strict=True))
    values["gaps"] = tuple(values["gaps"])
    entry = RecordEntry(shard=schema.episodes[values["number"]].table, **values)
    if not is_plausible(entry):
        raise ValueError(f"the cached episode {entry.number} is damaged")
    return entry
