"""comparison.md, comparison.csv and comparison.png of a folder."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

from genie_robo.comparison.figure import column_against, columns_by_variant
from genie_robo.comparison.numbers import check_address
from genie_robo.comparison.table import (
    STANDARD_COLUMNS,
    RunRow,
    csv_text,
    group,
    known_columns,
    missing_lines,
    read_row,
    table_lines,
)
from genie_robo.run_folder import write_atomic


def check_comparison(columns: Mapping[str, str], horizontal: str, curve: str) -> None:
    """Refuse what cannot be compared, before anything is run.

    Raises:
        ValueError: An address that names nothing, or a title that is no column.
    """
    for address in columns.values():
        check_address(address)
    if horizontal and (horizontal not in columns or len(columns) < 2):
        raise ValueError(
            f"comparison.horizontal={horizontal!r} must be the title of one of at least two "
            f"columns; there are: {', '.join(columns) or 'none'}"
        )
    if curve:
        check_address(curve)
        if not curve.startswith("log/"):
            raise ValueError(f"comparison.curve={curve!r} must be logged: log/STAGE/NAME")


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
        folder: Where they go.
        runs: Run folders in the order of the table, and why each one failed or "".
        columns: Title to address; empty takes whatever the runs have.
        horizontal: Title of the column to draw the first one against.
        curve: Address of a logged number to draw over training steps.
        remarks: More lines below the table.

    Raises:
        ValueError: No runs, or none of them has any number.
    """
    check_comparison(columns, horizontal, curve)
    rows = [read_row(run, columns or STANDARD_COLUMNS, failure=why) for run, why in runs.items()]
    if not columns:
        rows = _with_known_columns(rows)
    if not rows:
        raise ValueError("there is nothing to compare: no run folder has any number yet")
    figure = (
        column_against(rows, horizontal, curve=curve) if horizontal else columns_by_variant(rows)
    )
    picture = BytesIO()
    figure.savefig(picture, format="png")
    write_atomic(folder / "comparison.png", picture.getvalue())
    write_atomic(folder / "comparison.csv", csv_text(rows))
    write_atomic(folder / "comparison.md", _page(folder, rows, remarks))
    return folder / "comparison.md"


def _with_known_columns(rows: Sequence[RunRow]) -> list[RunRow]:
    titles = known_columns(rows) if rows else []
    if not titles:
        return []
    return [replace(row, numbers={t: row.numbers[t] for t in titles}) for row in rows]


def _page(folder: Path, rows: Sequence[RunRow], remarks: Sequence[str]) -> str:
    lines = [f"# {folder.name}", "", *table_lines(rows), ""]
    if any(len(runs) > 1 for runs in group(rows).values()):
        lines += [
            "Mean ± standard deviation over seeds. Every run: [comparison.csv](comparison.csv).",
            "",
        ]
    missing = [*missing_lines(rows), *(f"- {remark}" for remark in remarks)]
    if missing:
        lines += ["## Missing", "", *missing, ""]
    lines += ["![comparison](comparison.png)"]
    return "\n".join(lines) + "\n"
