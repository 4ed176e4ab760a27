"""What reading speed was found, as metrics, notes and a figure."""

from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.figure import Figure

from eval_suites.base import Metric
from eval_suites.timing.figures import Bars, bars
from eval_suites.timing.readers import Reading

OURS, CACHED, LARGER = "genie_robo", "genie_robo_cached", "genie_robo_larger"
NAIVE, SKIPPING, OVERLAPPING = "naive_tf_data", "skip_decoding_tf_data", "overlapping_tf_data"
TF_DATA = (NAIVE, SKIPPING, OVERLAPPING)
LABELS = {
    OURS: "genie_robo",
    CACHED: "genie_robo,\nimages cached",
    LARGER: "genie_robo,\nlarger dataset",
    NAIVE: "tf.data, decode all,\nrandom window",
    SKIPPING: "tf.data, SkipDecoding,\nrandom window",
    OVERLAPPING: "tf.data, decode all,\nevery window",
}
HEADLINE = (
    "reading/frames_per_cpu_second",
    f"reading/times/{NAIVE}",
    f"reading/times/{SKIPPING}",
    "reading/peak_memory",
    "reading/memory_growth",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingMetrics:
    """What the readers found, as metrics."""

    readings: Mapping[str, Reading]
    reasons: Mapping[str, str]
    """Why a reader is missing."""
    num_episodes: int
    growth: int
    protocol: str

    def all(self) -> dict[str, Metric]:
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


def reading_notes(readings: Mapping[str, Reading]) -> tuple[str, ...]:
    """What was wanted, and how far to believe it."""
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


def reading_figure(readings: Mapping[str, Reading]) -> Figure:
    """Bars of speed and of memory, reader under reader."""
    return bars(
        [LABELS[name] for name in readings],
        [
            Bars(
                "frames per second of processor time",
                [reading.frames_per_cpu_s for reading in readings.values()],
            ),
            Bars("peak memory (MB)", [reading.peak_memory_mb for reading in readings.values()]),
        ],
        is_ours=[name not in TF_DATA for name in readings],
    )
