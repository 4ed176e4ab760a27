"""Commands that use a trained run, and the small ones."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from genie_robo.config.data import DataConfig, SourceConfig
from genie_robo.config.required import REQUIRED
from genie_robo.config.sim import Renderer


class Order(Enum):
    """In which order MaskGIT reveals the tokens of a frame."""

    random = "random"
    confidence = "confidence"


@dataclass
class SamplerConfig:
    """How MaskGIT decodes one frame."""

    num_steps: int = 4
    temperature: float = 0.25
    order: Order = Order.random
    """Which tokens come first; confidence copies the last frame in static video."""
    top_k: int = 0
    """Draw among so many most likely tokens only; 0 draws among all."""
    guidance: float = 1.0
    """Exaggerate what the latent action changes; 1 is off, anything else takes twice the time."""


@dataclass
class ActionMapConfig:
    """The map between latent and robot actions, fitted when it is first needed."""

    num_labels: int = 200
    """Steps of val episodes whose robot action is looked at."""


class FitOn(Enum):
    """Episodes that a suite fits its probes on."""

    val = "val"
    train = "train"


@dataclass
class EvalConfig:
    """`genie-robo eval`: suites on the held-out episodes of a run."""

    run: Any = ""
    """Run folder, or [FOLDER,FOLDER] to compare runs; only suite=selfcheck needs none."""
    suite: dict[str, Any] = field(default_factory=dict)
    """Filled by `suite=NAME` or `suite=[NAME,NAME]` from conf/suite/."""
    data: DataConfig | None = None
    """Another dataset than the run's own, for example data=bridge_dataset data.path=FOLDER."""
    fast: bool = False
    """Fewer episodes and draws, for a first look."""
    fit_on: FitOn = FitOn.val
    """Episodes that probes and baselines are fitted on: val, or train where val has too few; the
    models never saw the actions of either."""
    output: str | None = None
    """Where comparisons of several runs go, one folder per suite; null is runs/comparison."""
    world_model: str = "genie"
    """What imagines: genie (the run's own), mujoco, mujoco_scaled, mujoco_delayed, mujoco_coded,
    copy_first, copy_last, or your own as package.module:Class."""
    encoder: str = "genie"
    """What infers latent actions: genie (the run's own), oracle, random, shuffled, or your own as
    package.module:Class."""
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    action_map: ActionMapConfig = field(default_factory=ActionMapConfig)
    device: str = "auto"
    seed: int = 0


@dataclass
class ImagineConfig:
    """`genie-robo imagine`: roll the world model out from a prompt."""

    run: Any = REQUIRED
    """Run folder, or [FOLDER,FOLDER] to see several models beside one truth."""
    prompt: Any = "episode"
    """episode (of the test side), simulator (a fresh scene), or a PNG or JPEG file; [FILE,FILE]
    are several frames."""
    actions: Any = None
    """inferred (from what really followed; what a code leaves of a motion unsaid is added to the
    next), inferred_alone (each of its own transition, as in the paper), robot (the true ones,
    mapped to codes), random, [CODE,CODE,...], or [[dx,dy,dz,droll,dpitch,dyaw,gripper],...]; null
    takes inferred, and random after a picture."""
    branches: bool = False
    """Hold each code for the whole horizon instead, all from one prompt."""
    num_episodes: int = 3
    """Test episodes, or fresh scenes; pictures make one rollout."""
    start: int = 0
    """Frame of the episode that is the prompt: its step, over the frame stride of the model."""
    num_prompt_frames: int = 1
    horizon: int = 15
    """Frames to imagine."""
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    action_map: ActionMapConfig = field(default_factory=ActionMapConfig)
    renderer: Renderer = Renderer.auto
    output: str | None = None
    """Where the recording of several runs goes; null is runs/comparison."""
    device: str = "auto"
    seed: int = 0


@dataclass
class InspectDataConfig:
    """How the dataset is to be read."""

    source: SourceConfig = field(default_factory=SourceConfig)


@dataclass
class InspectConfig:
    """`genie-robo inspect`: what is in an RLDS folder."""

    path: str = REQUIRED
    data: InspectDataConfig | None = None
    """Read it like this, for example data=bridge_dataset; else by its own name, or a proposal."""
    output: str = ""
    """Folder for inspect.json, contact_sheet.png, actions.png and episodes.rrd; empty prints
    only."""
    num_episodes: int = 5
    """Episodes in episodes.rrd, evenly spread over the dataset; 0 writes no recording."""


@dataclass
class CompareConfig:
    """`genie-robo compare`: one table and one figure over finished runs."""

    runs: list[str] = field(default_factory=list)
    """Run folders; `*` stands for any part of a name."""
    folder: str = "runs/comparison"
    """Where comparison.md, comparison.csv and comparison.png go."""
    columns: dict[str, str] = field(default_factory=dict)
    """Title to address of a number: docs/experiments.md. Empty takes whatever the runs have."""
    horizontal: str = ""
    """Title of a column to draw the first one against; empty draws every column by variant."""
    curve: str = ""
    """Address of a logged number to draw over training steps as well."""


@dataclass
class TokenizeConfig:
    """`genie-robo tokenize`: a run's training windows as tokens on disk."""

    run: str = REQUIRED


@dataclass
class ExportConfig:
    """`genie-robo export`: a run's Genie as a folder of its own."""

    run: str = REQUIRED
    output: str = REQUIRED
    """Folder for config.json and model.safetensors."""


class Interface(Enum):
    """Where `genie-robo play` is played; `auto` is the page unless keys come from a pipe."""

    auto = "auto"
    page = "page"
    terminal = "terminal"


@dataclass
class PlayConfig:
    """`genie-robo play`: press a key, see the next frame."""

    run: str = REQUIRED
    episode: int = 0
    """Test episode whose first frame is the prompt."""
    ui: Interface = Interface.auto
    """page, terminal, or auto: the page unless keys come from a pipe."""
    host: str = "127.0.0.1"
    """Address that serves the page; any other than this one lets other machines play too."""
    port: int = 8090
    """0 takes any free one."""
    browser: bool = True
    """Open the page; its address is printed in any case."""
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    action_map: ActionMapConfig = field(default_factory=ActionMapConfig)
    renderer: Renderer = Renderer.auto
    device: str = "auto"
    seed: int = 0


@dataclass
class ViewConfig:
    """`genie-robo view`: open recordings in the Rerun viewer."""

    run: str = ""
    """Run folder: all its recordings."""
    path: str = ""
    """A recording, or a folder of them, instead."""
    serve: bool = False
    """Serve a web viewer instead of opening a window."""
    port: int = 9090


@dataclass
class DoctorConfig:
    """`genie-robo doctor`: what works on this machine."""
