"""Poses read from imagined frames against MuJoCo's: error, drift, gain and lag of every path."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, UInt8

from eval_suites.base import Metric, undefined
from eval_suites.metrics.following import best_lag, distance, gain_terms, lag_terms, slope
from eval_suites.plugs.truth import Poses
from eval_suites.simulated.decibels import IMAGINED, RANDOM
from eval_suites.statistics import (
    Statistic,
    bootstrap,
    episode_mean,
    episode_sums,
    ratio_of_sums,
    to_metric,
)

READ = (
    "poses are read from pixels by a regression fitted to real frames of the episodes to fit on; "
    "the floor, given as ceiling, is what it errs on MuJoCo's own frames"
)
THINGS = {"tool_error": "distance of the tool", "box_error": "mean distance of the boxes"}
GAIN = (
    "displacement of the tool since the prompt frame, imagined over true, least squares through "
    "the origin, both read from pixels with MuJoCo's displacement as instrument; 1 = as far as "
    "really happens"
)
LAG = (
    "frames by which imagined motion of the tool comes late: the highest correlation of its motion "
    "per frame with that read in MuJoCo's frames, all rollouts together"
)


@runtime_checkable
class Reader(Protocol):
    """Reads poses from frames."""

    def read(self, video: UInt8[np.ndarray, "t h w c"]) -> Poses:
        """Tool and boxes of every frame (m)."""
        ...


class PoseReadings:
    """What a reader sees in rollouts and in MuJoCo's frames, the prompt frame first."""

    def __init__(
        self,
        reader: Reader,
        true_videos: UInt8[np.ndarray, "m t h w c"],
        true_poses: Sequence[Poses],
    ) -> None:
        self._reader, self._true_videos, self._poses = reader, true_videos, true_poses
        self.seen = [reader.read(video) for video in true_videos]

    def read(self, imagined: UInt8[np.ndarray, "m n h w c"]) -> list[Poses]:
        """Poses in the prompt frame and the imagined ones."""
        return [
            self._reader.read(np.concatenate([true[:1], video]))
            for true, video in zip(self._true_videos, imagined, strict=True)
        ]

    def errors(self, readings: Sequence[Poses]) -> dict[str, Float[np.ndarray, "m n"]]:
        """Distance from where things really were (mm); NaN where there is no box."""
        tool, boxes = [], []
        for read, true in zip(readings, self._poses, strict=True):
            tool.append(distance(read.tool, true.tool)[1:])
            far = distance(read.boxes, true.boxes)[1:]
            found = np.isfinite(far).any(axis=1)
            mean = np.nansum(far, axis=1) / np.maximum(np.isfinite(far).sum(axis=1), 1)
            boxes.append(np.where(found, mean, np.nan))
        return dict(zip(THINGS, (np.stack(tool), np.stack(boxes)), strict=True))

    def gains(self, readings: Sequence[Poses]) -> Float[np.ndarray, "m 2"]:
        """Sums whose ratio is the gain."""
        rows = zip(readings, self.seen, self._poses, strict=True)
        return np.stack([gain_terms(r.tool, s.tool, true.tool) for r, s, true in rows])

    def lags(self, readings: Sequence[Poses]) -> Float[np.ndarray, "m l 3"]:
        """Sums whose correlation is highest at the lag."""
        rows = zip(readings, self.seen, strict=True)
        return np.stack([lag_terms(r.tool, s.tool) for r, s in rows])


def pose_metrics(
    readings: PoseReadings,
    videos: Mapping[str, UInt8[np.ndarray, "m n h w c"]],
    *,
    copied: UInt8[np.ndarray, "m n h w c"],
    episode: Int[np.ndarray, " m"],
    seed: int,
) -> dict[str, Metric]:
    """Error, error above the floor, drift, gain and lag by path; the first path has no suffix."""
    floor = readings.errors(readings.seen)
    held = readings.errors(readings.read(copied))
    metrics: dict[str, Metric] = {}
    for number, (path, video) in enumerate(videos.items()):
        suffix = f"/{path}" if number else ""
        read = readings.read(video)
        for thing, errors in readings.errors(read).items():
            rows = (errors, floor[thing], held[thing])
            found = _error_metrics(thing, rows, episode=episode, seed=seed)
            metrics |= {f"{name}{suffix}": metric for name, metric in found.items()}
        metrics[f"gain{suffix}"] = _over_episodes(
            readings.gains(read), ratio_of_sums, episode, seed, unit="ratio", protocol=GAIN
        )
        metrics[f"lag{suffix}"] = _over_episodes(
            readings.lags(read), best_lag, episode, seed, unit="frames", protocol=LAG
        )
    # Blurred frames are read near the middle, which looks like motion: this gain comes for free.
    for path in (path for path in videos if path != RANDOM):
        name = "gain" if path == IMAGINED else f"gain/{path}"
        free = {RANDOM: metrics[f"gain/{RANDOM}"].value, "copy_last": 0.0}
        metrics[name] = replace(metrics[name], baselines=free)
    return metrics


def no_pose_metrics(reason: str, *, suffix: str = "") -> dict[str, Metric]:
    """The same names without values."""
    units = {f"{thing}{part}": "mm" for thing in THINGS for part in ("", "/above_floor")}
    units |= {f"{thing}/drift": "mm/frame" for thing in THINGS}
    units |= {"gain": "ratio", "lag": "frames"}
    return {
        f"{name}{suffix}": undefined(reason, unit=unit, protocol=READ)
        for name, unit in units.items()
    }


def _error_metrics(
    thing: str,
    rows: tuple[Float[np.ndarray, "m n"], Float[np.ndarray, "m n"], Float[np.ndarray, "m n"]],
    *,
    episode: Int[np.ndarray, " m"],
    seed: int,
) -> dict[str, Metric]:
    errors, floor, held = rows
    what = f"{THINGS[thing]} from where MuJoCo has it, mean over the horizon; {READ}"

    def mean(
        values: Float[np.ndarray, "m ..."],
        what: str,
        *,
        unit: str = "mm",
        ceiling: float | None = None,
        baselines: dict[str, float | None] | None = None,
    ) -> Metric:
        return to_metric(
            episode_mean(values, episode, seed=seed),
            n_units=len(np.unique(episode)),
            unit=unit,
            protocol=what,
            baselines=baselines,
            ceiling=ceiling,
            reason="there is no such thing on the table, or the horizon is a single frame",
        )

    return {
        thing: mean(
            errors,
            what,
            ceiling=episode_mean(floor, episode).value,
            baselines={"copy_last": episode_mean(held, episode).value},
        ),
        f"{thing}/above_floor": mean(errors - floor, f"{what}; minus the floor, paired"),
        f"{thing}/drift": mean(
            slope(errors - floor),
            f"growth of the {thing} above the floor per frame",
            unit="mm/frame",
        ),
    }


def _over_episodes(
    terms: Float[np.ndarray, "m ..."],
    statistic: Statistic,
    episode: Int[np.ndarray, " m"],
    seed: int,
    *,
    unit: str,
    protocol: str,
) -> Metric:
    names, number = np.unique(episode, return_inverse=True)
    sums = episode_sums(terms, number, num_episodes=len(names))
    return to_metric(
        bootstrap(sums, statistic, seed=seed),
        n_units=len(names),
        unit=unit,
        protocol=f"{protocol}; {READ}",
        ceiling=1.0 if unit == "ratio" else 0.0,
        reason="the tool does not move, or the horizon is a single frame",
    )
