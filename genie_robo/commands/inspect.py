"""`genie-robo inspect`: facts about an RLDS or LeRobot folder, printed and written."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape as escape_markup
from rich.table import Table

from genie_robo.command_line import command_line, printable, write_setting
from genie_robo.commands.checks import check_written, inspected_data
from genie_robo.commands.console import open_console
from genie_robo.config import InspectConfig
from genie_robo.inspection.entry import entry_text
from genie_robo.inspection.facts import DatasetFacts, inspect_dataset
from genie_robo.inspection.figures import draw_figures
from genie_robo.inspection.motion import Motion
from genie_robo.inspection.recording import record_dataset
from genie_robo.run_folder import write_atomic
from genie_robo.run_paths import is_other
from genie_robo.sim.contact import CLIP_ACTIONS
from genie_robo.video_files import write_png

SHOWN_PROBLEMS, SHOWN_FITS = 20, 5
SHOWN_STATISTICS = ("mean", "std", "min", "q01", "median", "q99", "max")
RECORDING = "episodes.rrd"
_ALWAYS_SHOWN = ("action.motion", "action.joints_motion")
"""Proposed settings that matter even where they are defaults."""


def run(config: InspectConfig) -> None:
    """Print the facts; with a folder, write inspect.json, figures and a recording too.

    Raises:
        FileNotFoundError: There is no dataset, or a shard is missing.
        FileExistsError: `write` names a file that is there, and overwrite is not set.
        KeyError: `data` names a key that is not there.
        ValueError: A file is damaged, or `data` or `write` does not fit.
    """
    data = inspected_data(config)
    check_written(config)
    max_pixels = data.max_image_pixels
    given = data.source if is_other(config.data) else None
    found = inspect_dataset(data.path, given, data=data)
    facts = found.facts
    console = open_console()
    entry = Path(config.write) if config.write and found.source else None
    print_facts(console, facts, entry)
    if config.write:
        write_atomic(Path(config.write), entry_text(found))
        console.print(f"\nwritten: {config.write}", markup=False, soft_wrap=True)
    if config.output:
        folder = Path(config.output)
        write_atomic(folder / "inspect.json", json.dumps(asdict(facts), indent=2) + "\n")
        figures = draw_figures(
            found.index, found.source, found.seen, found.commanded, max_pixels=max_pixels
        )
        for name, figure in figures.items():
            write_png(folder / name, figure)
        written = ", ".join(["inspect.json", *figures])
        console.print(f"\nwritten to {folder}: {written}", markup=False, soft_wrap=True)
        if config.num_episodes and facts.cameras and facts.num_seen:
            path = folder / RECORDING
            num_shown = record_dataset(
                path,
                found.index,
                found.source,
                num_episodes=config.num_episodes,
                max_pixels=max_pixels,
            )
            watch = command_line("view", write_setting("path", path))
            console.print(f"{num_shown} episodes to watch: {watch}", markup=False, soft_wrap=True)


def print_facts(console: Console, facts: DatasetFacts, entry: Path | None = None) -> None:
    """Print the page; lines are never broken, cells of tables only where they must be."""
    for part in describe(facts, entry):
        console.print(part, soft_wrap=isinstance(part, str))


def describe(facts: DatasetFacts, entry: Path | None = None) -> Iterator[str | Table]:
    """The parts of the page, from top to bottom; `entry` is where its settings are written to."""
    yield f"[bold]{escape(facts.name)}[/bold]  {escape(facts.folder)}"
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
        yield f"\n[bold]Actions[/bold] as {facts.read_as}, all episodes"
        yield _table(
            ("dimension", *SHOWN_STATISTICS),
            [
                (f"{action.name} {action.unit}", *(getattr(action, s) for s in SHOWN_STATISTICS))
                for action in facts.actions
            ],
        )
    if facts.motion:
        yield _describe_motion(facts.motion, facts.better_lag)
    if facts.share_of_clips_that_move_a_box is not None:
        share = f"{100 * facts.share_of_clips_that_move_a_box:.0f} %"
        yield f"  {share} of clips of {CLIP_ACTIONS} actions move a box."
    yield f"\n[bold]Problems[/bold], of {facts.num_seen} episodes looked at one by one"
    for problem in facts.problems[:SHOWN_PROBLEMS]:
        yield escape(f"- {problem.text}")
    if len(facts.problems) > SHOWN_PROBLEMS:
        yield f"- and {len(facts.problems) - SHOWN_PROBLEMS} more"
    if not facts.problems:
        yield "- none found"
    for note in facts.notes:
        yield escape(f"- note: {note.text}")
    yield from _describe_use(facts, entry)


def _describe_motion(motion: Motion, better_lag: int | None) -> str:
    """Size and step of the commands, and the setting that corrects the step."""
    alike, advice = motion.correlation, ""
    if better_lag is not None:
        advice = (
            f" and {alike[-1]:.2f} with the previous step's; data.source.action.lag={better_lag} "
            "reads them with the motion that they fit best"
        )
    return (
        f"  Commanded translations are {motion.ratio:.3g} times the achieved ones. They "
        f"correlate {alike[0]:.2f} with their own step's motion, {alike[1]:.2f} with the next "
        f"step's{advice}."
    )


def _describe_use(facts: DatasetFacts, entry: Path | None) -> Iterator[str | Table]:
    """How to train on it: with a file that fits, or with a proposed mapping and its reasons."""
    place = write_setting("data.path", facts.folder)
    train = f"{command_line('train', 'run=runs/NAME', place)} {facts.words} {facts.model}".strip()
    again = f"{command_line('inspect', write_setting('path', facts.folder))} {facts.words}"
    if entry:
        chosen = ("--config-dir", str(entry.absolute().parents[1]), f"data={entry.stem}")
        train = f"{command_line('train', *chosen, 'run=runs/NAME')} {facts.model}".strip()
        again = command_line("inspect", *chosen)
    proposal = facts.proposal
    if proposal is None:
        yield "\n[bold]Train on it[/bold]"
        yield escape(train)
        return
    yield f"\n[bold]Proposal[/bold], as no file in conf/data/ is named {escape(facts.name)}"
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(overflow="fold")
    grid.add_column()
    for part in proposal.parts:
        if not proposal.is_default(part) or part.setting in _ALWAYS_SHOWN:
            setting = f"  {part.setting}={part.value or repr('')}"
            grid.add_row(escape(setting), escape(f"{part.confidence}: {part.why}"))
    yield grid
    for missing in proposal.missing:
        yield escape(f"- no {missing}")
    if facts.fits:
        shown = ", ".join(facts.fits[:SHOWN_FITS])
        if len(facts.fits) > SHOWN_FITS:
            shown += f" and {len(facts.fits) - SHOWN_FITS} more"
        yield escape(f"- the keys fit data={shown} too, where they may mean other things")
    yield "Check the images, correct what is wrong, and inspect it again before training:"
    yield escape(again)
    yield escape(train)


def _table(columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        is_number = bool(rows) and not isinstance(rows[0][number], str)
        justify = "right" if is_number else "left"
        table.add_column(f"  {column}" if number == 0 else column, overflow="fold", justify=justify)
    for first, *others in rows:
        table.add_row(f"  {escape(str(first))}", *(escape(_cell(cell)) for cell in others))
    return table


def escape(text: str) -> str:
    """Text of a dataset that is neither markup nor a command to the terminal."""
    return escape_markup(printable(text))


def _cell(value: Any) -> str:
    """Numbers to a tenth of a millimetre, so that a row fits into 80 characters."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:z.4f}" if abs(value) < 100 else f"{value:.4g}"
