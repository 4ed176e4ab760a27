"""How many clips of a recording move a box: what a world model can learn about objects from."""

import numpy as np
from jaxtyping import Bool, Float
from numpy.lib.stride_tricks import sliding_window_view

from genie_robo.sim.tabletop import Tabletop

CLIP_ACTIONS = 10
"""Length of a clip, as the suites imagine by default."""
MOVED_M = 0.02
"""Distance from its first place at which a box counts as moved: about half its width."""


def box_centres(env: Tabletop) -> Float[np.ndarray, "b 3"]:
    """Centres of the scene's boxes now (m)."""
    return np.stack([env.box_position(box) for box in range(len(env.scene.boxes))])


def moves_a_box(
    boxes: Float[np.ndarray, "t b 3"], *, num_actions: int = CLIP_ACTIONS
) -> Bool[np.ndarray, " n"]:
    """Whether a box moves by MOVED_M or more, for each clip of consecutive steps."""
    if len(boxes) <= num_actions:
        return np.zeros(0, bool)
    clips = sliding_window_view(boxes, num_actions + 1, axis=0)
    away = np.linalg.norm(clips - clips[..., :1], axis=2)
    return (away >= MOVED_M).any(axis=(1, 2))
