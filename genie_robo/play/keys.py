"""Which key does what, in the browser and in the terminal."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from genie_robo.play.game import Game

CODE_KEYS = "0123456789behijklmnoptvyz"
"""One key per latent action; a model with more codes has buttons for the others."""
UNDO, RESET, RECORD, QUIT = "u", "x", "c", "q"
STEP_M = 0.04
"""How far a direction key moves the tool."""
DIRECTIONS = {
    "w": ("+x", (STEP_M, 0.0, 0.0)),
    "s": ("-x", (-STEP_M, 0.0, 0.0)),
    "a": ("+y", (0.0, STEP_M, 0.0)),
    "d": ("-y", (0.0, -STEP_M, 0.0)),
    "r": ("+z", (0.0, 0.0, STEP_M)),
    "f": ("-z", (0.0, 0.0, -STEP_M)),
}
"""Metres along the axes of the robot: x away from it, y to its left, z up."""
GRIPPER_KEY = "g"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key, its name and what it does; the key is empty where there is only a button."""

    key: str
    name: str
    press: Callable[[], None]


def code_keys(game: Game) -> list[Key]:
    """One for each latent action."""
    return [
        Key(
            key=CODE_KEYS[code] if code < len(CODE_KEYS) else "",
            name=str(code),
            press=partial(game.press_code, code),
        )
        for code in range(game.num_codes)
    ]


def robot_keys(game: Game) -> list[Key]:
    """Those that move the robot; none when the run has no action map."""
    if game.action_map is None:
        return []
    moves = [
        Key(key=key, name=name, press=partial(game.move, name, np.array(delta)))
        for key, (name, delta) in DIRECTIONS.items()
    ]
    return [*moves, Key(key=GRIPPER_KEY, name="gripper", press=game.toggle_gripper)]


def session_keys(game: Game) -> list[Key]:
    """Those that take back."""
    return [
        Key(key=UNDO, name="undo", press=game.undo),
        Key(key=RESET, name="reset", press=game.reset),
    ]
