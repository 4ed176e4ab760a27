"""The whole job in one configuration."""

from dataclasses import dataclass, field
from typing import Any

from genie_robo.config.data import DataConfig
from genie_robo.config.model import ModelConfig
from genie_robo.config.sim import RecordConfig
from genie_robo.config.train import (
    EngineConfig,
    LabelConfig,
    StageConfig,
    tokenizer_stage,
    world_model_stage,
)
from genie_robo.config.use import ImagineConfig, SamplerConfig


@dataclass
class ComparisonConfig:
    """One table and one figure over the runs of a sweep: docs/experiments.md."""

    folder: str = ""
    """Where the runs of a sweep and its comparison lie; empty compares nothing."""
    variant: str = "default"
    """Row of the table that this run belongs to."""
    columns: dict[str, str] = field(default_factory=dict)
    """Title to address of a number, such as eval/tokenizer/psnr or parameters/dynamics."""
    horizontal: str = ""
    """Title of a column to draw the first one against; empty draws every column by variant."""
    curve: str = ""
    """Address of a logged number to draw over training steps as well."""


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
    tokenizer_from: str = ""
    """Run folder whose tokenizer is taken, and trained there where it is missing; empty trains one
    in this run."""
    engine: EngineConfig = field(default_factory=EngineConfig)
    labels: LabelConfig = field(default_factory=LabelConfig)
    suite: dict[str, Any] = field(default_factory=dict)
    """Filled by `suite=NAME` or `suite=[NAME,NAME]` from conf/suite/; one that is null is left
    out."""
    fast: bool = False
    """Fewer episodes and draws in every suite."""
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    imagine: ImagineConfig = field(default_factory=ImagineConfig)
    comparison: ComparisonConfig = field(default_factory=ComparisonConfig)
    seed: int = 0
    """Of every stage."""
