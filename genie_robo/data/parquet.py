"""Rows of Parquet files within limits of memory."""

import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from threading import get_ident
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from genie_robo.data.cache import digest, digest_all
from genie_robo.data.features import MAX_COLUMN_BYTES, Feature
from genie_robo.data.shards import COMPLETE, check_downloaded

_MAX_ROWS = 2**24
"""Of a file: a week at 30 Hz."""
_MAX_BYTES = 2**30
"""Of some columns in one read: a file of LeRobot v3 has at most 100 MB by default."""
_MAX_METADATA = 2**26
_MAX_OPEN_FILES = 8
_MAX_KEPT_BYTES = 2**27
"""Of the rows that each of them keeps in memory."""


class Table:
    """An open Parquet file."""

    def __init__(self, file: Path) -> None:
        """Open a file; only its metadata is read.

        Raises:
            ValueError: It is missing, damaged or too large.
        """
        try:
            check_downloaded(file)
            self._file = pq.ParquetFile(
                file,
                thrift_string_size_limit=_MAX_METADATA,
                thrift_container_size_limit=_MAX_METADATA,
            )
        except (OSError, pa.ArrowException) as error:
            raise ValueError(f"{file.name} cannot be opened: {_reason(error)}") from error
        self._name = file.name
        self._kept: OrderedDict[tuple[int, str], pa.ChunkedArray] = OrderedDict()
        """Columns of row groups, those used last at the end: one of v3.0 can hold many episodes."""
        self.columns: Sequence[str] = self._file.schema_arrow.names
        groups = range(self._file.metadata.num_row_groups)
        sizes = [self._file.metadata.row_group(group).num_rows for group in groups]
        self._ends = np.cumsum([0, *sizes])
        if self.num_rows > _MAX_ROWS or min(sizes, default=0) < 0:
            raise ValueError(f"{file.name} says that it has {self.num_rows} rows")

    @property
    def num_rows(self) -> int:
        """Rows of all row groups."""
        return int(self._ends[-1])

    def read(self, columns: Iterable[str], start: int = 0, stop: int | None = None) -> pa.Table:
        """Some rows of some columns; whole row groups are read for them.

        Raises:
            ValueError: A column is missing, the rows are not there, damaged or too large.
        """
        names, stop = list(columns), self.num_rows if stop is None else stop
        if missing := set(names) - set(self.columns):
            raise ValueError(f"{self._name} has no column {', '.join(sorted(missing))}")
        if not 0 <= start <= stop <= self.num_rows:
            raise ValueError(f"{self._name} has {self.num_rows} rows, not rows {start} to {stop}")
        groups = [
            group
            for group in range(len(self._ends) - 1)
            if self._ends[group] < stop and self._ends[group + 1] > start
        ]
        if not groups:
            return self._file.schema_arrow.empty_table().select(names)
        self._check_bytes(groups, names)
        first = int(self._ends[groups[0]])
        parts = [self._read_group(group, names) for group in groups]
        return pa.concat_tables(parts).slice(start - first, stop - start)

    def _read_group(self, group: int, names: Sequence[str]) -> pa.Table:
        """Some columns of a whole row group, which stay in memory as long as there is room."""
        known = {name: self._kept.pop((group, name), None) for name in names}
        unknown = [name for name, column in known.items() if column is None]
        if unknown:
            try:
                found = self._file.read_row_groups([group], columns=unknown, use_threads=False)
            except (OSError, pa.ArrowException) as error:
                raise ValueError(f"{self._name} is damaged: {_reason(error)}") from error
            known |= {name: found[name] for name in unknown}
        columns = {name: column for name, column in known.items() if column is not None}
        self._keep({(group, name): column for name, column in columns.items()})
        return pa.table(columns)

    def _keep(self, columns: Mapping[tuple[int, str], pa.ChunkedArray]) -> None:
        """Keep columns that were just used, and let go of those used longest ago."""
        small = {key: column for key, column in columns.items() if column.nbytes <= _MAX_KEPT_BYTES}
        self._kept.update(small)
        total = sum(column.nbytes for column in self._kept.values())
        while total > _MAX_KEPT_BYTES:
            _, column = self._kept.popitem(last=False)
            total -= column.nbytes

    def _check_bytes(self, groups: Sequence[int], names: Sequence[str]) -> None:
        """Refuse columns whose metadata announces too much."""
        total = 0
        for group in map(self._file.metadata.row_group, groups):
            chunks = (group.column(number) for number in range(group.num_columns))
            for chunk in chunks:
                if any(_is_part(chunk.path_in_schema, name) for name in names):
                    total += max(chunk.total_uncompressed_size, chunk.num_values)
        if total > _MAX_BYTES:
            raise ValueError(
                f"{self._name} has {total} bytes in {', '.join(names)}, above {_MAX_BYTES}"
            )


def _is_part(path: str, name: str) -> bool:
    """Whether what is stored at a path belongs to a column; names of columns have dots too."""
    return path == name or path.startswith(f"{name}.")


def open_table(file: Path) -> Table:
    """An open file; those used last stay open.

    Raises:
        ValueError: It is missing, damaged or too large.
    """
    try:
        return _cached_table(file, file.stat().st_mtime_ns, os.getpid(), get_ident())
    except OSError as error:
        raise ValueError(f"{file.name} is missing; {COMPLETE}") from error


@lru_cache(maxsize=_MAX_OPEN_FILES)
def _cached_table(file: Path, mtime_ns: int, process: int, thread: int) -> Table:
    """Open files, of which threads and processes share none."""
    del mtime_ns, process, thread
    return Table(file)


def to_numbers(column: pa.ChunkedArray, feature: Feature) -> np.ndarray:
    """A column of numbers, lists or nested lists with the shape of its feature.

    Raises:
        ValueError: It has another type or size, or values are missing.
    """
    num_rows, size = len(column), feature.size or 1
    if num_rows * feature.step_bytes > MAX_COLUMN_BYTES:
        raise ValueError(f"would have more than {MAX_COLUMN_BYTES} bytes in an episode")
    values = _flat(column)
    if len(values) != num_rows * size:
        raise ValueError(f"holds {len(values)} values, not {size} for every step")
    found = values.to_numpy(zero_copy_only=False)
    wanted = np.dtype(feature.dtype)
    is_narrower = found.dtype.kind == "f" and wanted.kind != "f"
    if found.dtype.kind not in "fiub" or is_narrower:
        raise ValueError(f"holds {values.type}, not {feature.dtype}")
    # A copy: what Arrow gives is read-only and would keep the whole row group.
    return found.astype(wanted).reshape(num_rows, *(axis or 1 for axis in feature.shape))


def column_digest(column: pa.ChunkedArray) -> str:
    """A hash of a column's values, however its file is cut into pieces; names of images left out.

    Nothing is checked: the column may not be in use.
    """
    if _holds_images(column.type) or column.null_count:
        return digest_all(_texts_of_values(column))
    values: Any = column.combine_chunks()
    with suppress(ValueError):
        values = _flat(column)
    if pa.types.is_primitive(values.type) and not values.null_count:
        return digest(str(values.type).encode(), values.to_numpy(zero_copy_only=False).tobytes())
    return digest_all(repr(value.as_py()).encode() for value in values)


def _texts_of_values(column: pa.ChunkedArray) -> Iterator[bytes]:
    """What Python writes for every value, one after the other: images of an episode are large."""
    for chunk in column.chunks:
        values: Any = chunk.field("bytes") if _holds_images(chunk.type) else chunk
        yield from (repr(value.as_py()).encode() for value in values)


def to_texts(column: pa.ChunkedArray) -> np.ndarray:
    """A column of texts as bytes; missing ones are empty."""
    rows = [str(text or "").encode() for text in column.to_pylist()]
    return to_objects(rows)


def to_images(column: pa.ChunkedArray) -> np.ndarray:
    """A column of encoded images: their bytes, or a struct of bytes and path.

    Raises:
        ValueError: It holds something else, such as the paths of image files.
    """
    values: Any = column.combine_chunks()
    if _holds_images(values.type):
        values = values.field("bytes")
    if values.null_count:
        raise ValueError("has steps without the bytes of an image (only the path of a file?)")
    if not pa.types.is_binary(values.type) and not pa.types.is_large_binary(values.type):
        raise ValueError(f"holds {values.type}, not the bytes of images")
    return to_objects(values.to_pylist())


def _holds_images(kind: pa.DataType) -> bool:
    """Whether it is a struct of bytes and path."""
    return pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0


def to_objects(rows: Sequence[Any]) -> np.ndarray:
    """One object per step."""
    found = np.empty(len(rows), object)
    for number, row in enumerate(rows):  # NumPy would make an axis of a tuple
        found[number] = row
    return found


def _flat(column: pa.ChunkedArray) -> Any:
    """The values of lists and nested lists, one after the other.

    Raises:
        ValueError: Some are missing.
    """
    values: Any = column.combine_chunks()
    while True:
        if values.null_count:
            raise ValueError("has steps without a value")
        if isinstance(values, pa.ExtensionArray):
            values = values.storage
        elif pa.types.is_list(values.type) or _is_long_list(values.type):
            values = values.flatten()
        else:
            return values


def _is_long_list(kind: pa.DataType) -> bool:
    return pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _reason(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
