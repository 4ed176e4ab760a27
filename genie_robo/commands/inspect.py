"""`genie-robo inspect`: what is in an RLDS folder, before anything is trained on it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genie_robo.commands.base import Command
from genie_robo.config import InspectConfig

if TYPE_CHECKING:
    from genie_robo.commands.dataset_facts import DatasetFacts

SHOWN_PROBLEMS = 20


def run(config: InspectConfig) -> None:
    """Print what is there; write inspect.json and a contact sheet when a folder is given."""
    from genie_robo.commands.dataset_facts import collect_facts
    from genie_robo.pictures import write_png
    from genie_robo.run_folder import write_atomic

    facts, sheet = collect_facts(Path(config.path))
    console = Console(highlight=False)
    for part in describe(facts):
        console.print(part, soft_wrap=isinstance(part, str))
    if config.output:
        folder = Path(config.output)
        write_atomic(folder / "inspect.json", json.dumps(asdict(facts), indent=2) + "\n")
        if sheet:
            write_png(folder / "contact_sheet.png", sheet)
        console.print(f"\nwritten to {folder}")


def describe(facts: "DatasetFacts") -> Iterator[str | Table]:
    """The parts of the page, from top to bottom."""
    yield f"[bold]{facts.name}[/bold]  {escape(facts.folder)}"
    yield (
        f"{facts.file_format}, {facts.num_shards} shards, {facts.size_mb:.1f} MB, "
        f"fingerprint {facts.fingerprint}"
    )
    yield "\n[bold]Splits as stored[/bold]"
    yield _table(
        ("split", "episodes", "repeated", "unreadable", "steps: least", "median", "most"),
        [tuple(asdict(split).values()) for split in facts.splits],
    )
    yield "\n[bold]Columns of a step[/bold]"
    yield _table(("key", "type"), list(facts.columns.items()))
    if facts.actions:
        yield f"\n[bold]Actions[/bold] as data={facts.fits[0]} reads them"
        yield _table(
            ("dimension", "unit", "mean", "std", "q01", "median", "q99"),
            [tuple(asdict(action).values()) for action in facts.actions],
        )
    yield "\n[bold]To know[/bold]"
    fits = " or ".join(f"data={name}" for name in facts.fits) or "data=rlds data.source.camera=KEY"
    yield escape(f"  train on it with {fits} data.path={facts.folder}")
    for problem in facts.problems[:SHOWN_PROBLEMS]:
        yield escape(f"  {problem}")
    if len(facts.problems) > SHOWN_PROBLEMS:
        yield f"  and {len(facts.problems) - SHOWN_PROBLEMS} more"


def _table(columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(f"  {column}" if number == 0 else column, overflow="fold")
    for first, *others in rows:
        cells = [f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in others]
        table.add_row(f"  {escape(str(first))}", *map(escape, cells))
    return table


COMMAND = Command(
    name="inspect",
    summary="what is in an RLDS folder: columns, splits, actions, problems, pictures",
    config=InspectConfig,
    run=run,
    details=(
        "Reads every record once and checks it. Says which data=NAME fits, and with output=FOLDER "
        "writes inspect.json and a contact sheet."
    ),
    examples=(
        "genie-robo inspect path=runs/demo/dataset",
        "genie-robo inspect path=~/rlds/bridge_dataset output=bridge_report",
    ),
)
