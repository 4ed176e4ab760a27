"""Whether the shards of a dataset are there, and what to do when they are not."""

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from genie_robo.command_line import write_setting
from genie_robo.data.shards import COMPLETE, ShardFile

_COUNT = re.compile(r"(?P<start>.+)-\d{5,}-of-(?P<total>\d{5,})(?P<end>.*)")
_MOST_RANGES = 8


def check_shards(
    shards: Sequence[ShardFile], is_there: Callable[[Path], bool] = Path.exists
) -> None:
    """Refuse chosen shards of which some are missing; those without records are not needed.

    Raises:
        FileNotFoundError: Some are missing; the message says what can be done.
    """
    missing = [shard for shard in shards if shard.num_records and not is_there(shard.path)]
    if not missing:
        return
    first, there = missing[0].path, [shard for shard in shards if is_there(shard.path)]
    found = f"shard {first} is missing, but dataset_info.json lists it"
    if len(missing) > 1:
        found += f", and {len(missing) - 1} more"
    if not there and (other := _other_numbering(first)):
        raise FileNotFoundError(
            f"{found}; the folder has {other}, of another version of the dataset: take the shards, "
            "features.json and dataset_info.json from one version"
        )
    is_one_split = len({shard.split for shard in shards}) == 1
    numbers = _numbers(there) if is_one_split else ""
    raise FileNotFoundError(f"{found}; {COMPLETE}{numbers}{_advice(there)}")


def _numbers(there: Sequence[ShardFile]) -> str:
    """The setting that names the shards of one split that are there."""
    runs = list(_runs(there))
    words = ",".join(
        str(first) if first == last else f"{first}-{last}" for _, first, last in runs[:_MOST_RANGES]
    )
    return f", or add data.shards={words}" if runs else ""


def _advice(there: Sequence[ShardFile]) -> str:
    """How to read the shards that are there."""
    ranges = [f"{split}[{first}shards:{last + 1}shards]" for split, first, last in _runs(there)]
    if not ranges:
        return ""
    words = shlex.quote(write_setting("data.rlds_splits", ranges[:_MOST_RANGES]))
    more = "" if len(ranges) <= _MOST_RANGES else " and more such ranges"
    return f", or read only what is there: {words}{more} (for inspect without `data.`)"


def _runs(shards: Sequence[ShardFile]) -> Iterator[tuple[str, int, int]]:
    """Consecutive shards of a split: its name, the first and the last number."""
    places = enumerate(shards)
    for (split, _), run in groupby(places, lambda p: (p[1].split, p[1].number - p[0])):
        numbers = [shard.number for _, shard in run]
        yield split, numbers[0], numbers[-1]


def _other_numbering(missing: Path) -> str:
    """A file that differs from the missing one in the number of shards only; empty without."""
    wanted = _COUNT.fullmatch(missing.name)
    if wanted is None or not missing.parent.is_dir():
        return ""
    for file in sorted(missing.parent.iterdir()):
        found = _COUNT.fullmatch(file.name)
        if found and found.group("start", "end") == wanted.group("start", "end"):
            return file.name
    return ""
