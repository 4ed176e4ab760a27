"""Recording episodes in MuJoCo.

Not in `genie_robo.sim`, whose import loads MuJoCo and Gymnasium, which would slow down help pages.
"""

from dataclasses import dataclass
from enum import StrEnum

from genie_robo.settings import REQUIRED, take_names


class Renderer(StrEnum):
    """What draws MuJoCo frames; `raycast` needs no graphics library."""

    auto = "auto"
    egl = "egl"
    osmesa = "osmesa"
    raycast = "raycast"


@dataclass(frozen=True, kw_only=True)
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
    """Share of pick episodes, relative to push, random and play."""
    push: float = 1.0
    random: float = 1.0
    play: float = 1.0
    """Boxes are pushed, carried, dragged, dropped and missed, with turns of the wrist."""
    seed: int = 0
    num_workers: int = 0
    """Processes; 0 takes one per core. The dataset does not depend on it."""

    def __post_init__(self) -> None:
        """Refuse an empty recording and invalid shares."""
        take_names(self, "record")
        shares = (self.pick, self.push, self.random, self.play)
        if self.num_episodes < 1 or self.num_steps < 2:
            raise ValueError(
                f"record.num_episodes={self.num_episodes} must be at least 1 and "
                f"record.num_steps={self.num_steps} at least 2"
            )
        if min(shares) < 0 or not any(shares):
            raise ValueError(
                f"record.pick={self.pick}, record.push={self.push}, record.random={self.random} "
                f"and record.play={self.play}: shares must not be negative, one must be positive"
            )
