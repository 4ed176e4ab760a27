"""`genie-robo play`: a key picks an action, the next imagined frame appears."""

import contextlib
import logging
import os
import stat
import sys
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console

from genie_robo.commands.base import Command
from genie_robo.config import Interface, PlayConfig

if TYPE_CHECKING:
    from genie_robo.inference.action_map import ActionMap as FittedMap
    from genie_robo.play.game import Game
    from genie_robo.play.start import Start, Starts
    from genie_robo.trained_run import TrainedRun

_log = logging.getLogger(__name__)


def run(config: PlayConfig) -> None:
    """Play in a web page, in the terminal, or by keys from a pipe."""
    from genie_robo.trained_run import open_run

    trained = open_run(config.run, device=config.device)
    starts = make_starts(trained, config)
    start = starts.episode(config.episode)
    in_terminal = config.ui is Interface.terminal or (config.ui is Interface.auto and _is_fed())
    with contextlib.suppress(KeyboardInterrupt):
        if in_terminal:
            from genie_robo.fit_action_map import find_action_map
            from genie_robo.play.terminal import play_in_terminal

            fitted = find_action_map(trained, num_labels=config.action_map.num_labels)
            play_in_terminal(make_game(trained, start, fitted, config))
        else:
            _serve(trained, starts, start, config)


def make_starts(trained: "TrainedRun", config: PlayConfig) -> "Starts":
    """The prompts of a run: its test episodes, fresh scenes, and images."""
    from genie_robo.play.start import Starts
    from genie_robo.trained_run import choose_window
    from genie_robo.types import Split

    windows = trained.windows(Split.test)
    return Starts(
        num_episodes=len(windows.episodes),
        window=partial(choose_window, windows, min_frames=1),
        episode=lambda number: trained.dataset[windows.episodes[number]],
        image_size=windows.image_size,
        resize=trained.data.resize.value,
        frame_stride=windows.frame_stride,
        renderer=config.renderer.value,
    )


def make_game(
    trained: "TrainedRun", start: "Start", fitted: "FittedMap | None", config: PlayConfig
) -> "Game":
    """A game at its prompt."""
    from genie_robo.play.game import Game
    from genie_robo.trained_run import build_sampler

    return Game(
        trained.genie,
        start,
        sampler=build_sampler(config.sampler),
        seed=config.seed,
        action_map=fitted,
        renderer=config.renderer.value,
    )


def describe_map(fitted: "FittedMap | None") -> str:
    """How far robot actions can be trusted to steer."""
    if fitted is None or fitted.report.accuracy.value is None:
        return ""
    return (
        f"the action map names the right code for {fitted.report.accuracy.value:.0%} of held-out "
        f"steps, each alone; always naming the most frequent would for {fitted.report.majority:.0%}"
    )


def _serve(trained: "TrainedRun", starts: "Starts", start: "Start", config: PlayConfig) -> None:
    from genie_robo.fit_action_map import find_action_map
    from genie_robo.play.recording import write_session
    from genie_robo.play.server import free_port, serve

    port = free_port(config.host, config.port)
    fitted = find_action_map(trained, num_labels=config.action_map.num_labels)
    serve(
        partial(make_game, trained, start, fitted, config),
        starts=starts,
        record=partial(write_session, trained.folder.rollouts),
        title=config.run,
        note=describe_map(fitted),
        host=config.host,
        port=port,
        browser=config.browser,
        announce=_announce,
    )


def _is_fed() -> bool:
    """Whether standard input is a pipe or a file, so that keys come from there."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):  # no standard input at all
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def _announce(text: str) -> None:
    Console(soft_wrap=True, highlight=False).print(text, markup=False)


COMMAND = Command(
    name="play",
    summary="steer the world model in a web page, one action per key",
    config=PlayConfig,
    run=run,
    details=(
        "Opens a page that this machine serves to itself: the imagined frame large, MuJoCo beside "
        "it, a button and a key for each latent action and, with an action map, for moving the "
        "robot. Starts from the first frame of a test episode; other episodes, fresh simulator "
        "scenes and image files are chosen on the page. Recordings go to RUN/rollouts. "
        "ui=terminal draws in the terminal instead; keys from a pipe print one line per frame. "
        "docs/play.md lists the keys."
    ),
    examples=(
        "genie-robo play run=runs/demo",
        "genie-robo play run=runs/demo port=0 browser=false sampler.num_steps=4",
        "genie-robo play run=runs/demo ui=terminal episode=3",
        "echo 00112u3q | genie-robo play run=runs/demo",
    ),
)
