"""A toy robot that takes steps of two pixels, and an encoder that sees them in the frames."""

from dataclasses import dataclass

import numpy as np
from eval_fakes import LEVEL_M, PIXEL_M, SIZE, SQUARE, MovingSquare, ToyRobot

from genie_robo.eval_suites.base import Transitions
from genie_robo.inference.world import Codes, RobotActions

STEP = 2 * PIXEL_M
NUM_CODES = 9
TABLE = np.zeros((NUM_CODES, 7))
TABLE[:, 0] = (np.arange(NUM_CODES) // 3 - 1) * STEP
TABLE[:, 1] = (np.arange(NUM_CODES) % 3 - 1) * STEP


@dataclass
class SeenRobot(ToyRobot):
    """Moves left, right, up, down by two pixels and never leaves the picture."""

    def __post_init__(self):
        super().__post_init__()
        for e in range(self.num_episodes):
            rng = np.random.default_rng([self.seed, e, 1])
            poses, actions = self.poses[e], self.actions[e]
            poses[0, :2] = rng.integers(4, SIZE - SQUARE - 4, size=2) * PIXEL_M
            for t in range(self.num_frames - 1):
                moves = rng.integers(-1, 2, size=2) * STEP
                outside = (
                    np.abs(poses[t, :2] + moves - (SIZE - SQUARE) / 2 * PIXEL_M) > 11 * PIXEL_M
                )
                actions[t, :2] = np.where(outside, -moves, moves)
                actions[t, 2] = 0.0
                poses[t + 1, :2] = poses[t, :2] + actions[t, :2]
                poses[t + 1, 2] = poses[t, 2]


def place(frame):
    """Column and row of the square."""
    rows, columns = np.nonzero(frame[..., 0] > 100)
    return np.array([columns.min(), rows.min()])


class SeeingEncoder:
    """The code of a transition is the direction in which the square moves in the frames."""

    num_codes = NUM_CODES

    def encode(self, window):
        moved = np.sign(np.diff([place(frame) for frame in window.video], axis=0)).astype(int)
        codes = (moved[:, 0] + 1) * 3 + moved[:, 1] + 1
        return Transitions(codes, np.eye(NUM_CODES)[codes])


class SeenPhysics(MovingSquare):
    """Executes robot actions, or the motion that each code stands for, wherever the square is."""

    takes = (Codes, RobotActions)

    def pose(self, prompt):
        x, y = place(prompt.frames[-1])
        level = int(prompt.frames[-1][y, x, 0])
        return np.array([x * PIXEL_M, y * PIXEL_M, (level - 180) / 8 * LEVEL_M])

    def motions(self, actions):
        return actions.values if isinstance(actions, RobotActions) else TABLE[actions.values]
