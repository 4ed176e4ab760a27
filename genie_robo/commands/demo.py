"""`genie-robo demo`: the whole job in one run folder."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from genie_robo import config as cfg
from genie_robo.commands import eval as evaluate
from genie_robo.commands import imagine, record, train
from genie_robo.commands.base import Command
from genie_robo.commands.compare import check_columns, compare_sweep
from genie_robo.commands.shared_tokenizer import take_tokenizer
from genie_robo.pipeline import Stage, run_stages, stamps_of
from genie_robo.run_folder import RunFolder

_WHERE_AND_HOW_FAST = frozenset(
    {"run", "path", "device", "num_workers", "num_threads", "cache_mb", "bad_episode_limit"}
)
"""Settings that do not shape a result."""


def run(config: cfg.DemoConfig) -> None:
    """Bring every stage up to date, then say where the results are.

    Raises:
        ValueError: The run folder is of another configuration, or the comparison asks for numbers
            that there are not.
    """
    check_columns(config.comparison)
    folder = RunFolder.at(config.run)
    console = Console(highlight=False, soft_wrap=True)
    run_stages(demo_stages(config), stamps_of(folder), announce=console.print)
    recordings = sorted(folder.rollouts.glob("*.rrd"))
    console.print(f"\nreport      {folder.report}")
    console.print(f"recordings  {' '.join(map(str, recordings))}")
    console.print(f"look at it  genie-robo view run={folder.path}")


def demo_stages(config: cfg.DemoConfig) -> list[Stage]:
    """Record, train twice, evaluate, imagine, report: what each depends on and what it leaves.

    A dataset of the user's own is not recorded; its fingerprint is among the settings instead.
    """
    folder = RunFolder.at(config.run)
    is_recorded = Path(config.data.path) == Path(config.record.path)
    data = [_record(config, folder)] if is_recorded else []
    origin = {} if is_recorded else {"dataset": _fingerprints(config.data)}
    tokenizer = _train(config, folder, cfg.Stage.tokenizer, needs=_names(data), origin=origin)
    models = [*data, tokenizer]
    world_model = _train(config, folder, cfg.Stage.world_model, needs=_names(models), origin=origin)
    models.append(world_model)
    suites = [suite for suite, settings in config.suite.items() if settings is not None]
    results = [_evaluate(config, folder, suite, needs=_names(models)) for suite in suites]
    if config.imagine.num_episodes:
        results.append(_imagine(config, folder, needs=_names(models)))
    needs = _names([tokenizer, world_model, *results])
    return [*models, *results, _report(folder, needs=needs)]


def _names(stages: Sequence[Stage]) -> tuple[str, ...]:
    return tuple(stage.name for stage in stages)


def _fingerprints(data: cfg.DataConfig) -> dict[str, str]:
    from genie_robo.build import build_datasets

    return {name: dataset.fingerprint for name, dataset in build_datasets(data).items()}


def _record(config: cfg.DemoConfig, folder: RunFolder) -> Stage:
    """Into the run folder, or once for all runs of a sweep; that one is never deleted."""
    path = Path(config.record.path)
    return Stage(
        name="record",
        settings={"record": _shaping(config.record)},
        folder=path,
        outputs=(path,),
        run=lambda: record.run(config.record),
        is_long=path != folder.dataset,
    )


def _train(
    config: cfg.DemoConfig,
    folder: RunFolder,
    stage: cfg.Stage,
    *,
    needs: tuple[str, ...],
    origin: Mapping[str, Any],
) -> Stage:
    settings = cfg.TrainConfig(
        run=config.run,
        stage=stage,
        data=config.data,
        model=config.model,
        tokenizer=config.tokenizer,
        world_model=config.world_model,
        engine=config.engine,
        seed=config.seed,
        labels=config.labels,
    )
    is_first = stage is cfg.Stage.tokenizer
    parts = ("tokenizer",) if is_first else ("latent_action", "dynamics")
    shaping = _shaping(settings)
    shapes = {
        "data": shaping["data"],
        "model": {part: shaping["model"][part] for part in parts},
        stage.value: shaping[stage.value],
        "engine": shaping["engine"],
        "seed": config.seed,
        **origin,
    }
    if not is_first:
        shapes |= {"actions": config.model.actions, "labels": shaping["labels"]}
    source = config.tokenizer_from if is_first else ""
    if source:
        shapes["tokenizer_from"] = source
    return Stage(
        name=stage.value,
        settings=shapes,
        folder=folder.path / stage.value,
        outputs=tuple(folder.weights(stage.value, part) for part in parts),
        run=lambda: take_tokenizer(settings, source) if source else train.run(settings),
        needs=needs,
        is_long=True,
    )


def _evaluate(
    config: cfg.DemoConfig, folder: RunFolder, suite: str, *, needs: tuple[str, ...]
) -> Stage:
    """One suite is one stage, so that an interrupted evaluation keeps the finished ones."""
    settings = cfg.EvalConfig(
        run=config.run,
        suite={suite: config.suite[suite]},
        fast=config.fast,
        sampler=config.sampler,
        device=config.engine.device,
        seed=config.seed,
    )
    return Stage(
        name=f"eval.{suite}",
        settings=_shaping(settings),
        folder=folder.suite(suite),
        outputs=(folder.suite(suite) / "metrics.json",),
        run=lambda: evaluate.run(settings),
        needs=needs,
    )


def _imagine(config: cfg.DemoConfig, folder: RunFolder, *, needs: tuple[str, ...]) -> Stage:
    return Stage(
        name="imagine",
        settings={"imagine": _shaping(config.imagine), "atlas": True},
        folder=folder.rollouts,
        outputs=(folder.rollouts,),
        run=lambda: _imagine_all(config.imagine),
        needs=needs,
    )


def _imagine_all(config: cfg.ImagineConfig) -> None:
    """What follows each prompt, and what each latent action does with the first one."""
    imagine.imagine_prompts(config)
    if not config.branches:
        imagine.imagine_prompts(replace(config, branches=True, actions=None, num_episodes=1))


def _report(folder: RunFolder, *, needs: tuple[str, ...]) -> Stage:
    return Stage(
        name="report",
        settings={},
        folder=folder.path / "report",
        outputs=(folder.report,),
        run=lambda: _write_report(folder),
        needs=needs,
    )


def _write_report(folder: RunFolder) -> None:
    from genie_robo.report import write_report

    write_report(folder)


def _shaping(settings: Any) -> dict[str, Any]:
    """A configuration as plain nested data, without what does not shape a result."""
    return _drop(asdict(settings), _WHERE_AND_HOW_FAST)


def _drop(settings: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {
        key: _drop(value, names) if isinstance(value, dict) else value
        for key, value in settings.items()
        if key not in names
    }


COMMAND = Command(
    name="demo",
    summary="the whole job: record, train, evaluate, imagine, report",
    config=cfg.DemoConfig,
    run=run,
    after_sweep=compare_sweep,
    details=(
        "Records scripted episodes in MuJoCo, trains tokenizer and world model on them without "
        "action labels, measures how far the latent actions are the robot's, imagines test "
        "episodes beside MuJoCo, and writes a report. Finished stages are skipped, interrupted "
        "ones go on, and a run folder of another configuration is refused. experiment=default "
        "takes about a quarter of an hour on two CPU cores, experiment=smoke a few minutes. "
        "data=NAME data.path=FOLDER trains on a dataset of your own and records nothing. With -m "
        "the experiments ablation_tokenizer, ablation_latent_action, scaling_model and "
        "scaling_batch run all their variants and end in one table and one figure: "
        "comparison.md, .csv and .png in comparison.folder. The same line again skips what is "
        "finished, goes on with what was interrupted and tries again what failed; "
        "experiment=[NAME,smoke] is a toy of it. docs/experiments.md"
    ),
    examples=(
        "genie-robo demo",
        "genie-robo demo experiment=smoke run=runs/smoke",
        "genie-robo demo run=runs/longer record.num_episodes=1000 world_model.num_steps=20000",
        "genie-robo demo data=bridge_dataset data.path=~/rlds/bridge_dataset run=runs/bridge",
        "genie-robo demo -m seed=0,1,2 'run=runs/seed_${seed}'",
        "genie-robo demo -m experiment=ablation_tokenizer seed=0,1,2",
        "genie-robo demo -m experiment=ablation_latent_action variant=default,paper_lam,tokens",
    ),
)
