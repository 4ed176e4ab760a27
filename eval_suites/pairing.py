"""Rows of per_episode.csv as columns, and the rows of two results that measure the same thing."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

UNITS = ("episode_id", "trial")
"""Columns that name the independent unit of a row, the first that is there."""
NAMES = ("start", "severity", "trial")
"""Numbers that say which row it is, as every text does."""
WEIGHTS = "num_"
"""Numbers that say how much a row counts begin so."""

SEQUENCES = ("codes", "codes_backward", "codes_oracle")
"""Columns that hold the codes of a row's transitions, as in `3 0 0 7`."""

WITHOUT = "/without"
"""Ends the name of a column that holds a metric without the episode of the row."""

TOLERANCE = 1e-6
"""Relative: a number about the true frames of a row agrees to this in two runs."""

MODEL_FREE = (
    *("copy_last", "stand_still", "_true", "events_"),
    *("squared_deviation", "squared_motion", WEIGHTS),
)
"""What columns are called that depend on what is measured and not on the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of a suite as columns."""

    names: Sequence[tuple[float | str | None, ...]]
    """What tells each row from the others."""
    units: Sequence[str]
    """The episode of each row."""
    texts: Mapping[str, Sequence[str]]
    """What names a row, numbers such as a severity written short."""
    numbers: Mapping[str, Float[np.ndarray, " n"]]
    """NaN where undefined."""
    sequences: Mapping[str, Sequence[Int[np.ndarray, " _"]]]
    """Codes of the transitions of each row."""

    def take(self, chosen: Sequence[int]) -> "Table":
        """Some of the rows."""
        return Table(
            names=[self.names[i] for i in chosen],
            units=[self.units[i] for i in chosen],
            texts={key: [values[i] for i in chosen] for key, values in self.texts.items()},
            numbers={key: values[list(chosen)] for key, values in self.numbers.items()},
            sequences={key: [rows[i] for i in chosen] for key, rows in self.sequences.items()},
        )

    def fits(self, pattern: str) -> list[str]:
        """Columns of numbers whose whole name fits."""
        return [name for name in self.numbers if re.fullmatch(pattern, name)]


class Pairs(NamedTuple):
    """Rows of two runs that measure the same thing, in the same order."""

    first: Table
    other: Table
    episode: Int[np.ndarray, " n"]
    num_left_out: int
    """Rows of either that the other lacks."""


def to_table(rows: Sequence[Mapping[str, float | str | None]]) -> Table | None:
    """Rows as columns; None where they are not about episodes."""
    unit = next((name for name in UNITS if rows and name in rows[0]), None)
    if unit is None:
        return None
    columns = list(dict.fromkeys(name for row in rows for name in row))
    sequences = [name for name in SEQUENCES if name in columns]
    texts = [name for name in columns if any(isinstance(row.get(name), str) for row in rows)]
    named = [
        *(n for n in texts if n not in sequences),
        *(name for name in NAMES if name in columns),
    ]
    return Table(
        names=[tuple(row.get(name) for name in named) for row in rows],
        units=[str(row[unit]) for row in rows],
        texts={name: [_text(row.get(name)) for row in rows] for name in named},
        numbers={
            name: np.array([row.get(name) for row in rows], dtype=float)
            for name in columns
            if name not in (*named, *sequences)
        },
        sequences={
            name: [np.array(_text(row.get(name)).split(), dtype=np.int64) for row in rows]
            for name in sequences
        },
    )


def _text(value: float | str | None) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def pair_rows(first: Table | None, other: Table | None, runs: tuple[str, str]) -> Pairs | str:
    """Rows about the same episode, prompt and true frames; else why there are none."""
    tables = [table for table in (first, other) if table is not None]
    if first is None or other is None:
        return "the suite has no rows about episodes"
    for table, run in zip(tables, runs, strict=True):
        if len(set(table.names)) < len(table.names):
            return f"two rows of {run} are about the same episode and prompt"
    places = {name: i for i, name in enumerate(other.names)}
    named = [(i, places[name]) for i, name in enumerate(first.names) if name in places]
    if not named:
        return f"{runs[0]} and {runs[1]} have no row about the same episode and prompt"
    left, right = (table.take(c) for table, c in zip(tables, zip(*named, strict=True), strict=True))
    is_same = np.ones(len(named), dtype=bool)
    for name in left.numbers.keys() & right.numbers.keys():
        if any(part in name for part in MODEL_FREE):
            pair = left.numbers[name], right.numbers[name]
            is_same &= np.isclose(*pair, rtol=TOLERANCE, equal_nan=True)
    chosen = np.flatnonzero(is_same)
    if not len(chosen):
        return (
            f"{runs[0]} and {runs[1]} were measured on other frames: rows of the same episode "
            "differ in what does not depend on the model"
        )
    left, right = (table.take(chosen.tolist()) for table in (left, right))
    number = {unit: e for e, unit in enumerate(dict.fromkeys(left.units))}
    left_out = len(first.names) + len(other.names) - 2 * len(chosen)
    return Pairs(left, right, np.array([number[unit] for unit in left.units]), left_out)
