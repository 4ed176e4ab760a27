"""Tables of per-episode sums, and measurements as statistics of their totals.

A suite fills a Table, a row for each test episode (and prompt), and describes every number as a
Measurement: a statistic of the total of per-row sums, with baselines and a ceiling of the same
kind. The value, its interval over episodes, per_episode.csv, the paired difference between two runs
(comparing.py) and the row of the report are computed from these.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import binomtest

from genie_robo.eval_suites.statistics import (
    MIN_EPISODES_FOR_INTERVAL,
    Estimate,
    Statistic,
    bootstrap,
    episode_sums,
    jackknife,
    normal_interval,
    number_episodes,
    ratio_of_sums,
)

Cell = float | str | None
OTHER_CODES = "code 3 of one run is not code 3 of the other: no p-value"
FEWER_CODES = "resamples of episodes hold fewer codes than all of them"


class UnavailableError(Exception):
    """Why something cannot be measured here: what the dataset, model or encoder lacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A reported number, or None with the reason why it is undefined.

    Raises:
        ValueError: A value that is not finite, or None without a reason.
    """

    value: float | None
    ci95: tuple[float, float] | None = None
    """95 % interval over episodes; None when there are too few episodes for one."""
    n_units: int
    """Number of independent units, episodes unless the protocol says otherwise."""
    unit: str
    protocol: str
    """How it was measured, in one sentence."""
    baselines: Mapping[str, float | None] = field(default_factory=dict)
    ceiling: float | None = None
    """The best value that any model of this kind could reach here."""
    reason: str = ""
    """Why the value is undefined."""

    def __post_init__(self) -> None:
        """Reject values that would become NaN or a silent zero in a report."""
        numbers = [self.value, self.ceiling, *self.baselines.values(), *(self.ci95 or ())]
        if not all(number is None or math.isfinite(number) for number in numbers):
            raise ValueError(
                f"a metric holds a number that is not finite (value {self.value}, ci95 "
                f"{self.ci95}, ceiling {self.ceiling}, baselines {dict(self.baselines)}); give "
                "None and a reason for what is undefined"
            )
        if self.value is None and not self.reason:
            raise ValueError(f"a metric without a value needs a reason (protocol: {self.protocol})")


class Interval(StrEnum):
    """How the 95 % interval of a statistic is found."""

    bootstrap = "bootstrap"
    """Percentiles over resampled episodes."""
    jackknife = "jackknife"
    """Leaves out one episode at a time: for statistics that repeated episodes would bias, such as
    an entropy."""
    wilson = "wilson"
    """Wilson interval of a proportion of independent trials."""


class Table:
    """Rows of per_episode.csv as columns."""

    def __init__(
        self, episodes: Sequence[str], *, unit: str = "episode_id", **keys: Sequence[str | float]
    ) -> None:
        """Begin a table.

        Args:
            episodes: The episode that each row is about: the unit that is resampled.
            unit: Name of the unit in per_episode.csv.
            keys: Columns that identify the rows of one episode, such as `start` or `task`.
        """
        self.unit, self.episodes = unit, list(episodes)
        self.keys = {name: list(values) for name, values in keys.items()}
        self.columns: dict[str, Float[np.ndarray, " n"]] = {}
        """Values by name, NaN where not measured."""
        self.texts: dict[str, list[str]] = {}
        """Text columns, such as the codes of an episode."""
        self.given: set[str] = set()
        """Columns that do not depend on the model: equal if two runs had the same input."""
        self._weights: dict[str, Float[np.ndarray, " n"]] = {}

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.episodes)

    def add(
        self,
        name: str,
        values: Float[np.ndarray, " n"],
        *,
        weights: Float[np.ndarray, " n"] | None = None,
        given: bool = False,
    ) -> str:
        """Add a column; `weights` are the numbers of measurements averaged in each value."""
        self.columns[name] = np.asarray(values, dtype=np.float64)
        if weights is not None:
            self._weights[name] = weights
        if given:
            self.given.add(name)
        return name

    def add_series(
        self, name: str, values: Float[np.ndarray, "n t"], *, first: int = 1, given: bool = False
    ) -> list[str]:
        """Add a column for every frame: NAME_t1, NAME_t2, ..."""
        numbered = enumerate(values.T, start=first)
        return [self.add(f"{name}_t{t}", column, given=given) for t, column in numbered]

    def add_squares(
        self,
        name: str,
        sums: Float[np.ndarray, "n d"],
        dimensions: Sequence[str],
        *,
        given: bool = False,
    ) -> list[str]:
        """Add a column of squared errors or deviations for every dimension."""
        pairs = zip(dimensions, sums.T, strict=True)
        return [self.add(f"squared_{name}_{d}", column, given=given) for d, column in pairs]

    def add_errors(
        self, name: str, sums: Float[np.ndarray, "n 2 d"], dimensions: Sequence[str]
    ) -> list[list[str]]:
        """Add squared errors and squared deviations; their totals are the input of mean_r2."""
        errors = self.add_squares(f"error_{name}", sums[:, 0], dimensions)
        return [errors, self.add_squares(f"deviation_{name}", sums[:, 1], dimensions, given=True)]

    def where(self, chosen: Bool[np.ndarray, " n"]) -> "Table":
        """Some of the rows."""
        rows = np.flatnonzero(chosen)
        table = Table(
            [self.episodes[i] for i in rows],
            unit=self.unit,
            **{name: [values[i] for i in rows] for name, values in self.keys.items()},
        )
        table.columns = {name: values[rows] for name, values in self.columns.items()}
        table.texts = {name: [texts[i] for i in rows] for name, texts in self.texts.items()}
        table.given = set(self.given)
        table._weights = {name: values[rows] for name, values in self._weights.items()}
        return table

    def with_key(self, name: str, value: str | float) -> "Table":
        """The rows in which a key has this value."""
        return self.where(np.array([own == value for own in self.keys[name]], dtype=bool))

    @classmethod
    def concatenate(cls, tables: Sequence["Table"]) -> "Table":
        """The rows of tables with the same keys; NaN and empty where a table lacks a column."""
        first = tables[0]
        joined = cls(
            [episode for table in tables for episode in table.episodes],
            unit=first.unit,
            **{name: [v for table in tables for v in table.keys[name]] for name in first.keys},
        )
        for name in dict.fromkeys(name for table in tables for name in table.texts):
            joined.texts[name] = [t for own in tables for t in own.texts.get(name, [""] * len(own))]
        for name in dict.fromkeys(name for table in tables for name in table.columns):
            missing = (own.columns.get(name, np.full(len(own), np.nan)) for own in tables)
            joined.add(name, np.concatenate([*missing]))
        return joined

    @property
    def names(self) -> list[tuple[str | float, ...]]:
        """The key of each row: its episode, and the other keys."""
        return list(zip(self.episodes, *self.keys.values(), strict=True))

    @property
    def episode(self) -> Int[np.ndarray, " n"]:
        """The episode of each row, numbered in the order in which they first appear."""
        return number_episodes(np.array(self.episodes))

    @property
    def num_episodes(self) -> int:
        """Number of independent units."""
        return len(set(self.episodes))

    def values(self, columns: Sequence[str]) -> Float[np.ndarray, "n c"]:
        """Columns side by side."""
        return np.stack([self.columns[name] for name in columns], axis=1)

    def mean(self, columns: Sequence[str]) -> "Sums":
        """The mean over rows and columns, ignoring NaN."""
        return self._mean(self.values(columns), columns)

    def mean_difference(self, columns: Sequence[str], others: Sequence[str]) -> "Sums":
        """The mean of columns minus others, row by row."""
        difference = self._mean(self.values(columns) - self.values(others), columns)
        return replace(difference, columns=(*columns, *others))

    def _mean(self, values: Float[np.ndarray, "n c"], columns: Sequence[str]) -> "Sums":
        known = np.isfinite(values)
        weights = np.stack([self._weights.get(n, np.ones(len(self))) for n in columns], axis=1)
        totals = np.where(known, values * weights, 0.0).sum(axis=1)
        counts = np.where(known, weights, 0.0).sum(axis=1)
        return Sums(
            self,
            np.stack([totals, counts], axis=1),
            ratio_of_sums,
            is_measured=np.asarray(known.any(axis=1)),
            columns=tuple(columns),
        )

    def total(
        self,
        groups: Sequence[Sequence[str]],
        statistic: Statistic,
        *,
        interval: Interval = Interval.bootstrap,
        not_swappable: str = "",
    ) -> "Sums":
        """A statistic of the totals of columns, arranged as `groups` x columns."""
        cells = np.stack([self.values(columns) for columns in groups], axis=1)
        measured = np.asarray(np.isfinite(cells).all(axis=(1, 2)))
        sums = np.where(measured[:, None, None], cells, 0.0)
        return Sums(
            self,
            sums,
            statistic,
            interval=interval,
            not_swappable=not_swappable,
            is_measured=measured,
            columns=tuple(name for columns in groups for name in columns),
        )

    def ratio(self, part: str, whole: str) -> "Sums":
        """The total of one column over that of another."""
        return self.total([[part, whole]], lambda totals: ratio_of_sums(totals[..., 0, :]))

    def rows(self) -> Iterator[dict[str, Cell]]:
        """Rows as they are written to per_episode.csv."""
        for i, episode in enumerate(self.episodes):
            row: dict[str, Cell] = {self.unit: episode}
            row |= {name: values[i] for name, values in self.keys.items()}
            row |= {name: texts[i] for name, texts in self.texts.items()}
            row |= {n: float(c[i]) if np.isfinite(c[i]) else None for n, c in self.columns.items()}
            yield row


@dataclass(frozen=True, slots=True)
class Sums:
    """An array for each row of a table, and the statistic of their total."""

    table: Table
    values: Float[np.ndarray, "n ..."]
    statistic: Statistic
    interval: Interval = Interval.bootstrap
    not_swappable: str = ""
    """Why the rows of two runs cannot be exchanged for a p-value; empty where they can."""
    not_paired: str = ""
    """Why there is no paired difference at all; empty where there is."""
    is_measured: Bool[np.ndarray, " n"] | None = None
    """Rows with a value; None is all of them."""
    columns: tuple[str, ...] = ()
    """The columns of the table that are summed; two runs are paired only if these are the same."""
    bounds: Statistic | None = None
    """The lowest and the highest value that one total cannot tell apart, for statistics of whole
    numbers; by default the interval is of the values themselves."""

    @property
    def value(self) -> float | None:
        """The statistic of all rows, None where it is undefined."""
        with np.errstate(divide="ignore", invalid="ignore"):
            value = float(self.statistic(self.values.sum(axis=0)[None])[0])
        return value if math.isfinite(value) else None

    def estimate(self, seed: int) -> Estimate:
        """The value with its interval over episodes."""
        if self.interval is Interval.wilson:
            return self._proportion()
        table = self.table
        sums = episode_sums(self.values, table.episode, num_episodes=table.num_episodes)
        if self.interval is Interval.jackknife:
            return jackknife(sums, self.statistic)
        return bootstrap(sums, self.statistic, bounds=self.bounds, seed=seed)

    def _proportion(self) -> Estimate:
        hits, trials = (int(total) for total in self.values.sum(axis=0))
        ends = binomtest(hits, trials).proportion_ci(method="wilson")
        return Estimate(hits / trials, (float(ends.low), float(ends.high)))

    def measured(self) -> Bool[np.ndarray, " n"]:
        """Which rows have a value."""
        return np.ones(len(self.table), bool) if self.is_measured is None else self.is_measured


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A statistic of a whole sample, with its values when each row's episode is left out."""

    table: Table
    value: float | None
    without: Float[np.ndarray, " n"] | None
    """The value without the episode of each row; None with too few episodes for an interval."""
    side: Sequence[str]
    """Which of two samples the episode of each row belongs to."""

    def left_out(self) -> list[Float[np.ndarray, " _"]] | None:
        """The values without each episode, by side."""
        if self.without is None:
            return None
        first = {episode: row for row, episode in reversed([*enumerate(self.table.episodes)])}
        by_side: dict[str, list[float]] = {side: [] for side in dict.fromkeys(self.side)}
        for row in sorted(first.values()):
            by_side[self.side[row]].append(self.without[row])
        return [np.array(values) for values in by_side.values()]

    def estimate(self, seed: int) -> Estimate:
        """The value with its jackknife interval, which needs no seed."""
        left = self.left_out()
        if self.value is None or not left or min(map(len, left)) < MIN_EPISODES_FOR_INTERVAL:
            return Estimate(self.value, None)
        return Estimate(self.value, normal_interval(self.value, left))


@dataclass(frozen=True, slots=True)
class Fixed:
    """A number whose interval, if it has one, is not over episodes alone: a p-value, a count."""

    table: Table
    value: float | None
    not_paired: str = "it is about all episodes together"
    """Why it cannot be compared by episode."""
    ci95: tuple[float, float] | None = None

    def estimate(self, seed: int) -> Estimate:
        """The value as it is."""
        return Estimate(self.value, self.ci95)


Comparable = Sums | float | None
"""A baseline or a ceiling: computed like the value, or a known constant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A statistic with its context, from which its metric and paired differences are computed."""

    of: Sums | LeftOut | Fixed | None
    """None if it cannot be measured; `reason` says why."""
    unit: str
    protocol: str
    baselines: Mapping[str, Comparable] = field(default_factory=dict)
    ceiling: Comparable = None
    reason: str = "the test episodes do not determine it"
    """Why the value is undefined, if it is."""

    def metric(self, seed: int) -> Metric:
        """The reported number with its interval, baselines and ceiling."""
        found = self.of.estimate(seed) if self.of else Estimate(None, None)
        return Metric(
            value=found.value,
            ci95=found.ci95,
            n_units=self.of.table.num_episodes if self.of else 0,
            unit=self.unit,
            protocol=self.protocol,
            baselines={name: _value(other) for name, other in self.baselines.items()},
            ceiling=_value(self.ceiling),
            reason=self.reason if found.value is None else "",
        )


def undefined(reason: str, *, unit: str, protocol: str) -> Measurement:
    """A number that cannot be measured here."""
    return Measurement(of=None, unit=unit, protocol=protocol, reason=reason)


def _value(other: Comparable) -> float | None:
    return other.value if isinstance(other, Sums) else other
