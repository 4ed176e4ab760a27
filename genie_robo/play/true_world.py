"""What MuJoCo says happens under the actions of a game."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from genie_robo.play.start import SimState
from genie_robo.sim.actions import ACTION_HIGH, ACTION_LOW
from genie_robo.sim.tabletop import Tabletop, TabletopState
from genie_robo.types import GRIPPER


class TrueMoment(NamedTuple):
    """A frame of the simulator, and the state to go on from."""

    frame: UInt8[np.ndarray, "h w c"]
    state: TabletopState


class TrueWorld:
    """The simulator beside an imagined episode; close it when done.

    It keeps no course of its own: every step goes on from a given moment, so nothing has to be
    undone.
    """

    def __init__(
        self, start: SimState, *, image_size: tuple[int, int], steps_per_frame: int, renderer: str
    ) -> None:
        self._steps_per_frame = steps_per_frame
        self._env = Tabletop(image_size=image_size, renderer=renderer, scene=start.scene)
        self._env.restore(start.scene, start.physics)
        self.first = self._moment()
        self.gripper = float(self._env.pose[GRIPPER])
        """At the start; 1 = open."""

    def after(self, moment: TrueMoment, action: Float[np.ndarray, " 7"]) -> TrueMoment:
        """One frame later."""
        self._env.set_state(moment.state)
        for part in split_action(action, parts=self._steps_per_frame):
            self._env.advance(part)
        return self._moment()

    def close(self) -> None:
        """Free the renderer."""
        self._env.close()

    def _moment(self) -> TrueMoment:
        return TrueMoment(self._env.render(), self._env.get_state())


def split_action(action: Float[np.ndarray, " 7"], *, parts: int) -> Float[np.ndarray, "parts 7"]:
    """The robot actions that together move as far as one, each within the simulator's bounds."""
    share = np.asarray(action, np.float64).copy()
    share[:GRIPPER] /= parts
    return np.tile(np.clip(share, ACTION_LOW, ACTION_HIGH), (parts, 1))
