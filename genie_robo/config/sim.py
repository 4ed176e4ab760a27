"""Recording episodes in MuJoCo."""

from dataclasses import dataclass
from enum import Enum

from genie_robo.required import REQUIRED


class Renderer(Enum):
    """What draws MuJoCo frames; `raycast` needs no graphics library."""

    auto = "auto"
    egl = "egl"
    osmesa = "osmesa"
    raycast = "raycast"


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
    """arm is built in; google_robot and wx250s are found below MENAGERIE_ROOT, or in the package
    mujoco-menagerie."""
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
