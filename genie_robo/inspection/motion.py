"""Commands compared with the motion that follows them: unit, size and step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
from jaxtyping import Float

from genie_robo.data.settings import Motion as ActionMotion
from genie_robo.data.settings import Source
from genie_robo.inspection.episodes import SeenEpisode
from genie_robo.inspection.findings import Finding
from genie_robo.types import ROTATION, XYZ

_SCALE_FACTOR = 3
"""Commands and achieved motion may differ in size by this factor."""
_FOLLOWS = 0.3
"""Commands that correlate less with the motion do not describe it, whatever their unit."""
_LAG_MARGIN, _LAG_HINT = 0.05, 0.02
"""Excess of a correlation with another step's motion that is a problem, and that is mentioned; a
robot with a delay has a little of it."""
_MIN_ROWS = 30
"""Fewer transitions are not enough to judge scale and lag."""
_ROUNDING = 1e-6
"""Relative range below which numbers are constant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """Commands compared with the motion that followed, over all episodes looked at."""

    ratio: float
    """Size of a commanded translation over that of the achieved one."""
    correlation: dict[int, float]
    """Correlation of translations by lag: 0 is the command's own step, 1 the next."""
    turn_ratio: float | None = None
    """The same of rotations; None where they are not read, nothing turns, or they do not follow."""


def check_motion(motion: Motion | None, source: Source | None) -> Iterator[Finding]:
    """Commands compared with the motion that followed, and the scales that make them equal."""
    if motion is None or source is None:
        return
    scales = found_scales(motion, source)
    for name, ratio in (("translation", motion.ratio), ("rotation", motion.turn_ratio)):
        if ratio is None or not _is_other_size(ratio):
            continue
        advice = "they do not follow it: are other columns meant?"
        if source.action.motion is ActionMotion.target:
            advice = "the targets lie far from the pose: are both in the same unit?"
        if scale := scales.get(f"{name}_scale"):
            advice = f"data.source.action.{name}_scale={scale:g} makes them equal"
        yield Finding(
            "action_scale",
            f"commanded {name}s are {ratio:.3g} times the achieved ones: {advice}",
        )
    own, best = motion.correlation[0], max(motion.correlation.values())
    if best > own + _LAG_MARGIN:
        lag = found_lag(motion, source)
        which = "next" if lag > source.action.lag else "previous"
        yield Finding(
            "action_lag",
            f"commands correlate {best:.2f} with the {which} step's motion and {own:.2f} with "
            f"their own: data.source.action.lag={lag} reads them with it",
        )


def found_lag(motion: Motion | None, source: Source, *, margin: float = _LAG_HINT) -> int:
    """The `data.source.action.lag` that commands correlate best with the motion at."""
    if motion is None:
        return source.action.lag
    lag, best = max(motion.correlation.items(), key=itemgetter(1))
    return source.action.lag + (lag if best > motion.correlation[0] + margin else 0)


def found_settings(motion: Motion | None, source: Source) -> dict[str, float | int]:
    """Settings of the action, for training, that mend what `check_motion` finds."""
    lag = found_lag(motion, source, margin=_LAG_MARGIN)
    return found_scales(motion, source) | ({"lag": lag} if lag != source.action.lag else {})


def check_unit(motion: Motion | None, source: Source) -> Iterator[Finding]:
    """What is not known of the unit: an unknown one, or no pose to compare commands with."""
    if not source.action.in_metres:
        yield Finding(
            "unit",
            "data.source.action.in_metres=false: the commands are in the controller's own unit or "
            "an unknown one, so only their shape can be compared with other datasets",
        )
    is_command = source.has_end_effector and source.action.motion is not ActionMotion.pose_change
    if motion is None and is_command:
        why = "the episodes have too few steps with a command and a motion"
        if not source.has_pose:
            why = "no measured pose is read (data.source.pose.position)"
        yield Finding(
            "motion_unchecked",
            f"unit and step of the commands could not be checked against the motion: {why}",
        )


def found_scales(motion: Motion | None, source: Source) -> dict[str, float]:
    """Settings that make commands as large as the motion that followed, where they are not."""
    is_target = source.action.motion is ActionMotion.target  # its scale is the pose's too
    if motion is None or is_target or max(motion.correlation.values()) < _FOLLOWS:
        return {}
    action = source.action
    ratios = {
        "translation_scale": (action.translation_scale, motion.ratio),
        "rotation_scale": (action.rotation_scale, motion.turn_ratio),
    }
    return {
        name: float(f"{scale / ratio:.2g}")
        for name, (scale, ratio) in ratios.items()
        if ratio is not None and _is_other_size(ratio)
    }


def compare_motion(seen: Sequence[SeenEpisode], source: Source | None) -> Motion | None:
    """Commanded against achieved motion; None when there is nothing to compare."""
    if source is None or source.action.motion is ActionMotion.pose_change:
        return None
    pairs = [
        (e.commanded.astype(np.float64), e.achieved.astype(np.float64))
        for e in seen
        if e.commanded is not None and e.achieved is not None and len(e.commanded) > 2
    ]
    if sum(len(commanded) for commanded, _ in pairs) < _MIN_ROWS:
        return None
    commanded, achieved = map(np.concatenate, zip(*pairs, strict=True))
    if not commanded[:, XYZ].any() or not achieved[:, XYZ].any():
        return None
    # The same commands at every lag: those with a motion before and after.
    inner = np.concatenate([c[1:-1, XYZ].ravel() for c, _ in pairs])
    moved = {
        lag: np.concatenate([a[1 + lag : len(a) - 1 + lag, XYZ].ravel() for _, a in pairs])
        for lag in (-1, 0, 1)
    }
    return Motion(
        ratio=_ratio(commanded[:, XYZ], achieved[:, XYZ]),
        correlation={lag: correlation(inner, rows) for lag, rows in moved.items()},
        turn_ratio=_turn_ratio(commanded, achieved),
    )


def _turn_ratio(
    commanded: Float[np.ndarray, "n a"], achieved: Float[np.ndarray, "n a"]
) -> float | None:
    """Size of commanded turns over achieved ones; None where they do not follow or do not turn."""
    command, turn = commanded[:, ROTATION], achieved[:, ROTATION]
    if correlation(command.ravel(), turn.ravel()) < _FOLLOWS:
        return None
    return _ratio(command, turn)


def _ratio(commanded: Float[np.ndarray, "n 3"], achieved: Float[np.ndarray, "n 3"]) -> float:
    return float(np.abs(commanded).mean() / np.abs(achieved).mean())


def _is_other_size(ratio: float) -> bool:
    return not 1 / _SCALE_FACTOR <= ratio <= _SCALE_FACTOR


def correlation(one: Float[np.ndarray, " n"], other: Float[np.ndarray, " n"]) -> float:
    """Pearson correlation; 0 where one of them is constant, up to rounding."""
    if len(one) < 2 or any(np.ptp(x) <= _ROUNDING * np.abs(x).max() for x in (one, other)):
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])
