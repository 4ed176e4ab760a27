"""Metrics of how codes are used, from the codes of each episode or their counts."""

import re
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int

from eval_suites.metrics.information import joint_counts, mutual_information
from eval_suites.pairing import Table
from eval_suites.probes.code_meaning import eta_squared
from eval_suites.probes.gripper_events import EVENTS
from eval_suites.recomputing.terms import Terms, numbers_of
from eval_suites.statistics import Statistic, balanced_accuracy, perplexity

_OTHER_CODES = "code 3 of one run is not code 3 of the other: no p-value"
_INFORMATION = {
    "mutual_information": ("codes", "codes_oracle"),
    "transitions/information": ("codes", "codes"),
    "forward_backward/information": ("codes", "codes_backward"),
}
"""Which sequences share bits; of one with itself, each code and the next."""


def code_uses(metric: str, table: Table) -> Iterator[tuple[str, Terms]]:
    """Everything that a metric of this name could be."""
    if metric == "codes/perplexity":
        if "codes" in table.sequences:
            uses = _uses(table.sequences["codes"])
            yield "codes", _of_codes(uses, perplexity, "codes")
        elif counts := table.fits(r"code_\d+"):
            yield "counts", _of_codes(numbers_of(table, counts), perplexity, *counts)
    if metric in _INFORMATION and set(_INFORMATION[metric]) <= table.sequences.keys():
        first, second = (table.sequences[name] for name in _INFORMATION[metric])
        if metric == "transitions/information":
            first, second = [codes[:-1] for codes in first], [codes[1:] for codes in second]
        yield "information", _information(first, second, _INFORMATION[metric])
    match = re.fullmatch(r"eta_squared(?:/(d\w+))?", metric)
    if match and (terms := _eta(table, match[1] or "")):
        yield "eta", terms
    if metric == "gripper_events" and (terms := _events(table)):
        yield "events", terms


def _of_codes(sums: Float[np.ndarray, "n m"], statistic: Statistic, *columns: str) -> Terms:
    return Terms(
        sums=sums,
        statistic=statistic,
        columns=frozenset(columns),
        is_measured=sums.sum(axis=1) != 0,
        no_p_value=_OTHER_CODES,
        is_plug_in=True,
    )


def _uses(codes: Sequence[Int[np.ndarray, " _"]]) -> Float[np.ndarray, "n k"]:
    width = 1 + max(int(row.max(initial=0)) for row in codes)
    return np.stack([np.bincount(row, minlength=width) for row in codes]).astype(float)


def _information(
    first: Sequence[Int[np.ndarray, " _"]],
    second: Sequence[Int[np.ndarray, " _"]],
    columns: tuple[str, ...],
) -> Terms:
    row = np.repeat(np.arange(len(first)), [len(codes) for codes in first])
    one, other = np.concatenate(first), np.concatenate(second)
    shape = (len(first), 1 + int(one.max(initial=0)), 1 + int(other.max(initial=0)))
    counts = joint_counts(one, other, row, shape=shape)

    def of(totals: Float[np.ndarray, "... m"]) -> Float[np.ndarray, "..."]:
        return mutual_information(totals.reshape(*totals.shape[:-1], *shape[1:]))

    return _of_codes(counts.reshape(len(first), -1), of, *columns)


def _eta(table: Table, only: str) -> Terms | None:
    """From how often each code is there, what it moves, and what the episode moves squared."""
    counts = table.fits(r"code_\d+")
    dimensions = [name.removeprefix("squared_motion_") for name in table.fits(r"squared_motion_.*")]
    dimensions = [d for d in dimensions if d == only or not only]
    moved = [f"{code}_motion_{d}" for code in counts for d in dimensions]
    squared = [f"squared_motion_{d}" for d in dimensions]
    columns = [*moved, *squared, *counts]
    if not moved or not set(columns) <= table.numbers.keys():
        return None
    shape = (len(counts), len(dimensions))

    def of(totals: Float[np.ndarray, "... m"]) -> Float[np.ndarray, "..."]:
        sums, squares, uses = np.split(totals, [len(moved), len(moved) + len(squared)], axis=-1)
        rows = np.zeros((*totals.shape[:-1], shape[0], shape[1] + 2))
        rows[..., :-2] = sums.reshape(*totals.shape[:-1], *shape)
        # Only the total over codes of the squares matters.
        rows[..., 0, -2], rows[..., -1] = squares.sum(axis=-1), uses
        return eta_squared(rows)

    return _of_codes(numbers_of(table, columns), of, *columns)


def _events(table: Table) -> Terms | None:
    """Balanced accuracy of the events that occur."""
    occurs = [name for name in EVENTS if np.any(table.numbers.get(f"events_{name}", 0.0))]
    columns = [*(f"hits_{name}" for name in occurs), *(f"events_{name}" for name in occurs)]
    if not occurs:
        return None

    def of(totals: Float[np.ndarray, "... m"]) -> Float[np.ndarray, "..."]:
        return balanced_accuracy(totals.reshape(*totals.shape[:-1], 2, len(occurs)))

    cells = numbers_of(table, columns)
    return Terms(
        sums=cells,
        statistic=of,
        columns=frozenset(columns),
        is_measured=np.ones(len(cells), bool),
    )
