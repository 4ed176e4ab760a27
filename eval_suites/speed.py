"""How fast things are. So far: how fast shuffled windows are read, beside tf.data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import ClassVar

import numpy as np
from matplotlib.figure import Figure

from eval_suites import figures
from eval_suites.base import EvalContext, Metric, SuiteResult, undefined
from eval_suites.speed_data import choose_records, write_copies
from eval_suites.speed_readers import (
    Reading,
    ReadingTask,
    has_tensorflow,
    read_naively,
    read_overlapping,
    read_skipping,
    read_with_genie_robo,
    run_alone,
)
from genie_robo.data.windows import WindowDataset
from genie_robo.progress import progress_bar

OURS, CACHED, LARGER = "genie_robo", "genie_robo_cached", "genie_robo_larger"
NAIVE, SKIPPING, OVERLAPPING = "naive_tf_data", "skip_decoding_tf_data", "overlapping_tf_data"
TF_DATA = (NAIVE, SKIPPING, OVERLAPPING)
READERS: Mapping[str, Callable[[ReadingTask], Reading]] = {
    OURS: read_with_genie_robo,
    CACHED: read_with_genie_robo,
    LARGER: read_with_genie_robo,
    NAIVE: read_naively,
    SKIPPING: read_skipping,
    OVERLAPPING: read_overlapping,
}
LABELS = {
    OURS: "genie_robo",
    CACHED: "genie_robo,\nimages cached",
    LARGER: "genie_robo,\nlarger dataset",
    NAIVE: "tf.data, decode all,\nrandom window",
    SKIPPING: "tf.data, SkipDecoding,\nrandom window",
    OVERLAPPING: "tf.data, decode all,\nevery window",
}
FAST_EPISODES, FAST_BATCHES, FAST_BUFFER = 12, 2, 16
OVERLAPPING_TIMES = 10
"""As many times more batches where one decoded episode gives many windows, else one is measured."""
LEFT_OUT_BY_FAST = (CACHED, OVERLAPPING)
HEADLINE = (
    "reading/frames_per_cpu_second",
    f"reading/times/{NAIVE}",
    f"reading/times/{SKIPPING}",
    "reading/peak_memory",
    "reading/memory_growth",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Frames per second of processor time and peak memory, each reader in a fresh process."""

    name: ClassVar[str] = "speed"
    summary: ClassVar[str] = "how fast shuffled windows are read, and in how much memory"

    num_frames: int = 16
    """Frames in a window; fewer when most episodes are shorter."""
    num_episodes: int = 40
    num_batches: int = 6
    batch_size: int = 16
    shuffle_buffer: int = 48
    """Windows in the shuffle buffer of tf.data."""
    growth: int = 10
    """How many times larger the dataset is in which memory is measured again."""
    cache_mb: int = 512
    """For decoded episodes, in the measurement with a cache."""

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Copy some episodes to a temporary folder and let every reader read them.

        Raises:
            ValueError: A number of conf/suite/speed.yaml is below one.
        """
        if min(asdict(self).values()) < 1:
            raise ValueError(f"every number of suite.speed must be at least 1; got {asdict(self)}")
        if not isinstance(context.test, WindowDataset):
            return _nothing("the episodes do not come from an RLDS folder")
        num_frames = min(self.num_frames, int(median(context.test.dataset.lengths)))
        records = choose_records(
            context.test.dataset,
            num_episodes=min(self.num_episodes, FAST_EPISODES)
            if context.fast
            else self.num_episodes,
            min_steps=num_frames,
        )
        with TemporaryDirectory() as place:
            folders = [
                write_copies(Path(place, str(n)), context.test.dataset, records, num_copies=n)
                for n in (1, self.growth)
            ]
            tasks = self._tasks(context, folders, num_frames, max(r.num_steps for r in records))
            readings, reasons = _read_all(tasks, fast=context.fast)
        measured = _Measured(
            readings=readings,
            reasons=reasons,
            num_episodes=len(records),
            growth=self.growth,
            protocol=_protocol(tasks[OURS]),
        )
        return SuiteResult(
            metrics=measured.metrics(),
            headline=HEADLINE,
            per_episode=[{"reader": name, **asdict(found)} for name, found in readings.items()],
            figures={"reading": _figure(readings)},
            notes=_notes(readings),
        )

    def _tasks(
        self, context: EvalContext, folders: Sequence[Path], num_frames: int, max_steps: int
    ) -> dict[str, ReadingTask]:
        """What each reader is asked to do."""
        assert isinstance(context.test, WindowDataset)
        task = ReadingTask(
            folder=folders[0],
            source=context.test.dataset.source,
            camera=context.test.camera,
            image_size=context.test.image_size,
            num_frames=num_frames,
            max_steps=max_steps,
            batch_size=self.batch_size,
            num_batches=min(self.num_batches, FAST_BATCHES) if context.fast else self.num_batches,
            shuffle_buffer=min(self.shuffle_buffer, FAST_BUFFER)
            if context.fast
            else self.shuffle_buffer,
            seed=context.seed,
        )
        tasks = dict.fromkeys(READERS, task)
        tasks[CACHED] = replace(task, cache_mb=self.cache_mb)
        tasks[LARGER] = replace(task, folder=folders[1])
        tasks[OVERLAPPING] = replace(task, num_batches=OVERLAPPING_TIMES * task.num_batches)
        return tasks


def _read_all(
    tasks: Mapping[str, ReadingTask], *, fast: bool
) -> tuple[dict[str, Reading], dict[str, str]]:
    """One reader after another; why the missing ones are missing."""
    reasons: dict[str, str] = {}
    if fast:
        reasons |= dict.fromkeys(LEFT_OUT_BY_FAST, "left out by fast=true")
    if not has_tensorflow():
        reasons |= dict.fromkeys(TF_DATA, "TensorFlow is not installed; it is the extra `tf`")
    wanted = [name for name in READERS if name not in reasons]
    readings: dict[str, Reading] = {}
    with progress_bar("speed: read", total=len(wanted), unit="readers") as advance:
        for name in wanted:
            readings[name] = run_alone(READERS[name], tasks[name])
            advance()
    return readings, reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """What the readers found, as metrics."""

    readings: Mapping[str, Reading]
    reasons: Mapping[str, str]
    """Why a reader is missing."""
    num_episodes: int
    growth: int
    protocol: str

    def metrics(self) -> dict[str, Metric]:
        """Speed, order and memory of genie_robo, with those of tf.data as baselines."""
        ours, larger = self.readings[OURS], self.readings[LARGER]
        grown = 100 * (larger.peak_memory_mb / ours.peak_memory_mb - 1)
        return {
            "reading/frames_per_cpu_second": self._beside(
                "frames_per_cpu_s", "frames/s", "genie_robo without image cache"
            ),
            **{f"reading/times/{name}": self._times(name) for name in TF_DATA},
            "reading/frames_per_cpu_second/cached": self._cached(),
            "reading/episodes_per_batch": self._beside(
                "episodes_per_batch",
                "episodes",
                "different episodes in a batch: how well the order is shuffled",
            ),
            "reading/peak_memory": self._beside(
                "peak_memory_mb", "MB", "largest resident size of the process"
            ),
            "reading/memory_growth": self._metric(
                grown, "%", f"more memory for as many windows of {self.growth} times the episodes"
            ),
        }

    def _beside(self, attribute: str, unit: str, how: str) -> Metric:
        values = {name: float(getattr(found, attribute)) for name, found in self.readings.items()}
        others = {name: values[name] for name in TF_DATA if name in values}
        return self._metric(values[OURS], unit, how, baselines=others)

    def _times(self, name: str) -> Metric:
        other = self.readings.get(name)
        times = self.readings[OURS].frames_per_cpu_s / other.frames_per_cpu_s if other else None
        how = f"frames per second of processor time, genie_robo over {name}"
        return self._metric(times, "times", how, reason=self.reasons.get(name, ""))

    def _cached(self) -> Metric:
        found = self.readings.get(CACHED)
        how = "genie_robo that keeps decoded episodes, its memory still filling"
        value = found.frames_per_cpu_s if found else None
        return self._metric(value, "frames/s", how, reason=self.reasons.get(CACHED, ""))

    def _metric(
        self,
        value: float | None,
        unit: str,
        how: str,
        *,
        baselines: Mapping[str, float] | None = None,
        reason: str = "",
    ) -> Metric:
        return Metric(
            value=value,
            n_units=self.num_episodes,
            unit=unit,
            protocol=f"{how}; {self.protocol}",
            baselines=baselines or {},
            reason=reason,
        )


def _protocol(task: ReadingTask) -> str:
    return (
        f"shuffled windows of {task.num_frames} frames of {task.image_size[0]} x "
        f"{task.image_size[1]} in {task.num_batches} batches of {task.batch_size} "
        f"({OVERLAPPING} {OVERLAPPING_TIMES} times as many), from tfrecord, "
        "after warming up; each reader alone in a fresh process; seconds of all its threads; "
        f"tf.data shuffles {task.shuffle_buffer} windows"
    )


def _notes(readings: Mapping[str, Reading]) -> tuple[str, ...]:
    notes = [
        "Wanted: 4 times the naive tf.data, no less than tf.data with SkipDecoding, and memory "
        "within a few percent when the dataset grows.",
        "One run of each reader, no interval: other work on the machine changes processor time "
        "by half; repeat it before relying on less than a factor of two.",
    ]
    if OVERLAPPING in readings:
        notes.append(
            "tf.data that takes every window of a decoded episode shares the decoding between "
            "overlapping windows, and pays with batches of few episodes: see "
            "reading/episodes_per_batch. The image cache of genie_robo shares it without that."
        )
    return tuple(notes)


def _figure(readings: Mapping[str, Reading]) -> Figure:
    """Bars of speed and of memory, reader under reader."""
    speed, memory = figures.new_axes(2, width=11.0, height=0.7 * len(readings) + 1.5)
    rows = np.arange(len(readings))
    names = [LABELS[name] for name in readings]
    colours = [figures.ORANGE if name in TF_DATA else figures.BLUE for name in readings]
    panels = (
        (speed, "frames per second of processor time", "frames_per_cpu_s"),
        (memory, "peak memory (MB)", "peak_memory_mb"),
    )
    for axes, label, attribute in panels:
        values = [getattr(reading, attribute) for reading in readings.values()]
        axes.barh(rows, values, color=colours, height=0.7)
        for row, value in zip(rows, values, strict=True):
            axes.annotate(f" {value:.0f}", (value, row), fontsize=11, va="center")
        axes.margins(x=0.15)
        axes.grid(visible=False)
        axes.set_yticks(rows, names if axes is speed else [], fontsize=11)
        axes.invert_yaxis()
        axes.set_xlabel(label, fontsize=12)
    return figures.owner(speed)


def _nothing(reason: str) -> SuiteResult:
    """A result that says why there is none."""
    metrics = {
        name: undefined(reason, unit="", protocol="shuffled windows, read by fresh processes")
        for name in HEADLINE
    }
    return SuiteResult(metrics=metrics, headline=HEADLINE, per_episode=[], figures={})
