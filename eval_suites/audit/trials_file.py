"""A table of trials as a CSV file of any origin."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from eval_suites.audit.checks import Outcomes

MAX_BYTES = 64 * 2**20
MAX_ROWS = 200_000
NEEDED = ("policy", "trial", "predicted", "true")
TASK = "task"
BLIND = "blind_"
"""Columns that begin so are predictions of judges that see no pixels."""
_WORDS = {"true": 1.0, "false": 0.0}


def read_trials(path: Path) -> Mapping[str, Outcomes]:
    """All trials under the name "", and those of each task where there is a column `task`.

    Columns: policy, trial (trials of different policies with one name share their start),
    predicted and true (success, 0 to 1, or any other value of a trial), and optional ones: task,
    and blind_NAME for predictions without pixels. Others are ignored.

    Raises:
        ValueError: The file is no such table; names the line.
    """
    table = _read(path)
    trial = [str(name) for name in table["trial"]]
    tasks = [str(name) for name in table[TASK]] if TASK in table else []
    if tasks:
        trial = [f"{task}/{name}" for task, name in zip(tasks, trial, strict=True)]
    whole = Outcomes(
        policy=[str(name) for name in table["policy"]],
        trial=trial,
        predicted=_numbers(table, "predicted", path),
        true=_numbers(table, "true", path),
        blind={
            name.removeprefix(BLIND): _numbers(table, name, path)
            for name in table
            if name.startswith(BLIND)
        },
    )
    found = {"": whole}
    for part in sorted(set(tasks)) if len(set(tasks)) > 1 else []:
        try:
            found[part] = whole.where([task == part for task in tasks])
        except ValueError as error:
            raise ValueError(f"{path}, task {part}: {error}; leave this task out") from error
    return found


def _read(path: Path) -> pd.DataFrame:
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} has over {MAX_BYTES >> 20} MiB; a table of trials is smaller")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, nrows=MAX_ROWS + 1)
    except (ValueError, UnicodeDecodeError) as error:  # pandas' parser errors are ValueErrors
        raise ValueError(f"{path} is no CSV table: {error}") from error
    if not isinstance(table.index, pd.RangeIndex):
        raise ValueError(f"{path} is no CSV table: its rows have more cells than its header")
    if len(table) > MAX_ROWS:
        raise ValueError(f"{path} has more than {MAX_ROWS:,} rows; audit means of repeated trials")
    if missing := [name for name in NEEDED if name not in table]:
        raise ValueError(
            f"{path} lacks the column {' and '.join(missing)}; it has {', '.join(table)[:200]}. A "
            f"table of trials has a row for each trial with {', '.join(NEEDED)}"
        )
    for name in ("policy", "trial", TASK):
        if name in table and (empty := np.flatnonzero(table[name].str.strip() == "")).size:
            raise ValueError(f"{path}, line {empty[0] + 2}: {name} is empty; name it")
    return table


def _numbers(table: pd.DataFrame, name: str, path: Path) -> Float[np.ndarray, " n"]:
    """A column of words as numbers; `true` is 1 and `false` 0."""
    words = [str(word).strip().lower() for word in table[name]]
    numbers = np.array([_WORDS.get(word, _number(word)) for word in words])
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if len(wrong):
        row = int(wrong[0])
        raise ValueError(
            f"{path}, line {row + 2}: {name} is {words[row][:40]!r}, not a number; {len(wrong)} of "
            f"{len(words)} rows are like that. Leave out trials that were not made"
        )
    return numbers


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return math.nan
