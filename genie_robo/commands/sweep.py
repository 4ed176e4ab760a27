"""`-m`: Hydra's own multirun on the same task, leaving no files of Hydra behind."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from genie_robo.command_line import literal, quote_text
from genie_robo.commands.command import Command, SweptRun, UsageError
from genie_robo.commands.compose import explain, prepare, to_config
from genie_robo.config_file import conf_dir


def run_sweep(
    command: Command,
    words: Sequence[str],
    *,
    announce: Callable[[str], None],
    expected: tuple[type[Exception], ...],
    report: Callable[[Exception], None],
) -> list[Exception | None]:
    """Run the command for every combination of values; returns their errors, None where they ran.

    A combination that fails with one of the `expected` errors is reported, and the sweep
    continues; a failure of `after_sweep` is one more. Where every combination is refused, nothing
    was started, and `after_sweep` is left out.

    Raises:
        UsageError: The overrides fit no combination.
    """
    name, overrides = prepare(command, words, is_sweep=True)
    runs: list[SweptRun] = []

    def task(composed: Any) -> None:
        title, config, failure = _title(), None, None
        announce(f"sweep {HydraConfig.get().job.num}: {title}")
        try:
            config = to_config(command, composed)
            command.start(config)
        except expected as error:
            failure = error
            report(error)
        runs.append(SweptRun(name=title, config=config, error=failure))

    with tempfile.TemporaryDirectory() as scratch, _hydra_arguments(overrides, scratch):
        try:
            hydra.main(str(conf_dir()), name, version_base="1.3")(task)()
        except HydraException as error:
            raise UsageError(explain(error, command)) from error
    errors = [swept.error for swept in runs]
    if all(isinstance(error, UsageError) for error in errors):
        return errors
    try:
        if after_sweep := command.load_after_sweep():
            after_sweep(runs)
    except expected as error:
        report(error)
        errors.append(error)
    return errors


def _title() -> str:
    """The overrides of the combination that runs, as they would be typed."""
    stored = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    parsed = OverridesParser.create().parse_overrides(cast(list[str], stored))
    values = {each.key_or_group: each.value() for each in parsed}
    return " ".join(f"{key}={value}" for key, value in values.items())


@contextmanager
def _hydra_arguments(overrides: Sequence[str], scratch: str) -> Iterator[None]:
    """Set the arguments that hydra.main reads, and the variable that makes it raise errors."""
    quiet = (
        f"hydra.sweep.dir={quote_text(literal(scratch))}",
        "hydra.sweep.subdir=.",
        "hydra.output_subdir=null",
        "hydra/job_logging=none",
        "hydra/hydra_logging=none",
    )
    arguments, setting = sys.argv, os.environ.get("HYDRA_FULL_ERROR", "0")
    sys.argv = [arguments[0], "--multirun", *overrides, *quiet]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        sys.argv = arguments
        os.environ["HYDRA_FULL_ERROR"] = setting
