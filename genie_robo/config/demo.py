"""The whole job in one configuration."""

from dataclasses import dataclass, field
from typing import Any

from genie_robo.config.data import DataConfig
from genie_robo.config.model import ModelConfig
from genie_robo.config.sim import RecordConfig
from genie_robo.config.train import EngineConfig, StageConfig, tokenizer_stage, world_model_stage
from genie_robo.config.use import ImagineConfig, SamplerConfig


@dataclass
class DemoConfig:
    """`genie-robo demo`: record, train, evaluate, imagine and report, resumable."""

    run: str = "runs/demo"
    """Run folder; a demo that was interrupted goes on where it stopped."""
    record: RecordConfig = field(default_factory=RecordConfig)
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    tokenizer: StageConfig = field(default_factory=tokenizer_stage)
    world_model: StageConfig = field(default_factory=world_model_stage)
    engine: EngineConfig = field(default_factory=EngineConfig)
    suite: dict[str, Any] = field(default_factory=dict)
    """Filled by `suite=NAME` or `suite=[NAME,NAME]` from conf/suite/."""
    fast: bool = False
    """Fewer episodes and draws in every suite."""
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    imagine: ImagineConfig = field(default_factory=ImagineConfig)
    seed: int = 0
    """Of every stage."""
