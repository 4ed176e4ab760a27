"""A LeRobot folder before any step is read: columns, files and episodes of v2.0, v2.1 and v3.0.

All of it is data: names of files are templates in info.json, filled in here and never allowed to
lead out of the folder.
"""

import logging
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from genie_robo.data.features import Feature
from genie_robo.data.folders import LEROBOT_INFO
from genie_robo.data.parquet import open_table
from genie_robo.data.schema import Schema, inside_folder, read_object, total_bytes
from genie_robo.data.settings import Source
from genie_robo.data.shards import COMPLETE, ShardFile
from genie_robo.data.sources import with_names
from genie_robo.stored_files import parse_json, read_bytes

TASK = "task"
"""The column made of task_index: the instruction of every step."""
TASK_INDEX, EPISODE_INDEX, TIMESTAMP = "task_index", "episode_index", "timestamp"
BOOKKEEPING = (TIMESTAMP, TASK_INDEX, EPISODE_INDEX, "frame_index", "index")
"""Columns that every dataset has, which describe no robot."""
_V2, _V3 = ("v2.0", "v2.1"), ("v3.0",)
_MAX_BYTES = 2**28
"""Of a list of episodes: some million."""
_FIELD = re.compile(r"\{(\w+)(?::0?(\d)d)?\}")
_IMAGES = ("image", "video")
_NUMBERS = re.compile(r"(float(16|32|64)|u?int(8|16|32|64)|bool)")
_MAX_FPS = 10_000
_START, _STOP = "from_timestamp", "to_timestamp"
_TEXT = Feature(kind="text", dtype="string", shape=())

_log = logging.getLogger(__name__)


class VideoPart(NamedTuple):
    """The part of a video file that shows one episode."""

    file: Path
    start_s: float
    """Time of the episode's first step in the file."""
    stop_s: float = math.inf
    """Time of the next episode's first step; infinite where that is not stored."""


class StoredEpisode(NamedTuple):
    """One episode, as the folder's metadata describes it."""

    number: int
    """Its episode_index."""
    num_steps: int
    table: Path
    """The Parquet file with its rows."""
    videos: Mapping[str, VideoPart]
    """By the key of the camera."""
    task: str
    """Its first task, for folders without a task_index per step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeRobotSchema(Schema):
    """The metadata of a LeRobot folder."""

    fps: float
    episodes: Mapping[int, StoredEpisode] = field(repr=False)
    """By episode_index, in ascending order."""
    tasks: Mapping[int, str] = field(repr=False)
    """By task_index."""
    list_problem: str = ""
    """How the list of episodes differs from what info.json says of it; empty when it does not."""

    @property
    def data_choice(self) -> str:
        """`data=lerobot`."""
        return "lerobot"

    def complete(self, source: Source) -> Source:
        """The source with the dataset's rate and names of joints, where it says nothing."""
        named = with_names(source, self.features)
        return named if named.control_hz else replace(named, control_hz=self.fps)

    @property
    def num_bytes(self) -> int:
        """Bytes of tables and videos."""
        videos = {part.file for found in self.episodes.values() for part in found.videos.values()}
        tables = {found.table for found in self.episodes.values()}
        return total_bytes([*tables, *videos])


def open_lerobot_schema(folder: Path) -> LeRobotSchema:
    """Read the metadata of a LeRobot folder, see `find_lerobot_folder`.

    Raises:
        FileNotFoundError: A file of the metadata is missing.
        ValueError: It is damaged, of another version, or names files outside the folder.
    """
    info = _Info(folder, read_object(folder / LEROBOT_INFO))
    episodes = {found.number: found for found in sorted(info.episodes(), key=lambda e: e.number)}
    tables: dict[Path, int] = {}
    for found in episodes.values():
        tables[found.table] = tables.get(found.table, 0) + 1
    shards = [ShardFile(file, "train", i, n) for i, (file, n) in enumerate(tables.items())]
    if problem := info.list_problem(episodes.values()):
        _warn_once(f"{folder}: {problem}")
    return LeRobotSchema(
        folder=folder,
        name=folder.resolve().name,
        file_format=f"LeRobot {info.version}",
        features=info.features(),
        shards=tuple(shards),
        features_file=LEROBOT_INFO,
        fps=info.fps,
        episodes=episodes,
        tasks=info.tasks(),
        list_problem=problem,
    )


@cache
def _warn_once(message: str) -> None:
    """Log a warning; a folder is opened many times."""
    _log.warning("%s", message)


class _Info:
    """The content of info.json."""

    def __init__(self, folder: Path, content: Mapping[str, Any]) -> None:
        self._folder = folder
        self._file = folder / LEROBOT_INFO
        self.version = str(content.get("codebase_version"))[:20]
        if self.version not in _V2 + _V3:
            raise ValueError(
                f"{self._file} says codebase_version {self.version!r}; genie_robo reads "
                f"{', '.join(_V2 + _V3)}. Convert the dataset with the scripts of lerobot"
            )
        self.fps = self._number(content, "fps", most=_MAX_FPS)
        self._content = content
        described = content.get("features")
        if not isinstance(described, Mapping) or not described:
            raise ValueError(f"{self._file} describes no features")
        self._described = {str(key): value for key, value in described.items()}

    def features(self) -> dict[str, Feature]:
        """Columns of a step by key, and the task."""
        found = {key: _feature(content) for key, content in self._described.items()}
        return dict(
            sorted(({TASK: Feature(kind="text", dtype="string", shape=())} | found).items())
        )

    def list_problem(self, listed: Iterable[StoredEpisode]) -> str:
        """How the episodes that are listed differ from the totals of info.json, if they do."""
        lengths = [episode.num_steps for episode in listed]
        found = {"total_episodes": len(lengths), "total_frames": sum(lengths)}
        said = {name: self._content.get(name) for name in found}
        if all(type(n) is not int or n == found[name] for name, n in said.items()):
            return ""
        return (
            f"meta/ lists {found['total_episodes']} episodes of {found['total_frames']} steps, but "
            f"{LEROBOT_INFO} says {said['total_episodes']} of {said['total_frames']}; is a file "
            f"that lists episodes missing or cut? Then {COMPLETE}"
        )

    def episodes(self) -> Iterator[StoredEpisode]:
        """All episodes that the metadata lists."""
        return self._episodes_v3() if self.version in _V3 else self._episodes_v2()

    def tasks(self) -> dict[int, str]:
        """Every task by its number; none where the file is missing."""
        if self.version in _V3:
            return self._tasks_v3()
        file = self._folder / "meta/tasks.jsonl"
        if not file.exists():
            return {}
        return {_count(row, TASK_INDEX): _task(row.get(TASK)) for row in _json_lines(file)}

    def _episodes_v2(self) -> Iterator[StoredEpisode]:
        size = int(self._number(self._content, "chunks_size", default=1000))
        for row in _json_lines(self._folder / "meta/episodes.jsonl"):
            number, tasks = _count(row, EPISODE_INDEX), row.get("tasks")
            place = {EPISODE_INDEX: number, "episode_chunk": number // size}
            yield StoredEpisode(
                number=number,
                num_steps=_count(row, "length"),
                table=self._path("data_path", place),
                videos={
                    key: VideoPart(self._path("video_path", place | {"video_key": key}), 0.0)
                    for key in self._video_keys()
                },
                task=_task(tasks[0]) if isinstance(tasks, list) and tasks else "",
            )

    def _episodes_v3(self) -> Iterator[StoredEpisode]:
        files = sorted((self._folder / "meta/episodes").glob("*/*.parquet"))
        if not files:
            raise FileNotFoundError(
                f"{self._folder} has no meta/episodes/*/*.parquet, which lists its episodes; "
                f"{COMPLETE}"
            )
        wanted = [EPISODE_INDEX, "length", "data/chunk_index", "data/file_index"]
        for file in files:
            table = open_table(file)
            keys = [key for key in self._video_keys() if set(_columns(key)) <= set(table.columns)]
            optional = ["tasks", *(f"videos/{key}/{_STOP}" for key in keys)]
            columns = [*wanted, *chain.from_iterable(map(_columns, keys))]
            columns += [name for name in optional if name in table.columns]
            for row in table.read(columns).to_pylist():
                yield self._episode_v3(row, keys)

    def _episode_v3(self, row: Mapping[str, Any], keys: Sequence[str]) -> StoredEpisode:
        """An episode with the cameras that its list describes; the others are missing."""
        tasks = row.get("tasks") or [""]
        return StoredEpisode(
            number=_count(row, EPISODE_INDEX),
            num_steps=_count(row, "length"),
            table=self._path("data_path", _place(row, "data")),
            videos={key: self._video_part(row, key) for key in keys},
            task=_task(tasks[0]),
        )

    def _video_part(self, row: Mapping[str, Any], key: str) -> VideoPart:
        """The place of an episode in the videos of a camera.

        Raises:
            ValueError: Its file or its times are no numbers.
        """
        place = _place(row, f"videos/{key}") | {"video_key": key}
        start_s, stop_s = row[f"videos/{key}/{_START}"], row.get(f"videos/{key}/{_STOP}")
        if not _is_time(start_s):
            raise ValueError(f"an episode in meta/episodes starts at {start_s!r} s of {key}")
        if stop_s is not None and not _is_time(stop_s):
            raise ValueError(f"an episode in meta/episodes stops at {stop_s!r} s of {key}")
        stop_s = math.inf if stop_s is None else float(stop_s)
        return VideoPart(self._path("video_path", place), float(start_s), stop_s)

    def _tasks_v3(self) -> dict[int, str]:
        """Tasks are the index of a table of pandas, or a column of it."""
        file = self._folder / "meta/tasks.parquet"
        if not file.exists():
            return {}
        table = open_table(file)
        names = [name for name in table.columns if name != TASK_INDEX]
        name = TASK if TASK in names or not names else names[-1]
        rows = table.read([TASK_INDEX, name]).to_pylist()
        return {_count(row, TASK_INDEX): _task(row[name] or None) for row in rows}

    def _video_keys(self) -> list[str]:
        described = self._described.items()
        return [key for key, content in described if _dtype(content) == "video"]

    def _path(self, setting: str, values: Mapping[str, int | str]) -> Path:
        """A file that info.json names by a template.

        Raises:
            ValueError: There is no template, it has an unknown field, or leads out of the folder.
        """
        template = self._content.get(setting)
        if not isinstance(template, str):
            raise ValueError(f"{self._file} lacks {setting}, the template of names of files")

        def fill(found: re.Match[str]) -> str:
            if found[1] not in values:
                raise ValueError(f"{self._file}: {setting} has the unknown field {found[0]}")
            value = values[found[1]]
            return f"{value:0{found[2]}d}" if found[2] and isinstance(value, int) else str(value)

        return self._folder / inside_folder(_FIELD.sub(fill, template), named_by=LEROBOT_INFO)

    def _number(
        self, content: Mapping[str, Any], name: str, *, default: int = 0, most: int = 2**31
    ) -> float:
        value = content.get(name, default)
        if not isinstance(value, int | float) or not 0 < value <= most:
            raise ValueError(f"{self._file} says {name}={value!r}, which is no number above 0")
        return float(value)


def _feature(content: Any) -> Feature:
    """A column, as info.json describes it."""
    dtype, shape = _dtype(content), content.get("shape") if isinstance(content, Mapping) else None
    axes = shape if isinstance(shape, list) else []
    if not all(isinstance(axis, int) and axis > 0 for axis in axes):
        return _unreadable(dtype, "its shape is not a list of positive numbers")
    if dtype in _IMAGES:
        return _camera(content, tuple(axes))
    if dtype == "string":
        return _TEXT
    if not _NUMBERS.fullmatch(dtype):
        return _unreadable(dtype, f"its type {ascii(dtype)[:100]} is unknown")
    return Feature(kind="tensor", dtype=dtype, shape=tuple(axes), names=_names(content, axes))


def _camera(content: Mapping[str, Any], shape: tuple[int, ...]) -> Feature:
    """A camera; its shape is stored with the channels first or last."""
    names = content.get("names")
    is_first = isinstance(names, list) and names[:1] in (["channels"], ["channel"])
    if len(shape) == 3 and (is_first or (shape[0] == 3 and shape[2] != 3)):
        shape = (*shape[1:], shape[0])
    info = content.get("info") or content.get("video_info")
    is_depth = isinstance(info, Mapping) and info.get("video.is_depth_map") is True
    if len(shape) != 3 or is_depth:
        return _unreadable(_dtype(content), "it is no colour image")
    encoding = "video" if _dtype(content) == "video" else ""
    return Feature(kind="image", dtype="uint8", shape=shape, encoding=encoding)


def _names(content: Mapping[str, Any], shape: list[int]) -> tuple[str, ...]:
    """Names of the numbers of a tensor, where each has one."""
    found = _flat_names(content.get("names"))
    if len(found) != math.prod(shape) or not all(isinstance(name, str) for name in found):
        return ()
    return tuple(name if name.isprintable() else ascii(name) for name in found)


def _flat_names(names: Any) -> list[Any]:
    """Names in lists, in lists of lists, by groups as `GROUP.NAME`, or with their places."""
    if isinstance(names, list):
        return [name for inner in names for name in _flat_names(inner)]
    if not isinstance(names, Mapping):
        return [names]
    if all(type(place) is int for place in names.values()):
        return sorted(names, key=names.__getitem__)
    groups = {str(group): _flat_names(inner) for group, inner in names.items()}
    if len(groups) == 1:
        return next(iter(groups.values()))
    return [f"{group}.{name}" for group, inner in groups.items() for name in inner]


def _unreadable(dtype: str, why: str) -> Feature:
    return Feature(kind="other", dtype=ascii(dtype)[1:50], shape=(), why_unreadable=why)


def _dtype(content: Any) -> str:
    return str(content.get("dtype")) if isinstance(content, Mapping) else "nothing"


def _json_lines(file: Path) -> Iterator[Mapping[str, Any]]:
    """The objects of a file with one JSON object per line.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged or too large.
    """
    if not file.exists():
        raise FileNotFoundError(f"{file} is missing; {COMPLETE}")
    for number, line in enumerate(read_bytes(file, max_bytes=_MAX_BYTES).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError as error:
            raise ValueError(f"{file} is damaged in line {number}: {error}") from error
        if not isinstance(row, Mapping):
            raise ValueError(f"{file} is damaged in line {number}: it is no object")
        yield row


def _columns(key: str) -> list[str]:
    """What the list of episodes of v3.0 says of a camera in videos, without which it is missing."""
    return [f"videos/{key}/{name}" for name in ("chunk_index", "file_index", _START)]


def _place(row: Mapping[str, Any], prefix: str) -> dict[str, int | str]:
    return {name: _count(row, f"{prefix}/{name}") for name in ("chunk_index", "file_index")}


def _task(text: Any) -> str:
    """A task; empty where none is stored."""
    return "" if text is None else str(text)


def _is_time(value: Any) -> bool:
    """Whether it is a number of seconds in a file."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value < math.inf


def _count(row: Mapping[str, Any], name: str) -> int:
    """A number that counts something.

    Raises:
        ValueError: It is missing or negative.
    """
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        raise ValueError(f"the list of episodes or tasks has {name}={value!r}")
    return value
