"""Readers of shuffled windows that one writes with tf.data, and that measure themselves.

They are the only code here that loads TensorFlow, by name and when called.
"""

import importlib
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from genie_robo.data.settings import Source
from genie_robo.eval_suites.timing import Reading, measure_reading


@dataclass(frozen=True, slots=True, kw_only=True)
class TfTask:
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
    """Windows in the shuffle buffer."""
    seed: int = 0


def has_tensorflow() -> bool:
    """Whether the extra `tf` is installed, without importing it."""
    return find_spec("tensorflow") is not None


def read_naively(task: TfTask) -> Reading:
    """tf.data as in the first tutorial: decode all steps, take a random window, shuffle."""
    return _read_with_tensorflow(task, skip_decoding=False, every_window=False)


def read_overlapping(task: TfTask) -> Reading:
    """Decode all steps, take all windows of the episode one after another, shuffle."""
    return _read_with_tensorflow(task, skip_decoding=False, every_window=True)


def read_skipping(task: TfTask) -> Reading:
    """tf.data tuned: images stay encoded until a random window of the episode is chosen."""
    return _read_with_tensorflow(task, skip_decoding=True, every_window=False)


def _read_with_tensorflow(task: TfTask, *, skip_decoding: bool, every_window: bool) -> Reading:
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
    return measure_reading(stream.as_numpy_iterator(), task.num_batches)


def _encoded(episode: Any, task: TfTask) -> Any:
    return _camera(episode["steps"], task)


def _decoded(episode: Any, task: TfTask) -> Any:
    """All images of an episode, whose steps are a tf.data.Dataset of their own."""
    images = episode["steps"].map(lambda step: _camera(step, task))
    return images.batch(task.max_steps).get_single_element()


def _camera(step: Any, task: TfTask) -> Any:
    for name in task.source.camera_keys.get(task.camera, task.camera).split("/"):
        step = step[name]
    return step


def _decode(tf: Any, image: Any) -> Any:
    return tf.io.decode_image(image, channels=3, expand_animations=False)


def _resize(tf: Any, images: Any, task: TfTask) -> Any:
    small = tf.image.resize(images, task.image_size, antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(small), 0, 255), tf.uint8)
