"""`genie-robo compare`, also run at the end of a sweep of demos: one table and one figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from genie_robo.commands.checks import find_runs
from genie_robo.commands.command import SweptRun
from genie_robo.comparison.addresses import check_comparison
from genie_robo.comparison.table import write_comparison
from genie_robo.config import CompareConfig, ComparisonConfig, DemoConfig


def run(config: CompareConfig) -> None:
    """Compare existing run folders.

    Raises:
        ValueError: No runs are named, or a column is not the address of a number.
        FileNotFoundError: A name fits no folder.
    """
    _compare(Path(config.folder), dict.fromkeys(find_runs(config.runs), ""), config)


def check_columns(comparison: ComparisonConfig) -> None:
    """Refuse columns that are not addresses of numbers, before any run starts.

    Raises:
        ValueError: A column is not the address of a number.
    """
    if comparison.folder:
        check_comparison(comparison.columns, comparison.horizontal, comparison.curve)


def compare_sweep(runs: Sequence[SweptRun]) -> None:
    """Write the comparison of every sweep folder that the runs name; usually one or none."""
    configured = [(run, run.config) for run in runs if isinstance(run.config, DemoConfig)]
    refused = [f"{run.name}: {_one_line(run.error)}" for run in runs if run.config is None]
    folders = dict.fromkeys(c.comparison.folder for _, c in configured if c.comparison.folder)
    for folder in folders:
        own = [(run, config) for run, config in configured if config.comparison.folder == folder]
        failures = {Path(config.run): _one_line(run.error) for run, config in own}
        _compare(Path(folder), failures, own[0][1].comparison, remarks=refused)


def _compare(
    folder: Path,
    runs: Mapping[Path, str],
    config: CompareConfig | ComparisonConfig,
    remarks: Sequence[str] = (),
) -> None:
    """Write the comparison, then print its table and where it is."""
    page = write_comparison(
        folder,
        runs,
        columns=config.columns,
        horizontal=config.horizontal,
        curve=config.curve,
        remarks=remarks,
    )
    console = Console(highlight=False, soft_wrap=True)
    lines = [line for line in page.read_text().splitlines() if line.startswith(("|", "- "))]
    console.print("\n".join(["", *lines]), markup=False)
    console.print(f"\ncomparison  {page}", markup=False)


def _one_line(error: Exception | None) -> str:
    return "" if error is None else " ".join(str(error).split()) or type(error).__name__
