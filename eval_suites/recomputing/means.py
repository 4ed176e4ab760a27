"""Metrics that are means of columns, or of one column minus another."""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from eval_suites.pairing import WEIGHTS, Table
from eval_suites.recomputing.terms import Terms, numbers_of, of_columns
from eval_suites.statistics import ratio_of_sums

_MEANS = (
    (r"(.+)", r"{0}", ""),
    (r"delta_psnr/(\w+)/(t\d+)", r"psnr_inferred_{1}", r"psnr_{0}_{1}"),
    (r"(\w+)/(\w+)/(t\d+)", r"{0}_{1}_{2}", ""),
    (r"(\w+)/gain_over_copy_last", r"{0}_imagined_t\d+", r"{0}_copy_last_t\d+"),
    (r"(\w+)/gain_over_copy_last", r"{0}_imagined", r"{0}_copy_last"),
    (r"gain_over_copy_last/(\w+)", r"tokenizer_{0}", r"copy_last_{0}"),
    (r"replay_psnr", r"psnr_recorded_t\d+", ""),
    (r"(\w+)", r"{0}_imagined_t\d+", ""),
    (r"(\w+)/(codes_alone|robot_actions|random_codes|best_codes)", r"{0}_{1}_t\d+", ""),
    (r"(\w+)", r"{0}_imagined", ""),
    (r"(\w+)", r"tokenizer_{0}", ""),
    (r"replay_error/(n\d+)", r"codes/{0}", ""),
    (r"sign_consistency", r"sign_code\d+_\w+", ""),
)
_RATIOS = (
    (r"motion_ratio", r"motion_inferred", r"motion_true"),
    (r"gain_over_copying/(\w+)", r"gain_over_copying_{0}", r"num_over_copying_{0}"),
    (r"forward_backward/(agreement|involution)", r"backward_{0}", r"num_transitions"),
    (r"demo_transfer/code_agreement", r"demo_hits", r"num_demo_codes"),
)
"""Metrics that are the total of one column over that of another."""


def means(metric: str, table: Table) -> Iterator[tuple[str, Terms]]:
    """Every mean or ratio that a metric of this name could be."""
    for pattern, plus, minus in _MEANS:
        if match := re.fullmatch(pattern, metric):
            parts = [re.escape(part) for part in match.groups()]
            added, taken = (table.fits(which.format(*parts)) for which in (plus, minus))
            if not added or (minus and len(added) != len(taken)):
                continue
            for weight in ("", *table.fits(rf"{WEIGHTS}\w+")):
                yield f"{plus} - {minus} by {weight}", _mean(table, added, taken, weight=weight)
    for pattern, over, under in _RATIOS:
        if match := re.fullmatch(pattern, metric):
            columns = [name.format(*match.groups()) for name in (over, under)]
            if set(columns) <= table.numbers.keys():
                yield f"{over} / {under}", of_columns(table, columns, ratio_of_sums)


def column_mean(table: Table, column: str) -> Terms:
    """The mean of a column over its rows."""
    return _mean(table, [column], [])


def _mean(table: Table, plus: Sequence[str], minus: Sequence[str], *, weight: str = "") -> Terms:
    """Mean over rows and columns of what is measured."""
    cells = numbers_of(table, list(plus))
    if minus:
        cells = cells - numbers_of(table, list(minus))
    counts = table.numbers[weight] if weight else np.ones(len(cells))
    sums = np.stack([np.nansum(cells, axis=1), np.isfinite(cells).sum(axis=1)], axis=1)
    return Terms(
        sums=np.nan_to_num(sums * counts[:, None]),
        statistic=ratio_of_sums,
        columns=frozenset([*plus, *minus]),
        is_measured=np.isfinite(cells).any(axis=1) & np.isfinite(counts),
    )
