"""Recording episodes in MuJoCo.

Not in `genie_robo.sim`, whose import loads MuJoCo and Gymnasium, which would slow down help pages.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from genie_robo.settings import REQUIRED, bounded, seed_field, take_names

MENAGERIE_ROBOTS = ("wx250s", "google_robot")
"""Robots that are read from the MuJoCo Menagerie."""


class Renderer(StrEnum):
    """What draws MuJoCo frames; `raycast` needs no graphics library."""

    auto = "auto"
    egl = "egl"
    osmesa = "osmesa"
    raycast = "raycast"


class RecordLayout(StrEnum):
    """The columns that a recording has."""

    tabletop = "tabletop"
    """Square PNG images, 7-D actions, and the state of the simulator."""
    rt1 = "rt1"
    """Those of fractal20220817_data (RT-1): JPEG of 256 x 320 at 3 Hz, a dict of actions, no state
    of a simulator."""


RT1_IMAGE, RT1_HZ = (256, 320), 3.0
"""Height and width of its images (pixels), and steps per second."""


@dataclass(frozen=True, kw_only=True)
class RecordConfig:
    """`genie-robo record`: scripted policies in MuJoCo, written as an RLDS dataset."""

    path: str = REQUIRED
    """Dataset folder to write; an existing one is kept when it was made by the same settings."""
    num_episodes: int = bounded(240, least=1, most=10**9)
    num_steps: int = bounded(40, least=2, most=10**6)
    """Steps per episode."""
    control_hz: float = bounded(3.0, least=0.1, most=1000.0)
    image_size: int = bounded(64, least=8, most=4096)
    """Height and width, unless layout=rt1, whose images have one size."""
    layout: RecordLayout = RecordLayout.tabletop
    """tabletop, or rt1: the columns, the rate and the image size of fractal20220817_data, to be
    read with data=fractal20220817_data."""
    robot: str = "arm"
    """arm is built in; google_robot and wx250s are found below MENAGERIE_ROOT, or in the package
    mujoco-menagerie."""
    renderer: Renderer = Renderer.auto
    pick: float = bounded(1.0, least=0.0, most=1e9)
    """Share of pick episodes, relative to push, random and play."""
    push: float = bounded(1.0, least=0.0, most=1e9)
    random: float = bounded(1.0, least=0.0, most=1e9)
    play: float = bounded(1.0, least=0.0, most=1e9)
    """Boxes are pushed, carried, dragged, dropped and missed, with turns of the wrist."""
    seed: int = seed_field()
    num_workers: int = bounded(0, least=0, most=1024)
    """Processes; 0 takes one per core. The dataset does not depend on it."""

    def __post_init__(self) -> None:
        """Refuse an empty recording and invalid shares."""
        take_names(self, "record")
        self._check_layout()
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

    def _check_layout(self) -> None:
        """Refuse other sizes and rates than those of the layout."""
        given = {"image_size": self.image_size, "control_hz": self.control_hz}
        other = [name for name, value in given.items() if value != getattr(RecordConfig, name)]
        if self.layout is RecordLayout.rt1 and other:
            height, width = RT1_IMAGE
            raise ValueError(
                f"record.layout=rt1 has images of {height} x {width} pixels and {RT1_HZ:g} steps "
                f"per second, as RT-1 has; leave out record.{other[0]}={given[other[0]]}"
            )

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width of the images (pixels)."""
        if self.layout is RecordLayout.rt1:
            return RT1_IMAGE
        return self.image_size, self.image_size


def check_robot(name: str, menagerie: Collection[str] = MENAGERIE_ROBOTS) -> None:
    """Refuse the name of a robot that is not known.

    Raises:
        ValueError: It is not.
    """
    if name != "arm" and name not in menagerie:
        raise ValueError(
            f"robot={name} is not known; choose arm, which is built in, or one of "
            f"{', '.join(menagerie)}, which are read from the MuJoCo Menagerie"
        )
