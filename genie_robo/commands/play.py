"""`genie-robo play`: a key picks a latent action, the next imagined frame appears."""

import contextlib
import sys
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.live import Live
from rich.style import Style
from rich.text import Text

from genie_robo.commands.base import Command
from genie_robo.config import PlayConfig

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import UInt8

    from genie_robo.commands.trained_run import TrainedRun
    from genie_robo.inference.rollout import Imagination

KEYS = "0123456789abcdefghijklmnoprstvwxyz"
"""One key per latent action; u and q are taken."""
UNDO, QUIT = "u", "q"


def run(config: PlayConfig) -> None:
    """Play in the terminal, or follow keys from a pipe."""
    from genie_robo.commands.trained_run import open_run

    game = Game(open_run(config.run, device=config.device), config)
    console = Console(highlight=False)
    if console.is_terminal:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            _play(game, lambda: live.update(game.picture(), refresh=True))
    else:
        _play(game, lambda: console.print(game.status()))


class Game:
    """An imagined episode that is steered one latent action at a time."""

    def __init__(self, trained: "TrainedRun", config: PlayConfig) -> None:
        from genie_robo.commands.trained_run import choose_window
        from genie_robo.types import Split

        self.config = config
        self.genie = trained.genie
        self.device = trained.device
        self.num_codes = min(trained.genie.latent_action.num_codes, len(KEYS))
        window = choose_window(trained.windows(Split.test), config.episode, min_frames=1)
        self.prompt = window.video[:1]
        self.frames = [window.video[0]]
        self.actions: list[int] = []
        self._imagination = self._restart()

    def act(self, action: int) -> None:
        """Imagine the next frame."""
        self.actions.append(action)
        self.frames.append(self._step(self._imagination, action))

    def undo(self) -> None:
        """Take the last action back; imagining the others again gives the same frames."""
        if not self.actions:
            return
        self.actions.pop()
        self.frames.pop()
        self._imagination = self._restart()
        for action in self.actions:
            self._step(self._imagination, action)

    def status(self) -> str:
        """One line: where we are and what can be pressed."""
        taken = " ".join(map(str, self.actions[-12:])) or "none"
        keys = f"{KEYS[0]}..{KEYS[self.num_codes - 1]}"
        return (
            f"frame {len(self.actions)}  actions: {taken}  |  {keys} act, {UNDO} undo, {QUIT} quit"
        )

    def picture(self) -> Text:
        """The current frame as half-block characters, the status below."""
        return half_blocks(self.frames[-1]).append(f"\n{self.status()}")

    def _restart(self) -> "Imagination":
        import torch

        from genie_robo.commands.trained_run import build_sampler
        from genie_robo.inference.rollout import Imagination

        prompt = torch.from_numpy(self.prompt[None]).to(self.device)
        sampler = build_sampler(self.config.sampler)
        return Imagination(self.genie, prompt, seeds=[self.config.seed], sampler=sampler)

    def _step(self, imagination: "Imagination", action: int) -> "UInt8[np.ndarray, 'h w c']":
        import torch

        return imagination.step(torch.tensor([action], device=self.device))[0].cpu().numpy()


def half_blocks(frame: "UInt8[np.ndarray, 'h w c']") -> Text:
    """A frame as text, two pixels above each other in one character."""
    text = Text(no_wrap=True, overflow="crop")
    for y in range(0, len(frame) - 1, 2):
        for upper, lower in zip(frame[y].tolist(), frame[y + 1].tolist(), strict=True):
            colors = (f"rgb({','.join(map(str, pixel))})" for pixel in (upper, lower))
            text.append("\N{UPPER HALF BLOCK}", Style.parse(" on ".join(colors)))
        text.append("\n")
    return text


def read_keys(source: TextIO) -> Generator[str, None, None]:
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


def _play(game: Game, show: Callable[[], None]) -> None:
    show()
    with contextlib.closing(read_keys(sys.stdin)) as keys:
        for key in keys:
            action = KEYS.find(key)
            if key == QUIT:
                return
            if key == UNDO:
                game.undo()
            elif 0 <= action < game.num_codes:
                game.act(action)
            show()


COMMAND = Command(
    name="play",
    summary="steer the world model from the keyboard, one latent action per key",
    config=PlayConfig,
    run=run,
    details=(
        "Starts from the first frame of a test episode and draws the imagined frames in the "
        "terminal (24-bit colour). Keys 0, 1, ... pick a latent action, u takes the last one "
        "back, q quits. Without a terminal, keys are read from standard input and one line is "
        "printed per frame."
    ),
    examples=(
        "genie-robo play run=runs/demo",
        "genie-robo play run=runs/demo episode=3 sampler.num_steps=4",
        "echo 00112u3q | genie-robo play run=runs/demo",
    ),
)
