"""`genie-robo demo`: the whole job in one run folder."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from genie_robo import config as cfg
from genie_robo.commands import eval as evaluate
from genie_robo.commands import imagine, record, train
from genie_robo.commands.base import Command
from genie_robo.pipeline import Stage, run_stages, stamps_of
from genie_robo.run_folder import RunFolder

_WHERE_AND_HOW_FAST = frozenset(
    {"run", "path", "device", "num_workers", "num_threads", "cache_mb", "bad_episode_limit"}
)
"""Settings that do not shape a result."""

_MODELS = ("record", "tokenizer", "world_model")
"""Stages whose results every later one reads."""


def run(config: cfg.DemoConfig) -> None:
    """Bring every stage up to date, then say where the results are."""
    folder = RunFolder.at(config.run)
    console = Console(highlight=False, soft_wrap=True)
    run_stages(demo_stages(config), stamps_of(folder), announce=console.print)
    recordings = sorted(folder.rollouts.glob("*.rrd"))
    console.print(f"\nreport      {folder.report}")
    console.print(f"recordings  {' '.join(map(str, recordings))}")
    console.print(f"look at it  genie-robo view run={folder.path}")


def demo_stages(config: cfg.DemoConfig) -> list[Stage]:
    """Record, train twice, evaluate, imagine, report: what each depends on and what it leaves."""
    folder = RunFolder.at(config.run)
    models = [
        _record(config, folder),
        _train(config, folder, cfg.Stage.tokenizer, needs=("record",)),
        _train(config, folder, cfg.Stage.world_model, needs=("record", "tokenizer")),
    ]
    results = [_evaluate(config, folder, suite) for suite in config.suite]
    results.append(_imagine(config, folder))
    needs = tuple(stage.name for stage in [*models[1:], *results])
    return [*models, *results, _report(folder, needs=needs)]


def _record(config: cfg.DemoConfig, folder: RunFolder) -> Stage:
    return Stage(
        name="record",
        settings={"record": _shaping(config.record)},
        folder=folder.dataset,
        outputs=(Path(config.data.path),),
        run=lambda: record.run(config.record),
    )


def _train(
    config: cfg.DemoConfig, folder: RunFolder, stage: cfg.Stage, *, needs: tuple[str, ...]
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
    )
    parts = ("tokenizer",) if stage is cfg.Stage.tokenizer else ("latent_action", "dynamics")
    shaping = _shaping(settings)
    return Stage(
        name=stage.value,
        settings={
            "data": shaping["data"],
            "model": {part: shaping["model"][part] for part in parts},
            stage.value: shaping[stage.value],
            "engine": shaping["engine"],
            "seed": config.seed,
        },
        folder=folder.path / stage.value,
        outputs=tuple(folder.weights(stage.value, part) for part in parts),
        run=lambda: train.run(settings),
        needs=needs,
        is_long=True,
    )


def _evaluate(config: cfg.DemoConfig, folder: RunFolder, suite: str) -> Stage:
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
        needs=_MODELS,
    )


def _imagine(config: cfg.DemoConfig, folder: RunFolder) -> Stage:
    return Stage(
        name="imagine",
        settings={"imagine": _shaping(config.imagine)},
        folder=folder.rollouts,
        outputs=(folder.rollouts,),
        run=lambda: imagine.run(config.imagine),
        needs=_MODELS,
    )


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
    details=(
        "Records scripted episodes in MuJoCo, trains tokenizer and world model on them without "
        "action labels, measures how far the latent actions are the robot's, imagines test "
        "episodes beside MuJoCo, and writes a report. Finished stages are skipped, interrupted "
        "ones go on, and a run folder of another configuration is refused. experiment=default "
        "takes about a quarter of an hour on two CPU cores, experiment=smoke a few minutes."
    ),
    examples=(
        "genie-robo demo",
        "genie-robo demo experiment=smoke run=runs/smoke",
        "genie-robo demo run=runs/longer record.num_episodes=1000 world_model.num_steps=20000",
        "genie-robo demo -m seed=0,1,2 'run=runs/seed_${seed}'",
    ),
)
