"""Help pages: the list of commands, one command, and the sections of its settings."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from genie_robo.commands.command import Command, UsageError
from genie_robo.commands.console import print_command_line, print_rows, print_text
from genie_robo.commands.settings import Setting, list_settings
from genie_robo.commands.table import command_names, did_you_mean, load_command

OPTIONS = {
    "--help": "explain the tool, or the command before it",
    "--help SECTION": "after a command: all settings of a section, such as `train --help data`",
    "-m, --multirun": "run once for every combination of values such as seed=1,2,3",
    "--cfg": "print the composed configuration and stop",
    "--config-dir FOLDER": "also offer the choices in FOLDER/data/NAME.yaml, FOLDER/model/..., "
    "see docs/data.md",
    "--debug": "show the traceback of an error, and log more",
    "--version": "print the version",
}
_ON_ONE_PAGE = 20
"""Settings of a command that are shown without sections."""
_DATA = "data"
"""The group with too many names for a page."""
_OPEN_DATA = ("lerobot", "rlds", "tabletop")
"""Its choices that are no datasets of Open X-Embodiment."""


def print_overview(console: Console) -> None:
    """What the tool is and which commands are installed."""
    print_text(
        console,
        f"genie-robo {version('genie-robo')}: a Genie world model for robot data, trained on RLDS "
        "or LeRobot folders without action labels, probed against the true actions, shown next to "
        "MuJoCo.",
    )
    _print_heading(console, "Usage")
    print_text(console, "genie-robo COMMAND [KEY=VALUE ...] [options]", indent=2)
    _print_heading(console, "Commands")
    print_rows(console, {name: _summary(name) for name in command_names()})
    _print_heading(console, "Options")
    print_rows(console, OPTIONS)
    console.print()
    print_text(
        console,
        "Start with `genie-robo demo`. `genie-robo COMMAND --help` explains a command.",
    )


def print_command(
    console: Console,
    command: Command,
    composed: Any,
    choices: Mapping[str, Sequence[str]],
    own: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """What a command does, examples, and its settings, the most used first; sections by name.

    `composed` is the configuration that the overrides so far give: the values shown are those
    that would be used. `choices` are the names that config groups take, by group, of which `own`
    come from --config-dir.
    """
    settings = list_settings(command.config)
    print_text(console, f"genie-robo {command.name}: {command.summary}")
    if command.examples:
        _print_heading(console, "Examples")
        for example in command.examples:
            print_command_line(console, example)
    first = _first_settings(command, settings)
    if first:
        _print_heading(console, "Settings")
        print_rows(console, _described(first, composed))
    if choices:
        _print_heading(console, "Choices")
        names = {f"{group}=": shown_names(group, choices[group], own or {}) for group in choices}
        print_rows(console, names)
    sections = [setting for setting in settings if _is_top(setting) and setting.is_section]
    if sections and len(first) < sum(not setting.is_section for setting in settings):
        _print_heading(console, f"More settings: genie-robo {command.name} --help SECTION")
        print_rows(console, {section.path: _size(section, settings) for section in sections})
    if command.details:
        _print_heading(console, "Details")
        print_text(console, command.details, indent=2)
    console.print()
    print_text(console, f"Options: {'; '.join(OPTIONS)}. `genie-robo --help` explains them.")


def print_section(console: Console, command: Command, composed: Any, section: str) -> None:
    """Every setting of a section, with those of the sections inside it.

    Raises:
        UsageError: The command has no such section; lists those that it has.
    """
    settings = list_settings(command.config)
    sections = {setting.path: setting for setting in settings if setting.is_section}
    if section not in sections:
        known = f"It has: {', '.join(sections)}" if sections else "It has none"
        raise UsageError(
            f"{command.name} has no section {section!r}.{did_you_mean(section, sections)} {known}"
        )
    print_text(console, f"genie-robo {command.name}, {section}: {sections[section].meaning}")
    for path in [section, *(path for path in sections if path.startswith(f"{section}."))]:
        if path == section:
            console.print()
        else:
            _print_heading(console, f"{path}: {sections[path].meaning}")
        own = [s for s in _inside(path, settings) if s.path.rpartition(".")[0] == path]
        print_rows(console, _described(own, composed))


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


def _first_settings(command: Command, settings: Sequence[Setting]) -> list[Setting]:
    """The most used ones, then the others that are in no section; all if they are few."""
    by_path = {setting.path: setting for setting in settings if not setting.is_section}
    common = [by_path[path] for path in command.common]
    is_short = len(by_path) <= _ON_ONE_PAGE
    others = [s for s in by_path.values() if (is_short or _is_top(s)) and s not in common]
    return [*common, *others]


def _is_top(setting: Setting) -> bool:
    return "." not in setting.path


def _inside(section: str, settings: Sequence[Setting]) -> list[Setting]:
    """The settings of a section and of those inside it."""
    return [s for s in settings if s.path.startswith(f"{section}.") and not s.is_section]


def _size(section: Setting, settings: Sequence[Setting]) -> str:
    """How many settings a section has, and what it is."""
    count = len(_inside(section.path, settings))
    return f"{count} setting{'s' * (count > 1)}: {section.meaning}"


def _described(settings: Sequence[Setting], composed: Any) -> dict[str, str]:
    """`KEY=VALUE` with its meaning and type."""
    rows = {}
    for setting in settings:
        value = composed_value(composed, setting.path)
        meaning = f"{setting.meaning} " if setting.meaning else ""
        needed = ", required" if value == _REQUIRED else ""
        shown = "" if value in ("-", _REQUIRED) else value
        rows[f"{setting.path}={shown}"] = f"{meaning}({setting.type_name}{needed})"
    return rows


_REQUIRED = "required"


def composed_value(composed: Any, path: str) -> str:
    """The composed value as it is written on the command line."""
    *sections, last = path.split(".")
    for section in sections:
        composed = composed and composed.get(section)
    if composed is None:
        return "-"
    node = composed._get_node(last)
    raw = node._value() if node is not None else None
    if raw == "???":
        return _REQUIRED
    if isinstance(raw, dict):
        return f"[{','.join(raw)}]" if raw else "{}"
    if isinstance(raw, list):
        return "[" + ",".join(str(item._value()) for item in raw) + "]"
    if isinstance(raw, bool) or raw is None:
        return {True: "true", False: "false", None: "null"}[raw]
    return getattr(raw, "name", str(raw)) or "''"


def shown_names(group: str, names: Sequence[str], own: Mapping[str, Sequence[str]]) -> str:
    """The names of a group; of the datasets only those that a page has room for."""
    if group != _DATA:
        return ", ".join(names)
    shown = [*own.get(_DATA, ()), *_OPEN_DATA]
    num_others = len(set(names) - set(shown))
    return f"{', '.join(shown)}, and {num_others} more, which `genie-robo datasets` lists"


def _summary(name: str) -> str:
    try:
        return load_command(name).summary
    except ImportError as error:
        return f"(cannot be loaded: {error})"


def _print_heading(console: Console, title: str) -> None:
    console.print()
    print_text(console, title, style="bold")
