"""How fast shuffled windows are read, compared with readers made of tf.data.

    python tests/benchmarks/reading.py data=bridge_dataset data.path=FOLDER

Takes the settings of `genie-robo train` that choose a dataset. Some of its episodes are copied to
a temporary tfrecord folder, and each reader reads the copy in a fresh process. Readers of tf.data
need the extra `tf`. docs/data.md has the numbers.

Goals: 4 times the naive tf.data, no less than tf.data with SkipDecoding, and memory within a few
percent when the dataset grows. One run of each reader, no interval: other work on the machine
changes processor time by half.
"""

import argparse
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from dataset import choose_records, write_copies
from table import print_table
from tf_readers import TfTask, has_tensorflow, read_naively, read_overlapping, read_skipping

from genie_robo.build import build_dataset
from genie_robo.commands.compose import compose_config, to_config
from genie_robo.commands.table import COMMANDS
from genie_robo.config import DataConfig, TrainConfig
from genie_robo.eval_suites.timing import Lap, Reading, read_windows, run_alone

OURS, CACHED, LARGER = "genie_robo", "genie_robo, images cached", "genie_robo, larger dataset"
TOGETHER = "genie_robo, all processes together"
NAIVE = "tf.data, decode all, random window"
SKIPPING = "tf.data, SkipDecoding, random window"
OVERLAPPING = "tf.data, decode all, every window"
TF_READERS = {NAIVE: read_naively, SKIPPING: read_skipping, OVERLAPPING: read_overlapping}
OVERLAPPING_TIMES = 10
"""As many times more batches where one decoded episode gives many windows, else one is measured."""


def main(words: Sequence[str] | None = None) -> dict[str, Reading]:
    """Measure every reader and print a row for each."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("settings", nargs="+", help="of genie-robo train: data=... data.path=...")
    parser.add_argument("--num-frames", type=int, default=16, help="at most the median length")
    parser.add_argument("--num-episodes", type=int, default=40)
    parser.add_argument("--num-batches", type=int, default=6)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--shuffle-buffer", type=int, default=48, help="windows, of tf.data")
    parser.add_argument("--growth", type=int, default=10, help="times the episodes, for memory")
    parser.add_argument("--num-processes", type=int, default=2, help="of one training")
    parser.add_argument("--cache-mb", type=int, default=512, help="of the cached reader")
    options = parser.parse_args(words)
    with TemporaryDirectory() as place:
        readings = read_all(find_data(options.settings), options, Path(place))
    print_table(readings_table(readings))
    return readings


def find_data(settings: Sequence[str]) -> DataConfig:
    """The dataset that `genie-robo train` would read."""
    config = to_config(
        COMMANDS["train"], compose_config(COMMANDS["train"], ["run=unused", *settings])
    )
    assert isinstance(config, TrainConfig)
    return config.data


def read_all(data: DataConfig, options: argparse.Namespace, place: Path) -> dict[str, Reading]:
    """Every reader on a copy, one after another; those of tf.data only with TensorFlow."""
    dataset = build_dataset(data)
    num_frames = min(options.num_frames, int(median(dataset.lengths)))
    records = choose_records(dataset, num_episodes=options.num_episodes, min_steps=num_frames)
    small, large = (
        write_copies(place / str(n), dataset, records, num_copies=n) for n in (1, options.growth)
    )
    task = TfTask(
        folder=small,
        source=dataset.source,
        camera="primary",
        image_size=(data.image_height, data.image_width),
        num_frames=num_frames,
        max_steps=max(record.num_steps for record in records),
        batch_size=options.batch_size,
        num_batches=options.num_batches,
        shuffle_buffer=options.shuffle_buffer,
    )
    readings = {
        OURS: read_ours(task),
        CACHED: read_ours(task, cache_mb=options.cache_mb),
        LARGER: read_ours(replace(task, folder=large)),
        TOGETHER: read_together(task, num_processes=options.num_processes),
    }
    more = {OVERLAPPING: replace(task, num_batches=OVERLAPPING_TIMES * task.num_batches)}
    if has_tensorflow():
        for name, reader in TF_READERS.items():
            readings[name] = run_alone(reader, more.get(name, task))
    return readings


def read_together(task: TfTask, *, num_processes: int) -> Reading:
    """As the processes of a training, each reading its own share: the sum, memory of the largest.

    Seconds are those of the slowest.
    """
    with ThreadPoolExecutor(num_processes) as pool:
        futures = [
            pool.submit(read_ours, task, rank=rank, world_size=num_processes)
            for rank in range(num_processes)
        ]
        found = [future.result() for future in futures]
    return Reading(
        Lap(sum(one.lap.cpu_s for one in found), max(one.lap.wall_s for one in found)),
        sum(one.num_frames for one in found),
        max(one.peak_memory_mb for one in found),
        sum(one.episodes_per_batch for one in found) / num_processes,
    )


def read_ours(task: TfTask, *, cache_mb: int = 0, rank: int = 0, world_size: int = 1) -> Reading:
    """The same windows by random access."""
    return run_alone(
        read_windows,
        task.folder,
        task.source,
        batch_size=task.batch_size,
        num_batches=task.num_batches,
        seed=task.seed,
        num_frames=task.num_frames,
        image_size=task.image_size,
        camera=task.camera,
        cache_mb=cache_mb,
        rank=rank,
        world_size=world_size,
    )


def readings_table(readings: Mapping[str, Reading]) -> list[dict[str, Any]]:
    """A row for each reader."""
    ours = readings[OURS]
    return [
        {
            "reader": name,
            "frames per CPU-second": found.frames_per_cpu_s,
            "genie_robo over it": ours.frames_per_cpu_s / found.frames_per_cpu_s,
            "episodes in a batch": found.episodes_per_batch,
            "peak memory (MB)": found.peak_memory_mb,
            "more than genie_robo (%)": 100 * (found.peak_memory_mb / ours.peak_memory_mb - 1),
        }
        for name, found in readings.items()
    ]


if __name__ == "__main__":
    main()
