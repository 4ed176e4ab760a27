"""How long a dataset of RT-1's size takes to open, the first time and from the cache.

    python tests/benchmarks/indexing.py

Two synthetic sets with the columns of `data=fractal20220817_data`: some of RT-1's 1,024 shards
with records as large as RT-1's, and all of its 87,212 episodes with records of two steps. The
bytes that are missing are extrapolated from the first one, in a row that says so. Images are noise
behind the first bytes of a JPEG, because opening decodes none. The files were just written, so
reading them from a disk comes on top. docs/data.md has the numbers.

Goals: apart from the disk, a minute the first time and a few hundred MB.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from dataset import NAME, VERSION, mark, shard_name, write_info
from reading import find_data
from table import print_table
from tensorflow_datasets.proto import tf_example_pb2

from genie_robo.data.cache import CACHE_VARIABLE
from genie_robo.data.features import Feature
from genie_robo.data.rlds import RldsDataset
from genie_robo.data.schema import open_schema
from genie_robo.data.settings import Source
from genie_robo.data.shards import frame_tfrecord
from genie_robo.eval_suites.timing import Lap, peak_memory_mb, run_alone, time_once
from genie_robo.sim.layouts import rt1_features

RT1_EPISODES, RT1_SHARDS, RT1_BYTES = 87_212, 1024, 111 * 2**30
RT1_STEPS = 43
IMAGE_SIZE = (256, 320)
FEW_STEPS = 2
_JPEG_START = b"\xff\xd8\xff"


class Opening(NamedTuple):
    """What opening a dataset took, in a process of its own."""

    lap: Lap
    peak_memory_mb: float
    """Above that of the process before."""
    num_episodes: int


def main(words: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Measure both sets and print a row for each, and one for RT-1."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("--num-shards", type=int, default=8, help="with records of RT-1's size")
    parser.add_argument("--all-shards", type=int, default=RT1_SHARDS, help="with small records")
    options = parser.parse_args(words)
    source = find_data(["data=fractal20220817_data", "data.path=unused"]).source
    with TemporaryDirectory() as place:
        os.environ[CACHE_VARIABLE] = str(Path(place) / "cache")
        per_image = RT1_BYTES // (RT1_EPISODES * RT1_STEPS)
        per_image -= len(_record(_columns(Path(place)), RT1_STEPS, 0)) // RT1_STEPS
        full = write_set(Path(place) / "full", options.num_shards, RT1_STEPS, per_image)
        small = write_set(Path(place) / "small", options.all_shards, FEW_STEPS, len(_JPEG_START))
        rows = [_row("records of RT-1's size", full, source)]
        rows.append(_row("records of two steps", small, source))
    rows.append(extrapolate(rows[0], rows[1]))
    print_table(rows)
    return rows


def write_set(root: Path, num_shards: int, num_steps: int, image_bytes: int) -> Path:
    """An RLDS folder: the first of RT-1's shards, with episodes of one length.

    Args:
        root: Where the folder goes.
        num_shards: At most RT-1's 1,024.
        num_steps: Steps of every episode.
        image_bytes: Bytes of every image.
    """
    folder = root / NAME / VERSION
    folder.mkdir(parents=True)
    ends = [RT1_EPISODES * number // RT1_SHARDS for number in range(num_shards + 1)]
    record = _record(_columns(folder), num_steps, image_bytes)
    write_info(folder, [int(length) for length in np.diff(ends)])
    for shard in range(num_shards):
        numbers = range(ends[shard], ends[shard + 1])
        framed = (frame_tfrecord(record + mark(number)) for number in numbers)
        (folder / shard_name(shard, num_shards)).write_bytes(b"".join(framed))
    return folder


def open_set(folder: Path, source: Source) -> Opening:
    """Open a dataset, for `run_alone`."""
    opened: list[RldsDataset] = []
    before = peak_memory_mb()
    lap = time_once(lambda: opened.append(RldsDataset(folder, source)))
    return Opening(lap, peak_memory_mb() - before, len(opened[0]))


def extrapolate(full: dict[str, Any], small: dict[str, Any]) -> dict[str, Any]:
    """RT-1's first opening by the bytes of the first row, with the entries of the second."""
    times = RT1_BYTES / (full["GB"] * 1e9)
    first = {key: times * full[key] for key in ("first, CPU-seconds", "first, seconds")}
    first["first, MB of memory"] = full["first, MB of memory"] + small["cached, MB of memory"]
    return small | {"episodes of": "RT-1, extrapolated", "GB": RT1_BYTES / 1e9} | first


def _row(name: str, folder: Path, source: Source) -> dict[str, Any]:
    """The first opening of a set, and the next one."""
    first, cached = (run_alone(open_set, folder, source) for _ in range(2))
    shards = [shard.path for shard in open_schema(folder).shards]
    return {
        "episodes of": name,
        "episodes": first.num_episodes,
        "shards": len(shards),
        "GB": sum(shard.stat().st_size for shard in shards) / 1e9,
        "first, CPU-seconds": first.lap.cpu_s,
        "first, seconds": first.lap.wall_s,
        "first, MB of memory": first.peak_memory_mb,
        "cached, CPU-seconds": cached.lap.cpu_s,
        "cached, MB of memory": cached.peak_memory_mb,
    }


def _columns(folder: Path) -> dict[str, Feature]:
    """The columns of RT-1, whose features.json is written into the folder."""
    rt1_features(IMAGE_SIZE, num_states=0).save_config(folder)
    write_info(folder, [1])
    return dict(open_schema(folder).features)


def _record(columns: dict[str, Feature], num_steps: int, image_bytes: int) -> bytes:
    """An episode of zeros and noise."""
    messages: Any = tf_example_pb2
    example, rng = messages.Example(), np.random.default_rng(0)
    for key, feature in columns.items():
        stored = example.features.feature[f"steps/{key}"]
        if feature.kind == "image":
            noise = (rng.bytes(image_bytes) for _ in range(num_steps))
            stored.bytes_list.value.extend((_JPEG_START + part)[:image_bytes] for part in noise)
        elif feature.kind == "text":
            stored.bytes_list.value.extend([b"pick apple"] * num_steps)
        elif feature.dtype.startswith("float"):
            stored.float_list.value.extend([0.0] * (num_steps * (feature.size or 1)))
        else:
            stored.int64_list.value.extend([0] * (num_steps * (feature.size or 1)))
    return example.SerializeToString()


if __name__ == "__main__":
    main()
