"""`genie-robo eval`: measurements on the held-out episodes of a run."""

import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from hydra.utils import instantiate
from rich.console import Console
from rich.table import Table

from genie_robo.commands.checks import runs_to_measure
from genie_robo.commands.console import open_console
from genie_robo.comparison.paired import PairedRuns, cells, headings, write_paired
from genie_robo.comparison.shared import check_shared, settings_of
from genie_robo.config import EvalConfig, FitOn
from genie_robo.eval_context import eval_context
from genie_robo.eval_suites.base import EvalSuite, SuiteResult, run_suite
from genie_robo.eval_suites.bounds import check_settings, check_window
from genie_robo.eval_suites.comparing import compare
from genie_robo.eval_suites.plug_names import check_plugs
from genie_robo.eval_suites.plugs import plug, plug_notes
from genie_robo.eval_suites.results import format_value, write_result
from genie_robo.eval_suites.selfcheck import ANSWERS, SelfCheck, check
from genie_robo.eval_suites.table import Metric
from genie_robo.provenance import git_commit
from genie_robo.run_folder import COMPARISON
from genie_robo.run_lock import only_writer
from genie_robo.trained_run import TrainedRun, open_run
from genie_robo.types import Split

_log = logging.getLogger(__name__)


def run(config: EvalConfig) -> None:
    """Evaluate every suite that was asked for and write its folder; compare several runs.

    Raises:
        ValueError: Runs share no test episode, so that they cannot be compared.
    """
    suites = _check_metrics(build_suites(config.suite))
    if not suites:
        return
    names = runs_to_measure(config)
    check_plugs(world_model=config.world_model, encoder=config.encoder)
    opened = {name: _open(name, config) for name in names}
    for trained, suite in itertools.product(opened.values(), suites):
        check_window(suite, trained.config.world_model.num_frames)
    with only_writer(*(trained.folder for trained in opened.values())):
        _evaluate_runs(config, suites, opened)


def _open(name: str, config: EvalConfig) -> TrainedRun:
    return open_run(
        name, device=config.device, data=config.data, other_dataset=config.other_dataset
    )


def _evaluate_runs(
    config: EvalConfig, suites: Sequence[EvalSuite], opened: Mapping[str, TrainedRun]
) -> None:
    notes = check_shared(opened) if len(opened) > 1 else []
    results = {name: _evaluate(config, trained, suites) for name, trained in opened.items()}
    if len(opened) > 1:
        for number, suite in enumerate(suites):
            found = {name: by_suite[number] for name, by_suite in results.items()}
            _compare(config, suite.name, found, opened, notes)


def build_suites(settings: Mapping[str, Any]) -> list[EvalSuite]:
    """Suites by name, built before anything slow, so that a wrong parameter is refused at once.

    Raises:
        ValueError: A parameter does not fit.
    """
    try:
        suites = [instantiate(suite) for suite in settings.values()]
    except HydraException as error:
        if isinstance(error.__cause__, ValueError | OSError | ImportError):  # a suite's own check
            raise error.__cause__ from error
        raise ValueError(
            f"a suite cannot be built: {' '.join(str(error).split())}. Look at the parameters in "
            "conf/suite/"
        ) from error
    for suite in suites:
        check_settings(suite)
    return suites


def _check_metrics(suites: list[EvalSuite]) -> list[EvalSuite]:
    """Check the metrics themselves if a suite asks for it; returns the other suites.

    Raises:
        RuntimeError: A metric function does not give its known answer.
    """
    others = [suite for suite in suites if not isinstance(suite, SelfCheck)]
    if len(others) < len(suites):
        rows = check(ANSWERS)
        table = Table("metric", "known answer", "expected", "found", "ok")
        for known, found, is_ok in rows:
            numbers = (f"{known.expected:.6g}", f"{found:.6g}")
            table.add_row(known.name, known.why, *numbers, "yes" if is_ok else "NO")
        open_console().print(table)
        wrong = [row.known.name for row in rows if not row.is_ok]
        if wrong:
            raise RuntimeError(
                f"{len(wrong)} of {len(rows)} metrics do not give their known answer: "
                f"{', '.join(dict.fromkeys(wrong))}. Do not trust evaluations of this version"
            )
    return others


def _evaluate(
    config: EvalConfig, trained: TrainedRun, suites: Sequence[EvalSuite]
) -> list[SuiteResult]:
    """Every suite on one run, each written as soon as it is done."""
    plugged = {"world_model": config.world_model, "encoder": config.encoder}
    own = eval_context(
        trained,
        sampler=config.sampler,
        num_labels=config.action_map.num_labels,
        fit_on=Split(config.fit_on),
        seed=config.seed,
        fast=config.fast,
        keep_action_map=trained.is_own_data,
    )
    context = plug(own, **plugged)
    results = []
    for suite in suites:
        result = run_suite(suite, context)
        notes = (*plug_notes(**plugged), *_fit_notes(config), *result.notes)
        result = replace(result, notes=notes)
        folder = trained.folder.suite(suite.name + _suffix(config, trained))
        write_result(folder, result, suite=suite, provenance=_provenance(config, trained))
        _print_headline(suite, result)
        _log.info("%s", folder / "report.md")
        results.append(result)
    return results


def _compare(
    config: EvalConfig,
    suite: str,
    results: Mapping[str, SuiteResult],
    opened: Mapping[str, TrainedRun],
    notes: Sequence[str],
) -> None:
    """Write the paired differences of one suite, and print those of its headline."""
    first = next(iter(opened.values()))
    seeds = {name: (same, opened[name].config.seed) for name, same in settings_of(opened).items()}
    found = PairedRuns(
        suite=suite,
        settings=seeds,
        compared=compare(results, seed=config.seed),
        notes=[*notes, *(note for result in results.values() for note in result.notes)],
        provenance=_provenance(config, first),
    )
    folder = Path(config.output) if config.output else COMPARISON
    page = write_paired(folder / (suite + _suffix(config, first)), found)
    table = Table(*headings(found.runs), title=f"{suite}, paired by episode")
    for compared in found.compared:
        if compared.is_headline:
            table.add_row(*cells(compared))
    console = open_console()
    console.print(table)
    console.print(f"comparison  {page}", soft_wrap=True, markup=False)


def _fit_notes(config: EvalConfig) -> tuple[str, ...]:
    if config.fit_on is FitOn.val:
        return ()
    return (
        "Probes and baselines are fitted on the episodes that the models were trained on, not on "
        "validation episodes.",
    )


def _suffix(config: EvalConfig, trained: TrainedRun) -> str:
    """What distinguishes results of another dataset, model or fit from the run's own."""
    dataset = f"@{trained.dataset.folder.parent.name}" if not trained.is_own_data else ""
    plugged = [name for name in (config.world_model, config.encoder) if name != "genie"]
    fitted = [] if config.fit_on is FitOn.val else [f"fit_on_{config.fit_on}"]
    return dataset + "".join(f"+{name.replace(':', '.')}" for name in (*plugged, *fitted))


def _provenance(config: EvalConfig, trained: TrainedRun) -> dict[str, str | int | bool]:
    return {
        "run": str(trained.folder.path),
        "dataset": trained.dataset.place,
        "dataset_fingerprint": trained.dataset.fingerprint,
        "seed": config.seed,
        "fast": config.fast,
        "world_model": config.world_model,
        "encoder": config.encoder,
        "fit_on": config.fit_on,
        "commit": git_commit() or "",
    }


def _print_headline(suite: EvalSuite, result: SuiteResult) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]{suite.name}[/bold]: {suite.summary}")
    width = max((len(name) for name in result.headline), default=0)
    for name in result.headline:
        console.print(f"  {name:<{width}}  {_describe(result.metrics[name])}", markup=False)


def _describe(metric: Metric) -> str:
    """The value, its baselines and its ceiling, on one line."""
    unit = "" if metric.value is None else f" {metric.unit}"
    parts = [f"{format_value(metric)}{unit}"]
    known = [(value, name) for name, value in metric.baselines.items() if value is not None]
    if known:
        ends = dict.fromkeys((min(known), max(known)))  # which one is better depends on the metric
        shown = " to ".join(f"{value:.3g} ({name.replace('_', ' ')})" for value, name in ends)
        parts.append(f"baselines {shown}" if len(ends) > 1 else f"baseline {shown}")
    if metric.ceiling is not None:
        parts.append(f"ceiling {metric.ceiling:.3g}")
    return ", ".join(parts)
