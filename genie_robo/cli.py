"""`genie-robo COMMAND KEY=VALUE ...`: find the command, compose its configuration, run it."""

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.logging import RichHandler

from genie_robo.command_line import command_line, printable, without_secrets
from genie_robo.commands.command import Command, UsageError
from genie_robo.commands.console import open_page
from genie_robo.commands.help import (
    list_choices,
    print_command,
    print_overview,
    print_section,
)
from genie_robo.commands.table import load_command
from genie_robo.disk_space import is_no_space, no_space

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

CONFIG_DIR = "--config-dir"
"""The only option with a value: a folder with choices of the user's own."""
_HELP, _SWEEP = frozenset({"--help", "-h"}), frozenset({"-m", "--multirun"})
FLAGS = _HELP | _SWEEP | {"--version", "--debug", "--cfg", CONFIG_DIR}

EXPECTED = (ValueError, LookupError, OSError, ImportError, RuntimeError)
"""Errors that input, files and devices can cause. Anything else is a bug in this program."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    others, config_dirs = _without_config_dirs(words)
    others, sections = _without_sections(others)
    flags = {word for word in others if word.startswith("-")}
    debug = "--debug" in flags
    _set_torch_environment()
    _configure_logging(debug=debug)
    if not debug:
        sys.excepthook = _explain_fault
    try:
        words_of_command = [word for word in others if word not in flags]
        return _dispatch(words_of_command, flags, config_dirs, sections)
    except KeyboardInterrupt as interrupt:
        again, by = (
            without_secrets(command_line(*words)),
            interrupt.args[0] if interrupt.args else "Ctrl-C",
        )
        _say(f"Stopped by {by}. Finished work is kept; run `{again}` to resume.")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except EXPECTED as error:
        if debug:
            raise
        _report(error)
        return USAGE if isinstance(error, UsageError) else FAILED


def _without_config_dirs(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words without --config-dir FOLDER and --config-dir=FOLDER, and these folders."""
    others, folders = [], []
    rest = iter(words)
    for word in rest:
        name, equals, folder = word.partition("=")
        if name == CONFIG_DIR:
            folders.append(folder if equals else next(rest, ""))
        else:
            others.append(word)
    return others, folders


def _without_sections(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words without the sections that follow COMMAND and --help, and these sections."""
    others, sections, needed = [], [], {"a command", "--help"}
    for word in words:
        is_plain = not word.startswith("-") and "=" not in word
        if is_plain and not needed:
            sections.append(word)
            continue
        needed -= {"a command"} if is_plain else {"--help"} if word in _HELP else set()
        others.append(word)
    return others, sections


def _set_torch_environment() -> None:
    """Set how torch uses cores and memory, unless the user has set it.

    Waiting threads spin for a short time only: a long spin slows them down when another process
    is busy, no spin at all when the machine is idle. Memory comes in huge pages, which saves page
    faults (docs/LOG.md). torch reads both when it is imported.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def _dispatch(
    words: Sequence[str], flags: set[str], config_dirs: Sequence[str], sections: Sequence[str]
) -> int:
    if unknown := sorted(flags - FLAGS):
        raise UsageError(
            f"there is no option {' '.join(unknown)}. Options: {' '.join(sorted(FLAGS))}; "
            f"settings have no dashes: give {' '.join(map(_without_dashes, unknown))}"
        )
    if "--version" in flags:
        Console(highlight=False).print(version("genie-robo"))
        return OK
    if not words:
        return _overview(flags)
    command = load_command(words[0])
    settings = command.name_first(words[1:])
    # Hydra takes a third of a second to import, which the list of commands does not need.
    from genie_robo.commands.own_entries import names_by_group, own_entries, read_entries

    entries = read_entries(_config_dir(config_dirs)) if config_dirs else []
    with own_entries(entries):
        if flags & _HELP:
            return _help(command, settings, flags, names_by_group(entries), sections)
        if flags & _SWEEP and "--cfg" not in flags:
            return _sweep(command, settings)
        return _single(command, settings, flags)


def _without_dashes(option: str) -> str:
    """An option as the setting that was probably meant."""
    key, _, value = option.lstrip("-").partition("=")
    return f"{key.replace('-', '_')}={value or 'VALUE'}"


def _config_dir(given: Sequence[str]) -> Path:
    """The folder that --config-dir names once."""
    if len(given) > 1:
        raise UsageError(f"{CONFIG_DIR} is given {len(given)} times: give one folder")
    if not given[0] or "=" in given[0] or given[0].startswith("-"):
        raise UsageError(f"{CONFIG_DIR} needs a folder behind it, which holds data/NAME.yaml")
    return Path(given[0]).expanduser()


def _overview(flags: set[str]) -> int:
    print_overview(open_page())
    return OK if flags & _HELP else USAGE


def _help(
    command: Command,
    overrides: Sequence[str],
    flags: set[str],
    own: Mapping[str, Sequence[str]],
    sections: Sequence[str],
) -> int:
    from genie_robo.commands.compose import compose_config  # see _dispatch
    from genie_robo.config_file import conf_dir

    composed = compose_config(command, overrides, is_sweep=bool(flags & _SWEEP))
    page = open_page()
    for section in sections:
        print_section(page, command, composed, section)
    if not sections:
        choices = list_choices(command.name, conf_dir(), own)
        print_command(page, command, composed, choices, own)
    return OK


def _single(command: Command, overrides: Sequence[str], flags: set[str]) -> int:
    from omegaconf import OmegaConf  # see _dispatch

    from genie_robo.commands.compose import compose_config, to_config

    composed = compose_config(command, overrides, is_sweep=bool(flags & _SWEEP))
    if "--cfg" in flags:
        Console(highlight=False, soft_wrap=True).print(OmegaConf.to_yaml(composed), markup=False)
    else:
        command.start(to_config(command, composed))
    return OK


def _sweep(command: Command, overrides: Sequence[str]) -> int:
    from genie_robo.commands.sweep import run_sweep  # see _dispatch

    errors = run_sweep(command, overrides, announce=_say, expected=EXPECTED, report=_report)
    if all(error is None for error in errors):
        return OK
    return USAGE if all(isinstance(error, UsageError) for error in errors) else FAILED


def _report(error: Exception) -> None:
    """Print one paragraph; a KeyError would quote its own text."""
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    if isinstance(error, OSError) and is_no_space(error):
        text = no_space(error, Path(error.filename or Path.cwd()))
    advice = ""
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        advice = f"; the package {package} is missing or broken: install it, or genie_robo, again"
    _say(f"error: {str(text).strip() or type(error).__name__}{advice}")


def _explain_fault(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
    _say(
        f"error: {kind.__name__}{where}: {error}. This is a bug in genie_robo, not in your "
        "input; run the same command with --debug for the traceback, and report it"
    )


def _say(text: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(printable(text), markup=False)


class _Printable(logging.Filter):
    """Writes out the control characters of messages, which may name what a dataset holds."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the message; it is always kept."""
        record.msg, record.args = printable(record.getMessage()), ()
        return True


class _Once(logging.Filter):
    """Drops repeated messages: several stages of a job may log the same one."""

    def __init__(self) -> None:
        super().__init__()
        self._logged: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this message is new."""
        text = record.getMessage()
        is_new = text not in self._logged
        self._logged.add(text)
        return is_new


def _configure_logging(*, debug: bool) -> None:
    """Show our own messages from INFO up, those of libraries from WARNING up."""
    console, form = Console(stderr=True), "%(message)s"
    handler = RichHandler(console=console, show_time=False, show_path=debug, rich_tracebacks=False)
    if not console.is_terminal:  # where lines are searched, not seen: none is wrapped
        handler, form = logging.StreamHandler(), "%(levelname)-8s %(message)s"
    handler.addFilter(_Printable())
    handler.addFilter(_Once())
    logging.basicConfig(level=logging.WARNING, format=form, handlers=[handler], force=True)
    logging.getLogger("genie_robo").setLevel(logging.DEBUG if debug else logging.INFO)
