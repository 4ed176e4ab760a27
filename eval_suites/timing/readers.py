"""Programs that read shuffled windows and measure themselves, each in a process of its own.

Those with tf.data are the only code here that loads TensorFlow, by name and when called: importing
this module, or genie_robo, never does.
"""

import importlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from eval_suites.timing.process import peak_memory_mb
from genie_robo.data.sources import Source

WARM_UP_BATCHES = 2
"""Fill the shuffle buffers and start the threads; not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingTask:
    """What every reader has to deliver."""

    folder: Path
    source: Source
    camera: str
    """As in WindowDataset."""
    image_size: tuple[int, int]
    num_frames: int
    max_steps: int
    """Of the longest episode."""
    batch_size: int
    num_batches: int
    shuffle_buffer: int
    """Windows in the shuffle buffer of tf.data."""
    cache_mb: int = 0
    """For decoded episodes in genie_robo."""
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What it took."""

    cpu_s: float
    wall_s: float
    num_frames: int
    peak_memory_mb: float
    """Of the whole process since its start, opening the dataset included."""
    episodes_per_batch: float
    """Mean number of different episodes in a batch: how well the order is shuffled."""

    @property
    def frames_per_cpu_s(self) -> float:
        """Frames delivered per second of processor time, over all threads."""
        return self.num_frames / self.cpu_s


Batch = tuple[UInt8[np.ndarray, "b t h w c"], Sequence[Any]]
"""Frames, and for every window something that tells its episode from others."""


def has_tensorflow() -> bool:
    """Whether the extra `tf` is installed, without importing it."""
    return find_spec("tensorflow") is not None


def read_with_genie_robo(task: ReadingTask) -> Reading:
    """Random access to the records, decoding the frames of a window only."""
    from genie_robo.data.loader import WindowLoader
    from genie_robo.data.rlds import RldsDataset
    from genie_robo.data.windows import WindowDataset

    dataset = RldsDataset(task.folder, task.source)
    windows = WindowDataset(
        dataset,
        range(len(dataset)),
        num_frames=task.num_frames,
        image_size=task.image_size,
        camera=task.camera,
        cache_mb=task.cache_mb,
    )
    loader = WindowLoader(windows, batch_size=task.batch_size, seed=task.seed)
    return _measure(((b.video.numpy(), b.episode_ids) for b in loader), task)


def read_naively(task: ReadingTask) -> Reading:
    """tf.data as in the first tutorial: decode all steps, take a random window, shuffle."""
    return _read_with_tensorflow(task, skip_decoding=False, every_window=False)


def read_overlapping(task: ReadingTask) -> Reading:
    """Decode all steps, take all windows of the episode one after another, shuffle."""
    return _read_with_tensorflow(task, skip_decoding=False, every_window=True)


def read_skipping(task: ReadingTask) -> Reading:
    """tf.data tuned: images stay encoded until a random window of the episode is chosen."""
    return _read_with_tensorflow(task, skip_decoding=True, every_window=False)


def _read_with_tensorflow(task: ReadingTask, *, skip_decoding: bool, every_window: bool) -> Reading:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    tf: Any = importlib.import_module("tensorflow")
    import tensorflow_datasets as tfds

    tf.random.set_seed(task.seed)
    builder: Any = tfds.builder_from_directory(str(task.folder))
    decoders: Any = {"steps": tfds.decode.SkipDecoding()} if skip_decoding else None
    episodes: Any = builder.as_dataset(split="train", decoders=decoders, shuffle_files=True)

    def cut(number: Any, episode: Any) -> Any:
        """Windows of an episode, each with the episode's number."""
        images = _encoded(episode, task) if skip_decoding else _decoded(episode, task)
        if every_window:
            images = _resize(tf, images, task)
        starts = tf.range(tf.shape(images)[0] - task.num_frames + 1)
        if not every_window:
            starts = tf.random.shuffle(starts)[:1]
        chosen = tf.gather(images, starts[:, None] + tf.range(task.num_frames)[None])
        return tf.data.Dataset.from_tensor_slices((chosen, tf.fill(tf.shape(starts), number)))

    def finish(window: Any, number: Any) -> Any:
        """Decode and resize what was not yet, after shuffling."""
        if skip_decoding:
            window = tf.map_fn(
                lambda image: _decode(tf, image), window, fn_output_signature=tf.uint8
            )
        return (window if every_window else _resize(tf, window, task)), number

    stream = episodes.repeat().enumerate().flat_map(cut)
    stream = stream.shuffle(task.shuffle_buffer, seed=task.seed)
    stream = stream.map(finish, num_parallel_calls=tf.data.AUTOTUNE)
    stream = stream.batch(task.batch_size).prefetch(2)
    return _measure(stream.as_numpy_iterator(), task)


def _encoded(episode: Any, task: ReadingTask) -> Any:
    return _camera(episode["steps"], task)


def _decoded(episode: Any, task: ReadingTask) -> Any:
    """All images of an episode, whose steps are a tf.data.Dataset of their own."""
    images = episode["steps"].map(lambda step: _camera(step, task))
    return images.batch(task.max_steps).get_single_element()


def _camera(step: Any, task: ReadingTask) -> Any:
    for name in task.source.camera_keys.get(task.camera, task.camera).split("/"):
        step = step[name]
    return step


def _decode(tf: Any, image: Any) -> Any:
    return tf.io.decode_image(image, channels=3, expand_animations=False)


def _resize(tf: Any, images: Any, task: ReadingTask) -> Any:
    small = tf.image.resize(images, task.image_size, antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(small), 0, 255), tf.uint8)


def _measure(batches: Iterator[Batch], task: ReadingTask) -> Reading:
    """Processor time from the first batch after warming up to the last one."""
    for _ in islice(batches, WARM_UP_BATCHES):
        pass
    cpu, wall = time.process_time(), time.perf_counter()
    num_frames, distinct = 0, 0
    for video, episodes in islice(batches, task.num_batches):
        num_frames += video.shape[0] * video.shape[1]
        distinct += len(set(episodes))
    return Reading(
        cpu_s=time.process_time() - cpu,
        wall_s=time.perf_counter() - wall,
        num_frames=num_frames,
        peak_memory_mb=peak_memory_mb(),
        episodes_per_batch=distinct / task.num_batches,
    )
