"""How fast shuffled windows are read, beside tf.data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from eval_suites.base import EvalContext, SuiteResult, undefined
from eval_suites.timing.data import choose_records, write_copies
from eval_suites.timing.process import run_alone
from eval_suites.timing.readers import (
    Reading,
    ReadingTask,
    has_tensorflow,
    read_naively,
    read_overlapping,
    read_skipping,
    read_with_genie_robo,
)
from eval_suites.timing.reading_metrics import (
    CACHED,
    HEADLINE,
    LARGER,
    NAIVE,
    OURS,
    OVERLAPPING,
    SKIPPING,
    TF_DATA,
    ReadingMetrics,
    reading_figure,
    reading_notes,
)
from eval_suites.timing.settings import refuse_small_numbers
from genie_robo.data.windows import WindowDataset
from genie_robo.progress import progress_bar

READERS: Mapping[str, Callable[[ReadingTask], Reading]] = {
    OURS: read_with_genie_robo,
    CACHED: read_with_genie_robo,
    LARGER: read_with_genie_robo,
    NAIVE: read_naively,
    SKIPPING: read_skipping,
    OVERLAPPING: read_overlapping,
}
FAST_EPISODES, FAST_BATCHES, FAST_BUFFER = 12, 2, 16
OVERLAPPING_TIMES = 10
"""As many times more batches where one decoded episode gives many windows, else one is measured."""
LEFT_OUT_BY_FAST = (CACHED, OVERLAPPING)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingSpeed:
    """Frames per second of processor time and peak memory, each reader in a fresh process."""

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
        refuse_small_numbers(self, "reading")
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
        measured = ReadingMetrics(
            readings=readings,
            reasons=reasons,
            num_episodes=len(records),
            growth=self.growth,
            protocol=_protocol(tasks[OURS]),
        )
        return SuiteResult(
            metrics=measured.all(),
            headline=HEADLINE,
            per_episode=[{"reader": name, **asdict(found)} for name, found in readings.items()],
            figures={"reading": reading_figure(readings)},
            notes=reading_notes(readings),
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


def _protocol(task: ReadingTask) -> str:
    return (
        f"shuffled windows of {task.num_frames} frames of {task.image_size[0]} x "
        f"{task.image_size[1]} in {task.num_batches} batches of {task.batch_size} "
        f"({OVERLAPPING} {OVERLAPPING_TIMES} times as many), from tfrecord, "
        "after warming up; each reader alone in a fresh process; seconds of all its threads; "
        f"tf.data shuffles {task.shuffle_buffer} windows"
    )


def _nothing(reason: str) -> SuiteResult:
    """A result that says why there is none."""
    metrics = {
        name: undefined(reason, unit="", protocol="shuffled windows, read by fresh processes")
        for name in HEADLINE
    }
    return SuiteResult(metrics=metrics, headline=HEADLINE, per_episode=[], figures={})
