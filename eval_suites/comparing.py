"""Several results of one suite side by side, and the paired difference of each to the first.

Two models are measured on the same episodes, and an episode that is hard for one is hard for the
other. So the interval of a difference resamples both together, and its p-value swaps both within
an episode.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from jaxtyping import Float, Int

from eval_suites.base import Metric, SuiteResult
from eval_suites.pairing import MODEL_FREE, Pairs, Table, pair_rows, to_table
from eval_suites.recomputing import Terms, column_mean, find_terms
from eval_suites.statistics import MIN_EPISODES_FOR_INTERVAL, Statistic, bootstrap, episode_sums

PERMUTATIONS = 10_000
"""Where there are no more ways to swap than these, every one is tried."""

TOLERANCE = 1e-6
"""Relative: a metric recomputed from rows agrees to this with the one that was reported."""

ROUNDING = 1e-12
"""Relative: below it two totals differ by the order of summation only."""

PROTOCOL = (
    "Every difference is a run minus the first one, on the test episodes (and prompts) that both "
    "were measured on. The 95 % interval resamples whole episodes, both runs together (percentile "
    f"bootstrap); the p-value is two-sided and swaps the two runs within whole episodes (all "
    f"2^episodes ways, or {PERMUTATIONS:,} random ones). Both speak of other episodes of this "
    "dataset for the weights at hand. They do not speak of training again with another seed, and "
    "p-values are not corrected for the number of metrics. A metric that cannot be recomputed "
    "from per_episode.csv has a difference without an interval, and the reason."
)


class Kind(Enum):
    """Where a number comes from."""

    headline = "headline"
    metric = "metric"
    column = "column"
    """Mean of a column of per_episode.csv over its rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A run minus the first run."""

    value: float | None
    ci95: tuple[float, float] | None = None
    p_value: float | None = None
    num_episodes: int = 0
    """Shared ones that it is made of; 0 where it is not made of episodes."""
    shared: tuple[float, float] | None = None
    """First and other run, on what they share."""
    reason: str = ""
    """Why a part is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One number of every run."""

    name: str
    kind: Kind
    unit: str
    values: tuple[float | None, ...]
    """As each run's own evaluation has it."""
    differences: tuple[Difference, ...]
    """Of every run but the first."""


def compare(results: Mapping[str, SuiteResult], *, seed: int = 0) -> list[Compared]:
    """Every metric, then every column of the rows; headlines first.

    Args:
        results: Of one suite by the name of the run; differences are to the first.
        seed: Of the resamples.
    """
    tables = {run: to_table(result.per_episode) for run, result in results.items()}
    first, *others = results
    pairs = {run: pair_rows(tables[first], tables[run], (first, run)) for run in others}
    headline = dict.fromkeys(name for result in results.values() for name in result.headline)
    names = dict.fromkeys([*headline, *(n for result in results.values() for n in result.metrics)])
    found = []
    for name in names:
        metrics = {run: result.metrics.get(name) for run, result in results.items()}
        found.append(
            Compared(
                name=name,
                kind=Kind.headline if name in headline else Kind.metric,
                unit=next(metric.unit for metric in metrics.values() if metric is not None),
                values=tuple(metric.value if metric else None for metric in metrics.values()),
                differences=tuple(
                    _metric_difference(name, metrics, tables, pairs[run], (first, run), seed)
                    for run in others
                ),
            )
        )
    return found + _columns(tables, pairs, seed)


def swap_p_value(
    first: Float[np.ndarray, "e m"],
    other: Float[np.ndarray, "e m"],
    gap: Statistic,
    *,
    seed: int = 0,
) -> float:
    """Chance of a difference this large if it did not matter which run is which in an episode.

    For a mean this is the sign-flip test. `gap` takes the totals of both, side by side.
    """
    num_episodes = len(first)
    is_exact = 2**num_episodes <= PERMUTATIONS
    if is_exact:
        swaps = np.arange(2**num_episodes)[:, None] >> np.arange(num_episodes) & 1
    else:
        rng = np.random.default_rng(seed)
        swaps = rng.integers(2, size=(PERMUTATIONS, num_episodes))
    moved = swaps @ (other - first)
    with np.errstate(divide="ignore", invalid="ignore"):
        totals = np.concatenate([first.sum(axis=0) + moved, other.sum(axis=0) - moved], axis=-1)
        null = np.abs(gap(totals))
        observed = np.abs(gap(np.concatenate([first.sum(axis=0), other.sum(axis=0)])[None]))[0]
    # What cannot be formed speaks for nobody: it counts as large.
    as_large = ~(null < observed * (1 - 1e-9))
    return float(as_large.mean() if is_exact else (1 + as_large.sum()) / (1 + len(null)))


def paired_difference(
    first: Terms, other: Terms, episode: Int[np.ndarray, " n"], *, seed: int = 0
) -> Difference:
    """The statistic of the other run minus that of the first, over the same episodes."""
    num_episodes = int(episode.max()) + 1
    one, two = (
        episode_sums(terms.sums, episode, num_episodes=num_episodes) for terms in (first, other)
    )
    width = one.shape[1]

    def gap(totals: Float[np.ndarray, "... m"]) -> Float[np.ndarray, "..."]:
        a, b = first.statistic(totals[..., :width]), other.statistic(totals[..., width:])
        return np.where(np.abs(b - a) <= ROUNDING * (np.abs(a) + np.abs(b)), 0.0, b - a)

    found = bootstrap(np.concatenate([one, two], axis=1), gap, seed=seed)
    if found.value is None:
        return Difference(value=None, reason="the shared episodes do not determine it")
    is_alike = first.is_alike and other.is_alike
    few = f"fewer than {MIN_EPISODES_FOR_INTERVAL} shared episodes: no interval"
    rare = "most resamples of the shared episodes do not determine it: no interval"
    no_interval = few if num_episodes < MIN_EPISODES_FOR_INTERVAL else rare
    reasons = [
        "" if found.ci95 else no_interval,
        "" if is_alike else "columns of one run mean something else in the other: no p-value",
    ]
    return Difference(
        value=found.value,
        ci95=found.ci95,
        p_value=swap_p_value(one, two, gap, seed=seed) if is_alike else None,
        num_episodes=num_episodes,
        shared=(first.value, other.value),
        reason="; ".join(filter(None, reasons)),
    )


def _metric_difference(
    name: str,
    metrics: Mapping[str, Metric | None],
    tables: Mapping[str, Table | None],
    pairs: Pairs | str,
    runs: tuple[str, str],
    seed: int,
) -> Difference:
    """Paired where the rows give the reported values, else of the reported values alone."""
    values = _values(metrics, runs)
    if isinstance(values, str):
        return Difference(value=None, reason=values)
    plain = values[1] - values[0]
    if isinstance(pairs, str):
        return Difference(value=plain, reason=f"not paired: {pairs}")
    way, reason = _choose_way(name, values, [t for run in runs if (t := tables[run])])
    if reason:
        others = "; the runs were not measured on the same episodes" if pairs.num_left_out else ""
        return Difference(value=plain, reason=f"not paired: {reason}{others}")
    first, other = (find_terms(name, table)[way] for table in (pairs.first, pairs.other))
    return paired_difference(first, other, pairs.episode, seed=seed)


def _values(
    metrics: Mapping[str, Metric | None], runs: tuple[str, str]
) -> tuple[float, float] | str:
    """What both runs report, or why one of them does not."""
    values = []
    for run in runs:
        metric = metrics[run]
        if metric is None:
            return f"{run} has no such metric"
        if metric.value is None:
            return f"undefined in {run}: {metric.reason}"
        values.append(metric.value)
    return values[0], values[1]


def _choose_way(name: str, values: tuple[float, float], tables: Sequence[Table]) -> tuple[str, str]:
    """How the rows of both runs give what they report, or why they do not."""
    ways = [find_terms(name, table) for table in tables]
    if not all(ways):
        return "", "it cannot be recomputed from the rows of per_episode.csv"
    for way in (way for way in ways[0] if way in ways[1]):
        first, other = ways[0][way], ways[1][way]
        if np.allclose([first.value, other.value], values, rtol=TOLERANCE):
            if first.is_alike and first.columns != other.columns:
                return "", "the runs have other columns, as of another horizon"
            return way, ""
    return "", "the rows of per_episode.csv do not give the reported value"


def _columns(
    tables: Mapping[str, Table | None], pairs: Mapping[str, Pairs | str], seed: int
) -> list[Compared]:
    """Means of the columns that all runs have and that depend on the model."""
    known = [table for table in tables.values() if table is not None]
    if len(known) < len(tables):
        return []
    shared = [n for n in known[0].numbers if all(n in table.numbers for table in known)]
    return [
        Compared(
            name=name,
            kind=Kind.column,
            unit="",
            values=tuple(_finite(column_mean(table, name).value) for table in known),
            differences=tuple(_column_difference(name, pair, seed) for pair in pairs.values()),
        )
        for name in shared
        if not any(part in name for part in MODEL_FREE)
    ]


def _column_difference(name: str, pairs: Pairs | str, seed: int) -> Difference:
    if isinstance(pairs, str):
        return Difference(value=None, reason=f"not paired: {pairs}")
    tables = (pairs.first, pairs.other)
    is_known = np.all([np.isfinite(table.numbers[name]) for table in tables], axis=0)
    if not is_known.any():
        return Difference(value=None, reason="no shared row has a value")
    chosen = np.flatnonzero(is_known).tolist()
    first, other = (column_mean(table.take(chosen), name) for table in tables)
    _, episode = np.unique(pairs.episode[is_known], return_inverse=True)
    return paired_difference(first, other, episode, seed=seed)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
