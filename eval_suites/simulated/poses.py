"""Error, drift, gain and lag of poses read from imagined frames, against MuJoCo."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from eval_suites.metrics.following import best_lag, distance, gain_terms, lag_terms, slope
from eval_suites.simulated.truth import Poses
from eval_suites.statistics import ratio_of_sums
from eval_suites.table import Comparable, Measurement, Sums, Table, undefined

READ = (
    "poses are read from pixels by a regression fitted to real frames of the episodes to fit on; "
    "the ceiling is the regression's error on MuJoCo's own frames"
)
THINGS = {"tool_error": "distance of the tool", "box_error": "mean distance of the boxes"}
GAIN = (
    "displacement of the tool since the prompt frame, imagined over true, least squares through "
    "the origin, both read from pixels with MuJoCo's displacement as instrument; 1 = the true "
    "displacement"
)
LAG = (
    "delay of the imagined motion of the tool: the lag of the highest correlation of its motion "
    "per frame with that read from MuJoCo's frames, all rollouts together"
)
_DISTANCES = ("", "/above_floor", "/over_copy_last")
UNITS = {
    **{f"{thing}{part}": "mm" for thing in THINGS for part in _DISTANCES},
    **{f"{thing}/drift": "mm/frame" for thing in THINGS},
    "gain": "ratio",
    "lag": "frames",
}
FLOOR, HELD = "true_frames", "copy_last"
NO_THING = "there is no such thing on the table, or the horizon is a single frame"
NO_MOTION = "the tool does not move, or the horizon is a single frame"
NO_LAG = "the tool does not move as the true one does at any lag of up to two frames"


@runtime_checkable
class Reader(Protocol):
    """Reads poses from frames."""

    def read(self, video: UInt8[np.ndarray, "t h w c"]) -> Poses:
        """Tool and boxes of every frame (m)."""
        ...


class PoseTable:
    """Errors of poses read from each kind of rollout, with a row for each clip."""

    def __init__(
        self,
        table: Table,
        reader: Reader,
        true_videos: UInt8[np.ndarray, "m t h w c"],
        true_poses: Sequence[Poses],
    ) -> None:
        """Read poses from MuJoCo's own frames, which begin with the prompt frame."""
        self._table, self._reader = table, reader
        self._true_videos, self._poses = true_videos, true_poses
        self._seen = [reader.read(video) for video in true_videos]
        self._readings: dict[str, Sequence[Poses]] = {}
        self._columns: dict[tuple[str, str], list[str]] = {}
        self._add(FLOOR, self._seen)

    def add(self, who: str, imagined: UInt8[np.ndarray, "m n h w c"]) -> None:
        """Read the poses in imagined frames."""
        pairs = zip(self._true_videos, imagined, strict=True)
        readings = [self._reader.read(np.concatenate([true[:1], video])) for true, video in pairs]
        self._add(who, readings)

    def _add(self, who: str, readings: Sequence[Poses]) -> None:
        """Add columns of distances from the true positions (mm), NaN without boxes."""
        pairs = list(zip(readings, self._poses, strict=True))
        tool = np.stack([distance(read.tool, true.tool)[1:] for read, true in pairs])
        boxes = np.stack([_box_error(read, true) for read, true in pairs])
        for thing, errors in zip(THINGS, (tool, boxes), strict=True):
            columns = self._table.add_series(f"{thing}_{who}", errors, given=who in (FLOOR, HELD))
            self._columns[thing, who] = columns
        self._readings[who] = readings

    def error(self, thing: str, who: str) -> Sums:
        """Mean distance over the horizon."""
        return self._table.mean(self._columns[thing, who])

    def above_floor(self, thing: str, who: str) -> Sums:
        """Mean distance minus that on MuJoCo's own frames."""
        return self._table.mean_difference(self._columns[thing, who], self._columns[thing, FLOOR])

    def over_held(self, thing: str, who: str) -> Sums:
        """Mean distance minus that of the held prompt frame; below 0 is better than holding."""
        return self._table.mean_difference(self._columns[thing, who], self._columns[thing, HELD])

    def drift(self, thing: str, who: str) -> Sums:
        """Growth of the distance above the floor per frame."""
        errors, floor = (self._table.values(self._columns[thing, w]) for w in (who, FLOOR))
        return self._table.mean([self._table.add(f"{thing}_drift_{who}", slope(errors - floor))])

    def gain(self, who: str) -> Sums:
        """Displacement of the tool relative to its true displacement."""
        rows = zip(self._readings[who], self._seen, self._poses, strict=True)
        terms = [gain_terms(read.tool, seen.tool, true.tool) for read, seen, true in rows]
        return Sums(self._table, np.stack(terms), ratio_of_sums)

    def lag(self, who: str) -> Sums:
        """Delay of the tool's motion in frames."""
        rows = zip(self._readings[who], self._seen, strict=True)
        terms = [lag_terms(read.tool, seen.tool) for read, seen in rows]
        return Sums(self._table, np.stack(terms), best_lag)


def _box_error(read: Poses, true: Poses) -> Float[np.ndarray, " n"]:
    """Mean distance of the boxes that are on the table (mm)."""
    far = distance(read.boxes, true.boxes)[1:]
    count = np.isfinite(far).sum(axis=1)
    return np.where(count > 0, np.nansum(far, axis=1) / np.maximum(count, 1), np.nan)


def pose_measurements(
    poses: PoseTable, who: str, *, baselines: Mapping[str, str]
) -> dict[str, Measurement]:
    """Error, error above the floor, drift, gain and lag of one kind of rollout.

    `baselines` are other kinds, by name, reported with every error and gain.
    """
    found = {}
    for thing, meaning in THINGS.items():
        what = f"{meaning} from MuJoCo's, mean over the horizon; {READ}"
        others: dict[str, Comparable] = {HELD: poses.error(thing, HELD)}
        others |= {name: poses.error(thing, other) for name, other in baselines.items()}
        found[thing] = Measurement(
            of=poses.error(thing, who),
            unit="mm",
            protocol=what,
            baselines=others,
            ceiling=poses.error(thing, FLOOR),
            reason=NO_THING,
        )
        found[f"{thing}/above_floor"] = Measurement(
            of=poses.above_floor(thing, who),
            unit="mm",
            protocol=f"{what}; minus the ceiling, paired",
            reason=NO_THING,
        )
        found[f"{thing}/over_copy_last"] = Measurement(
            of=poses.over_held(thing, who),
            unit="mm",
            protocol=f"{what}; minus that of the held prompt frame, paired; below 0 is better",
            reason=NO_THING,
        )
        found[f"{thing}/drift"] = Measurement(
            of=poses.drift(thing, who),
            unit="mm/frame",
            protocol=f"growth of the {thing} above its ceiling per frame",
            reason=NO_THING,
        )
    # Blurred frames are read near the middle, which looks like motion; random codes measure this.
    gains = {name: poses.gain(other) for name, other in baselines.items()}
    found["gain"] = Measurement(
        of=poses.gain(who),
        unit="ratio",
        protocol=f"{GAIN}; {READ}",
        baselines={**gains, HELD: 0.0},
        ceiling=1.0,
        reason=NO_MOTION,
    )
    found["lag"] = Measurement(
        of=poses.lag(who), unit="frames", protocol=f"{LAG}; {READ}", ceiling=0.0, reason=NO_LAG
    )
    return found


def no_poses(reason: str) -> dict[str, Measurement]:
    """Undefined pose measurements, with the reason."""
    return {name: undefined(reason, unit=unit, protocol=READ) for name, unit in UNITS.items()}
