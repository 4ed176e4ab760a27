"""Comparison of several runs on one suite, with paired differences to the first run.

Models are measured on the same episodes, and an episode that is hard for one is hard for others.
So the interval of a difference resamples both runs together, and its p-value swaps them within
episodes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from genie_robo.eval_suites.base import SuiteResult
from genie_robo.eval_suites.statistics import (
    MIN_EPISODES_FOR_INTERVAL,
    Statistic,
    bootstrap,
    episode_sums,
    jackknife,
    normal_interval,
    number_episodes,
)
from genie_robo.eval_suites.table import Fixed, Interval, LeftOut, Measurement, Sums, Table

PERMUTATIONS = 10_000
"""With at most this many possible swaps all are tried, otherwise this many random ones."""
TOLERANCE = 1e-6
"""Relative tolerance of model-independent columns in rows about the same frames."""
ROUNDING = 1e-12
"""Relative difference of two totals that is due to the order of summation."""

FEW = f"fewer than {MIN_EPISODES_FOR_INTERVAL} shared episodes: no interval"
RARE = "most resamples of the shared episodes do not determine it: no interval"
PROTOCOL = (
    "Every difference is a run minus the first one, on the test episodes (and prompts) that both "
    "were measured on. The 95 % interval resamples whole episodes, both runs together (percentile "
    "bootstrap); for numbers that are fitted to the episodes they are measured on (entropies, "
    "mutual information, distances of distributions) it is a jackknife over episodes. The p-value "
    "is two-sided and swaps the two runs within whole episodes (all 2^episodes ways, or "
    f"{PERMUTATIONS:,} random ones). Both generalise to other episodes of this dataset with these "
    "weights, not to training with another seed; p-values are not corrected for the number of "
    "metrics. A metric that is not a sum over episodes has a difference without an interval, and "
    "the reason."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A run minus the first run."""

    value: float | None
    ci95: tuple[float, float] | None = None
    p_value: float | None = None
    num_episodes: int = 0
    """Number of shared episodes; 0 for a metric that is not a sum over episodes."""
    shared: tuple[float | None, float | None] | None = None
    """Values of the first and the other run on the shared episodes."""
    reason: str = ""
    """Why the value, interval or p-value is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One metric of every run."""

    name: str
    is_headline: bool
    unit: str
    values: tuple[float | None, ...]
    """The value in each run's own evaluation."""
    differences: tuple[Difference, ...]
    """One for every run except the first."""


def compare(results: Mapping[str, SuiteResult], *, seed: int = 0) -> list[Compared]:
    """Every metric, headlines first.

    Args:
        results: Results of one suite, by run; differences are to the first.
        seed: Seed of the resamples.
    """
    first, *others = results
    headline = dict.fromkeys(name for result in results.values() for name in result.headline)
    names = dict.fromkeys([*headline, *(n for result in results.values() for n in result.metrics)])
    found = []
    for name in names:
        metrics = [result.metrics.get(name) for result in results.values()]
        known = [metric for metric in metrics if metric is not None]
        found.append(
            Compared(
                name=name,
                is_headline=name in headline,
                unit=known[0].unit,
                values=tuple(metric.value if metric else None for metric in metrics),
                differences=tuple(
                    _difference(name, {run: results[run] for run in (first, other)}, seed)
                    for other in others
                ),
            )
        )
    return found


def _difference(name: str, results: Mapping[str, SuiteResult], seed: int) -> Difference:
    """The difference, paired if both numbers are sums over rows about the same episodes."""
    values = []
    for run, result in results.items():
        metric = result.metrics.get(name)
        if metric is None:
            return Difference(value=None, reason=f"{run} has no such metric")
        if metric.value is None:
            return Difference(value=None, reason=f"undefined in {run}: {metric.reason}")
        values.append(metric.value)
    plain = values[1] - values[0]
    first, other = (result.measurements.get(name) for result in results.values())
    match (first and first.of, other and other.of):
        case (Sums(not_paired="") as one, Sums(not_paired="") as two):
            pairs = pair_rows(one.table, two.table, list(results))
            if isinstance(pairs, str):
                return Difference(value=plain, reason=f"not paired: {pairs}")
            if not one.not_swappable and _made_of(one) != _made_of(two):
                reason = "not paired: the runs have other columns, as of another horizon"
                return Difference(value=plain, reason=reason)
            return _paired(one, two, pairs, seed)
        case (LeftOut() as one, LeftOut() as two):
            return _left_out_difference(one, two)
    return Difference(value=plain, reason=f"not paired: {_why_not(first)}")


def _made_of(sums: Sums) -> tuple[tuple[str, ...], tuple[int, ...]]:
    return sums.columns, sums.values.shape[1:]


def _why_not(measurement: Measurement | None) -> str:
    if measurement and isinstance(measurement.of, Fixed | Sums):
        return measurement.of.not_paired
    return "the suite has no rows about episodes"


class Pairs(NamedTuple):
    """Rows of two tables that measure the same thing, in the same order."""

    first: list[int]
    other: list[int]


def pair_rows(first: Table, other: Table, runs: list[str]) -> Pairs | str:
    """Rows about the same episode, prompt and true frames; else why there are none."""
    for table, run in zip((first, other), runs, strict=True):
        if len(set(table.names)) < len(table):
            return f"two rows of {run} are about the same episode and prompt"
    places = {name: i for i, name in enumerate(other.names)}
    named = [(i, places[name]) for i, name in enumerate(first.names) if name in places]
    if not named:
        return f"{runs[0]} and {runs[1]} have no row about the same episode and prompt"
    left, right = (list(rows) for rows in zip(*named, strict=True))
    is_same = np.ones(len(named), dtype=bool)
    for name in first.given & other.given:
        pair = first.columns[name][left], other.columns[name][right]
        is_same &= np.isclose(*pair, rtol=TOLERANCE, equal_nan=True)
    if not is_same.any():
        return (
            f"{runs[0]} and {runs[1]} were measured on other frames: rows of the same episode "
            "differ in what does not depend on the model"
        )
    return Pairs(
        *([row for row, same in zip(r, is_same, strict=True) if same] for r in (left, right))
    )


def _paired(first: Sums, other: Sums, pairs: Pairs, seed: int) -> Difference:
    """The statistic of the other run minus that of the first, over the same episodes."""
    is_measured = first.measured()[pairs.first] | other.measured()[pairs.other]
    if not is_measured.any():
        return Difference(value=None, reason="no shared row has a value")
    rows, other_rows = np.array(pairs.first)[is_measured], np.array(pairs.other)[is_measured]
    number = number_episodes(np.array(first.table.episodes)[rows])
    num_episodes = int(number.max()) + 1
    one, two = (
        episode_sums(sums.values[chosen], number, num_episodes=num_episodes)
        for sums, chosen in ((first, rows), (other, other_rows))
    )

    def gap(totals: Float[np.ndarray, "b ..."]) -> Float[np.ndarray, " b"]:
        # Side by side, because codebooks of two sizes have arrays of two shapes.
        sides = np.split(totals.reshape(len(totals), -1), [one[0].size], axis=1)
        a = first.statistic(sides[0].reshape(-1, *one.shape[1:]))
        b = other.statistic(sides[1].reshape(-1, *two.shape[1:]))
        return np.where(np.abs(b - a) <= ROUNDING * (np.abs(a) + np.abs(b)), 0.0, b - a)

    both = np.concatenate([side.reshape(num_episodes, -1) for side in (one, two)], axis=1)
    if Interval.jackknife in (first.interval, other.interval):
        found = jackknife(both, gap)
    else:
        found = bootstrap(both, gap, seed=seed)
    if found.value is None:
        return Difference(value=None, reason="the shared episodes do not determine it")
    no_p_value = first.not_swappable or other.not_swappable
    no_interval = FEW if num_episodes < MIN_EPISODES_FOR_INTERVAL else RARE
    reasons = ["" if found.ci95 else no_interval, no_p_value]
    return Difference(
        value=found.value,
        ci95=found.ci95,
        p_value=None if no_p_value else swap_p_value(one, two, gap, seed=seed),
        num_episodes=num_episodes,
        shared=(replace(first, values=one).value, replace(other, values=two).value),
        reason="; ".join(filter(None, reasons)),
    )


def swap_p_value(
    first: Float[np.ndarray, "e ..."],
    other: Float[np.ndarray, "e ..."],
    gap: Statistic,
    *,
    seed: int = 0,
) -> float:
    """Probability of a difference this large if the runs were exchangeable within an episode.

    For a mean this is the sign-flip test. `gap` takes the totals of both runs on its second axis.
    """
    is_exact = 2 ** len(first) <= PERMUTATIONS
    moved = np.tensordot(_swaps(len(first), seed=seed), other - first, axes=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        null = np.abs(gap(np.stack([first.sum(axis=0) + moved, other.sum(axis=0) - moved], axis=1)))
        observed = np.abs(gap(np.stack([first.sum(axis=0), other.sum(axis=0)])[None]))[0]
    # A permutation in which the statistic is undefined counts as large.
    as_large = ~(null < observed * (1 - 1e-9))
    return float(as_large.mean() if is_exact else (1 + as_large.sum()) / (1 + len(null)))


@lru_cache(maxsize=4)
def _swaps(num_episodes: int, *, seed: int) -> Float[np.ndarray, "s e"]:
    """Which episodes are swapped (1 or 0), for all possible swaps or random ones."""
    if 2**num_episodes <= PERMUTATIONS:
        ways = np.arange(2**num_episodes)[:, None] >> np.arange(num_episodes) & 1
    else:
        ways = np.random.default_rng(seed).integers(2, size=(PERMUTATIONS, num_episodes))
    # As floats, so that the product with the sums is a matrix product.
    return ways.astype(float)


def _left_out_difference(first: LeftOut, other: LeftOut) -> Difference:
    """Difference of two distances between samples; interval by jackknife over episodes."""
    assert first.value is not None
    assert other.value is not None
    value, shared = other.value - first.value, (first.value, other.value)
    if first.table.names != other.table.names:
        reason = "not paired: a distribution is of all episodes, and not all are shared"
        return Difference(value=value, reason=reason)
    one, two = first.left_out(), other.left_out()
    if not one or not two or min(map(len, one)) < MIN_EPISODES_FOR_INTERVAL:
        return Difference(value=value, shared=shared, reason=FEW)
    gaps = [b - a for a, b in zip(one, two, strict=True)]
    return Difference(
        value=value,
        ci95=normal_interval(value, gaps),
        num_episodes=first.table.num_episodes,
        shared=shared,
        reason="a distance of distributions has no value for an episode: no p-value",
    )
