"""A metric from the rows of per_episode.csv: which columns, and what of their total.

A way to recompute a metric is a guess by its name. Whoever uses it must see that it gives the
value that the suite reported, from the same rows.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from eval_suites.pairing import WEIGHTS, Table
from eval_suites.statistics import Statistic, mean_r2, perplexity, r2_fraction, ratio_of_sums

_MEANS = (
    (r"(.+)", r"{0}", ""),
    (r"delta_psnr/(\w+)/(t\d+)", r"psnr_inferred_{1}", r"psnr_{0}_{1}"),
    (r"(\w+)/(\w+)/(t\d+)", r"{0}_{1}_{2}", ""),
    (r"(\w+)/gain_over_copy_last", r"{0}_imagined_t\d+", r"{0}_copy_last_t\d+"),
    (r"(\w+)/gain_over_copy_last", r"{0}_imagined", r"{0}_copy_last"),
    (r"gain_over_copy_last/(\w+)", r"tokenizer_{0}", r"copy_last_{0}"),
    (r"replay_psnr", r"psnr_recorded_t\d+", ""),
    (r"(\w+)", r"{0}_imagined_t\d+", ""),
    (r"(\w+)/(robot_actions|random_codes)", r"{0}_{1}_t\d+", ""),
    (r"(\w+)", r"{0}_imagined", ""),
    (r"(\w+)", r"tokenizer_{0}", ""),
    (r"replay_error/(n\d+)", r"codes/{0}", ""),
    (r"sign_consistency", r"sign_code\d+_\w+", ""),
    (r"sign_consistency/(code\d+)/(\w+)", r"sign_{0}_{1}", ""),
)
"""Metrics that are means of columns, or of one column minus another."""

_R2 = (
    (r"\w+/\w+/r2", ("",), r"\w+"),
    (r"\w+/\w+/r2/(\w+)", ("",), r"{0}"),
    (r"r2/(\w+)", ("{0}_",), r"\w+"),
    (r"r2/(\w+)/(\w+)", ("{0}_",), r"{1}"),
    (r"ratio/(\w+)", ("{0}_", "real_"), r"\w+"),
)
"""R2 of one predictor, or its share of that of another, by who predicts and which dimensions."""


class Terms(NamedTuple):
    """Sums of each row, of whose total the statistic is the metric."""

    sums: Float[np.ndarray, "n m"]
    statistic: Statistic
    columns: frozenset[str]
    """Those it is made of."""
    is_alike: bool = True
    """False where a column means something else in another run, as code 3 does."""

    @property
    def value(self) -> float:
        """The metric over all rows; NaN where undefined."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(self.statistic(self.sums.sum(axis=0)[None])[0])


def find_terms(metric: str, table: Table) -> dict[str, Terms]:
    """Every way in which the columns could give a metric of this name, by how it goes."""
    ways = [*_means(metric, table), *_r2s(metric, table), *_others(metric, table)]
    return dict(ways)


def column_mean(table: Table, column: str) -> Terms:
    """The mean of a column over its rows."""
    return _mean(table, [column], [])


def _means(metric: str, table: Table) -> Iterator[tuple[str, Terms]]:
    for pattern, plus, minus in _MEANS:
        if match := re.fullmatch(pattern, metric):
            parts = [re.escape(part) for part in match.groups()]
            added, taken = (table.fits(which.format(*parts)) for which in (plus, minus))
            if not added or (minus and len(added) != len(taken)):
                continue
            for weight in ("", *table.fits(rf"{WEIGHTS}\w+")):
                yield f"{plus} - {minus} by {weight}", _mean(table, added, taken, weight=weight)


def _mean(table: Table, plus: Sequence[str], minus: Sequence[str], *, weight: str = "") -> Terms:
    """Mean over rows and columns of what is measured."""
    cells = np.stack([table.numbers[name] for name in plus], axis=1)
    if minus:
        cells = cells - np.stack([table.numbers[name] for name in minus], axis=1)
    counts = table.numbers[weight] if weight else np.ones(len(cells))
    sums = np.stack([np.nansum(cells, axis=1), np.isfinite(cells).sum(axis=1)], axis=1)
    used = frozenset([*plus, *minus])
    return Terms(sums * counts[:, None], ratio_of_sums, used)


def _r2s(metric: str, table: Table) -> Iterator[tuple[str, Terms]]:
    for pattern, who, which in _R2:
        if match := re.fullmatch(pattern, metric):
            predictors = [part.format(*match.groups()) for part in who]
            deviations = table.fits(f"squared_deviation_{which.format(*match.groups())}")
            errors = [
                [name.replace("deviation_", f"error_{part}", 1) for name in deviations]
                for part in predictors
            ]
            is_there = all(name in table.numbers for part in errors for name in part)
            if deviations and is_there and _is_of_rows(metric, table):
                yield pattern, _r2(table, [*errors, deviations])


def _is_of_rows(metric: str, table: Table) -> bool:
    """Rows of the probe are about one target and group, as achieved/xyz: not about any other."""
    target, group, *_ = [*metric.split("/"), ""]
    if "target" not in table.texts:
        return True
    moving = {name.rpartition("_")[2] for name in table.fits(r"squared_deviation_\w+")}
    own = "xyz" if moving <= {"dx", "dy", "dz"} else "all"
    return set(table.texts["target"]) == {target} and group == own


def _r2(table: Table, parts: Sequence[Sequence[str]]) -> Terms:
    """From squared errors of one or two predictors, and the squared deviation."""
    of = {2: mean_r2, 3: r2_fraction}[len(parts)]
    shape = (len(parts), len(parts[0]))
    columns = [name for part in parts for name in part]
    return Terms(
        np.stack([table.numbers[name] for name in columns], axis=1),
        _reshaped(of, shape),
        frozenset(columns),
    )


def _reshaped(statistic: Statistic, shape: tuple[int, int]) -> Statistic:
    return lambda totals: statistic(totals.reshape(*totals.shape[:-1], *shape))


def _others(metric: str, table: Table) -> Iterator[tuple[str, Terms]]:
    counts = table.fits(r"code_\d+")
    if metric == "codes/perplexity" and counts:
        # How often each code is used; code 3 of another run is another code.
        used = np.stack([table.numbers[name] for name in counts], axis=1)
        yield "perplexity", Terms(used, perplexity, frozenset(counts), is_alike=False)
    match = re.fullmatch(r"success/(\d+)", metric)
    if match and "policy" in table.texts and "solved" in table.numbers:
        is_own = np.array([name == f"latent/{match[1]}" for name in table.texts["policy"]])
        sums = np.stack([table.numbers["solved"] * is_own, is_own], axis=1)
        yield "solved", Terms(sums, ratio_of_sums, frozenset(["solved"]))
