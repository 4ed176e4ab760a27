"""Every setting of every command, with its default and its meaning. Standard library only.

The YAML files in conf/ hold differences from these defaults. A field whose default is `"???"`
must be given. Enum members are written by name on the command line: `engine.precision=bf16`.
"""

from genie_robo.config.data import (
    ActionSourceConfig,
    DataConfig,
    DatasetConfig,
    Gripper,
    Motion,
    PoseSourceConfig,
    Resize,
    RotationFormat,
    SourceConfig,
)
from genie_robo.config.demo import DemoConfig
from genie_robo.config.model import (
    Attention,
    DynamicsConfig,
    LatentActionConfig,
    ModelConfig,
    QuantizerConfig,
    TokenizerConfig,
    TransformerConfig,
)
from genie_robo.config.required import REQUIRED
from genie_robo.config.sim import RecordConfig, Renderer
from genie_robo.config.train import (
    EngineConfig,
    OptimConfig,
    Precision,
    Stage,
    StageConfig,
    TrainConfig,
)
from genie_robo.config.use import (
    DoctorConfig,
    EvalConfig,
    ImagineConfig,
    InspectConfig,
    Order,
    PlayConfig,
    SamplerConfig,
    TokenizeConfig,
    ViewConfig,
)

__all__ = [
    "REQUIRED",
    "ActionSourceConfig",
    "Attention",
    "DataConfig",
    "DatasetConfig",
    "DemoConfig",
    "DoctorConfig",
    "DynamicsConfig",
    "EngineConfig",
    "EvalConfig",
    "Gripper",
    "ImagineConfig",
    "InspectConfig",
    "LatentActionConfig",
    "ModelConfig",
    "Motion",
    "OptimConfig",
    "Order",
    "PlayConfig",
    "PoseSourceConfig",
    "Precision",
    "QuantizerConfig",
    "RecordConfig",
    "Renderer",
    "Resize",
    "RotationFormat",
    "SamplerConfig",
    "SourceConfig",
    "Stage",
    "StageConfig",
    "TokenizeConfig",
    "TokenizerConfig",
    "TrainConfig",
    "TransformerConfig",
    "ViewConfig",
]
