from dataclasses import replace
from typing import Any

import pytest
import torch

from genie_robo.config import (
    DataConfig,
    DynamicsConfig,
    LatentActionConfig,
    ModelConfig,
    QuantizerConfig,
    Source,
    StageConfig,
    TokenizerConfig,
    TrainConfig,
    TransformerConfig,
)


def toy_config() -> TrainConfig:
    stack = TransformerConfig(num_blocks=2, dim=24, num_heads=2, head_dim=8)
    model = ModelConfig(
        tokenizer=TokenizerConfig(
            patch_size=8,
            encoder=stack,
            decoder=stack,
            quantizer=QuantizerConfig(num_codes=20, code_dim=6),
        ),
        latent_action=LatentActionConfig(
            downscale=2,
            patch_size=8,
            encoder=TransformerConfig(num_blocks=2, dim=16, num_heads=2, head_dim=8),
            decoder=TransformerConfig(num_blocks=2, dim=32, num_heads=2, head_dim=8),
            quantizer=QuantizerConfig(num_codes=5, code_dim=3, entropy_weight=0.1),
        ),
        dynamics=DynamicsConfig(
            transformer=TransformerConfig(num_blocks=2, dim=40, num_heads=3, head_dim=8)
        ),
    )
    data = DataConfig(path="unused", source=Source(camera="image"), image_height=16, image_width=32)
    return TrainConfig(run="unused", data=data, model=model, world_model=StageConfig(num_frames=6))


def changed(settings: Any, changes: dict[str, Any]) -> Any:
    """Frozen settings with other values at dotted paths."""
    for path, value in changes.items():
        name, _, rest = path.partition(".")
        inner = changed(getattr(settings, name), {rest: value}) if rest else value
        settings = replace(settings, **{name: inner})
    return settings


@pytest.fixture
def config() -> TrainConfig:
    return toy_config()


@pytest.fixture
def video() -> torch.Tensor:
    return torch.rand(3, 6, 16, 32, 3, generator=torch.Generator().manual_seed(1))
