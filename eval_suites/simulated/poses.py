"""What poses read from imagined frames say about the tool, the gripper and the boxes.

Every number has its floor: the same number of true frames that are shown in the same way, MuJoCo's
own or rebuilt by the tokenizer, read by the reader of that source.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, UInt8

from genie_robo.eval_suites.metrics.following import (
    best_lag,
    distance,
    gain_terms,
    lag_terms,
    slope,
)
from genie_robo.eval_suites.simulated.truth import FIRST_BOX, PALETTE, Poses, Truth
from genie_robo.eval_suites.statistics import ratio_of_sums
from genie_robo.eval_suites.table import Comparable, Measurement, Sums, Table, undefined
from genie_robo.sim.contact import MOVED_M

READ = (
    "poses are read from pixels by a regression fitted to frames of the same source (MuJoCo's, or "
    "rebuilt by the tokenizer) of the episodes to fit on; the ceiling is its error on the true "
    "frames of that source"
)
MOVED_MM, HELD_MM = 1000 * MOVED_M, 50.0
"""Displacement since the prompt frame from which on a box has moved, and the largest distance of a
held box from the tool."""
MIN_PIXELS = 6
"""Smallest visible part of a box whose outline is compared."""
THINGS = {
    "tool_error": "distance of the tool",
    "box_error": "mean distance of the boxes",
    "moved_box_error": f"mean distance of the boxes that MuJoCo moves by {MOVED_MM:.0f} mm or more",
    "still_box_error": "mean distance of the other boxes",
}
GAIN = (
    "displacement of the tool since the prompt frame, imagined over true, least squares through "
    "the origin, both read from pixels with MuJoCo's displacement as instrument; 1 = the true "
    "displacement"
)
YAW_GAIN = "as the gain, for the turn of the tool about the vertical; 1 = the true turn"
LAG = (
    "delay of the imagined motion of the tool: the lag of the highest correlation of its motion "
    "per frame with that read from MuJoCo's frames, all rollouts together"
)
IOU = "overlap of the pixels of a box's colour with MuJoCo's outline of it, intersection over union"
SEEN = (
    f"share of the boxes of which MuJoCo shows {MIN_PIXELS} pixels or more that have a pixel of "
    "their colour anywhere in the picture; the others have vanished"
)
GRASP = (
    "of the boxes that MuJoCo holds lifted at the end, those that are read within "
    f"{HELD_MM:.0f} mm of the tool in the last frame"
)
GRIPPER = (
    "share of frames in which the gripper is read as open or closed as it is, the mean of frames "
    "in which it has changed since the prompt and of those in which it has not; 0.5 = it never "
    "changes"
)
_DISTANCES = ("", "/above_floor", "/over_copy_last")
UNITS = {
    **{f"{thing}{part}": "mm" for thing in THINGS for part in _DISTANCES},
    **{f"{thing}/drift": "mm/frame" for thing in THINGS},
    "gain": "ratio",
    "lag": "frames",
    "yaw_gain": "ratio",
    "gripper_accuracy": "share",
    "box_iou": "ratio",
    "box_seen": "share",
    "grasp_kept": "share",
}
TRUE_FRAMES, REBUILT_FRAMES, HELD = "true_frames", "tokenizer_frames", "copy_last"
NO_THING = "there is no such thing on the table, or the horizon is a single frame"
NO_MOTION = "the tool does not move, or the horizon is a single frame"
NO_TURN = "the tool does not turn"
NO_LAG = "the tool does not move as the true one does at any lag of up to two frames"
NO_CHANGE = "the gripper neither opens nor closes in these rollouts, or it does so in every frame"
NO_GRASP = "MuJoCo holds no box at the end of these rollouts"


@runtime_checkable
class Reader(Protocol):
    """Reads poses from frames."""

    def read(self, video: UInt8[np.ndarray, "t h w c"]) -> Poses:
        """Poses in every frame."""
        ...

    def box_pixels(self, video: UInt8[np.ndarray, "t h w c"]) -> Int[np.ndarray, "t h w"]:
        """The box whose colour each pixel has: its index in PALETTE, len(PALETTE) for none."""
        ...


class Source(NamedTuple):
    """A kind of pictures: the reader fitted to them, and MuJoCo's frames shown in that way."""

    reader: Reader
    true_videos: UInt8[np.ndarray, "m t h w c"]
    """Beginning with the prompt frame."""


class PoseTable:
    """What is read from each kind of rollout, with a row for each clip."""

    def __init__(
        self, table: Table, truths: Sequence[Truth], sources: Mapping[str, Source]
    ) -> None:
        """Read the true frames of every source, TRUE_FRAMES and perhaps REBUILT_FRAMES."""
        self._table, self._truths, self._sources = table, truths, sources
        self._source_of: dict[str, str] = {}
        self._readings: dict[str, Sequence[Poses]] = {}
        self._columns: dict[tuple[str, str], list[str]] = {}
        for name, source in sources.items():
            self._add(name, source.true_videos, source=name)

    def add(self, who: str, imagined: UInt8[np.ndarray, "m n h w c"], *, source: str) -> None:
        """Read imagined frames; `source` says which pictures they are."""
        prompts = self._sources[source].true_videos[:, :1]
        self._add(who, np.concatenate([prompts, imagined], axis=1), source=source)
        if source == REBUILT_FRAMES and TRUE_FRAMES in self._sources:
            # For one version, next to the results of earlier ones.
            reader, prompts = (
                self._sources[TRUE_FRAMES].reader,
                self._sources[TRUE_FRAMES].true_videos,
            )
            shown = np.concatenate([prompts[:, :1], imagined], axis=1)
            self._add_errors(
                f"by_the_other_reader_{who}", [reader.read(v) for v in shown], given=False
            )

    def error(self, thing: str, who: str) -> Sums:
        """Mean distance over the horizon."""
        return self._table.mean(self._columns[thing, who])

    def floor(self, thing: str, who: str) -> Sums:
        """The same on true frames of the same source."""
        return self.error(thing, self._source_of[who])

    def above_floor(self, thing: str, who: str) -> Sums:
        """Mean distance minus that on true frames of the same source."""
        floor = self._columns[thing, self._source_of[who]]
        return self._table.mean_difference(self._columns[thing, who], floor)

    def over_held(self, thing: str, who: str) -> Sums:
        """Mean distance minus that of the held prompt frame; below 0 is better than holding."""
        return self._table.mean_difference(self._columns[thing, who], self._columns[thing, HELD])

    def drift(self, thing: str, who: str) -> Sums:
        """Growth of the distance above the floor per frame."""
        whose = (who, self._source_of[who])
        errors, floor = (self._table.values(self._columns[thing, w]) for w in whose)
        return self._table.mean([self._table.add(f"{thing}_drift_{who}", slope(errors - floor))])

    def gain(self, who: str) -> Sums:
        """Displacement of the tool relative to its true displacement."""
        terms = [
            gain_terms(read.tool, seen.tool, true.tool) for read, seen, true in self._rows(who)
        ]
        return Sums(self._table, np.stack(terms), ratio_of_sums)

    def yaw_gain(self, who: str) -> Sums:
        """Turn of the tool relative to its true turn."""
        angles = [[poses.yaw[:, None] for poses in row] for row in self._rows(who)]
        return Sums(self._table, np.stack([gain_terms(*row) for row in angles]), ratio_of_sums)

    def lag(self, who: str) -> Sums:
        """Delay of the tool's motion in frames."""
        terms = [lag_terms(read.tool, seen.tool) for read, seen, _ in self._rows(who)]
        return Sums(self._table, np.stack(terms), best_lag)

    def gripper(self, who: str) -> Sums:
        """Share of frames with the right state of the gripper, balanced by whether it changed."""
        names = self._columns["gripper", who]
        return self._table.total([names[:2], names[2:]], _balanced)

    def gripper_floor(self, who: str) -> Sums:
        """The same on true frames of the same source."""
        return self.gripper(self._source_of[who])

    def _rows(self, who: str) -> list[tuple[Poses, Poses, Poses]]:
        """For each clip the poses read, those read from true frames of the source, and the true."""
        true = [truth.poses for truth in self._truths]
        seen = self._readings[self._source_of[who]]
        return [*zip(self._readings[who], seen, true, strict=True)]

    def _add(self, who: str, videos: UInt8[np.ndarray, "m t h w c"], *, source: str) -> None:
        reader, given = self._sources[source].reader, who in (TRUE_FRAMES, HELD)
        readings = [reader.read(video) for video in videos]
        self._source_of[who], self._readings[who] = source, readings
        self._add_errors(who, readings, given=given)
        pairs = [*zip(videos, self._truths, strict=True)]
        outlines = np.stack([_outlines(reader.box_pixels(v), truth) for v, truth in pairs])
        kept = [
            _grasp_kept(read, truth) for read, truth in zip(readings, self._truths, strict=True)
        ]
        states = [_gripper_counts(r, t.poses) for r, t in zip(readings, self._truths, strict=True)]
        add = self._table.add
        for name, values in zip(("box_iou", "box_seen"), outlines.swapaxes(0, 1), strict=True):
            self._columns[name, who] = self._table.add_series(f"{name}_{who}", values, given=given)
        self._columns["grasp_kept", who] = [add(f"grasp_kept_{who}", np.array(kept), given=given)]
        parts = ("changed_right", "changed", "same_right", "same")
        self._columns["gripper", who] = [
            add(f"gripper_{part}_{who}", column, given=given)
            for part, column in zip(parts, np.stack(states).T, strict=True)
        ]

    def _add_errors(self, who: str, readings: Sequence[Poses], *, given: bool) -> None:
        """Add columns of distances from the true positions (mm), NaN without boxes."""
        pairs = [*zip(readings, (truth.poses for truth in self._truths), strict=True)]
        for thing in THINGS:
            errors = np.stack([_errors(thing, read, true) for read, true in pairs])
            columns = self._table.add_series(f"{thing}_{who}", errors, given=given)
            self._columns[thing, who] = columns


def _errors(thing: str, read: Poses, true: Poses) -> Float[np.ndarray, " n"]:
    """Distance of the tool, or mean distance of some of the boxes, after the prompt frame (mm)."""
    if thing == "tool_error":
        return distance(read.tool, true.tool)[1:]
    far = distance(read.boxes, true.boxes)[1:]
    if thing != "box_error":
        moved = np.nan_to_num(distance(true.boxes, true.boxes[:1])).max(axis=0) >= MOVED_MM
        far = np.where(moved == (thing == "moved_box_error"), far, np.nan)
    return _mean_known(far, axis=1)


def _outlines(box_of: Int[np.ndarray, "t h w"], truth: Truth) -> Float[np.ndarray, "2 n"]:
    """Overlap with MuJoCo's outline, and whether any pixel has the box's colour.

    Means over the boxes that are visible in MuJoCo, in every frame after the prompt.
    """
    found = []
    for k in range(len(PALETTE)):
        seen, true = box_of[1:] == k, truth.shows[1:] == FIRST_BOX + k
        union = (seen | true).sum(axis=(1, 2))
        share = (seen & true).sum(axis=(1, 2)) / np.maximum(union, 1)
        both = np.stack([share, seen.any(axis=(1, 2))])
        found.append(np.where(true.sum(axis=(1, 2)) >= MIN_PIXELS, both, np.nan))
    return _mean_known(np.stack(found), axis=0)


def _mean_known(values: Float[np.ndarray, "..."], *, axis: int) -> Float[np.ndarray, "..."]:
    """The mean of what is not NaN, NaN where everything is."""
    count = np.isfinite(values).sum(axis=axis)
    return np.where(count > 0, np.nansum(values, axis=axis) / np.maximum(count, 1), np.nan)


def _grasp_kept(read: Poses, truth: Truth) -> float:
    """Whether the box that MuJoCo holds at the end is read at the tool; NaN if it holds none."""
    lifted = np.flatnonzero(truth.is_lifted[-1])
    if not len(lifted):
        return np.nan
    far = distance(read.boxes[-1, lifted], read.tool[-1])
    return float(np.mean(far <= HELD_MM))


def _gripper_counts(read: Poses, true: Poses) -> Float[np.ndarray, " 4"]:
    """Frames that were read right and all, where the gripper has changed and where it has not."""
    is_open, seen = true.gripper >= 0.5, read.gripper >= 0.5
    changed, right = is_open[1:] != is_open[0], is_open[1:] == seen[1:]
    parts = [(changed & right), changed, (~changed & right), ~changed]
    return np.array([part.sum() for part in parts], dtype=np.float64)


def _balanced(totals: Float[np.ndarray, "... 2 2"]) -> Float[np.ndarray, "..."]:
    """The mean of two shares; NaN where one of them has no frame."""
    return ratio_of_sums(totals).mean(axis=-1)


def pose_measurements(
    poses: PoseTable, who: str, *, baselines: Mapping[str, str]
) -> dict[str, Measurement]:
    """All measurements of one kind of rollout.

    `baselines` are other kinds, by name, reported with every error, gain and share.
    """
    found = {}
    for thing, meaning in THINGS.items():
        found |= _distances(poses, thing, meaning, who, baselines)
    # Blurred frames are read near the middle, which looks like motion; random codes measure this.
    gains = {name: poses.gain(other) for name, other in baselines.items()}
    turns = {name: poses.yaw_gain(other) for name, other in baselines.items()}
    others = {HELD: HELD, **baselines}
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
    found["yaw_gain"] = Measurement(
        of=poses.yaw_gain(who),
        unit="ratio",
        protocol=f"{YAW_GAIN}; {READ}",
        baselines={**turns, HELD: 0.0},
        ceiling=1.0,
        reason=NO_TURN,
    )
    found["gripper_accuracy"] = Measurement(
        of=poses.gripper(who),
        unit="share",
        protocol=f"{GRIPPER}; {READ}",
        baselines={name: poses.gripper(other) for name, other in others.items()},
        ceiling=poses.gripper_floor(who),
        reason=NO_CHANGE,
    )
    shares = (
        ("box_iou", IOU, NO_THING),
        ("box_seen", SEEN, NO_THING),
        ("grasp_kept", GRASP, NO_GRASP),
    )
    for name, meaning, reason in shares:
        found[name] = Measurement(
            of=poses.error(name, who),
            unit=UNITS[name],
            protocol=f"{meaning}; {READ}",
            baselines={other: poses.error(name, column) for other, column in others.items()},
            ceiling=poses.floor(name, who),
            reason=reason,
        )
    return found


def _distances(
    poses: PoseTable, thing: str, meaning: str, who: str, baselines: Mapping[str, str]
) -> dict[str, Measurement]:
    """Error, error above the floor and over holding the prompt, and drift."""
    what = f"{meaning} from MuJoCo's, mean over the horizon; {READ}"
    others: dict[str, Comparable] = {HELD: poses.error(thing, HELD)}
    others |= {name: poses.error(thing, other) for name, other in baselines.items()}
    versions: dict[str, tuple[Sums, str]] = {
        "above_floor": (poses.above_floor(thing, who), f"{what}; minus the ceiling, paired"),
        "over_copy_last": (
            poses.over_held(thing, who),
            f"{what}; minus that of the held prompt frame, paired; below 0 is better",
        ),
        "drift": (poses.drift(thing, who), f"growth of the {thing} above its ceiling per frame"),
    }
    error = Measurement(
        of=poses.error(thing, who),
        unit="mm",
        protocol=what,
        baselines=others,
        ceiling=poses.floor(thing, who),
        reason=NO_THING,
    )
    return {thing: error} | {
        f"{thing}/{part}": Measurement(
            of=of, unit=UNITS[f"{thing}/{part}"], protocol=protocol, reason=NO_THING
        )
        for part, (of, protocol) in versions.items()
    }


def no_poses(reason: str) -> dict[str, Measurement]:
    """Undefined pose measurements, with the reason."""
    return {name: undefined(reason, unit=unit, protocol=READ) for name, unit in UNITS.items()}
