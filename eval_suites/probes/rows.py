"""Rows of per_episode.csv from sums per episode, so that others can add them up again."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from eval_suites.base import Metric
from eval_suites.probes.data import ProbeData

Columns = dict[str, Sequence[str] | Float[np.ndarray, " e"]]
"""By name, an entry for each episode; NaN is undefined."""
Row = Mapping[str, float | str | None]


class Found(NamedTuple):
    """Metrics, and the columns that they can be computed from again."""

    metrics: dict[str, Metric]
    columns: Columns


def to_rows(columns: Columns) -> list[Row]:
    """One row per episode."""
    return [
        dict(zip(columns, map(_cell, values), strict=True))
        for values in zip(*columns.values(), strict=True)
    ]


def squares(name: str, sums: Float[np.ndarray, "e d"], dimensions: Sequence[str]) -> Columns:
    """Columns squared_NAMEdx and so on."""
    return {f"squared_{name}{d}": sums[:, column] for column, d in enumerate(dimensions)}


def error_and_deviation(
    name: str, sums: Float[np.ndarray, "e 2 d"], dimensions: Sequence[str]
) -> Columns:
    """Columns squared_error_NAMEdx, squared_deviation_NAMEdx and so on, of which R2 is made."""
    error = squares(f"error_{name}", sums[:, 0], dimensions)
    return error | squares(f"deviation_{name}", sums[:, 1], dimensions)


def sequences(codes: Int[np.ndarray, " n"], data: ProbeData) -> list[str]:
    """The codes of every episode, as in `3 0 0 7`."""
    cut = data.by_episode(codes[:, None].astype(float))
    return [" ".join(str(int(code)) for code in rows[:, 0]) for rows in cut]


def _cell(value: float | str) -> float | str | None:
    if isinstance(value, str):
        return value
    return float(value) if np.isfinite(value) else None
