"""The settings of every command but `train` and `record`."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from genie_robo.config.sim import RecordConfig, Renderer
from genie_robo.data.settings import DataConfig, DatasetFolder, DatasetFormat, ImageStorage
from genie_robo.inference.settings import ActionMapConfig, Sampler
from genie_robo.models.settings import ModelConfig
from genie_robo.settings import REQUIRED, StringOrList, bounded, seed_field, take_names
from genie_robo.train.settings import (
    ALL_LABELS,
    EngineConfig,
    LatentActionLabelsConfig,
    RobotControlConfig,
    StageConfig,
    robot_control_stage,
    tokenizer_stage,
    world_model_stage,
)


class FitOn(StrEnum):
    """Episodes that a suite fits its probes on."""

    val = "val"
    train = "train"


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """`genie-robo eval`: suites on the held-out episodes of a run."""

    run: StringOrList = ""
    """Run folder, or [FOLDER,FOLDER] to compare runs; only suite=selfcheck needs none."""
    suite: dict[str, Any] = field(default_factory=dict)
    """Filled by `suite=NAME` or `suite=[NAME,NAME]` from conf/suite/."""
    data: DataConfig | None = None
    """data.path=FOLDER: where the run's own dataset is now. data=NAME data.path=FOLDER: another
    dataset, for example data=bridge_dataset."""
    other_dataset: bool = False
    """Accept other episodes at data.path than those that the run was trained on."""
    fast: bool = False
    """Fewer episodes and draws, for a first look."""
    fit_on: FitOn = FitOn.val
    """Episodes that probes and baselines are fitted on: val, or train where val has too few; the
    models are trained without the actions of either."""
    output: str | None = None
    """Where comparisons of several runs go, one folder per suite; null is runs/comparison."""
    world_model: str = "genie"
    """What imagines: genie (the run's own), mujoco, mujoco_scaled, mujoco_delayed, mujoco_coded,
    copy_first, copy_last, or your own as package.module:Class."""
    encoder: str = "genie"
    """What infers latent actions: genie (the run's own), oracle, random, shuffled, or your own as
    package.module:Class."""
    sampler: Sampler = field(default_factory=Sampler)
    action_map: ActionMapConfig = field(default_factory=ActionMapConfig)
    device: str = "auto"
    seed: int = seed_field()


@dataclass(frozen=True, kw_only=True)
class RolloutConfig:
    """Rollouts of the world model from prompts."""

    run: StringOrList = REQUIRED
    """Run folder, or [FOLDER,FOLDER] to compare several models with one ground truth."""
    prompt: StringOrList = "episode"
    """episode (of the test side), simulator (a fresh scene), or a picture file; [FILE,FILE]
    are several frames."""
    actions: Any = None
    """inferred (codes from the true frames, with error feedback), inferred_alone (each from its own
    transition, as in the paper), latents (not quantised), robot (the true ones, mapped to latents
    or, where a model was trained on codes alone, to codes), random,
    [CODE,CODE,...], or [[dx,dy,dz,droll,dpitch,dyaw,gripper],...]; null takes inferred, and random
    after an image."""
    branches: bool = False
    """Instead, hold each code for the whole horizon, all codes from the same prompt."""
    num_episodes: int = bounded(3, least=0, most=10**9)
    """Test episodes, or fresh scenes; image files make one rollout."""
    start: int = bounded(0, least=0, most=10**9)
    """First prompt frame of the episode: its step over data.frame_stride."""
    num_prompt_frames: int = 1
    horizon: int = 15
    """Frames to imagine."""
    world_model: str = "genie"
    """What imagines: genie (the run's own), mujoco, mujoco_scaled, mujoco_delayed, mujoco_coded,
    copy_first, copy_last, or your own as package.module:Class."""
    sampler: Sampler = field(default_factory=Sampler)
    action_map: ActionMapConfig = field(default_factory=ActionMapConfig)
    renderer: Renderer = Renderer.auto
    output: str | None = None
    """Where the recording of several runs goes; null is runs/comparison."""
    device: str = "auto"
    seed: int = seed_field()


@dataclass(frozen=True, kw_only=True)
class ImagineConfig(RolloutConfig):
    """`genie-robo imagine`: roll the world model out from a prompt."""

    data: DataConfig | None = None
    """data.path=FOLDER: where the run's own dataset is now. data=NAME data.path=FOLDER: another
    dataset, for example data=bridge_dataset."""
    other_dataset: bool = False
    """Accept other episodes at data.path than those that the run was trained on."""


@dataclass(frozen=True, kw_only=True)
class InspectDataConfig(DataConfig):
    """How the dataset is to be read: the settings of training, so that the same words do for both.

    Source, splits, image size and frame stride matter; the others are passed on.
    """

    path: str = ""
    """Taken where `path` is empty."""


@dataclass(frozen=True, kw_only=True)
class InspectConfig:
    """`genie-robo inspect`: what is in an RLDS or LeRobot folder."""

    path: str = ""
    """The folder, or the address of an RLDS folder: https://, gs:// or s3://; empty takes
    data.path."""
    data: InspectDataConfig | None = None
    """How to read it, for example data=bridge_dataset; by default its file in conf/data/, or a
    proposal."""
    rlds_splits: tuple[str, ...] = ()
    """RLDS splits to look at, whole or in part as "train[:3shards]"; empty takes all."""
    shards: str = ""
    """Numbers of the shards to look at, of each RLDS split, from 0: 0-63,70; empty takes all."""
    output: str = ""
    """Folder for inspect.json, contact_sheet.png, actions.png and episodes.rrd; empty prints
    only."""
    num_episodes: int = 5
    """Episodes in episodes.rrd, evenly spread over the dataset; 0 writes no recording."""
    write: str = ""
    """FOLDER/data/NAME.yaml: where to write the settings that read it, as proposed or given. Then
    `--config-dir FOLDER data=NAME` takes them in every command."""
    overwrite: bool = False
    """Replace the file of `write` if there is one."""


@dataclass(frozen=True, kw_only=True)
class DatasetsConfig:
    """`genie-robo datasets`: the datasets that can be named as data=NAME."""

    words: tuple[str, ...] = ()
    """All of them are in the name or the line of a dataset that is listed; empty lists all."""


class Shell(StrEnum):
    """Shells that can complete command lines."""

    bash = "bash"
    zsh = "zsh"


@dataclass(frozen=True, kw_only=True)
class CompletionConfig:
    """`genie-robo completion`: a script that lets a shell complete command lines."""

    shell: Shell = REQUIRED
    """The shell that runs the script."""


@dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """`genie-robo convert`: an RLDS or LeRobot folder in the other format."""

    data: DatasetFolder = field(default_factory=DatasetFolder)
    output: str = REQUIRED
    """Folder to write; it must not exist. For RLDS a version folder such as my_robot/1.0.0."""
    to: DatasetFormat = REQUIRED
    """Format to write."""
    images: ImageStorage = ImageStorage.auto
    """jpeg (what is JPEG stays as it is), lossless (stored images byte for byte, frames of videos
    as PNG), video (H.264) and lossless_video, both only in LeRobot; auto is jpeg in RLDS and video
    in LeRobot."""
    columns: tuple[str, ...] = ()
    """Keys of further columns to keep, numbers or text, besides those that data.source names."""

    def __post_init__(self) -> None:
        """Take enums by name."""
        take_names(self, "convert")


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """`genie-robo compare`: one table and one figure over finished runs."""

    runs: tuple[str, ...] = ()
    """Run folders; `*` stands for any part of a name."""
    folder: str = "runs/comparison"
    """Where comparison.md, comparison.csv and comparison.png go."""
    columns: dict[str, str] = field(default_factory=dict)
    """Title to address of a number: docs/experiments.md. Empty takes the standard
    columns that the runs have."""
    horizontal: str = ""
    """Title of a column to draw the first one against; empty draws every column by variant."""
    curve: str = ""
    """Address of a logged number to draw over training steps as well."""


@dataclass(frozen=True, kw_only=True)
class TokenizeConfig:
    """`genie-robo tokenize`: a run's training windows as tokens on disk."""

    run: str = REQUIRED
    data: DataConfig | None = None
    """data.path=FOLDER: where the run's own dataset is now. data=NAME data.path=FOLDER: another
    dataset, for example data=bridge_dataset."""
    other_dataset: bool = False
    """Accept other episodes at data.path than those that the run was trained on."""


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """`genie-robo export`: a run's Genie as a folder of its own."""

    run: str = REQUIRED
    output: str = REQUIRED
    """Folder for config.json, model.safetensors, action_map/, trust.json and README.md."""
    robot_control: bool | None = None
    """Whether to export the dynamics that stage robot_control trained; null does where there is
    one."""


class Interface(StrEnum):
    """Where `genie-robo play` is played; `auto` is the page unless keys come from a pipe."""

    auto = "auto"
    page = "page"
    terminal = "terminal"


@dataclass(frozen=True, kw_only=True)
class PlayConfig:
    """`genie-robo play`: press a key, see the next frame."""

    run: str = REQUIRED
    data: DataConfig | None = None
    """data.path=FOLDER: where the run's own dataset is now. data=NAME data.path=FOLDER: another
    dataset, for example data=bridge_dataset."""
    other_dataset: bool = False
    """Accept other episodes at data.path than those that the run was trained on."""
    episode: int = bounded(0, least=0, most=10**9)
    """Test episode whose first frame is the prompt."""
    ui: Interface = Interface.auto
    """page, terminal, or auto: the page unless keys come from a pipe."""
    host: str = "127.0.0.1"
    """Address that serves the page; any other than this one lets other machines play too."""
    allowed_hosts: tuple[str, ...] = ()
    """Names under which browsers may open the page, besides the address served and localhost."""
    port: int = bounded(8090, least=0, most=65535)
    """0 takes any free one."""
    browser: bool = True
    """Open the page; its address is printed in any case."""
    world_model: str = "genie"
    """What imagines: genie (the run's own), mujoco, mujoco_scaled, mujoco_delayed, mujoco_coded,
    copy_first, copy_last, or your own as package.module:Class."""
    sampler: Sampler = field(default_factory=Sampler)
    action_map: ActionMapConfig = field(default_factory=ActionMapConfig)
    renderer: Renderer = Renderer.auto
    device: str = "auto"
    seed: int = seed_field()


@dataclass(frozen=True, kw_only=True)
class ViewConfig:
    """`genie-robo view`: open recordings in the Rerun viewer."""

    run: str = ""
    """Run folder: all its recordings."""
    path: str = ""
    """A recording, or a folder of them, instead."""
    trial: str = ""
    """POLICY/TASK/EPISODE of suite=policy_evaluation, imagination next to MuJoCo."""
    results: str = "policy_evaluation"
    """Folder in RUN/eval with the trial, such as policy_evaluation+mujoco_coded."""
    serve: bool = False
    """Serve a web viewer instead of opening a window."""
    port: int = 9090


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """`genie-robo report`: what a run shows, as one page."""

    run: str = REQUIRED
    """Run folder that `train` and `eval` have filled."""


@dataclass(frozen=True, kw_only=True)
class AuditConfig:
    """`genie-robo audit`: what a table of predicted and true success supports."""

    table: str = REQUIRED
    """CSV file with a row for each trial and the columns policy, trial, predicted and true."""
    output: str = ""
    """Folder for audit.md, audit.json and audit.png; empty prints only."""
    seed: int = seed_field()
    """Of resamples and sampled orders."""


@dataclass(frozen=True, kw_only=True)
class DoctorConfig:
    """`genie-robo doctor`: what works on this machine."""


@dataclass(frozen=True, kw_only=True)
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


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """`genie-robo demo`: record, train, evaluate, imagine and report, resumable."""

    run: str = "runs/demo"
    """Run folder; rerunning resumes an interrupted demo. By default runs/`name`."""
    name: str = "demo"
    """The default run folder is runs/`name`, which experiment=smoke and experiment=long set."""
    record: RecordConfig = field(default_factory=RecordConfig)
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    tokenizer: StageConfig = field(default_factory=tokenizer_stage)
    world_model: StageConfig = field(default_factory=world_model_stage)
    robot_control: RobotControlConfig = field(default_factory=robot_control_stage)
    tokenizer_from: str = ""
    """Run folder whose tokenizer is taken, and trained there where it is missing; empty trains one
    in this run."""
    engine: EngineConfig = field(default_factory=EngineConfig)
    labels: str = ALL_LABELS
    """Labelled transitions of training episodes for robot control: a number, or all; 0 trains
    none."""
    latent_action_labels: LatentActionLabelsConfig = field(default_factory=LatentActionLabelsConfig)
    suite: dict[str, Any] = field(default_factory=dict)
    """Filled by `suite=NAME` or `suite=[NAME,NAME]` from conf/suite/; one that is null is left
    out."""
    fast: bool = False
    """Fewer episodes and draws in every suite."""
    sampler: Sampler = field(default_factory=Sampler)
    imagine: RolloutConfig = field(default_factory=RolloutConfig)
    comparison: ComparisonConfig = field(default_factory=ComparisonConfig)
    seed: int = seed_field()
    """Of every stage."""
