"""`genie-robo demo`: the whole pipeline in one run folder."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from genie_robo import config as cfg
from genie_robo.build import build_datasets, is_steered_by_robot
from genie_robo.checkpoint import has_weights, parts_of
from genie_robo.command_line import command_line, write_setting
from genie_robo.commands import eval as evaluate
from genie_robo.commands import imagine, record, train
from genie_robo.commands.compare import check_columns
from genie_robo.config_file import config_differences, read_config
from genie_robo.data.folders import find_version_folder
from genie_robo.data.settings import OWN_CAMERA
from genie_robo.data.sources import action_dim
from genie_robo.eval_suites.bounds import check_window
from genie_robo.eval_suites.plug_names import check_plugs
from genie_robo.imagine.actions import ROBOT, check_steering
from genie_robo.imagine.pictures import needs_no_dataset
from genie_robo.models.sizes import count_latent_actions
from genie_robo.pipeline import Stage, read_settings, run_stages, stamps_of
from genie_robo.report.write import write_report
from genie_robo.run_folder import RunFolder, write_atomic
from genie_robo.run_lock import only_writer
from genie_robo.sim.record import RECORDING_FILE, check_recording
from genie_robo.train.run import DATASET_PATH, FREE_TO_CHANGE, check_training
from genie_robo.trained_on import check_datasets

_log = logging.getLogger(__name__)

_WHERE_AND_HOW_FAST = frozenset(
    {
        *("run", "path", "device", "num_workers", "num_threads", "cache_mb", "bad_episode_limit"),
        "other_dataset",
    }
)
"""Settings that do not affect results."""
_TOKENIZER_SETTINGS = ("data.", "model.tokenizer.", "tokenizer.")
"""Settings that two runs with one tokenizer must share."""


def run(config: cfg.DemoConfig) -> None:
    """Bring every stage up to date, then print where the results are.

    Raises:
        ValueError: The run folder was made with other settings, or the comparison asks for a
            number that does not exist.
    """
    _check_late_stages(config)
    folder = RunFolder.at(config.run)
    console = Console(highlight=False, soft_wrap=True)
    say = partial(console.print, markup=False)
    stages = demo_stages(config)
    check_training(train_config(config, cfg.Stage.all))
    if _is_recorded(config):
        check_recording(config.record)
    with only_writer(folder):
        run_stages(stages, stamps_of(folder), announce=say)
    recordings = sorted(folder.rollouts.glob("*.rrd"))
    say(f"\nreport      {folder.report}\n            {folder.report_page}")
    say(f"recordings  {' '.join(map(str, recordings))}")
    say(f"look at it  {command_line('view', write_setting('run', folder.path))}")


def demo_stages(config: cfg.DemoConfig) -> list[Stage]:
    """Record, train twice, evaluate, imagine, report: what each depends on and writes.

    The user's own dataset is not recorded; its fingerprint is one of the settings instead.
    """
    folder = RunFolder.at(config.run)
    is_recorded = _is_recorded(config)
    data = [_record(config, folder)] if is_recorded else []
    origin = {} if is_recorded else {"dataset": _fingerprints(config.data)}
    tokenizer = _train(config, folder, cfg.Stage.tokenizer, needs=_names(data), origin=origin)
    models = [*data, tokenizer]
    world_model = _train(config, folder, cfg.Stage.world_model, needs=_names(models), origin=origin)
    models.append(world_model)
    if _has_labels(config):
        stage = cfg.Stage.robot_control
        models.append(_train(config, folder, stage, needs=_names(models), origin=origin))
    results = [_evaluate(config, folder, suite, needs=_names(models)) for suite in _suites(config)]
    if config.imagine.num_episodes:
        results.append(_imagine(config, folder, needs=_names(models)))
    needs = _names([*models[len(data) :], *results])
    return [*models, *results, _report(folder, needs=needs)]


def _check_late_stages(config: cfg.DemoConfig) -> None:
    """Refuse at once what evaluation, imagination and comparison would refuse after the training.

    Raises:
        ValueError: A suite, a world, an action or a column does not exist or fit.
    """
    check_columns(config.comparison)
    for suite in evaluate.build_suites(_suites(config)):
        check_window(suite, config.world_model.num_frames)
    check_plugs(world_model=config.imagine.world_model)
    check_steering(
        config.imagine,
        num_codes=count_latent_actions(config.model.latent_action),
        action_dim=action_dim(config.data.source),
        joint_names=config.data.source.action.joint_names,
    )


def _suites(config: cfg.DemoConfig) -> dict[str, Any]:
    """The suites that are not left out, by name."""
    return {name: settings for name, settings in config.suite.items() if settings is not None}


def _has_labels(config: cfg.DemoConfig) -> bool:
    """Whether robot control is trained: on the actions of one dataset, if they do not steer yet."""
    return config.labels != "0" and not config.data.mix and not is_steered_by_robot(config.model)


def _is_recorded(config: cfg.DemoConfig) -> bool:
    """Whether the dataset is one to record; a foreign one may be at the place of recordings."""
    path = Path(config.data.path)
    if not _is_same_place(path, config.record.path):
        return False
    try:
        return (find_version_folder(path) / RECORDING_FILE).exists()
    except (FileNotFoundError, ValueError):
        return True


def _is_same_place(one: str | Path, other: str | Path) -> bool:
    """Whether two paths lead to one file or folder, however they are written."""
    return Path(one).resolve() == Path(other).resolve()


def _names(stages: Sequence[Stage]) -> tuple[str, ...]:
    return tuple(stage.name for stage in stages)


def _fingerprints(data: cfg.DataConfig) -> dict[str, str]:
    return {name: dataset.fingerprint for name, dataset in build_datasets(data).items()}


def _record(config: cfg.DemoConfig, folder: RunFolder) -> Stage:
    """Record into the run folder, or once for all runs of a sweep; a shared dataset is kept."""
    path = Path(config.record.path)
    return Stage(
        name="record",
        settings={"record": _shaping(config.record)},
        folder=path,
        outputs=(path,),
        run=lambda: record.run(config.record),
        is_long=not _is_same_place(path, folder.dataset),
    )


def train_config(config: cfg.DemoConfig, stage: cfg.Stage) -> cfg.TrainConfig:
    """The training of a demo."""
    return cfg.TrainConfig(
        run=config.run,
        stage=stage,
        data=config.data,
        model=config.model,
        tokenizer=config.tokenizer,
        world_model=config.world_model,
        robot_control=config.robot_control,
        labels=config.labels,
        engine=config.engine,
        seed=config.seed,
        latent_action_labels=config.latent_action_labels,
    )


def _train(
    config: cfg.DemoConfig,
    folder: RunFolder,
    stage: cfg.Stage,
    *,
    needs: tuple[str, ...],
    origin: Mapping[str, Any],
) -> Stage:
    settings = train_config(config, stage)
    is_first = stage is cfg.Stage.tokenizer
    parts = parts_of(stage)
    shaping = _shaping(settings)
    shapes = {
        "data": shaping["data"],
        "model": {part: each for part, each in shaping["model"].items() if part in parts},
        stage: shaping[stage],
        "engine": shaping["engine"],
        "seed": config.seed,
        **origin,
    }
    if stage is cfg.Stage.world_model:
        shapes["actions"] = config.model.actions
        shapes["labels"] = shaping["latent_action_labels"]
    if stage is cfg.Stage.robot_control:
        shapes["labels"] = config.labels
    source = config.tokenizer_from if is_first else ""
    if source:
        before = read_settings(stamps_of(folder), stage) or {}
        known = before.get("tokenizer_from", "")
        shapes["tokenizer_from"] = known if _is_same_place(known, source) else source
    return Stage(
        name=stage,
        settings=shapes,
        folder=folder.path / stage,
        outputs=tuple(folder.weights(stage, part) for part in parts),
        run=lambda: copy_tokenizer(settings, source) if source else train.run(settings),
        needs=needs,
        is_long=True,
    )


def _evaluate(
    config: cfg.DemoConfig, folder: RunFolder, suite: str, *, needs: tuple[str, ...]
) -> Stage:
    """One stage for each suite, so that an interrupted evaluation keeps the finished ones."""
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
        run=lambda: evaluate.run(replace(settings, data=_own_data(config))),
        needs=needs,
    )


def _imagine(config: cfg.DemoConfig, folder: RunFolder, *, needs: tuple[str, ...]) -> Stage:
    settings: dict[str, Any] = {**vars(config.imagine), "data": _own_data(config)}
    return Stage(
        name="imagine",
        settings={"imagine": _shaping(config.imagine), "atlas": True},
        folder=folder.rollouts,
        outputs=(folder.rollouts,),
        run=lambda: _imagine_all(
            cfg.ImagineConfig(**settings), takes_codes=not is_steered_by_robot(config.model)
        ),
        needs=needs,
    )


def _own_data(config: cfg.DemoConfig) -> cfg.DataConfig:
    """The run's dataset at the path that was given today."""
    return cfg.DataConfig(path=config.data.path, source=cfg.Source(camera=OWN_CAMERA))


def _imagine_all(config: cfg.ImagineConfig, *, takes_codes: bool) -> None:
    """Imagine what follows each prompt, by codes and by the robot's actions; try every code."""
    imagine.imagine_prompts(config)
    if config.branches or not takes_codes:
        return
    if config.actions is None and not needs_no_dataset(config):
        imagine.imagine_prompts(replace(config, actions=ROBOT))
    imagine.imagine_prompts(replace(config, branches=True, actions=None, num_episodes=1))


def _report(folder: RunFolder, *, needs: tuple[str, ...]) -> Stage:
    return Stage(
        name="report",
        settings={},
        folder=folder.path / "report",
        outputs=(folder.report, folder.report_page),
        run=lambda: write_report(folder),
        needs=needs,
    )


def copy_tokenizer(config: cfg.TrainConfig, source: str) -> None:
    """Copy the tokenizer of the run folder `source`; train it there if it is missing.

    Raises:
        ValueError: The tokenizer there was trained with other settings or another dataset.
    """
    shared, own = RunFolder.at(source), RunFolder.at(config.run)
    # Everything that does not concern the tokenizer stays at its default.
    wanted = replace(
        config,
        run=source,
        stage=cfg.Stage.tokenizer,
        model=cfg.ModelConfig(tokenizer=config.model.tokenizer, attention=config.model.attention),
        world_model=cfg.TrainConfig().world_model,
        robot_control=cfg.TrainConfig().robot_control,
        labels=cfg.ALL_LABELS,
        latent_action_labels=cfg.LatentActionLabelsConfig(),
    )
    if has_weights(shared, "tokenizer"):
        _check_tokenizer(read_config(shared, cfg.TrainConfig), wanted, source)
        if not config.other_dataset:
            check_datasets(shared, wanted.data, build_datasets(wanted.data))
        _log.info("taking the tokenizer of %s", source)
    else:
        train.run(wanted)
    for path in (shared.log("tokenizer"), shared.weights("tokenizer", "tokenizer")):
        write_atomic(own.path / path.relative_to(shared.path), path.read_bytes())


def _check_tokenizer(found: cfg.TrainConfig, wanted: cfg.TrainConfig, source: str) -> None:
    different = [
        line
        for line in config_differences(found, wanted)
        if line.startswith(_TOKENIZER_SETTINGS)
        and not line.startswith(FREE_TO_CHANGE)
        and not DATASET_PATH.match(line)
    ]
    if different:
        raise ValueError(
            f"the tokenizer of {source} was made with other settings ({'; '.join(different)}). "
            "Give the same ones, name another folder with tokenizer_from=FOLDER, or leave "
            "tokenizer_from empty to train one in this run"
        )


def _shaping(settings: Any) -> dict[str, Any]:
    """A configuration as plain nested data, without what does not affect results."""
    return _drop(asdict(settings), _WHERE_AND_HOW_FAST)


def _drop(settings: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {
        key: _drop(value, names) if isinstance(value, dict) else value
        for key, value in settings.items()
        if key not in names
    }
