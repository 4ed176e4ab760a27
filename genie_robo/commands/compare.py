"""`genie-robo compare`, and what a sweep of demos ends with: one table and one figure."""

from collections.abc import Sequence
from pathlib import Path

from genie_robo.commands.base import Command, SweptRun
from genie_robo.config import CompareConfig, ComparisonConfig, DemoConfig


def run(config: CompareConfig) -> None:
    """Compare run folders that are there.

    Raises:
        ValueError: No runs are named, or a column is none.
        FileNotFoundError: A name fits no folder.
    """
    from genie_robo.comparison.write import write_comparison

    page = write_comparison(
        Path(config.folder),
        dict.fromkeys(find_runs(config.runs), ""),
        columns=config.columns,
        horizontal=config.horizontal,
        curve=config.curve,
    )
    _show(page)


def find_runs(patterns: Sequence[str]) -> list[Path]:
    """Run folders by name, `*` standing for any part of it, in the order given.

    Raises:
        ValueError: No name is given.
        FileNotFoundError: A name fits no run folder.
    """
    if not patterns:
        raise ValueError("there is nothing to compare: give runs=[FOLDER,FOLDER]")
    found: list[Path] = []
    for pattern in patterns:
        path = Path(pattern)
        anchor = Path(path.anchor)
        fits = sorted(anchor.glob(str(path.relative_to(anchor)))) if "*" in pattern else [path]
        fits = [fit for fit in fits if (fit / "config.yaml").exists()]
        if not fits:
            raise FileNotFoundError(
                f"{pattern} is no run folder: there is no {pattern}/config.yaml. Name folders "
                "that `genie-robo train` or `genie-robo demo` has made"
            )
        found += [fit for fit in fits if fit not in found]
    return found


def check_columns(comparison: ComparisonConfig) -> None:
    """Refuse a comparison of numbers that no run can have, before a run is begun.

    Raises:
        ValueError: A column is none.
    """
    if comparison.folder:
        from genie_robo.comparison.write import check_comparison

        check_comparison(comparison.columns, comparison.horizontal, comparison.curve)


def compare_sweep(runs: Sequence[SweptRun]) -> None:
    """Write the comparison of every sweep folder that the runs name; usually one or none."""
    from genie_robo.comparison.write import write_comparison

    known = [(run, run.config) for run in runs if isinstance(run.config, DemoConfig)]
    refused = [f"{run.name}: {_one_line(run.error)}" for run in runs if run.config is None]
    folders = dict.fromkeys(c.comparison.folder for _, c in known if c.comparison.folder)
    for folder in folders:
        own = [(run, config) for run, config in known if config.comparison.folder == folder]
        comparison = own[0][1].comparison
        page = write_comparison(
            Path(folder),
            {Path(config.run): _one_line(run.error) for run, config in own},
            columns=comparison.columns,
            horizontal=comparison.horizontal,
            curve=comparison.curve,
            remarks=refused,
        )
        _show(page)


def _one_line(error: Exception | None) -> str:
    return "" if error is None else " ".join(str(error).split()) or type(error).__name__


def _show(page: Path) -> None:
    """The table on the console, and where it lies."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    lines = [line for line in page.read_text().splitlines() if line.startswith(("|", "- "))]
    console.print("\n".join(["", *lines]), markup=False)
    console.print(f"\ncomparison  {page}")


COMMAND = Command(
    name="compare",
    summary="put the numbers of several runs into one table and one figure",
    config=CompareConfig,
    run=run,
    details=(
        "Run folders called VARIANT-seedN are seeds of one variant: the table gives their mean "
        "and standard deviation. Columns are addresses of numbers, such as "
        "eval/controllability/delta_psnr/uniform/t4, log/world_model/val_dynamics_loss or "
        "parameters/dynamics; without any, whatever the runs have is compared. A number that a "
        "run lacks is called missing, with the reason. Writes comparison.md, comparison.csv and "
        "comparison.png to `folder`. `genie-robo demo -m experiment=NAME` ends in the same: "
        "docs/experiments.md"
    ),
    examples=(
        "genie-robo compare runs=[runs/demo,runs/longer]",
        "genie-robo compare 'runs=[runs/ablation_tokenizer/*]' folder=runs/ablation_tokenizer",
        "genie-robo compare runs=[runs/a,runs/b] 'columns={PSNR: eval/tokenizer/psnr}'",
    ),
)
