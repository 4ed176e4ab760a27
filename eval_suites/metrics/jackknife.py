"""Intervals from leaving out one episode at a time.

For what is fitted to the episodes it is measured on, as an entropy, mutual information or a
distance of distributions is. A bootstrap holds episodes twice, which such a statistic takes for
less variety: its resamples lie on one side of the value, and an interval of them can miss it.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from eval_suites.statistics import MIN_EPISODES_FOR_INTERVAL, Estimate, Statistic


def jackknife(sums: Float[np.ndarray, "e ..."], statistic: Statistic) -> Estimate:
    """A statistic of per-episode sums with its normal interval, of the variance of Tukey (1958)."""
    totals = sums.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(statistic(totals[None])[0])
        left = statistic(totals - sums)
    if not np.isfinite(value):
        return Estimate(None, None)
    if len(sums) < MIN_EPISODES_FOR_INTERVAL or not np.isfinite(left).all():
        return Estimate(value, None)
    return Estimate(value, normal_interval(value, [left]))


def normal_interval(value: float, left: Sequence[Float[np.ndarray, " _"]]) -> tuple[float, float]:
    """Value +- 1.96 standard errors, from the values without each episode of each sample."""
    variance = sum((len(side) - 1) * float(np.var(side)) for side in left)
    reach = 1.96 * float(np.sqrt(variance))
    return value - reach, value + reach
