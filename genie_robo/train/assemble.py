"""Builds the objects of one training stage from the configuration."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy

from genie_robo.build import (
    build_genie,
    build_tokenizer,
    build_training_windows,
    build_windows,
    is_steered_by_robot,
)
from genie_robo.checkpoint import load_weights, weights_digest
from genie_robo.data.loader import WindowLoader, WindowSet
from genie_robo.data.rlds import RldsDataset
from genie_robo.data.statistics import dataset_statistics, scaling
from genie_robo.data.tokens import TokenizedWindows, TokenStore
from genie_robo.data.windows import MixedWindows, split_episodes
from genie_robo.models.genie import Genie
from genie_robo.run_folder import RunFolder
from genie_robo.train.checkpoints import Checkpoints
from genie_robo.train.engine import checkpoint_activations, make_ranks
from genie_robo.train.labels import RobotActions
from genie_robo.train.live import (
    MAX_WINDOWS,
    LiveLog,
    Outputs,
    Viewer,
    tokenizer_outputs,
    world_model_outputs,
)
from genie_robo.train.loop import Loop
from genie_robo.train.metrics import CodebookWatch, check_loggers, open_logs
from genie_robo.train.optim import (
    WeightAverage,
    build_optimizers,
    evaluation_weights,
    learning_rate_at,
)
from genie_robo.train.settings import Stage, StageConfig, TrainConfig
from genie_robo.train.stages import TokenizerStage, WorldModelStage
from genie_robo.train.step import TrainStep, Validation, fixed_batches
from genie_robo.types import Split

logger = logging.getLogger(__name__)

Datasets = Mapping[str, RldsDataset]
TrainedStage = TokenizerStage | WorldModelStage


def build_stage(
    stage: Stage, run: RunFolder, config: TrainConfig, datasets: Datasets, fabric: Fabric
) -> TrainedStage:
    """The networks of a stage with fresh weights, and its loss.

    Raises:
        FileNotFoundError: The world model needs a trained tokenizer, and there is none.
    """
    genie = build_genie(config)
    if stage is Stage.tokenizer:
        return TokenizerStage(genie.tokenizer, seed=config.seed)
    load_weights(run, "tokenizer", genie.tokenizer)
    fabric.to_device(genie.tokenizer.eval().requires_grad_(False))  # noqa: FBT003
    return WorldModelStage(
        genie.latent_action,
        genie.dynamics,
        encode_tokens=genie.tokenizer.encode,
        min_mask_rate=config.model.dynamics.min_mask_rate,
        latents_share=config.model.dynamics.latents_share,
        seed=config.seed,
        robot_actions=_robot_actions(config, genie, datasets),
    )


def _robot_actions(config: TrainConfig, genie: Genie, datasets: Datasets) -> RobotActions | None:
    """Robot actions for ablations, as input of the dynamics or as labels; None by default."""
    steers, wanted = is_steered_by_robot(config.model), config.labels.num_transitions
    if not steers and not wanted:
        return None
    _check_one_dataset(config)
    (dataset,) = datasets.values()
    names = ("val_fraction", "test_fraction", "fold")
    split = {name: getattr(config.data, name) for name in names}
    statistics = dataset_statistics(dataset, **split)
    centre, reach = scaling(statistics.splits[Split.train.value].commanded)
    labelled = []
    for episode in split_episodes(dataset.episode_ids, **split)[Split.train]:
        if wanted > 0:
            labelled.append(dataset.episode_ids[episode])
            wanted -= int(dataset.lengths[episode]) - 1
    return RobotActions(
        centre=torch.from_numpy(centre),
        reach=torch.from_numpy(reach),
        code_dim=genie.latent_action.code_dim,
        steer=steers,
        labelled=labelled,
        weight=config.labels.weight,
    )


def _check_one_dataset(config: TrainConfig) -> None:
    if config.data.mix:
        raise ValueError(
            "model.dynamics.steered_by=robot_actions and labels.num_transitions need the scale of "
            f"one dataset's actions, but data.mix has {len(config.data.mix)} more; train on one"
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
    settings: StageConfig = getattr(config, stage)
    if min(settings.validate_every, config.log_every) < 1:
        raise ValueError(
            f"{stage}.validate_every={settings.validate_every} and log_every="
            f"{config.log_every} must be at least 1; {stage}.validation_windows=0 turns "
            "validation off"
        )
    with torch.device("meta"):
        build_genie(config)
    if is_steered_by_robot(config.model) or config.labels.num_transitions:
        _check_one_dataset(config)
    _part_size(settings.batch_size, fabric.world_size, config.engine.accumulate)
    Checkpoints(run.checkpoints(stage), fabric, num_kept=config.num_checkpoints)
    build_training_windows(config.data, datasets, num_frames=settings.num_frames)
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
    settings: StageConfig = getattr(config, stage.name)
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
    part_size = _part_size(settings.batch_size, fabric.world_size, config.engine.accumulate)
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
    windows = build_training_windows(config.data, datasets, num_frames=settings.num_frames)
    validate = _validation(train_step, settings, config, datasets, part_size)
    look = _look(validate, run, config) if viewer and validate else None
    live = [LiveLog(viewer, stage.name, look)] if viewer else []
    return Loop(
        train_step=train_step,
        stage=stage,
        loader=WindowLoader(
            _with_stored_tokens(stage, run, windows),
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
            *open_logs(run, stage.name, config.loggers, resume_at=step, settings=asdict(config)),
            *live,
        ],
        watches=_watches(stage),
        num_steps=settings.num_steps,
        log_every=config.log_every,
        validate_every=settings.validate_every,
        save_every_s=config.save_every_s,
        other_dataset=config.other_dataset,
    )


def _part_size(batch_size: int, world_size: int, accumulate: int) -> int:
    """Windows in one forward pass of one process."""
    num_parts = world_size * accumulate
    if accumulate < 1 or batch_size % num_parts:
        raise ValueError(
            f"a batch of {batch_size} windows cannot be divided among {world_size} processes x "
            f"engine.accumulate={accumulate}; make batch_size a multiple of "
            f"{world_size * max(1, accumulate)}"
        )
    return batch_size // num_parts


def _with_stored_tokens(stage: TrainedStage, run: RunFolder, windows: MixedWindows) -> WindowSet:
    """The windows, with tokens if `genie-robo tokenize` has stored them for this run."""
    if isinstance(stage, TokenizerStage) or not run.tokens.exists():
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
    settings: StageConfig,
    config: TrainConfig,
    datasets: Datasets,
    batch_size: int,
) -> Validation | None:
    """Validation on the validation episodes of the first dataset; None when it is off."""
    if not settings.validation_windows:
        return None
    fabric, dataset = train_step.fabric, next(iter(datasets.values()))
    windows = build_windows(config.data, dataset, Split.val, num_frames=settings.num_frames)
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
    else:
        assert isinstance(stage, WorldModelStage)
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
        imagines = not is_steered_by_robot(config.model)
        outputs = partial(world_model_outputs, genie, video, imagines=imagines)

    def look() -> Outputs:
        weights = evaluation_weights(validate.module, validate.average)
        with torch.no_grad(), weights, fabric.autocast():
            return outputs()

    return look


def _watches(stage: TrainedStage) -> dict[str, CodebookWatch]:
    if isinstance(stage, TokenizerStage):
        return {"": CodebookWatch("the tokenizer's codebook", stage.tokenizer.num_codes)}
    name, codes = "the codebook of latent actions", stage.latent_action.num_codes
    return {"lam_": CodebookWatch(name, codes)}
