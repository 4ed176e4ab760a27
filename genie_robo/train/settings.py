"""Training: stages, optimizer, engine."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.util import find_spec

from genie_robo.data.settings import DataConfig
from genie_robo.models.settings import ModelConfig
from genie_robo.settings import REQUIRED, Precision, bounded, seed_field

ALL_LABELS = "all"
_MAX_STEPS = 2**40
_MAX_RATE = 1e6
_BELOW_1 = 0.999999
"""The largest decay of a moving average: at 1 it would never change."""


class Strategy(StrEnum):
    """How processes share the work; `auto` is DDP when torchrun started several."""

    auto = "auto"
    ddp = "ddp"
    fsdp = "fsdp"
    """FSDP2: parameters, gradients and optimizer states are sharded."""


class Schedule(StrEnum):
    """The learning rate between warm-up and the last step."""

    cosine = "cosine"
    wsd = "wsd"
    """Warmup-stable-decay."""
    constant = "constant"


class Logger(StrEnum):
    """Loggers of training numbers, in addition to RUN/STAGE/log.jsonl."""

    tensorboard = "tensorboard"
    wandb = "wandb"

    @property
    def package(self) -> str:
        """The Python package that writes it."""
        return "tensorboardX" if self is Logger.tensorboard else self.value


def check_loggers(loggers: Sequence[Logger]) -> None:
    """Refuse loggers that cannot write.

    Raises:
        ImportError: The package of one is not installed.
    """
    for logger in loggers:
        if sys.modules.get(logger.package) is None and find_spec(logger.package) is None:
            raise ImportError(
                f"loggers=[{logger}] needs the package {logger.package}, which is not installed; "
                f"`pip install 'genie-robo[{logger}]'`, or leave it out: RUN/STAGE/log.jsonl is "
                "written anyway"
            )


class Method(StrEnum):
    """The optimizer."""

    adamw = "adamw"
    muon = "muon"


class Viz(StrEnum):
    """Viewer of a training run."""

    none = "none"
    live = "live"
    """A running Rerun viewer."""


class Stage(StrEnum):
    """Training stages."""

    tokenizer = "tokenizer"
    world_model = "world_model"
    robot_control = "robot_control"
    """Needs robot actions as labels, so `all` leaves it out."""
    all = "all"

    @property
    def trained(self) -> "tuple[Stage, ...]":
        """The stages that it stands for, in their order."""
        return (Stage.tokenizer, Stage.world_model) if self is Stage.all else (self,)


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """The optimizer and its schedule."""

    method: Method = Method.adamw
    """adamw as in the paper, or muon for the matrices between embedding and output."""
    learning_rate: float = bounded(1e-3, least=0, most=_MAX_RATE)
    final_learning_rate: float = bounded(1e-4, least=0, most=_MAX_RATE)
    """Reached at the last step, unless the schedule is constant."""
    schedule: Schedule = Schedule.cosine
    decay_fraction: float = bounded(0.1, least=0, most=1)
    """Share of the steps, at the end, over which schedule=wsd decays."""
    warmup_steps: int = bounded(50, least=0, most=_MAX_STEPS)
    beta1: float = bounded(0.9, least=0, most=_BELOW_1)
    beta2: float = bounded(0.95, least=0, most=_BELOW_1)
    weight_decay: float = bounded(1e-4, least=0, most=_MAX_RATE)
    max_grad_norm: float = bounded(1.0, least=0, most=math.inf)
    ema_decay: float = bounded(0.0, least=0, most=_BELOW_1)
    """Decay of a moving average of the weights; validation and the saved model use the average. 0
    disables."""


@dataclass(frozen=True, kw_only=True)
class StepsConfig:
    """Length and batches of a training."""

    num_steps: int = bounded(1000, least=0, most=_MAX_STEPS)
    batch_size: int = bounded(16, least=1, most=2**20)
    """Windows in one optimizer step, over all processes and accumulated parts."""
    validate_every: int = bounded(100, least=1, most=_MAX_STEPS)
    """Training steps between validations."""
    validation_windows: int = bounded(16, least=0, most=2**20)
    """Number of windows to validate on; 0 disables validation."""
    optim: OptimConfig = field(default_factory=OptimConfig)


@dataclass(frozen=True, kw_only=True)
class StageConfig(StepsConfig):
    """One of the two training stages without labels."""

    num_frames: int = bounded(16, least=1, most=2**13)
    """Frames per window."""


@dataclass(frozen=True, kw_only=True)
class RobotControlConfig(StepsConfig):
    """The stage that teaches a copy of the dynamics the robot's actions; windows as in world_model.

    A regression from robot actions to latent actions comes first, then training.
    """

    min_labels: int = bounded(1000, least=0, most=_MAX_STEPS)
    """With fewer labels than this only the regression is fitted."""


def tokenizer_stage() -> StageConfig:
    """The tokenizer of the default demo: short windows show more scenes in each step."""
    optim = _muon(3e-3, 1.5e-4)
    return StageConfig(num_steps=1250, batch_size=8, num_frames=4, optim=optim)


def world_model_stage() -> StageConfig:
    """Latent actions and dynamics of the default demo."""
    return StageConfig(num_steps=800, batch_size=4, optim=_muon(1.5e-3, 1e-4))


def robot_control_stage() -> RobotControlConfig:
    """Robot actions of the default demo."""
    return RobotControlConfig(num_steps=500, batch_size=4, optim=_muon(2e-3, 5e-5))


def _muon(learning_rate: float, final_learning_rate: float) -> OptimConfig:
    return OptimConfig(
        method=Method.muon,
        learning_rate=learning_rate,
        final_learning_rate=final_learning_rate,
        schedule=Schedule.wsd,
        decay_fraction=0.3,
    )


@dataclass(frozen=True, kw_only=True)
class LatentActionLabelsConfig:
    """Robot actions in the loss of the latent action model, an ablation: by default none at all."""

    num_transitions: int = bounded(0, least=0, most=_MAX_STEPS)
    """Labelled transitions, taken in whole episodes."""
    weight: float = bounded(1.0, least=0, most=1e6)
    """Weight of the label loss."""


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Where and how training computes; apart from rounding this does not change what is learned."""

    device: str = "auto"
    """auto, cpu or cuda."""
    precision: Precision = Precision.auto
    num_threads: int = bounded(0, least=0, most=2**16)
    """Threads of one process on a CPU; 0 takes all cores."""
    strategy: Strategy = Strategy.auto
    accumulate: int = 1
    """Parts into which each process divides its share of a batch, to save memory."""
    checkpoint_activations: bool = False
    """Recompute activations in the backward pass, to save memory."""
    compile: bool = False
    """Compile transformer blocks (torch.compile): faster steps after some minutes; on a CPU it
    needs a C++ compiler."""

    def part_size(self, batch_size: int, num_processes: int = 1) -> int:
        """Windows in one forward pass of one process.

        Raises:
            ValueError: The batch cannot be divided like this.
        """
        num_parts = num_processes * self.accumulate
        if self.accumulate < 1 or batch_size % num_parts:
            raise ValueError(
                f"a batch of {batch_size} windows cannot be divided among {num_processes} "
                f"processes x engine.accumulate={self.accumulate}; make batch_size a multiple of "
                f"{num_processes * max(1, self.accumulate)}"
            )
        return batch_size // num_parts


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """`genie-robo train`."""

    run: str = REQUIRED
    """Run folder, made when missing; training resumes from what is in it."""
    stage: Stage = Stage.all
    """tokenizer, world_model, all for both, or robot_control after them."""
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    tokenizer: StageConfig = field(default_factory=tokenizer_stage)
    world_model: StageConfig = field(default_factory=world_model_stage)
    robot_control: RobotControlConfig = field(default_factory=robot_control_stage)
    labels: str = ALL_LABELS
    """Labelled transitions of training episodes for stage=robot_control: a number, or all."""
    engine: EngineConfig = field(default_factory=EngineConfig)
    seed: int = seed_field()
    log_every: int = bounded(20, least=1, most=_MAX_STEPS)
    """Training steps between two lines in the log."""
    save_every_s: float = bounded(60.0, least=0, most=1e9)
    """Seconds between two checkpoints."""
    num_checkpoints: int = bounded(2, least=1, most=_MAX_STEPS)
    """Newest checkpoints to keep, besides the one with the lowest validation loss."""
    loggers: tuple[Logger, ...] = ()
    """tensorboard, wandb or both; log.jsonl is always written."""
    latent_action_labels: LatentActionLabelsConfig = field(default_factory=LatentActionLabelsConfig)
    other_dataset: bool = False
    """Train on in this run with other episodes than those it was begun with."""
    viz: Viz = Viz.none
    """live shows losses, codebooks, reconstructions and rollouts in the viewer."""
    viewer: str = "127.0.0.1:9876"
    """HOST:PORT of a running Rerun viewer, for viz=live."""
