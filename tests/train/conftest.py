from pathlib import Path

import pytest

from genie_robo.config import (
    DataConfig,
    DynamicsConfig,
    EngineConfig,
    LatentActionConfig,
    ModelConfig,
    OptimConfig,
    Precision,
    QuantizerConfig,
    SourceConfig,
    StageConfig,
    TokenizerConfig,
    TrainConfig,
    TransformerConfig,
)
from genie_robo.sim.record import RecordSpec, record_dataset


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory) -> Path:
    spec = RecordSpec(num_episodes=6, num_steps=10, image_size=(32, 32), num_workers=1, seed=3)
    return record_dataset(tmp_path_factory.mktemp("small") / "dataset", spec)


@pytest.fixture
def config(tmp_path, small_dataset) -> TrainConfig:
    stack = TransformerConfig(num_blocks=1, dim=16, num_heads=2, head_dim=8)
    codes = QuantizerConfig(num_codes=16, code_dim=4, warmup_steps=2, reset_after=3)
    stage = StageConfig(num_steps=8, batch_size=2, num_frames=4, optim=OptimConfig(warmup_steps=2))
    return TrainConfig(
        run=str(tmp_path / "run"),
        data=DataConfig(
            path=str(small_dataset),
            source=SourceConfig(camera="observation/image"),
            image_height=32,
            image_width=32,
        ),
        model=ModelConfig(
            tokenizer=TokenizerConfig(encoder=stack, decoder=stack, quantizer=codes),
            latent_action=LatentActionConfig(
                downscale=2,
                encoder=stack,
                decoder=stack,
                quantizer=QuantizerConfig(num_codes=4, code_dim=4, warmup_steps=3),
            ),
            dynamics=DynamicsConfig(transformer=stack),
        ),
        tokenizer=stage,
        world_model=stage,
        engine=EngineConfig(precision=Precision.fp32, num_threads=1),
        log_every=1,
    )
