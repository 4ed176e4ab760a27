"""Configuration to objects: the only place that reads model and data configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from genie_robo.data.dataset import EpisodeDataset
from genie_robo.data.formats import open_dataset
from genie_robo.data.settings import DataConfig, DatasetConfig, members
from genie_robo.data.sources import action_dim
from genie_robo.data.windows import MixedWindows, WindowDataset, split_episodes
from genie_robo.models.dynamics import DynamicsModel
from genie_robo.models.fsq import FiniteScalarQuantizer
from genie_robo.models.genie import Genie
from genie_robo.models.latent_action import LatentActionModel
from genie_robo.models.latent_action_flow import FlowActionModel
from genie_robo.models.latent_action_pixels import FrameActionModel
from genie_robo.models.latent_action_tokens import TokenActionModel
from genie_robo.models.quantizer import Quantizer, VectorQuantizer
from genie_robo.models.rotary import Grid
from genie_robo.models.settings import (
    Backend,
    LatentActionInput,
    ModelConfig,
    QuantizerConfig,
    QuantizerKind,
    Steering,
    Target,
    TransformerConfig,
)
from genie_robo.models.sizes import check_head_dim, levels_for
from genie_robo.models.tokenizer import TOKENIZER_LAYOUTS, VideoTokenizer
from genie_robo.models.transformer import Layout, STTransformer
from genie_robo.settings import check_numbers
from genie_robo.train.settings import StageConfig, TrainConfig
from genie_robo.types import Split


def build_genie(config: TrainConfig, *, robot_dim: int | None = None) -> Genie:
    """All three models with fresh weights.

    `robot_dim` is the width of robot actions where these steer alone; by default the dataset's.

    Raises:
        ValueError: A number is out of range, or a patch does not divide the image.
    """
    check_numbers(config)
    model = shorten_warmups(config)
    tokenizer = build_tokenizer(model, config.data)
    latent_action = build_latent_action(model, config.data, tokenizer)
    return Genie(
        tokenizer=tokenizer,
        latent_action=latent_action,
        dynamics=build_dynamics(
            model,
            tokenizer,
            latent_action,
            robot_dim=_robot_dim(config, robot_dim) if is_steered_by_robot(model) else 0,
        ),
        num_frames=config.world_model.num_frames,
        takes_latents=model.dynamics.latents_share > 0 and not is_steered_by_robot(model),
    )


def build_robot_genie(config: TrainConfig, genie: Genie, *, robot_dim: int | None = None) -> Genie:
    """The same models with a fresh dynamics that robot actions steer too.

    `robot_dim` is the width of the robot actions; by default the dataset's.
    """
    return Genie(
        tokenizer=genie.tokenizer,
        latent_action=genie.latent_action,
        dynamics=build_dynamics(
            config.model,
            genie.tokenizer,
            genie.latent_action,
            robot_dim=_robot_dim(config, robot_dim),
        ),
        num_frames=genie.num_frames,
        takes_latents=genie.takes_latents,
    )


def _robot_dim(config: TrainConfig, given: int | None) -> int:
    return action_dim(config.data.source) if given is None else given


def shorten_warmups(config: TrainConfig) -> ModelConfig:
    """The model settings, with a shorter warm-up where a stage ends before it."""

    def fitted(quantizer: QuantizerConfig, stage: StageConfig) -> QuantizerConfig:
        if quantizer.warmup_steps < stage.num_steps:
            return quantizer
        return replace(quantizer, warmup_steps=stage.num_steps // 3)

    tokenizer, latent_action = config.model.tokenizer, config.model.latent_action
    codes = fitted(tokenizer.quantizer, config.tokenizer)
    actions = fitted(latent_action.quantizer, config.world_model)
    return replace(
        config.model,
        tokenizer=replace(tokenizer, quantizer=codes),
        latent_action=replace(latent_action, quantizer=actions),
    )


def build_tokenizer(model: ModelConfig, data: DataConfig) -> VideoTokenizer:
    """The video tokenizer for the image size of the data."""
    encoder_layout, decoder_layout = TOKENIZER_LAYOUTS[model.tokenizer.kind]
    return VideoTokenizer(
        image_size=(data.image_height, data.image_width),
        patch_size=model.tokenizer.patch_size,
        patch_layers=model.tokenizer.patch_layers,
        encoder=build_transformer(model.tokenizer.encoder, model.attention, encoder_layout),
        decoder=build_transformer(model.tokenizer.decoder, model.attention, decoder_layout),
        quantizer=build_quantizer(model.tokenizer.quantizer),
        skips=model.tokenizer.skips,
    )


def build_latent_action(
    model: ModelConfig, data: DataConfig, tokenizer: VideoTokenizer
) -> LatentActionModel:
    """The latent action model over frames of the data, or over this tokenizer's tokens."""
    config = model.latent_action
    encoder = build_transformer(config.encoder, model.attention)
    decoder = build_transformer(config.decoder, model.attention)
    quantizer = build_quantizer(config.quantizer)
    if config.input is LatentActionInput.tokens:
        return TokenActionModel(
            num_tokens=tokenizer.num_codes,
            tokens_per_frame=tokenizer.tokens_per_frame,
            encoder=encoder,
            decoder=decoder,
            quantizer=quantizer,
            design=config,
            actions=model.actions,
        )
    predicting = FlowActionModel if config.target is Target.flow else FrameActionModel
    return predicting(
        image_size=(data.image_height, data.image_width),
        downscale=config.downscale,
        patch_size=config.patch_size,
        encoder=encoder,
        decoder=decoder,
        quantizer=quantizer,
        design=config,
        actions=model.actions,
    )


def build_dynamics(
    model: ModelConfig,
    tokenizer: VideoTokenizer,
    latent_action: LatentActionModel,
    *,
    robot_dim: int = 0,
) -> DynamicsModel:
    """The dynamics over this tokenizer's tokens and this model's latent actions.

    With `robot_dim` above 0 robot actions of that width steer it too.
    """
    return DynamicsModel(
        num_tokens=tokenizer.num_codes,
        tokens_per_frame=tokenizer.tokens_per_frame,
        latent_dim=0 if is_steered_by_robot(model) else latent_action.code_dim,
        robot_dim=robot_dim,
        actions=model.actions,
        transformer=build_transformer(
            model.dynamics.transformer,
            model.attention,
            grid=tokenizer.grid if model.dynamics.relative_places else None,
        ),
        copies=model.dynamics.copies,
        clean_past=model.dynamics.clean_past,
    )


def is_steered_by_robot(model: ModelConfig) -> bool:
    """Whether the dynamics is conditioned on true robot actions instead of latent ones."""
    return model.dynamics.steered_by is Steering.robot_actions


def build_transformer(
    config: TransformerConfig,
    backend: Backend,
    layout: Layout = "space_time",
    grid: Grid | None = None,
) -> STTransformer:
    """A stack of blocks, by default space-time ones, with relative places for those on a `grid`.

    Raises:
        ValueError: Attention cannot be computed with this head dimension.
    """
    check_head_dim(config.head_dim, backend)
    return STTransformer(
        num_blocks=config.num_blocks,
        dim=config.dim,
        num_heads=config.num_heads,
        head_dim=config.head_dim,
        ff_multiplier=config.ff_multiplier,
        layout=layout,
        backend=backend,
        grid=grid,
    )


def build_quantizer(config: QuantizerConfig) -> Quantizer:
    """A codebook.

    Raises:
        ValueError: No levels are known for the number of codes of an fsq grid.
    """
    if config.kind is QuantizerKind.fsq:
        levels = config.levels or levels_for(config.num_codes)
        return FiniteScalarQuantizer(levels, reset_after=config.reset_after)
    return VectorQuantizer(
        num_codes=config.num_codes,
        code_dim=config.code_dim,
        commitment=config.commitment,
        reset_after=config.reset_after,
        entropy_weight=config.entropy_weight,
        warmup_steps=config.warmup_steps,
        continuous=config.kind is QuantizerKind.continuous,
        space=config.space,
    )


def build_dataset(config: DatasetConfig) -> EpisodeDataset:
    """The episodes of an RLDS or LeRobot folder, read by random access."""
    return open_dataset(
        config.path,
        config.source,
        rlds_splits=config.rlds_splits,
        shards=config.shards,
        bad_episode_limit=config.bad_episode_limit,
    )


def build_datasets(config: DataConfig) -> dict[str, EpisodeDataset]:
    """Every dataset of a mixture, by the names of `members`."""
    return {name: build_dataset(member) for name, member in members(config).items()}


def build_windows(
    config: DataConfig,
    dataset: EpisodeDataset,
    split: Split,
    *,
    num_frames: int,
    member: DatasetConfig | None = None,
    view: str | None = None,
    episodes: Sequence[int] | None = None,
) -> WindowDataset:
    """The windows of a split, or of some of its episodes.

    Args:
        config: Image size, split and cache.
        dataset: The episodes of `member`.
        split: The split of the episodes.
        num_frames: Frames in a window.
        member: One of `config.mix`; by default the first dataset, `config` itself.
        view: A camera; by default the first of the dataset's views.
        episodes: Some episodes of the split, by their indices in the dataset; by default all.
    """
    member = member or config
    num_sets = sum(len(each.views) for each in members(config).values())
    if episodes is None:
        episodes = split_episodes(
            dataset.episode_ids,
            val_fraction=config.val_fraction,
            test_fraction=config.test_fraction,
            fold=config.fold,
        )[split]
    return WindowDataset(
        dataset,
        episodes,
        num_frames=num_frames,
        image_size=(config.image_height, config.image_width),
        resize=config.resize,
        frame_stride=member.stride,
        cache_mb=config.cache_mb // num_sets,
        camera=view or member.views[0],
        max_image_pixels=member.max_image_pixels,
    )


def build_training_windows(
    config: DataConfig, datasets: Mapping[str, EpisodeDataset], *, num_frames: int
) -> MixedWindows:
    """The training windows of every dataset and view, mixed by weight.

    `datasets` are the opened ones of `members`, by the same names.
    """
    parts, weights = [], []
    for name, member in members(config).items():
        for view in member.views:
            parts.append(
                build_windows(
                    config,
                    datasets[name],
                    Split.train,
                    num_frames=num_frames,
                    member=member,
                    view=view,
                )
            )
            weights.append(member.weight / len(member.views))
    return MixedWindows(parts, weights)


def build_device(name: str, *, setting: str = "device") -> torch.device:
    """`auto` is the GPU when there is one.

    Raises:
        ValueError: This machine has no such device; the message lists those that it has.
    """
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if num_gpus else "cpu")
    gpus = ["cuda", *(f"cuda:{i}" for i in range(num_gpus))] if num_gpus else []
    choices = ["auto", "cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])]
    if name in choices:
        return torch.device(name)
    if name.partition(":")[0] in ("cuda", "gpu") and not num_gpus:
        raise ValueError(
            f"{setting}={name} needs a GPU, but torch sees no CUDA device here; use {setting}=auto "
            f"or {setting}=cpu, or run `genie-robo doctor` to see what is missing"
        )
    raise ValueError(f"{setting}={name} is no device here; choose one of {', '.join(choices)}")
