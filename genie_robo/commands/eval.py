"""`genie-robo eval`: measurements on the held-out episodes of a run."""

import logging
from typing import TYPE_CHECKING

from genie_robo.commands.base import Command
from genie_robo.config import EvalConfig

if TYPE_CHECKING:
    from eval_suites.base import EvalContext, EvalSuite, Metric, SuiteResult
    from genie_robo.commands.trained_run import TrainedRun

_log = logging.getLogger(__name__)


def run(config: EvalConfig) -> None:
    """Evaluate every suite that was asked for and write its folder."""
    from eval_suites.results import write_result
    from genie_robo.commands.trained_run import open_run

    suites = _build_suites(config)
    trained = open_run(config.run, device=config.device, data=config.data)
    context = _context(config, trained)
    for suite in suites:
        result = suite.evaluate(context)
        folder = trained.folder.suite(suite.name + _suffix(config, trained))
        write_result(folder, result, suite=suite, provenance=_provenance(config, trained))
        _print_headline(suite, result)
        _log.info("%s", folder / "report.md")


def _build_suites(config: EvalConfig) -> "list[EvalSuite]":
    """Suites before anything slow, so that a wrong parameter costs no time."""
    from hydra.errors import HydraException
    from hydra.utils import instantiate

    if not config.suite:
        raise ValueError("no suite to evaluate: give suite=NAME or suite=[NAME,NAME]")
    try:
        return [instantiate(suite) for suite in config.suite.values()]
    except HydraException as error:
        raise ValueError(
            f"a suite cannot be built: {' '.join(str(error).split())}. Look at the parameters in "
            "conf/suite/"
        ) from error


def _context(config: EvalConfig, trained: "TrainedRun") -> "EvalContext":
    import torch

    from eval_suites.adapters import GenieEncoder, GenieTokenizer, GenieWorld
    from eval_suites.base import EvalContext
    from genie_robo.build import build_genie
    from genie_robo.commands.trained_run import build_sampler
    from genie_robo.types import Split

    genie, device = trained.genie, trained.device
    torch.manual_seed(config.seed)
    fresh = build_genie(trained.config).to(device).eval()
    return EvalContext(
        encoder=GenieEncoder(genie=genie, device=device),
        untrained_encoder=GenieEncoder(genie=fresh, device=device),
        world_model=GenieWorld(genie=genie, sampler=build_sampler(config.sampler), device=device),
        tokenizer=GenieTokenizer(genie=genie, device=device),
        dataset=trained.dataset,
        fit=trained.windows(Split.val),
        test=trained.windows(Split.test),
        num_frames=genie.num_frames,
        action_is_achieved=trained.dataset.source.angles_add,
        seed=config.seed,
        fast=config.fast,
    )


def _suffix(config: EvalConfig, trained: "TrainedRun") -> str:
    """Another dataset's results lie beside the run's own, under the dataset's name."""
    return f"@{trained.dataset.folder.parent.name}" if config.data else ""


def _provenance(config: EvalConfig, trained: "TrainedRun") -> dict[str, str | int | bool]:
    from genie_robo.provenance import git_commit

    return {
        "run": str(trained.folder.path),
        "dataset": str(trained.dataset.folder),
        "dataset_fingerprint": trained.dataset.fingerprint,
        "seed": config.seed,
        "fast": config.fast,
        "commit": git_commit() or "",
    }


def _print_headline(suite: "EvalSuite", result: "SuiteResult") -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]{suite.name}[/bold]: {suite.summary}")
    width = max((len(name) for name in result.headline), default=0)
    for name in result.headline:
        console.print(f"  {name:<{width}}  {_describe(result.metrics[name])}", markup=False)


def _describe(metric: "Metric") -> str:
    """The value, what it has to beat and what it could reach, on one line."""
    from eval_suites.results import format_value

    unit = "" if metric.value is None else f" {metric.unit}"
    parts = [f"{format_value(metric)}{unit}"]
    known = [(value, name) for name, value in metric.baselines.items() if value is not None]
    if known:
        value, name = max(known)
        parts.append(f"highest baseline {value:.3g} ({name.replace('_', ' ')})")
    if metric.ceiling is not None:
        parts.append(f"ceiling {metric.ceiling:.3g}")
    return ", ".join(parts)


COMMAND = Command(
    name="eval",
    summary="measure a run on its held-out episodes",
    config=EvalConfig,
    run=run,
    details=(
        "Every suite writes metrics.json, per_episode.csv, figures and report.md to "
        "RUN/eval/SUITE. Probes are fitted on validation episodes and reported once on test "
        "episodes; every number comes with an interval over episodes, baselines and, where there "
        "is one, the ceiling."
    ),
    examples=(
        "genie-robo eval run=runs/demo",
        "genie-robo eval run=runs/demo suite=latent_probe fast=true",
        "genie-robo eval run=runs/demo suite=[tokenizer,controllability] seed=1",
        "genie-robo eval run=runs/demo data=bridge_dataset data.path=~/rlds/bridge_dataset",
    ),
)
