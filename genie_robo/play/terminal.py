"""Playing in the terminal, or by keys from a pipe."""

import contextlib
import sys
from collections.abc import Callable, Generator
from typing import TextIO

import numpy as np
from jaxtyping import UInt8
from rich.console import Console
from rich.live import Live
from rich.style import Style
from rich.text import Text

from genie_robo.play.game import QUIT, RESET, UNDO, Game, code_keys, robot_keys, session_keys

_SHOWN_ACTIONS = 12


def play_in_terminal(game: Game) -> None:
    """Draw frames in a terminal; elsewhere print a line per key."""
    console = Console(highlight=False)
    if console.is_terminal:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            follow_keys(game, lambda: live.update(draw(game), refresh=True))
        console.print(game.speed)
    else:
        follow_keys(game, lambda: console.print(status(game), soft_wrap=True))


def follow_keys(game: Game, show: Callable[[], None]) -> None:
    """Press the keys that are read from standard input, until `q` or its end."""
    keys = [*code_keys(game), *robot_keys(game), *session_keys(game)]
    press = {key.key: key.press for key in keys if key.key}
    show()
    with contextlib.closing(_read_keys(sys.stdin)) as pressed:
        for key in pressed:
            if key == QUIT:
                return
            if key in press:
                press[key]()
            show()


def status(game: Game) -> str:
    """One line: the actions so far, and the keys."""
    names = [action.name for action in game.actions]
    codes = [key.key for key in code_keys(game) if key.key]
    keys = [f"{codes[0]}..{codes[-1]} act"] if codes else []
    if moves := "".join(key.key for key in robot_keys(game)):
        keys.append(f"{moves} move")
    trust = "" if game.now.trust is None else f"  trust {game.now.trust:.2f}"
    return (
        f"frame {len(names)}{trust}  actions: {', '.join(names[-_SHOWN_ACTIONS:]) or 'none'}  |  "
        f"{', '.join(keys)}, {UNDO} undo, {RESET} reset, {QUIT} quit"
    )


def draw(game: Game) -> Text:
    """The current frame as half-block characters, the status below."""
    return half_blocks(game.now.frame).append(f"\n{status(game)}")


def half_blocks(frame: UInt8[np.ndarray, "h w c"]) -> Text:
    """A frame as text, two pixels above each other in one character."""
    text = Text(no_wrap=True, overflow="crop")
    for y in range(0, len(frame) - 1, 2):
        for upper, lower in zip(frame[y].tolist(), frame[y + 1].tolist(), strict=True):
            colors = (f"rgb({','.join(map(str, pixel))})" for pixel in (upper, lower))
            text.append("\N{UPPER HALF BLOCK}", Style.parse(" on ".join(colors)))
        text.append("\n")
    return text


def _read_keys(source: TextIO) -> Generator[str, None, None]:
    """Single key presses from a terminal, the characters of every line from anything else."""
    if not source.isatty():
        for line in source:
            yield from line.strip()
        return
    import termios
    import tty

    settings = termios.tcgetattr(source)
    try:
        tty.setcbreak(source)
        while key := source.read(1):
            yield key
    finally:
        termios.tcsetattr(source, termios.TCSADRAIN, settings)
