"""Builds the objects of one training stage from the configuration."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy

from genie_robo.build import (
    build_genie,
    build_robot_genie,
    build_tokenizer,
    build_training_windows,
    build_windows,
)
from genie_robo.checkpoint import load_weights, weights_digest
from genie_robo.data.dataset import EpisodeDataset
from genie_robo.data.loader import WindowLoader, WindowSet
from genie_robo.data.statistics import dataset_statistics, scaling
from genie_robo.data.tokens import TokenizedWindows, TokenStore
from genie_robo.data.windows import MixedWindows, WindowDataset
from genie_robo.models.genie import Genie
from genie_robo.run_folder import RunFolder
from genie_robo.run_paths import to_stored
from genie_robo.train.checkpoints import Checkpoints
from genie_robo.train.engine import checkpoint_activations, compile_blocks, make_ranks
from genie_robo.train.label_checks import check_labels, number_of_labels
from genie_robo.train.labels import (
    ActionLabels,
    labelled_episodes,
    split_settings,
    training_episodes,
    validation_episodes,
)
from genie_robo.train.live import (
    MAX_WINDOWS,
    LiveLog,
    Outputs,
    Viewer,
    tokenizer_outputs,
    world_model_outputs,
)
from genie_robo.train.loop import Loop
from genie_robo.train.metrics import CodebookWatch, open_logs
from genie_robo.train.optim import (
    WeightAverage,
    build_optimizers,
    evaluation_weights,
    learning_rate_at,
)
from genie_robo.train.robot_control import (
    MAX_FITTED,
    RobotControlStage,
    fit_control,
    read_labels,
    start_from,
)
from genie_robo.train.settings import (
    Stage,
    StageConfig,
    StepsConfig,
    TrainConfig,
    check_loggers,
)
from genie_robo.train.stages import TokenizerStage, WorldModelStage
from genie_robo.train.step import TrainStep, Validation, fixed_batches
from genie_robo.types import Split

logger = logging.getLogger(__name__)

Datasets = Mapping[str, EpisodeDataset]
TrainedStage = TokenizerStage | WorldModelStage | RobotControlStage


def build_stage(
    stage: Stage, run: RunFolder, config: TrainConfig, datasets: Datasets, fabric: Fabric
) -> TrainedStage:
    """The networks of a stage with fresh weights, and its loss.

    Raises:
        FileNotFoundError: The weights of an earlier stage are missing.
        ValueError: Labels are needed, and there are none.
    """
    genie = build_genie(config)
    if config.engine.compile:
        compile_blocks(genie)
    if stage is Stage.tokenizer:
        colour_weight = config.model.tokenizer.colour_weight
        return TokenizerStage(genie.tokenizer, seed=config.seed, colour_weight=colour_weight)
    load_weights(run, "tokenizer", genie.tokenizer)
    fabric.to_device(genie.tokenizer.eval().requires_grad_(False))  # noqa: FBT003
    if stage is Stage.robot_control:
        return _robot_control(genie, run, config, datasets, fabric)
    if genie.dynamics.robot:
        _set_scale(genie, config, datasets, fabric)
    if config.model.dynamics.starts_from_codes:
        genie.dynamics.start_from_codes(genie.tokenizer.codes())
    return WorldModelStage(
        genie.latent_action,
        genie.dynamics,
        encode_tokens=genie.tokenizer.encode,
        min_mask_rate=config.model.dynamics.min_mask_rate,
        latents_share=config.model.dynamics.latents_share,
        seed=config.seed,
        labels=_latent_action_labels(config, genie, datasets),
    )


def _robot_control(
    genie: Genie, run: RunFolder, config: TrainConfig, datasets: Datasets, fabric: Fabric
) -> RobotControlStage:
    """Stage 3, begun with a regression from the labels to the latent actions of stage 2."""
    for part in ("latent_action", "dynamics"):
        load_weights(run, part, getattr(genie, part))
    fabric.to_device(genie.latent_action.eval().requires_grad_(False))  # noqa: FBT003
    dataset = next(iter(datasets.values()))
    dynamics = build_robot_genie(config, genie).dynamics
    start_from(dynamics, genie.dynamics)
    if config.engine.compile:
        compile_blocks(dynamics)
    assert dynamics.robot is not None
    wanted = number_of_labels(config) or MAX_FITTED
    windows = _windows_of(training_episodes(config, dataset), config, dataset)
    labels = read_labels(windows, genie, device=fabric.device, max_labels=min(wanted, MAX_FITTED))
    fit_control(dynamics.robot, labels)
    known = (*labelled_episodes(config, dataset), *validation_episodes(config, dataset))
    return RobotControlStage(
        dynamics,
        encode_tokens=genie.tokenizer.encode,
        latent_action=genie.latent_action,
        labelled=[dataset.episode_ids[e] for e in known],
        latents_share=config.model.dynamics.latents_share,
        min_mask_rate=config.model.dynamics.min_mask_rate,
        seed=config.seed,
    )


def _set_scale(genie: Genie, config: TrainConfig, datasets: Datasets, fabric: Fabric) -> None:
    """The scale of the robot actions that steer the dynamics alone, an upper bound."""
    assert genie.dynamics.robot is not None
    logger.warning(
        "ROBOT ACTIONS steer the dynamics of this run: an upper bound, not Genie. Say so wherever "
        "its numbers are shown"
    )
    dataset = next(iter(datasets.values()))
    windows = _windows_of(training_episodes(config, dataset), config, dataset)
    labels = read_labels(windows, genie, device=fabric.device, max_labels=MAX_FITTED)
    fit_control(genie.dynamics.robot, labels)


def _windows_of(
    episodes: Sequence[int], config: TrainConfig, dataset: EpisodeDataset
) -> WindowDataset:
    return build_windows(
        config.data,
        dataset,
        Split.train,
        num_frames=config.world_model.num_frames,
        episodes=episodes,
    )


def _latent_action_labels(
    config: TrainConfig, genie: Genie, datasets: Datasets
) -> ActionLabels | None:
    """Robot actions as labels of the latent action model, an ablation; None by default."""
    wanted = config.latent_action_labels.num_transitions
    if not wanted:
        return None
    dataset = next(iter(datasets.values()))
    statistics = dataset_statistics(dataset, **split_settings(config))
    centre, reach = scaling(statistics.splits[Split.train.value].commanded)
    labelled = []
    for episode in training_episodes(config, dataset):
        if wanted > 0:
            labelled.append(dataset.episode_ids[episode])
            wanted -= int(dataset.lengths[episode]) - 1
    return ActionLabels(
        centre=torch.from_numpy(centre),
        reach=torch.from_numpy(reach),
        code_dim=genie.latent_action.code_dim,
        labelled=labelled,
        weight=config.latent_action_labels.weight,
    )


def check_stage(
    stage: Stage, run: RunFolder, config: TrainConfig, datasets: Datasets, fabric: Fabric
) -> None:
    """Check everything about a stage that can be checked without its weights; writes nothing.

    Raises:
        ValueError: The sizes of the models or of the batches do not fit, a period is not
            positive, or the datasets cannot be mixed.
        KeyError: There is no such camera.
        ImportError: The package of a logger is not installed.
    """
    settings: StepsConfig = getattr(config, stage)
    if min(settings.validate_every, config.log_every) < 1:
        raise ValueError(
            f"{stage}.validate_every={settings.validate_every} and log_every="
            f"{config.log_every} must be at least 1; {stage}.validation_windows=0 turns "
            "validation off"
        )
    with torch.device("meta"):
        build_genie(config)
    check_labels(stage, config)
    config.engine.part_size(settings.batch_size, fabric.world_size)
    Checkpoints(run.checkpoints(stage), fabric, num_kept=config.num_checkpoints)
    build_training_windows(config.data, datasets, num_frames=_num_frames(stage, config))
    check_loggers(config.loggers)


def build_loop(
    stage: TrainedStage,
    run: RunFolder,
    config: TrainConfig,
    datasets: Datasets,
    fabric: Fabric,
    viewer: Viewer | None = None,
) -> Loop:
    """Everything that trains a stage, with an optional live viewer.

    Raises:
        ValueError: The batch cannot be divided among the processes.
    """
    settings: StepsConfig = getattr(config, stage.name)
    ranks, optim = make_ranks(fabric), settings.optim
    if config.engine.checkpoint_activations:
        checkpoint_activations(stage)
    module = fabric.setup_module(stage.train())
    optimizers = build_optimizers(
        module,
        method=optim.method,
        learning_rate=optim.learning_rate,
        betas=(optim.beta1, optim.beta2),
        weight_decay=optim.weight_decay,
    )
    average = WeightAverage(stage, optim.ema_decay) if optim.ema_decay else None
    part_size = config.engine.part_size(settings.batch_size, fabric.world_size)
    train_step = TrainStep(
        fabric=fabric,
        ranks=ranks,
        stage=stage,
        module=module,
        optimizers=optimizers,
        average=average,
        learning_rate=partial(
            learning_rate_at,
            num_steps=settings.num_steps,
            warmup_steps=optim.warmup_steps,
            peak=optim.learning_rate,
            final=optim.final_learning_rate,
            schedule=optim.schedule,
            decay_fraction=optim.decay_fraction,
        ),
        max_grad_norm=optim.max_grad_norm,
        num_parts=config.engine.accumulate,
        seed=config.seed,
    )
    windows = _training_windows(stage, run, config, datasets)
    validate = _validation(train_step, settings, config, datasets, part_size)
    look = _look(validate, run, config) if viewer and validate else None
    live = [LiveLog(viewer, stage.name, look)] if viewer else []
    return Loop(
        train_step=train_step,
        stage=stage,
        loader=WindowLoader(
            windows,
            batch_size=part_size,
            seed=config.seed,
            rank=fabric.global_rank,
            world_size=fabric.world_size,
        ),
        validate=validate,
        checkpoints=Checkpoints(
            run.checkpoints(stage.name), fabric, num_kept=config.num_checkpoints
        ),
        open_logs=lambda step: [
            *open_logs(
                run,
                stage.name,
                config.loggers,
                resume_at=step,
                settings=asdict(to_stored(config, run)),
            ),
            *live,
        ],
        watches=_watches(stage),
        num_steps=_num_steps(stage, config, datasets),
        log_every=config.log_every,
        read_every=1 if fabric.device.type == "cpu" else config.log_every,
        validate_every=settings.validate_every,
        save_every_s=config.save_every_s,
        other_dataset=config.other_dataset,
    )


def _num_frames(stage: Stage, config: TrainConfig) -> int:
    """Frames per window; those of the dynamics in the stage that trains a copy of it."""
    name = Stage.tokenizer if stage is Stage.tokenizer else Stage.world_model
    settings: StageConfig = getattr(config, name)
    return settings.num_frames


def _num_steps(stage: TrainedStage, config: TrainConfig, datasets: Datasets) -> int:
    """Training steps: none where there are labels for a regression alone."""
    settings: StepsConfig = getattr(config, stage.name)
    if not isinstance(stage, RobotControlStage):
        return settings.num_steps
    wanted, least = number_of_labels(config), config.robot_control.min_labels
    is_enough = wanted is None or wanted >= least
    if is_enough and labelled_episodes(config, next(iter(datasets.values()))):
        return settings.num_steps
    logger.info(
        "%s labels are fewer than robot_control.min_labels=%d or than those of one episode: only "
        "the regression is fitted",
        wanted,
        least,
    )
    return 0


def _training_windows(
    stage: TrainedStage, run: RunFolder, config: TrainConfig, datasets: Datasets
) -> WindowSet:
    """All training windows; half of them with labels where only some episodes have them."""
    num_frames = _num_frames(Stage(stage.name), config)
    everything = build_training_windows(config.data, datasets, num_frames=num_frames)
    if isinstance(stage, TokenizerStage):
        return everything
    if isinstance(stage, RobotControlStage):
        dataset = next(iter(datasets.values()))
        labelled = labelled_episodes(config, dataset)
        others = [e for e in training_episodes(config, dataset) if e not in set(labelled)]
        if labelled and others:
            halves = [_windows_of(episodes, config, dataset) for episodes in (labelled, others)]
            return MixedWindows(halves, [1.0, 1.0])
    return _with_stored_tokens(run, everything)


def _with_stored_tokens(run: RunFolder, windows: MixedWindows) -> WindowSet:
    """The windows, with tokens if `genie-robo tokenize` has stored them for this run."""
    if not run.tokens.exists():
        return windows
    store = TokenStore(
        run.tokens,
        tokenizer=weights_digest(run, "tokenizer"),
        windows=windows.fingerprint,
    )
    logger.info("reading tokens from %s", run.tokens)
    return TokenizedWindows(windows, store)


def _validation(
    train_step: TrainStep,
    settings: StepsConfig,
    config: TrainConfig,
    datasets: Datasets,
    batch_size: int,
) -> Validation | None:
    """Validation on the validation episodes of the first dataset; None when it is off."""
    if not settings.validation_windows:
        return None
    fabric, dataset = train_step.fabric, next(iter(datasets.values()))
    num_frames = _num_frames(Stage(train_step.stage.name), config)
    windows = build_windows(config.data, dataset, Split.val, num_frames=num_frames)
    return Validation(
        fabric=fabric,
        ranks=train_step.ranks,
        stage=train_step.stage,
        module=train_step.module,
        average=train_step.average,
        batches=fixed_batches(
            windows,
            num_windows=settings.validation_windows,
            batch_size=batch_size,
            rank=fabric.global_rank,
            world_size=fabric.world_size,
        ),
    )


def _look(
    validate: Validation, run: RunFolder, config: TrainConfig
) -> Callable[[], Outputs] | None:
    """Outputs on the first validation windows; None where no process holds the whole model."""
    fabric, stage = validate.fabric, validate.stage
    if isinstance(fabric.strategy, ModelParallelStrategy):
        logger.info("sharded parameters: the viewer is sent numbers, but no images")
        return None
    video = torch.cat([batch.video for batch in validate.batches])[:MAX_WINDOWS].to(fabric.device)
    if isinstance(stage, TokenizerStage):
        outputs = partial(tokenizer_outputs, stage.tokenizer, video)
    elif not isinstance(stage, WorldModelStage):
        return None
    else:
        with torch.random.fork_rng(devices=()):
            tokenizer = build_tokenizer(config.model, config.data).eval().requires_grad_(False)  # noqa: FBT003
        load_weights(run, "tokenizer", tokenizer)
        genie = Genie(
            tokenizer=tokenizer.to(fabric.device),
            latent_action=stage.latent_action,
            dynamics=stage.dynamics,
            num_frames=config.world_model.num_frames,
            takes_latents=False,
        )
        outputs = partial(world_model_outputs, genie, video)

    def look() -> Outputs:
        weights = evaluation_weights(validate.module, validate.average)
        with torch.no_grad(), weights, fabric.autocast():
            return outputs()

    return look


def _watches(stage: TrainedStage) -> dict[str, CodebookWatch]:
    if isinstance(stage, TokenizerStage):
        return {"": CodebookWatch("the tokenizer's codebook", stage.tokenizer.num_codes)}
    if isinstance(stage, RobotControlStage):
        return {}
    name, codes = "the codebook of latent actions", stage.latent_action.num_codes
    return {"lam_": CodebookWatch(name, codes)}
