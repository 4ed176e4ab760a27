"""What a metric is made of: numbers of each row, and what is done with their total."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from eval_suites.pairing import Table
from eval_suites.statistics import Statistic


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Sums of each row, of whose total the statistic is the metric."""

    sums: Float[np.ndarray, "n m"]
    statistic: Statistic
    columns: frozenset[str]
    """Those it is made of."""
    is_measured: Bool[np.ndarray, " n"]
    """Rows that say something of the metric."""
    no_p_value: str = ""
    """Why the two runs cannot be swapped within an episode, as code 3 of one is not that of the
    other; empty where they can."""
    is_plug_in: bool = False
    """True of a statistic that is fitted to what it measures, as an entropy is: a resample that
    holds episodes twice is biased, so the interval leaves episodes out instead."""

    @property
    def value(self) -> float:
        """The metric over all rows; NaN where undefined."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(self.statistic(self.sums.sum(axis=0)[None])[0])

    def within(self, chosen: Int[np.ndarray, " c"], num_rows: int) -> "Terms":
        """The same of a table of `num_rows`, of which these rows are the chosen ones."""
        sums = np.zeros((num_rows, self.sums.shape[1]))
        is_measured = np.zeros(num_rows, bool)
        sums[chosen], is_measured[chosen] = self.sums, self.is_measured
        return replace(self, sums=sums, is_measured=is_measured)


def numbers_of(table: Table, columns: list[str]) -> Float[np.ndarray, "n c"]:
    """Some columns side by side."""
    return np.stack([table.numbers[name] for name in columns], axis=1)


def of_columns(table: Table, columns: list[str], statistic: Statistic) -> Terms:
    """Of the totals of some columns; rows in which one is undefined do not count."""
    cells = numbers_of(table, columns)
    is_measured = np.asarray(np.isfinite(cells).all(axis=1))
    return Terms(
        sums=np.where(is_measured[:, None], cells, 0.0),
        statistic=statistic,
        columns=frozenset(columns),
        is_measured=is_measured,
    )


def rows_with(table: Table, column: str, text: str) -> Int[np.ndarray, " c"]:
    """Rows in which a column reads so."""
    return np.flatnonzero([value == text for value in table.texts.get(column, ())])
