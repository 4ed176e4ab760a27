"""An RLDS folder before any record is read: its columns and the files that hold its records.

Both JSON files are read as plain JSON. What they say about data that is not read is ignored, so
files of newer versions of tensorflow_datasets can be read too.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from genie_robo.data.features import Feature, step_features
from genie_robo.data.folders import FEATURES_FILE, INFO_FILE, find_version_folder
from genie_robo.data.remote import RemoteFolder
from genie_robo.data.settings import Source
from genie_robo.data.shards import ARRAY_RECORD, TFRECORD, ShardFile, check_downloaded
from genie_robo.data.sources import with_names
from genie_robo.stored_files import read_json

MAX_JSON_BYTES = 2**26
_SHARD_NAME = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
_MIN_DIGITS = 5
_SELECTION = re.compile(r"(?P<split>.+)\[(?P<start>-?\d+shards)?:(?P<stop>-?\d+shards)?\]")
_NUMBERS = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """A dataset's folder before any episode is read."""

    folder: Path
    name: str
    file_format: str
    features: Mapping[str, Feature]
    """Columns of a step by key, for example observation/image."""
    shards: tuple[ShardFile, ...]
    features_file: str = FEATURES_FILE
    """The file that describes the columns, for messages."""
    remote: RemoteFolder | None = None
    """Where the files come from, when `folder` is in the cache."""

    @property
    def data_choice(self) -> str:
        """The file in conf/data/ that reads any folder of this format: `data=rlds`."""
        return "rlds"

    @property
    def place(self) -> str:
        """The folder or its address, for people."""
        return self.remote.name if self.remote else str(self.folder)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Keys of all 8-bit colour images."""
        return tuple(key for key, feature in sorted(self.features.items()) if feature.is_camera)

    def require_camera(self, name: str, source: Source) -> None:
        """Check that a camera of a source, or any other by its key, is there.

        Raises:
            KeyError: It is not.
        """
        known = dict.fromkeys([*source.camera_keys, *self.cameras])
        if name not in known:
            raise KeyError(
                f"there is no camera {name} in {self.place}; data.views takes {', '.join(known)}"
            )

    def complete(self, source: Source) -> Source:
        """The source, with what the folder itself says where the source says nothing."""
        return with_names(source, self.features)

    @property
    def num_bytes(self) -> int:
        """Bytes of the stored episodes that are there."""
        if self.remote:
            return sum(self.remote.num_bytes(shard.path) for shard in self.shards)
        return total_bytes(shard.path for shard in self.shards)


def total_bytes(files: Iterable[Path]) -> int:
    """The sum of the sizes of those files that exist."""
    return sum(file.stat().st_size for file in files if file.exists())


def open_schema(path: Path, rlds_splits: Sequence[str] = (), shards: str = "") -> Schema:
    """Read the two JSON files of an RLDS folder.

    Args:
        path: The folder, or one above it.
        rlds_splits: RLDS splits to use, whole or in part as `train[:3shards]`; empty takes all.
        shards: Numbers of the shards to use, of each of these splits, such as `0-63,70`; empty
            takes all.

    Raises:
        FileNotFoundError: There is no dataset.
        ValueError: The JSON files are damaged, a split is unknown, or it is not RLDS.
    """
    folder = find_version_folder(path)
    if not (folder / INFO_FILE).exists():
        raise FileNotFoundError(
            f"{folder} has {FEATURES_FILE} but no {INFO_FILE}, which names the shards; complete "
            "the download"
        )
    content = read_object(folder / FEATURES_FILE)
    try:
        features = step_features(content)
    except ValueError as error:
        raise ValueError(
            f"{folder} is no RLDS dataset that genie_robo can read: according to {FEATURES_FILE} "
            f"{error}; episodes are a FeaturesDict with `steps`, a Dataset of a FeaturesDict"
        ) from error
    info = _Info(folder, read_object(folder / INFO_FILE))
    return Schema(
        folder=folder,
        name=info.name,
        file_format=info.file_format,
        features=features,
        shards=_numbered(info.shards(rlds_splits), shards),
    )


class _Info:
    """The content of dataset_info.json."""

    def __init__(self, folder: Path, content: Mapping[str, Any]) -> None:
        self._folder = folder
        self.name = _text(content.get("name"))
        splits = content.get("splits", [])
        if not self.name or not isinstance(splits, list):
            raise ValueError(_not_written_by_tfds(folder, "a name and a list of splits"))
        self.file_format = _text(content.get("fileFormat")) or TFRECORD
        if self.file_format not in (TFRECORD, ARRAY_RECORD):
            raise ValueError(
                f"{folder} is stored as {self.file_format}; genie_robo reads {TFRECORD} and "
                f"{ARRAY_RECORD}. Convert it with tfds.core.FileFormat, or ask for the format in "
                "an issue"
            )
        self._splits = {_text(s.get("name")): s for s in splits if isinstance(s, Mapping)}

    def shards(self, rlds_splits: Sequence[str]) -> tuple[ShardFile, ...]:
        """The shards of the chosen splits or parts of splits, each once."""
        chosen = [shard for word in rlds_splits or self._splits for shard in self._chosen(word)]
        return tuple(dict.fromkeys(chosen))

    def _chosen(self, word: str) -> list[ShardFile]:
        selection = None if word in self._splits else _SELECTION.fullmatch(word)
        split = selection["split"] if selection else word
        if split not in self._splits:
            raise ValueError(
                f"data.rlds_splits: {self._folder} has no split {word}; it has "
                f"{', '.join(self._splits) or 'none'}. Part of a split is written in shards: "
                "train[:3shards]"
            )
        found = self._shards_of(split)
        if selection is None:
            return found
        limits = [selection[name] for name in ("start", "stop")]
        start, stop = (int(limit.removesuffix("shards")) if limit else None for limit in limits)
        if not found[start:stop]:
            raise ValueError(f"data.rlds_splits: {word} has none of the {len(found)} shards")
        return found[start:stop]

    def _shards_of(self, split: str) -> list[ShardFile]:
        content = self._splits[split]
        lengths = content.get("shardLengths", [])
        try:
            counts = [int(length) for length in lengths]
        except (TypeError, ValueError, OverflowError) as error:
            wanted = f"the number of records of every shard of the split {split}"
            raise ValueError(_not_written_by_tfds(self._folder, wanted)) from error
        template = _text(content.get("filepathTemplate")) or _SHARD_NAME
        names = {"DATASET": self.name, "SPLIT": split, "FILEFORMAT": self.file_format}
        files = (_shard_name(template, names | _place(i, len(counts))) for i in range(len(counts)))
        paths = [self._folder / file for file in files]
        return [ShardFile(path, split, i, counts[i]) for i, path in enumerate(paths)]


def _numbered(found: tuple[ShardFile, ...], numbers: str) -> tuple[ShardFile, ...]:
    """The shards that `data.shards` names.

    Raises:
        ValueError: It is no list of numbers, or names a shard that no split has.
    """
    if not numbers:
        return found
    words = [word.strip() for word in numbers.strip("[] ").split(",")]
    matches = [_NUMBERS.fullmatch(word) for word in words]
    if not all(matches):
        raise ValueError(f"data.shards={numbers} is not a list of numbers such as 0-63,70")
    ranges = [(int(m[1]), int(m[2] or m[1])) for m in matches if m]
    most = max((shard.number for shard in found), default=-1)
    for start, stop in ranges:
        if not start <= stop <= most:
            raise ValueError(f"data.shards={numbers} goes beyond the shards, which are 0-{most}")
    return tuple(s for s in found if any(start <= s.number <= stop for start, stop in ranges))


def _place(number: int, count: int) -> dict[str, str]:
    """How a shard's name says that it is number 2 of 7."""
    digits = max(_MIN_DIGITS, len(str(count)))
    index, total = f"{number:0{digits}d}", f"{count:0{digits}d}"
    return {"SHARD_INDEX": index, "NUM_SHARDS": total, "SHARD_X_OF_Y": f"{index}-of-{total}"}


def _shard_name(template: str, names: Mapping[str, str]) -> PurePosixPath:
    filled = re.sub(r"\{(\w+)\}", lambda found: names.get(found[1], found[0]), template)
    return inside_folder(filled, named_by=INFO_FILE)


def inside_folder(name: str, *, named_by: str) -> PurePosixPath:
    """The path of a file inside the dataset's folder, as a file of it names it.

    Raises:
        ValueError: It would lie outside.
    """
    path = PurePosixPath(name)
    is_inside = path.parts and not path.is_absolute() and ".." not in path.parts
    if not is_inside or not name.isprintable() or "\\" in name:
        raise ValueError(
            f"{named_by} names {name!r}, which is not a file in the dataset's folder. No dataset "
            "has such names: do not use this copy"
        )
    return path


def read_object(file: Path) -> Mapping[str, Any]:
    """The object in a JSON file that describes a dataset.

    Raises:
        ValueError: The file is empty, cut, damaged, too large or something else.
    """
    check_downloaded(file)
    if file.stat().st_size > MAX_JSON_BYTES:
        raise ValueError(f"{file} has more than {MAX_JSON_BYTES} bytes: it describes no dataset")
    try:
        content = read_json(file, max_bytes=MAX_JSON_BYTES)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{file} cannot be read: it is cut or damaged at line {error.lineno}, column "
            f"{error.colno} ({error.msg}); download it again"
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} cannot be read: it is not text; download it again") from error
    except ValueError as error:
        raise ValueError(f"{file} cannot be read: it describes no dataset ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{file} cannot be read: it holds a {type(content).__name__} instead of an object with "
            "names; it is not the file that tensorflow_datasets wrote"
        )
    return content


def _not_written_by_tfds(folder: Path, wanted: str) -> str:
    return (
        f"{folder / INFO_FILE} cannot be read: it lacks {wanted}; take the file that "
        "tensorflow_datasets wrote for this dataset"
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
