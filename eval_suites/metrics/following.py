"""Gain, lag and drift of imagined motion against true motion, from positions over time.

Terms are sums per rollout, so that intervals can resample whole episodes.
"""

import numpy as np
from jaxtyping import Float

MAX_LAG = 2
"""Frames by which imagined motion may come early or late."""
_MARGIN = 2
"""Lags that are tried beyond MAX_LAG, so that a motion that comes even later is noticed."""
_ALIKE = 0.1
"""Correlation below which the imagined motion has no lag, because it does not follow."""
_TIE = 1e-9
"""Correlations that differ by less are equal; the smaller lag is taken."""
_STILL = 1e-6
"""Motion per frame (m) below which the tool counts as still."""


def gain_terms(
    imagined: Float[np.ndarray, "t 3"],
    seen: Float[np.ndarray, "t 3"],
    true: Float[np.ndarray, "t 3"],
) -> Float[np.ndarray, " 2"]:
    """Products of the true displacement since the prompt with that of `imagined` and of `seen`.

    Their ratio is the gain: the slope of imagined on true displacement, both read from pixels, with
    the true displacement as instrument, so that the bias of the pose reader cancels.

    Args:
        imagined: Positions read from the prompt frame and imagined frames.
        seen: Positions read from true frames.
        true: True positions.
    """
    moved = true[1:] - true[0]
    return np.array([((x[1:] - x[0]) * moved).sum() for x in (imagined, seen)])


def lag_terms(
    imagined: Float[np.ndarray, "t 3"], seen: Float[np.ndarray, "t 3"]
) -> Float[np.ndarray, "l 3"]:
    """For each lag: product, square of imagined and of true motion per frame.

    Lags go from -MAX_LAG - 2 to MAX_LAG + 2, see `best_lag`. At lag k, imagined motion t is
    compared with true motion t - k, so a world that responds one frame late peaks at 1.
    """
    late, on_time = np.diff(imagined, axis=0), np.diff(seen, axis=0)
    late = np.where(np.abs(late) < _STILL, 0.0, late)
    rows = []
    for lag in range(-MAX_LAG - _MARGIN, MAX_LAG + _MARGIN + 1):
        count = len(late) - abs(lag)
        # A lag at which less than half of the motion overlaps agrees by chance.
        count = count if 2 * count >= len(late) else 0
        first, second = max(lag, 0), max(-lag, 0)
        a, b = late[first : first + count], on_time[second : second + count]
        rows.append([(a * b).sum(), (a * a).sum(), (b * b).sum()])
    return np.array(rows)


def best_lag(totals: Float[np.ndarray, "... l 3"]) -> Float[np.ndarray, "..."]:
    """The lag with the highest correlation, of equal ones the smallest.

    NaN where nothing moves, where no lag correlates, and where the best one is beyond MAX_LAG: then
    only the margin that was tried is known, not the lag.
    """
    product, *squares = np.moveaxis(totals, -1, 0)
    scale = np.sqrt(squares[0] * squares[1])
    correlation = np.divide(product, scale, out=np.full_like(product, -np.inf), where=scale > 0)
    is_alike = correlation.max(axis=-1) > _ALIKE
    lags = np.arange(totals.shape[-2]) - totals.shape[-2] // 2
    correlation = correlation - _TIE * np.abs(lags)
    best = lags[correlation.argmax(axis=-1)]
    return np.where(is_alike & (np.abs(best) <= MAX_LAG), best, np.nan)


def slope(values: Float[np.ndarray, "m n"]) -> Float[np.ndarray, " m"]:
    """Least-squares growth per frame of each row; NaN for a single frame."""
    frames = np.arange(values.shape[1]) - (values.shape[1] - 1) / 2
    scale = (frames**2).sum()
    return values @ frames / scale if scale else np.full(len(values), np.nan)


def distance(
    read: Float[np.ndarray, "... 3"], true: Float[np.ndarray, "... 3"]
) -> Float[np.ndarray, "..."]:
    """Distance of positions read from the true ones (mm)."""
    return np.linalg.norm(read - true, axis=-1) * 1000.0
