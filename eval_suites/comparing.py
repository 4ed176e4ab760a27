"""Several results of one suite side by side, and the paired difference of each to the first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from eval_suites.base import Metric, SuiteResult
from eval_suites.differences import (
    PERMUTATIONS,
    Difference,
    difference_of_left_out,
    paired_difference,
)
from eval_suites.pairing import MODEL_FREE, WITHOUT, Pairs, Table, pair_rows, to_table
from eval_suites.recomputing.find import find_terms, why_not
from eval_suites.recomputing.means import column_mean

TOLERANCE = 1e-6
"""Relative: a metric recomputed from rows agrees to this with the one that was reported."""

PROTOCOL = (
    "Every difference is a run minus the first one, on the test episodes (and prompts) that both "
    "were measured on. The 95 % interval resamples whole episodes, both runs together (percentile "
    "bootstrap); for numbers that are fitted to what they are measured on (entropies, shared "
    "information, distances of distributions) it leaves out one episode at a time (jackknife). The "
    "p-value is two-sided and swaps the two runs within whole episodes (all 2^episodes ways, or "
    f"{PERMUTATIONS:,} random ones). Both speak of other episodes of this dataset for the weights "
    "at hand. They do not speak of training again with another seed, and p-values are not "
    "corrected for the number of metrics. A metric that cannot be recomputed from per_episode.csv "
    "has a difference without an interval, and the reason."
)

OF_NOBODY_ELSE = ("code_", WITHOUT)
"""Columns that mean something else in another run, as code 3 does, or that are no measurement."""


class Kind(Enum):
    """Where a number comes from."""

    headline = "headline"
    metric = "metric"
    column = "column"
    """Mean of a column of per_episode.csv over its rows."""


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
    if f"{name}{WITHOUT}" in pairs.first.numbers and f"{name}{WITHOUT}" in pairs.other.numbers:
        return _distribution_difference(name, values, pairs)
    way, reason = _choose_way(name, values, [t for run in runs if (t := tables[run])])
    if reason:
        others = "; the runs were not measured on the same episodes" if pairs.num_left_out else ""
        return Difference(value=plain, reason=f"not paired: {reason}{others}")
    first, other = (find_terms(name, table)[way] for table in (pairs.first, pairs.other))
    return paired_difference(first, other, pairs.episode, seed=seed)


def _distribution_difference(name: str, values: tuple[float, float], pairs: Pairs) -> Difference:
    if pairs.num_left_out:
        return Difference(
            value=values[1] - values[0],
            reason="not paired: a distribution is of all episodes, and not all are shared",
        )
    return difference_of_left_out(
        values,
        pairs.first.numbers[f"{name}{WITHOUT}"],
        pairs.other.numbers[f"{name}{WITHOUT}"],
        pairs.first.texts["side"],
        pairs.first.units,
    )


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
        return "", why_not(name)
    for way in (way for way in ways[0] if way in ways[1]):
        first, other = ways[0][way], ways[1][way]
        if np.allclose([first.value, other.value], values, rtol=TOLERANCE):
            if not first.no_p_value and first.columns != other.columns:
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
        if not any(part in name for part in (*MODEL_FREE, *OF_NOBODY_ELSE))
    ]


def _column_difference(name: str, pairs: Pairs | str, seed: int) -> Difference:
    if isinstance(pairs, str):
        return Difference(value=None, reason=f"not paired: {pairs}")
    tables = (pairs.first, pairs.other)
    is_known = np.all([np.isfinite(table.numbers[name]) for table in tables], axis=0)
    chosen = np.flatnonzero(is_known)
    if not len(chosen):
        return Difference(value=None, reason="no shared row has a value")
    first, other = (column_mean(table.take(chosen.tolist()), name) for table in tables)
    return paired_difference(first, other, pairs.episode[chosen], seed=seed)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
