"""Training: stages, optimizer, engine."""

from dataclasses import dataclass, field
from enum import Enum

from genie_robo.config.data import DataConfig
from genie_robo.config.model import ModelConfig
from genie_robo.config.required import REQUIRED


class Precision(Enum):
    """Arithmetic of the networks; losses, norms and codebook distances stay in fp32."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"


class Stage(Enum):
    """What `train` trains."""

    tokenizer = "tokenizer"
    world_model = "world_model"
    all = "all"


@dataclass
class OptimConfig:
    """AdamW and its schedule."""

    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-4
    """Reached by a cosine at the last step."""
    warmup_steps: int = 50
    beta1: float = 0.9
    beta2: float = 0.95
    weight_decay: float = 1e-4
    max_grad_norm: float = 1.0


@dataclass
class StageConfig:
    """Length and batches of one training stage."""

    num_steps: int = 1000
    batch_size: int = 16
    num_frames: int = 16
    """Frames per window."""
    optim: OptimConfig = field(default_factory=OptimConfig)


def tokenizer_stage() -> StageConfig:
    """The tokenizer of the default demo."""
    optim = OptimConfig(learning_rate=3e-3, final_learning_rate=1.5e-4)
    return StageConfig(num_steps=800, batch_size=2, optim=optim)


def world_model_stage() -> StageConfig:
    """Latent actions and dynamics of the default demo."""
    optim = OptimConfig(learning_rate=1.5e-3, final_learning_rate=1e-4)
    return StageConfig(num_steps=600, batch_size=4, optim=optim)


@dataclass
class EngineConfig:
    """Where and how training computes."""

    device: str = "auto"
    """auto, cpu or cuda."""
    precision: Precision = Precision.auto
    num_threads: int = 0
    """Threads of one process on a CPU; 0 takes all cores."""


@dataclass
class TrainConfig:
    """`genie-robo train`."""

    run: str = REQUIRED
    """Run folder, made when missing; training resumes from what is in it."""
    stage: Stage = Stage.all
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    tokenizer: StageConfig = field(default_factory=tokenizer_stage)
    world_model: StageConfig = field(default_factory=world_model_stage)
    engine: EngineConfig = field(default_factory=EngineConfig)
    seed: int = 0
    log_every: int = 20
    """Training steps between two lines in the log."""
    save_every_s: float = 60.0
    """Seconds between two checkpoints."""
