"""Help pages: the list of commands, and one command with all its settings."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genie_robo.commands.settings import Setting, list_settings
from genie_robo.commands.table import Command, command_names, load_command

OPTIONS = {
    "--help": "explain the tool, or the command before it",
    "-m, --multirun": "run once for every combination of values such as seed=1,2,3",
    "--cfg": "print the composed configuration and stop",
    "--config-dir FOLDER": "also offer the choices in FOLDER/data/NAME.yaml, FOLDER/model/..., "
    "see docs/data.md",
    "--debug": "show the traceback of an error, and log more",
    "--version": "print the version",
}

_PIPED_WIDTH = 180


def help_console() -> Console:
    """Standard output; a fixed width when it is not a terminal, so that pages can be searched."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PIPED_WIDTH)


def print_overview(console: Console) -> None:
    """What the tool is and which commands are installed."""
    console.print(
        f"[bold]genie-robo {version('genie-robo')}[/bold]: a Genie world model for robot data, "
        "trained on RLDS without action labels, probed against the true actions, shown next to "
        "MuJoCo."
    )
    _print_heading(console, "Usage")
    console.print(escape("  genie-robo COMMAND [KEY=VALUE ...] [options]"))
    _print_heading(console, "Commands")
    console.print(_pairs({name: _summary(name) for name in command_names()}))
    _print_heading(console, "Options")
    console.print(_pairs(OPTIONS))
    console.print("\nStart with `genie-robo demo`. `genie-robo COMMAND --help` explains a command.")


def print_command(
    console: Console, command: Command, composed: Any, choices: Mapping[str, Sequence[str]]
) -> None:
    """What a command does, examples, and every setting with its type, value and meaning.

    `composed` is the configuration that the overrides so far give: the values shown are those
    that would be used. `choices` are the names that config groups take, by group.
    """
    console.print(f"[bold]genie-robo {command.name}[/bold]: {escape(command.summary)}")
    if command.details:
        console.print(f"\n{escape(command.details)}")
    if command.examples:
        _print_heading(console, "Examples")
        for example in command.examples:
            console.print(escape(f"  {example}"), soft_wrap=True)
    if choices:
        _print_heading(console, "Choices")
        console.print(_pairs({f"{key}=": ", ".join(names) for key, names in choices.items()}))
    _print_heading(console, "Settings")
    console.print(_settings_table(list_settings(command.config), composed))
    _print_heading(console, "Options")
    console.print(_pairs(OPTIONS))


def list_choices(
    name: str, conf_dir: Path, own: Mapping[str, Sequence[str]] | None = None
) -> dict[str, list[str]]:
    """The config groups that a command takes, with the names of their files and of one's own."""
    path = conf_dir / f"{name}.yaml"
    if not path.exists():
        return {}
    defaults = yaml.safe_load(path.read_text())["defaults"]
    groups = [key for entry in defaults if isinstance(entry, dict) for key in entry]
    found = {}
    for group in groups:
        folder = group.partition("@")[0]
        stems = [file.stem for file in (conf_dir / folder).glob("*.yaml")]
        found[group] = sorted([*stems, *(own or {}).get(folder, ())])
    return found


def _settings_table(settings: Sequence[Setting], composed: Any) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=True)
    table.add_column("  setting", style="cyan", no_wrap=True)
    table.add_column("type", overflow="fold")
    table.add_column("value", overflow="fold")
    table.add_column("meaning")
    for setting in settings:
        style = "bold" if setting.is_section else None
        kind = "" if setting.is_section else setting.type_name
        value = "" if setting.is_section else escape(_value(composed, setting.path))
        row = (f"  {setting.path}", escape(kind), value, escape(setting.meaning))
        table.add_row(*row, style=style)
    return table


def _value(composed: Any, path: str) -> str:
    """The composed value as it is written on the command line."""
    *sections, last = path.split(".")
    for section in sections:
        composed = composed and composed.get(section)
    if composed is None:
        return "-"
    node = composed._get_node(last)
    raw = node._value() if node is not None else None
    if raw == "???":
        return "required"
    if isinstance(raw, dict):
        return ", ".join(raw) or "{}"
    if isinstance(raw, list):
        return "[" + ",".join(str(item._value()) for item in raw) + "]"
    if isinstance(raw, bool) or raw is None:
        return {True: "true", False: "false", None: "null"}[raw]
    return getattr(raw, "name", str(raw)) or "''"


def _summary(name: str) -> str:
    try:
        return load_command(name).summary
    except ImportError as error:
        return f"(cannot be loaded: {error})"


def _pairs(rows: dict[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column()
    for left, right in rows.items():
        table.add_row(f"  {escape(left)}", escape(right))
    return table


def _print_heading(console: Console, title: str) -> None:
    console.print(f"\n[bold]{title}[/bold]")
