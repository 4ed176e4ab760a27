"""Every setting of every command, with its default and its meaning. Standard library only.

The YAML files in conf/ hold differences from these defaults. A field whose default is `"???"`
must be given. Enum members are written by name on the command line: `engine.precision=bf16`.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

REQUIRED: Any = "???"
"""Hydra refuses to start while a field still has this value."""


class Attention(Enum):
    """How attention is computed; `auto` picks by device, dtype and sequence length."""

    auto = "auto"
    xformers = "xformers"
    sdpa = "sdpa"
    matmul = "matmul"


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


class Renderer(Enum):
    """What draws MuJoCo frames; `raycast` needs no graphics library."""

    auto = "auto"
    egl = "egl"
    osmesa = "osmesa"
    raycast = "raycast"


class ActionFamily(Enum):
    """How a dataset stores its end-effector actions."""

    flat7 = "flat7"
    """dx dy dz droll dpitch dyaw gripper in one vector."""
    rt1 = "rt1"
    """RT-1's dict: world_vector, rotation_delta, gripper_closedness_action."""


class Gripper(Enum):
    """What the gripper number of a dataset means."""

    open_one = "open_one"
    closed_one = "closed_one"
    relative_close = "relative_close"
    """+1 closes, -1 opens, 0 holds: integrated over the episode."""


class Resize(Enum):
    """How a camera image becomes the model's image."""

    stretch = "stretch"
    crop = "crop"
    """Centre crop to the model's aspect ratio, then scale."""
    letterbox = "letterbox"
    """Scale to fit, black bars around."""


class Order(Enum):
    """In which order MaskGIT reveals the tokens of a frame."""

    random = "random"
    confidence = "confidence"


@dataclass
class SourceConfig:
    """Which keys below `steps/` are the camera, the action and the pose."""

    camera: str = REQUIRED
    """For example observation/image."""
    action: str = "action"
    """The action vector, or the dict that holds the family's keys."""
    action_family: ActionFamily = ActionFamily.flat7
    gripper: Gripper = Gripper.open_one
    action_is_achieved: bool = False
    """True when the stored action is the motion that happened, not the one commanded."""
    pose: list[str] = field(default_factory=list)
    """Keys joined to x y z roll pitch yaw gripper; empty without proprioception."""
    instruction: str = ""
    """Key of the language instruction, or empty."""
    sim_state: str = ""
    """Key of the MuJoCo state, only in recorded simulation."""
    control_hz: float = 0.0
    """Steps per second, 0 when unknown."""


@dataclass
class DataConfig:
    """One RLDS dataset and how its episodes become windows."""

    path: str = REQUIRED
    """Folder with features.json and dataset_info.json, or one above a single version folder."""
    source: SourceConfig = field(default_factory=SourceConfig)
    rlds_splits: list[str] = field(default_factory=list)
    """RLDS splits to pool; empty takes all. Train, val and test are cut by episode hash."""
    image_height: int = 64
    image_width: int = 64
    resize: Resize = Resize.stretch
    frame_stride: int = 1
    """Take every n-th step; actions in between are composed."""
    val_fraction: float = 0.15
    test_fraction: float = 0.15
    cache_mb: int = 512
    """Decoded frames kept in memory."""
    bad_episode_limit: float = 0.01
    """Share of unreadable episodes above which a run stops."""

    def __post_init__(self) -> None:
        """Refuse fractions that leave nothing to train on."""
        if not 0 < self.val_fraction + self.test_fraction < 1:
            raise ValueError(
                f"data.val_fraction={self.val_fraction} and data.test_fraction="
                f"{self.test_fraction} must be positive and leave episodes to train on"
            )


@dataclass
class TransformerConfig:
    """A stack of space-time blocks."""

    num_blocks: int = 4
    dim: int = 128
    num_heads: int = 4
    head_dim: int = 32
    ff_multiplier: float = 4.0


@dataclass
class QuantizerConfig:
    """A vector-quantised codebook with cosine distance."""

    num_codes: int = 1024
    code_dim: int = 32
    commitment: float = 0.25
    reset_after: int = 50
    """Training steps without use after which a code restarts from a live one."""
    warmup_steps: int = 0
    """Training steps before encodings are quantised; the codebook then starts at their centres."""
    entropy_weight: float = 0.0
    """Weight of the joint code entropy term that works against collapse."""


@dataclass
class TokenizerConfig:
    """ST-ViViT VQ-VAE (paper section 2.1)."""

    patch_size: int = 8
    encoder: TransformerConfig = field(default_factory=lambda: TransformerConfig(num_blocks=2))
    decoder: TransformerConfig = field(default_factory=lambda: TransformerConfig(num_blocks=2))
    quantizer: QuantizerConfig = field(default_factory=lambda: QuantizerConfig(warmup_steps=500))


@dataclass
class LatentActionConfig:
    """Latent action model, from pixels (paper section 2.1)."""

    downscale: int = 4
    """Frames are scaled down by this before the model sees them."""
    patch_size: int = 4
    """In pixels of the scaled-down frame."""
    encoder: TransformerConfig = field(default_factory=lambda: TransformerConfig(2, 64, 4, 16))
    decoder: TransformerConfig = field(default_factory=lambda: TransformerConfig(2, 64, 4, 16))
    quantizer: QuantizerConfig = field(
        default_factory=lambda: QuantizerConfig(
            num_codes=8, code_dim=4, warmup_steps=300, entropy_weight=0.1
        )
    )


@dataclass
class DynamicsConfig:
    """MaskGIT dynamics (paper section 2.1)."""

    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    min_mask_rate: float = 0.5
    """Tokens of frames 2..T are masked at a rate drawn from U(min_mask_rate, 1)."""


@dataclass
class ModelConfig:
    """The three parts of Genie."""

    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    latent_action: LatentActionConfig = field(default_factory=LatentActionConfig)
    dynamics: DynamicsConfig = field(default_factory=DynamicsConfig)
    attention: Attention = Attention.auto


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


def _tokenizer_stage() -> StageConfig:
    optim = OptimConfig(learning_rate=3e-3, final_learning_rate=1.5e-4)
    return StageConfig(num_steps=1500, batch_size=2, optim=optim)


def _world_model_stage() -> StageConfig:
    optim = OptimConfig(learning_rate=1.5e-3, final_learning_rate=1e-4)
    return StageConfig(num_steps=1000, batch_size=4, optim=optim)


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
    tokenizer: StageConfig = field(default_factory=_tokenizer_stage)
    world_model: StageConfig = field(default_factory=_world_model_stage)
    engine: EngineConfig = field(default_factory=EngineConfig)
    seed: int = 0
    log_every: int = 20
    """Training steps between two lines in the log."""
    save_every_s: float = 60.0
    """Seconds between two checkpoints."""


@dataclass
class RecordConfig:
    """`genie-robo record`: scripted policies in MuJoCo, written as an RLDS dataset."""

    path: str = REQUIRED
    """Dataset folder to write; an existing one is kept when it was made by the same settings."""
    num_episodes: int = 240
    num_steps: int = 40
    """Steps per episode."""
    control_hz: float = 3.0
    image_size: int = 64
    robot: str = "arm"
    """arm is built in; a Menagerie robot is found below MENAGERIE_ROOT."""
    renderer: Renderer = Renderer.auto
    pick: float = 1.0
    """Share of pick episodes, relative to push and random."""
    push: float = 1.0
    random: float = 2.0
    num_workers: int = 0
    """Processes; 0 takes one per core."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse an empty recording."""
        if self.num_episodes < 1 or self.num_steps < 2:
            raise ValueError(
                f"record.num_episodes={self.num_episodes} must be at least 1 and "
                f"record.num_steps={self.num_steps} at least 2"
            )


@dataclass
class SamplerConfig:
    """How MaskGIT decodes one frame."""

    num_steps: int = 25
    temperature: float = 0.25
    order: Order = Order.random
    """Which tokens come first; confidence copies the last frame in static video."""


@dataclass
class EvalConfig:
    """`genie-robo eval`: suites on the held-out episodes of a run."""

    run: str = REQUIRED
    suite: dict[str, Any] = field(default_factory=dict)
    """Filled by `suite=NAME` or `suite=[NAME,NAME]` from conf/suite/."""
    data: DataConfig | None = None
    """Another dataset than the run's own, for example data=bridge data.path=FOLDER."""
    fast: bool = False
    """Fewer episodes and draws, for a first look."""
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    device: str = "auto"
    seed: int = 0


@dataclass
class ImagineConfig:
    """`genie-robo imagine`: roll the world model out from the test episodes of a run."""

    run: str = REQUIRED
    num_episodes: int = 3
    start: int = 0
    """Step of the episode that is the prompt frame."""
    num_prompt_frames: int = 1
    horizon: int = 15
    """Frames to imagine."""
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    renderer: Renderer = Renderer.auto
    device: str = "auto"
    seed: int = 0


@dataclass
class InspectConfig:
    """`genie-robo inspect`: what is in an RLDS folder."""

    path: str = REQUIRED
    output: str = ""
    """Folder for the contact sheet and inspect.json; empty prints only."""


@dataclass
class TokenizeConfig:
    """`genie-robo tokenize`: dataset and tokenizer to a memory-mapped token store."""

    run: str = REQUIRED
    device: str = "auto"


@dataclass
class PlayConfig:
    """`genie-robo play`: press a key, see the next frame."""

    run: str = REQUIRED
    episode: int = 0
    """Test episode whose first frame is the prompt."""
    sampler: SamplerConfig = field(default_factory=lambda: SamplerConfig(num_steps=8))
    device: str = "auto"
    seed: int = 0


@dataclass
class ViewConfig:
    """`genie-robo view`: open a run's recordings in the Rerun viewer."""

    run: str = REQUIRED
    serve: bool = False
    """Serve a web viewer instead of opening a window."""
    port: int = 9090


@dataclass
class DoctorConfig:
    """`genie-robo doctor`: what works on this machine."""


@dataclass
class DemoConfig:
    """`genie-robo demo`: record, train, evaluate, imagine and report, resumable."""

    run: str = "runs/demo"
    """Run folder; a demo that was interrupted goes on where it stopped."""
    record: RecordConfig = field(default_factory=RecordConfig)
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    tokenizer: StageConfig = field(default_factory=_tokenizer_stage)
    world_model: StageConfig = field(default_factory=_world_model_stage)
    engine: EngineConfig = field(default_factory=EngineConfig)
    suite: dict[str, Any] = field(default_factory=dict)
    """Filled by `suite=NAME` or `suite=[NAME,NAME]` from conf/suite/."""
    fast: bool = False
    """Fewer episodes and draws in every suite."""
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    imagine: ImagineConfig = field(default_factory=ImagineConfig)
    seed: int = 0
    """Of every stage."""
