"""A table of trials as a CSV file of any origin."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from genie_robo.command_line import printable
from genie_robo.eval_suites.audit.trials import Outcomes

MAX_BYTES = 64 * 2**20
MAX_ROWS = 200_000
NEEDED = ("policy", "trial", "predicted", "true")
TASK, START = "task", "start"
BLIND = "blind_"
"""Columns that begin so are predictions of judges that see no pixels."""
LARGEST = 1e12
"""Beyond it sums of squares would lose or overflow."""
_WORDS = {"true": "1", "false": "0"}


def read_trials(path: Path) -> Mapping[str, Outcomes]:
    """All trials under the name "", and those of each task where there is a column `task`.

    Columns: policy, trial, predicted and true (success, 0 to 1, or any other value of a trial), and
    optional ones: task, start (by default trials with one name share their start, whatever their
    policy and task), and blind_NAME for predictions without pixels. Others are ignored.

    Raises:
        ValueError: The file is no such table; names the line.
    """
    table = _read(path)
    trial = [str(name) for name in table["trial"]]
    start = [str(name) for name in table[START if START in table else "trial"]]
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
        start=start,
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
        how = {"dtype": str, "keep_default_na": False, "skip_blank_lines": False}
        names = pd.read_csv(path, **how, header=None, nrows=1).iloc[0].tolist()
        table = pd.read_csv(path, **how, nrows=MAX_ROWS + 1)
    except (ValueError, UnicodeDecodeError) as error:  # pandas' parser errors are ValueErrors
        raise ValueError(f"{path} is no CSV table: {error}") from error
    if not isinstance(table.index, pd.RangeIndex):
        raise ValueError(f"{path} is no CSV table: its rows have more cells than its header")
    if len(table) > MAX_ROWS:
        raise ValueError(f"{path} has more than {MAX_ROWS:,} rows; audit means of repeated trials")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{path} has the column {twice[0]} more than once; leave one of them out")
    table = table[(table != "").any(axis=1)].map(printable)  # the index still counts blank lines
    _check(table, path)
    return table


def _check(table: pd.DataFrame, path: Path) -> None:
    """Refuse a table without a needed column or a name in one of its rows."""
    if missing := [name for name in NEEDED if name not in table]:
        raise ValueError(
            f"{path} lacks the column {' and '.join(missing)}; it has {', '.join(table)[:200]}. A "
            f"table of trials has a row for each trial with {', '.join(NEEDED)}"
        )
    for name in ("policy", "trial", TASK, START):
        if name in table and (empty := np.flatnonzero(table[name].str.strip() == "")).size:
            raise ValueError(f"{path}, line {_line(table, empty[0])}: {name} is empty; name it")


def _line(table: pd.DataFrame, row: int) -> int:
    """The line of the file that a row was read from."""
    return int(table.index[row]) + 2


def _numbers(table: pd.DataFrame, name: str, path: Path) -> Float[np.ndarray, " n"]:
    """A column of words as numbers; `true` is 1 and `false` 0."""
    words = table[name].str.strip().str.lower()
    numbers = np.asarray(pd.to_numeric(words.replace(_WORDS), errors="coerce"), dtype=np.float64)
    wrong = np.flatnonzero(~(np.abs(numbers) <= LARGEST))
    if len(wrong):
        row = int(wrong[0])
        raise ValueError(
            f"{path}, line {_line(table, row)}: {name} is {words.iloc[row][:40]!r}, not a number "
            f"of at most {LARGEST:g}; {len(wrong)} of {len(words)} rows are like that. Leave out "
            "trials that were not made"
        )
    return numbers
