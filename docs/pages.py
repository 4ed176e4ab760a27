"""The pages of the documentation that are generated: settings of every command, and notebooks.

mkdocs runs this file as a hook (mkdocs.yml) and adds the pages to those that are stored.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genie_robo.commands.command import Command
from genie_robo.commands.compose import compose_config
from genie_robo.commands.help import OPTIONS, composed_value, list_choices, shown_names
from genie_robo.commands.settings import Setting, list_settings
from genie_robo.commands.table import COMMANDS
from genie_robo.config_file import conf_dir

DOCS = Path(__file__).parent
COMMANDS_PAGE = "reference/commands/index.md"
HEADINGS = ("setting", "type", "value", "meaning")


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages; mkdocs calls this with its own files and configuration."""
    from mkdocs.structure.files import File  # of the extra `docs`, which tests do without

    for path, text in generated_pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def generated_pages() -> dict[str, str]:
    """Markdown by its path in docs/."""
    pages = {COMMANDS_PAGE: _overview()}
    pages |= {f"reference/commands/{name}.md": _command(row) for name, row in COMMANDS.items()}
    for notebook in sorted((DOCS / "notebooks").glob("*.ipynb")):
        pages[f"notebooks/{notebook.stem}.md"] = _notebook(notebook)
    return pages


def _overview() -> str:
    commands = {f"[{name}]({name}.md)": (row.summary,) for name, row in COMMANDS.items()}
    options = {f"`{option}`": (meaning,) for option, meaning in OPTIONS.items()}
    return "\n".join(
        [
            "# Commands",
            "",
            "    genie-robo COMMAND [KEY=VALUE ...] [options]",
            "",
            *_table(("command", "what it does"), commands),
            *_table(("option", "meaning"), options),
        ]
    )


def _command(command: Command) -> str:
    """What `--help` and `--help SECTION` show of a command, all sections on one page."""
    settings = list_settings(command.config)
    values = compose_config(command, [])
    lines = [f"# {command.name}", "", f"{command.summary[0].upper()}{command.summary[1:]}.", ""]
    lines += ["```bash", *command.examples, "```", ""] if command.examples else []
    lines += [f"{command.details.removesuffix('.')}.", ""] if command.details else []
    if choices := list_choices(command.name, conf_dir()):
        rows = {f"`{group}=`": (shown_names(group, names, {}),) for group, names in choices.items()}
        lines += ["## Choices", "", *_table(("setting", "names"), rows)]
    if own := _rows(settings, "", values):
        lines += ["## Settings", "", *_table(HEADINGS, own)]
    for section in (setting for setting in settings if setting.is_section):
        if own := _rows(settings, section.path, values):
            lines += [f"## {section.path}", "", _plain(section.meaning), ""]
            lines += _table(HEADINGS, own)
    return "\n".join(lines)


def _rows(
    settings: Sequence[Setting], section: str, values: Any
) -> Mapping[str, tuple[str, str, str]]:
    """The settings that are in a section itself, not in one inside it."""
    return {
        f"`{setting.path}`": (
            f"`{setting.type_name}`",
            f"`{composed_value(values, setting.path)}`",
            _plain(setting.meaning),
        )
        for setting in settings
        if not setting.is_section and setting.path.rpartition(".")[0] == section
    }


def _plain(text: str) -> str:
    """Text in which only `code` is Markdown."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(p if p.startswith("`") else re.sub(r"([\\*_<|\[\]])", r"\\\1", p) for p in parts)


def _table(headings: Sequence[str], rows: Mapping[str, Sequence[str]]) -> list[str]:
    """The lines of a table; the keys are its first column."""
    lines = [headings, ["---"] * len(headings), *((name, *cells) for name, cells in rows.items())]
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]


def _notebook(path: Path) -> str:
    """The cells of a notebook, below a link to the file itself."""
    title, *cells = _cells(path)
    return "\n\n".join([title, f"This page is a notebook: [{path.name}]({path.name}).", *cells])


def _cells(path: Path) -> Iterator[str]:
    for cell in json.loads(path.read_text())["cells"]:
        source = "".join(cell["source"])
        yield source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```"
