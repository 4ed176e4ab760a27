"""Runs of a sweep as rows of one table: mean and spread over seeds, and what is missing."""

import csv
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from genie_robo.comparison.numbers import Number, read_number
from genie_robo.run_folder import RunFolder

STANDARD_COLUMNS = {
    "tokenizer PSNR (dB)": "eval/tokenizer/psnr",
    "rollout PSNR, frame 4 (dB)": "eval/controllability/psnr/inferred/t4",
    "delta_4 PSNR (dB)": "eval/controllability/delta_psnr/uniform/t4",
    "R2 of codes": "eval/latent_probe/r2",
    "fraction of ceiling": "eval/latent_probe/fraction_of_ceiling",
    "perplexity of codes": "eval/latent_probe/codes/perplexity",
    "validation cross-entropy (nat)": "log/world_model/val_dynamics_loss",
    "validation accuracy": "log/world_model/val_dynamics_accuracy",
    "tokenizer parameters": "parameters/tokenizer",
    "dynamics parameters": "parameters/dynamics",
    "tokenizer (s)": "seconds/tokenizer",
    "world model (s)": "seconds/world_model",
}
"""What `genie-robo compare` looks for when it is not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """The numbers of one run."""

    variant: str
    seed: int | None
    path: Path
    numbers: Mapping[str, Number]
    """By column title."""
    failure: str = ""
    """Why the run ended early, where that is known."""


class Cell(NamedTuple):
    """A number of a variant over its seeds."""

    mean: float | None
    spread: float | None
    """Sample standard deviation; None with fewer than two seeds."""
    num_seeds: int


def read_row(path: Path, columns: Mapping[str, str], *, failure: str = "") -> RunRow:
    """The numbers of a run folder; VARIANT-seedN is seed N of VARIANT."""
    variant, seed = variant_and_seed(path)
    run = RunFolder.at(path)
    numbers = {title: read_number(run, address) for title, address in columns.items()}
    return RunRow(variant=variant, seed=seed, path=path, numbers=numbers, failure=failure)


def variant_and_seed(path: Path) -> tuple[str, int | None]:
    """What a run folder's name says; no seed for another name."""
    match = re.fullmatch(r"(.+)-seed(\d+)", path.name)
    return (match[1], int(match[2])) if match else (path.name, None)


def group(rows: Sequence[RunRow]) -> dict[str, list[RunRow]]:
    """The runs of every variant, variants in the order in which they come first."""
    groups: dict[str, list[RunRow]] = {}
    for row in rows:
        groups.setdefault(row.variant, []).append(row)
    return groups


def summarise(runs: Sequence[RunRow], title: str) -> Cell:
    """Mean and spread of a column over the seeds that have it."""
    values = [v for row in runs if (v := row.numbers[title].value) is not None]
    if not values:
        return Cell(None, None, 0)
    spread = statistics.stdev(values) if len(values) > 1 else None
    return Cell(statistics.fmean(values), spread, len(values))


def table_lines(rows: Sequence[RunRow]) -> list[str]:
    """Markdown: a line for every variant, `mean ± standard deviation` over its seeds."""
    titles = list(rows[0].numbers)
    lines = [
        "| " + " | ".join(["variant", "seeds", *titles]) + " |",
        "|---" * (len(titles) + 2) + "|",
    ]
    for variant, runs in group(rows).items():
        cells = [cell_text(summarise(runs, title), len(runs)) for title in titles]
        lines.append("| " + " | ".join([variant, str(len(runs)), *cells]) + " |")
    return lines


def cell_text(cell: Cell, num_seeds: int) -> str:
    """`31.2 ± 0.3`, with the number of seeds where some are missing."""
    if cell.mean is None:
        return "missing"
    text = number_text(cell.mean)
    if cell.spread:
        text += f" ± {number_text(cell.spread, digits=2)}"
    return text if cell.num_seeds == num_seeds else f"{text} ({cell.num_seeds} of {num_seeds})"


def number_text(value: float, *, digits: int = 4) -> str:
    """Four significant digits, and all digits of whole thousands."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"


def missing_lines(rows: Sequence[RunRow]) -> list[str]:
    """What every incomplete run lacks, and why."""
    lines = []
    for row in rows:
        reasons: dict[str, list[str]] = {}
        for title, number in row.numbers.items():
            if number.value is None:
                reasons.setdefault(number.reason, []).append(title)
        if not reasons and not row.failure:
            continue
        seed = "" if row.seed is None else f", seed {row.seed}"
        parts = [f"{', '.join(titles)}: {reason}" for reason, titles in reasons.items()]
        failed = [f"failed: {row.failure}"] if row.failure else []
        lines.append(f"- {row.variant}{seed} ({row.path}). {'; '.join([*failed, *parts])}")
    return lines


def csv_text(rows: Sequence[RunRow]) -> str:
    """One line for every run, in full precision; a missing number is an empty cell."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["variant", "seed", "run", *rows[0].numbers])
    for row in rows:
        seed = "" if row.seed is None else row.seed
        values = ["" if n.value is None else n.value for n in row.numbers.values()]
        writer.writerow([row.variant, seed, row.path, *values])
    return text.getvalue()


def known_columns(rows: Sequence[RunRow]) -> list[str]:
    """Titles that at least one run has a number for."""
    titles = rows[0].numbers
    return [t for t in titles if any(row.numbers[t].value is not None for row in rows)]
