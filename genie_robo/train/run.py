"""Train the stages of a run folder, one after the other."""

import logging
from functools import partial

import torch
from lightning_fabric import Fabric

from genie_robo.build import build_datasets, build_genie, build_training_windows
from genie_robo.checkpoint import has_weights, load_weights, save_weights, weights_digest
from genie_robo.config import Stage, StageConfig, TrainConfig
from genie_robo.config_file import config_differences, read_config, write_config
from genie_robo.data.loader import WindowLoader, WindowSet
from genie_robo.data.mixture import MixedWindows
from genie_robo.data.tokens import TokenizedWindows, TokenStore
from genie_robo.models.genie import Genie
from genie_robo.run_folder import RunFolder
from genie_robo.train.engine import make_fabric
from genie_robo.train.loop import Loop
from genie_robo.train.optim import build_optimizer, learning_rate_at
from genie_robo.train.stages import TokenizerStage, WorldModelStage

logger = logging.getLogger(__name__)

FREE_TO_CHANGE = ("run", "stage", "log_every", "save_every_s", "engine.", "data.cache_mb")
"""Settings that do not change what is learned, so a resume may change them."""


def train(config: TrainConfig) -> None:
    """Train the stages that `config.stage` names, resuming what was begun, skipping what is done.

    Raises:
        ValueError: The run folder was made with another configuration.
        FileNotFoundError: No dataset, or no trained tokenizer for the world model.
    """
    run = RunFolder.at(config.run)
    claim_run(run, config)
    fabric = make_fabric(config.engine)
    with fabric.rank_zero_first():  # it leaves the index that the others read
        datasets = build_datasets(config.data)
    torch.manual_seed(config.seed)
    genie = build_genie(config)
    for stage in _stages(config.stage):
        num_frames = getattr(config, stage.value).num_frames
        windows = build_training_windows(config.data, datasets, num_frames=num_frames)
        _train_stage(stage, run, config, genie, windows, fabric)


def claim_run(run: RunFolder, config: TrainConfig) -> None:
    """Make the run folder, or check that it was made with this configuration.

    Raises:
        ValueError: It was made with another one; the message lists the differences.
    """
    if not run.config.exists():
        write_config(run, config)
        return
    different = [
        line
        for line in config_differences(read_config(run, TrainConfig), config)
        if not line.startswith(FREE_TO_CHANGE)
    ]
    if different:
        raise ValueError(
            f"{run.path} was made with another configuration ({'; '.join(different)}). Give the "
            "same settings to go on, name another folder with run=FOLDER, or delete this one"
        )


def _stages(stage: Stage) -> tuple[Stage, ...]:
    return (Stage.tokenizer, Stage.world_model) if stage is Stage.all else (stage,)


def _train_stage(  # one stage, read from top to bottom
    stage: Stage,
    run: RunFolder,
    config: TrainConfig,
    genie: Genie,
    windows: MixedWindows,
    fabric: Fabric,
) -> None:
    parts = ("tokenizer",) if stage is Stage.tokenizer else ("latent_action", "dynamics")
    if all(has_weights(run, part) for part in parts):
        logger.info("%s is already trained in %s", stage.value, run.path)
        for part in parts:
            load_weights(run, part, getattr(genie, part))
        return
    torch.manual_seed(config.seed)
    module, settings = _stage_module(stage, run, config, genie, fabric)
    drawn = _with_stored_tokens(stage, run, windows)
    loop = _make_loop(module, settings, run, config, drawn, fabric)
    loop.run()
    if fabric.is_global_zero:
        for part in parts:
            save_weights(run, part, getattr(genie, part))
    fabric.barrier()


def _with_stored_tokens(stage: Stage, run: RunFolder, windows: MixedWindows) -> WindowSet:
    """The windows with their tokens when `genie-robo tokenize` has stored them for this run."""
    if stage is Stage.tokenizer or not run.tokens.exists():
        return windows
    store = TokenStore(
        run.tokens,
        tokenizer=weights_digest(run, "tokenizer"),
        windows=windows.fingerprint,
    )
    logger.info("reading tokens from %s", run.tokens)
    return TokenizedWindows(windows, store)


def _stage_module(
    stage: Stage, run: RunFolder, config: TrainConfig, genie: Genie, fabric: Fabric
) -> tuple[TokenizerStage | WorldModelStage, StageConfig]:
    if stage is Stage.tokenizer:
        return TokenizerStage(genie.tokenizer), config.tokenizer
    load_weights(run, "tokenizer", genie.tokenizer)
    fabric.to_device(genie.tokenizer.eval().requires_grad_(False))  # noqa: FBT003
    module = WorldModelStage(
        genie.latent_action,
        genie.dynamics,
        encode_tokens=genie.tokenizer.encode,
        min_mask_rate=config.model.dynamics.min_mask_rate,
    )
    return module, config.world_model


def _make_loop(
    module: TokenizerStage | WorldModelStage,
    settings: StageConfig,
    run: RunFolder,
    config: TrainConfig,
    windows: WindowSet,
    fabric: Fabric,
) -> Loop:
    optim = settings.optim
    optimizer = build_optimizer(
        module,
        learning_rate=optim.learning_rate,
        betas=(optim.beta1, optim.beta2),
        weight_decay=optim.weight_decay,
    )
    wrapped, wrapped_optimizer = fabric.setup(module.train(), optimizer)
    return Loop(
        name=module.name,
        fabric=fabric,
        module=wrapped,
        optimizer=wrapped_optimizer,
        loader=WindowLoader(
            windows,
            batch_size=settings.batch_size,
            seed=config.seed,
            rank=fabric.global_rank,
            world_size=fabric.world_size,
        ),
        learning_rate=partial(
            learning_rate_at,
            num_steps=settings.num_steps,
            warmup_steps=optim.warmup_steps,
            peak=optim.learning_rate,
            final=optim.final_learning_rate,
        ),
        after_step=module.after_step,
        checkpoints=run.checkpoints(module.name),
        log_path=run.log(module.name),
        num_steps=settings.num_steps,
        max_grad_norm=optim.max_grad_norm,
        log_every=config.log_every,
        save_every_s=config.save_every_s,
    )
