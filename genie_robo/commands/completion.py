"""`genie-robo completion`: a script that lets bash or zsh complete command lines.

The script is static: it holds the names of commands, settings, sections and choices.
"""

from collections.abc import Mapping, Sequence

from rich.console import Console

from genie_robo.commands.command import Command
from genie_robo.commands.help import list_choices
from genie_robo.commands.settings import list_settings
from genie_robo.commands.table import command_names, load_command
from genie_robo.config import CompletionConfig, Shell
from genie_robo.config_file import conf_dir

_OPTIONS = ("--help", "--multirun", "--cfg", "--config-dir", "--debug", "--version")
_ZSH = "autoload -U +X bashcompinit && bashcompinit\n"
"""Lets zsh understand the words of bash."""
_SCRIPT = """\
_genie_robo() {{
    local cur="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}"
    local name="${{COMP_WORDS[1]}}" key="" prefix="" offered="" word
    # bash makes three offered of KEY=VALUE, zsh one.
    if [[ "$cur" == ?*=* ]]; then
        key="${{cur%%=*}}" prefix="${{cur%%=*}}=" cur="${{cur#*=}}"
    elif [[ "$cur" == "=" ]]; then
        key="$before" cur=""
    elif [[ "$before" == "=" ]]; then
        key="${{COMP_WORDS[COMP_CWORD-2]}}"
    fi
    if [[ -n "$key" ]]; then
        case "$name:$key" in
{values}
        esac
        if [[ -z "$offered" ]]; then
            compopt -o filenames 2>/dev/null
            COMPREPLY=($(compgen -P "$prefix" -f -- "$cur"))
        else
            COMPREPLY=($(compgen -P "$prefix" -W "$offered" -- "$cur"))
        fi
        return
    fi
    if [[ $COMP_CWORD -eq 1 ]]; then
        offered="{commands} {options}"
    elif [[ " ${{COMP_WORDS[*]}} " == *" --help "* && "$cur" != --help ]]; then
        case "$name" in
{sections}
        esac
    else
        case "$name" in
{settings}
        esac
        offered="$offered {options}"
    fi
    COMPREPLY=()
    for word in $(compgen -W "$offered" -- "$cur"); do
        [[ "$word" == *= || -n "$ZSH_VERSION" ]] || word="$word "
        COMPREPLY+=("$word")
    done
}}
complete -o nospace -F _genie_robo genie-robo
"""


def run(config: CompletionConfig) -> None:
    """Print the script of a shell."""
    console = Console(highlight=False, emoji=False, soft_wrap=True)
    start = _ZSH if config.shell is Shell.zsh else ""
    console.print(start + completion_script(), markup=False, end="")


def completion_script() -> str:
    """The function that completes, for bash."""
    commands = [load_command(name) for name in command_names()]
    return _SCRIPT.format(
        commands=" ".join(command.name for command in commands),
        options=" ".join(_OPTIONS),
        values=_cases({key: words for each in commands for key, words in _values(each).items()}),
        sections=_cases({each.name: _sections(each) for each in commands}),
        settings=_cases({each.name: _keys(each) for each in commands}),
    )


def _keys(command: Command) -> list[str]:
    """`KEY=` of everything that can be set."""
    keys = [s.path for s in list_settings(command.config) if not s.is_section]
    return [f"{key}=" for key in dict.fromkeys([*list_choices(command.name, conf_dir()), *keys])]


def _sections(command: Command) -> list[str]:
    return [setting.path for setting in list_settings(command.config) if setting.is_section]


def _values(command: Command) -> Mapping[str, list[str]]:
    """The values of `COMMAND:KEY`, where they are a choice."""
    found = {key: names for key, names in list_choices(command.name, conf_dir()).items() if names}
    for setting in list_settings(command.config):
        names = setting.type_name.split("|")
        if setting.type_name == "bool":
            found[setting.path] = ["true", "false"]
        elif len(names) > 1 and "str" not in names and not setting.is_section:
            found.setdefault(setting.path, names)
    return {f"{command.name}:{key}": names for key, names in found.items()}


def _cases(words: Mapping[str, Sequence[str]]) -> str:
    """Branches of a `case` that set the words."""
    rows = [(key, " ".join(names)) for key, names in words.items() if names]
    return "\n".join(f"        {key}) offered='{names}' ;;" for key, names in rows)
