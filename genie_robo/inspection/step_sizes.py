"""Whether the steps of a robot can be metres and radians, with a measured pose or without one."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from genie_robo.data.settings import Source
from genie_robo.data.statistics import ActionStatistics, SplitStatistics
from genie_robo.inspection.findings import Finding
from genie_robo.types import ACTION_NAMES, GRIPPER, ROTATION, XYZ

MOST_M, MOST_RAD = 0.5, 2.0
"""No arm moves or turns farther in a step."""
_MOST_M_PER_S, _MOST_RAD_PER_S = 5.0, 20.0
"""Nor faster, where the rate is known."""
_LEAST_M = 1e-5
"""An arm whose largest motion of a step is smaller does not move."""


def check_step_sizes(statistics: SplitStatistics, source: Source) -> Iterator[Finding]:
    """Translations and turns that are too large, or too small, for metres and radians."""
    kinds = {"commanded": statistics.commanded, "measured": statistics.achieved}
    if not source.action.in_metres:
        del kinds["commanded"]
    seconds = 1 / source.control_hz if source.control_hz > 0 else np.inf
    limits = np.zeros(GRIPPER)
    limits[XYZ] = min(MOST_M, _MOST_M_PER_S * seconds)
    limits[ROTATION] = min(MOST_RAD, _MOST_RAD_PER_S * seconds)
    for kind, rows in kinds.items():
        if rows is None:
            continue
        sizes = _largest(rows)
        yield from _too_large(kind, rows, sizes, limits)
        translation = sizes[XYZ].max()
        if 0 < translation < _LEAST_M:
            yield Finding(
                "implausible",
                f"{kind} translations are at most {translation:.2g} m in a step, which is too "
                "small for an arm: what is the unit of these columns?",
            )


def _too_large(
    kind: str,
    rows: ActionStatistics,
    sizes: Float[np.ndarray, " 6"],
    limits: Float[np.ndarray, " 6"],
) -> Iterator[Finding]:
    for i in np.flatnonzero(sizes > limits):
        unit = "m" if i < ROTATION.start else "rad"
        yield Finding(
            "implausible",
            f"{kind} {ACTION_NAMES[i]} reaches {sizes[i]:.3g} {unit} in a step (98 % of it from "
            f"{rows.q01[i]:.3g} to {rows.q99[i]:.3g}), but no arm moves more than "
            f"{limits[i]:.3g} {unit}: are these joints, absolute positions, or in another unit?",
        )


def _largest(rows: ActionStatistics) -> Float[np.ndarray, " 6"]:
    return np.maximum(np.abs(rows.min), np.abs(rows.max))[:GRIPPER]
