"""Metrics that are an R2, or made of several, from squared errors and squared deviations."""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from eval_suites.pairing import Table
from eval_suites.probes.metrics import best_lag
from eval_suites.recomputing.terms import Terms, of_columns
from eval_suites.statistics import Statistic, mean_r2, r2_difference, r2_fraction
from genie_robo.types import ACTION_NAMES


class _Form(NamedTuple):
    """How a metric of some name is made of squares."""

    pattern: str
    errors: tuple[str, ...]
    """Whose squared errors: columns are called squared_error_WHOSE + dimension."""
    deviation: str | None = ""
    """About which mean: squared_deviation_WHICH + dimension; None where none is needed."""
    statistic: Statistic = mean_r2
    dimension: str = ""
    """The only one; of all where empty."""


_FORMS = (
    _Form(r"r2", ("",)),
    _Form(r"r2/(d\w+)", ("",), dimension="{0}"),
    _Form(r"r2_latent", ("latent_",)),
    _Form(r"fraction_of_ceiling", ("", "oracle_"), statistic=r2_fraction),
    _Form(r"partial_r2_(\w+)", ("{0}_and_codes_", "{0}_"), None),
    _Form(r"gain_over/(\w+)", ("", "{0}_"), statistic=r2_difference),
    _Form(r"lag/([+-]\d+)", ("lag{0}_",), "lag_"),
    _Form(r"labels/(n\d+)", ("labels_{0}_",)),
    _Form(r"r2/(n\d+)", ("labels_{0}_",)),
    _Form(r"endpoint_swap/r2", ("swap_",), "swap_"),
    _Form(r"composition/(h\d+)", ("{0}_",), "{0}_"),
    _Form(r"other_episodes/r2", ("others_",), "others_"),
    _Form(r"demo_transfer/motion_r2", ("demo_",), "demo_"),
    _Form(r"r2/(\w+)", ("{0}_",)),
    _Form(r"r2/(\w+)/(d\w+)", ("{0}_",), dimension="{1}"),
    _Form(r"r2/(\w+)/(t\d+)", ("{0}_{1}_",), "{1}_"),
    _Form(r"ratio/(\w+)", ("{0}_", "real_"), statistic=r2_fraction),
)


def squares(metric: str, table: Table) -> Iterator[tuple[str, Terms]]:
    """Every R2 that a metric of this name could be."""
    for form in _FORMS:
        if match := re.fullmatch(form.pattern, metric):
            parts = [f"squared_error_{who.format(*match.groups())}" for who in form.errors]
            if form.deviation is not None:
                parts.append(f"squared_deviation_{form.deviation.format(*match.groups())}")
            only = form.dimension.format(*match.groups())
            if terms := _terms(table, parts, form.statistic, only):
                yield form.pattern, terms
    if metric == "best_lag":
        lags = sorted({int(name.split("_")[2][3:]) for name in table.fits(r"squared_error_lag.*")})
        parts = [*(f"squared_error_lag{lag:+d}_" for lag in lags), "squared_deviation_lag_"]
        if lags and (terms := _terms(table, parts, best_lag)):
            yield "best_lag", terms


def _terms(table: Table, parts: list[str], statistic: Statistic, only: str = "") -> Terms | None:
    """Columns that begin so, in the dimensions that the last of them has."""
    known = [d for d in ACTION_NAMES if _is_known(table, f"{parts[-1]}{d}")]
    dimensions = [d for d in known if d == only or not only]
    columns = [f"{part}{d}" for part in parts for d in dimensions]
    if not columns or not set(columns) <= table.numbers.keys():
        return None
    return of_columns(table, columns, _reshaped(statistic, (len(parts), len(dimensions))))


def _is_known(table: Table, column: str) -> bool:
    return column in table.numbers and bool(np.isfinite(table.numbers[column]).any())


def _reshaped(statistic: Statistic, shape: tuple[int, int]) -> Callable[..., np.ndarray]:
    return lambda totals: statistic(totals.reshape(*totals.shape[:-1], *shape))
