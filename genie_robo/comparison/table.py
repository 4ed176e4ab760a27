"""Runs of a sweep as one table and one figure: comparison.md, comparison.csv and comparison.png."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from genie_robo.comparison.addresses import check_comparison
from genie_robo.comparison.figure import column_against, columns_by_variant
from genie_robo.comparison.numbers import Number, read_number
from genie_robo.run_folder import RunFolder, write_atomic

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
"""The columns of `genie-robo compare` by default."""


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


def write_comparison(
    folder: Path,
    runs: Mapping[Path, str],
    *,
    columns: Mapping[str, str],
    horizontal: str = "",
    curve: str = "",
    remarks: Sequence[str] = (),
) -> Path:
    """Write the table and the figure; returns comparison.md.

    Args:
        folder: Where they are written.
        runs: Run folders in the order of the table, and why each one failed or "".
        columns: Title to address; empty takes every standard column that some run has.
        horizontal: Title of the column to draw the first one against.
        curve: Address of a logged number to draw over training steps.
        remarks: More lines below the table.

    Raises:
        ValueError: No runs, or none of them has any number.
    """
    check_comparison(columns, horizontal, curve)
    rows = [read_row(run, columns or STANDARD_COLUMNS, failure=why) for run, why in runs.items()]
    values = run_table(rows)
    shown = list(columns) or list(values.dropna(axis="columns", how="all"))
    if not rows or not shown:
        raise ValueError("there is nothing to compare: no run folder has any number yet")
    values = values.reindex(columns=shown)
    figure = (
        column_against(values, horizontal, curve=curve)
        if horizontal
        else columns_by_variant(values)
    )
    image = BytesIO()
    figure.savefig(image, format="png")
    write_atomic(folder / "comparison.png", image.getvalue())
    write_atomic(folder / "comparison.csv", values.reset_index().to_csv(index=False))
    write_atomic(folder / "comparison.md", _page(folder.name, rows, shown, remarks))
    return folder / "comparison.md"


def read_row(path: Path, columns: Mapping[str, str], *, failure: str = "") -> RunRow:
    """The numbers of a run folder; VARIANT-seedN is seed N of VARIANT."""
    variant, seed = variant_and_seed(path)
    run = RunFolder.at(path)
    numbers = {title: read_number(run, address) for title, address in columns.items()}
    return RunRow(variant=variant, seed=seed, path=path, numbers=numbers, failure=failure)


def variant_and_seed(path: Path) -> tuple[str, int | None]:
    """Parse a run folder's name; another name than VARIANT-seedN is a variant without a seed."""
    match = re.fullmatch(r"(.+)-seed(\d+)", path.name)
    return (match[1], int(match[2])) if match else (path.name, None)


def run_table(rows: Sequence[RunRow]) -> pd.DataFrame:
    """A row per run, indexed by variant, seed and run folder; NaN where a number is missing."""
    names = pd.DataFrame(
        {
            "variant": [row.variant for row in rows],
            "seed": pd.array([row.seed for row in rows], dtype="Int64"),
            "run": [str(row.path) for row in rows],
        }
    )
    values = [{title: number.value for title, number in row.numbers.items()} for row in rows]
    return pd.DataFrame(values, index=pd.MultiIndex.from_frame(names), dtype=float)


def group(rows: Sequence[RunRow]) -> dict[str, list[RunRow]]:
    """The runs of every variant, in the order in which variants first occur."""
    groups: dict[str, list[RunRow]] = {}
    for row in rows:
        groups.setdefault(row.variant, []).append(row)
    return groups


def summarise(runs: Sequence[RunRow], title: str) -> Cell:
    """Mean and spread of a column over the seeds that have it."""
    values = run_table(runs)[title].dropna().to_numpy()
    mean = float(values.mean()) if len(values) else None
    return Cell(mean, float(values.std(ddof=1)) if len(values) > 1 else None, len(values))


def table_lines(rows: Sequence[RunRow], titles: Sequence[str] = ()) -> list[str]:
    """Markdown: a line for every variant, `mean ± standard deviation` over its seeds."""
    titles = titles or list(rows[0].numbers)
    lines = [["variant", "seeds", *titles]]
    for variant, runs in group(rows).items():
        cells = [cell_text(summarise(runs, title), len(runs)) for title in titles]
        lines.append([variant, str(len(runs)), *cells])
    header, *body = ["| " + " | ".join(line) + " |" for line in lines]
    return [header, "|---" * (len(titles) + 2) + "|", *body]


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


def missing_lines(rows: Sequence[RunRow], titles: Sequence[str] = ()) -> list[str]:
    """A line per incomplete run: its missing numbers, and the reasons."""
    lines = []
    for row in rows:
        reasons: dict[str, list[str]] = {}
        for title in titles or row.numbers:
            if row.numbers[title].value is None:
                reasons.setdefault(row.numbers[title].reason, []).append(title)
        parts = [f"failed: {row.failure}"] if row.failure else []
        parts += [f"{', '.join(lacking)}: {reason}" for reason, lacking in reasons.items()]
        if parts:
            seed = "" if row.seed is None else f", seed {row.seed}"
            lines.append(f"- {row.variant}{seed} ({row.path}). {'; '.join(parts)}")
    return lines


def _page(title: str, rows: Sequence[RunRow], shown: Sequence[str], remarks: Sequence[str]) -> str:
    lines = [f"# {title}", "", *table_lines(rows, shown), ""]
    if len(group(rows)) < len(rows):
        lines += [
            "Mean ± standard deviation over seeds. Every run: [comparison.csv](comparison.csv).",
            "",
        ]
    missing = [*missing_lines(rows, shown), *(f"- {remark}" for remark in remarks)]
    if missing:
        lines += ["## Missing", "", *missing, ""]
    return "\n".join([*lines, "![comparison](comparison.png)"]) + "\n"
