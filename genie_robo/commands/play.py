"""`genie-robo play`: a key picks an action, the next imagined frame appears."""

import contextlib
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console

from genie_robo.commands.checks import plays_in_terminal
from genie_robo.config import JointsMotion, PlayConfig
from genie_robo.eval_context import find_world
from genie_robo.fit_action_map import find_action_map
from genie_robo.fit_trust import watch_run
from genie_robo.inference.action_map import ActionMap, steered_world
from genie_robo.inference.world import Codes, GenieWorld, Prompt, RobotActions
from genie_robo.play.address import free_port, served_names
from genie_robo.play.game import Game
from genie_robo.play.page import serve
from genie_robo.play.recording import write_session
from genie_robo.play.session import make_session
from genie_robo.play.terminal import play_in_terminal
from genie_robo.prompts import RunPrompts
from genie_robo.run_folder import RunFolder
from genie_robo.run_lock import only_writer
from genie_robo.trained_run import TrainedRun, open_run
from genie_robo.types import Split


def run(config: PlayConfig) -> None:
    """Play in a web page, in the terminal, or by keys from a pipe."""
    trained = open_run(
        config.run, device=config.device, data=config.data, other_dataset=config.other_dataset
    )
    prompts = RunPrompts(trained.windows(Split.test), renderer=config.renderer)
    prompt = prompts.episode(config.episode).prompt
    in_terminal = plays_in_terminal(config)
    with contextlib.suppress(KeyboardInterrupt):
        port = 0 if in_terminal else free_port(config.host, config.port)
        names = served_names(config.host, config.allowed_hosts)
        fitted = find_action_map(trained, num_labels=config.action_map.num_labels)
        make = partial(make_game, trained, prompt, fitted, config)
        if in_terminal:
            play_in_terminal(make())
            return
        session = make_session(
            make,
            prompts=prompts,
            record=partial(_record, trained.folder),
            title=config.run,
            note=describe_robot_keys(trained, fitted),
        )
        serve(
            session,
            host=config.host,
            port=port,
            browser=config.browser,
            announce=_announce,
            names=names,
        )


def _record(run: RunFolder, game: Game) -> Path:
    """Write the session into the run, which is locked only meanwhile."""
    with only_writer(run):
        return write_session(run.rollouts, game)


def make_game(
    trained: TrainedRun, prompt: Prompt, fitted: ActionMap | None, config: PlayConfig
) -> Game:
    """A game at its prompt."""

    def genie() -> GenieWorld:
        model = trained.robot_genie or trained.genie
        return steered_world(model, fitted, sampler=config.sampler)

    world = find_world(trained, config.world_model, genie=genie)
    num_labels = config.action_map.num_labels
    return Game(
        watch_run(trained, world, kinds=(Codes, RobotActions), num_labels=num_labels),
        prompt,
        num_codes=trained.genie.latent_action.num_codes,
        seed=config.seed,
        meanings=None if fitted is None else fitted.dictionary,
        joints_hold=trained.data.source.action.joints_motion is JointsMotion.position,
        renderer=config.renderer,
    )


def describe_robot_keys(trained: TrainedRun, fitted: ActionMap | None) -> str:
    """How the model understands robot actions, in words."""
    if (trained.robot_genie or trained.genie).takes_robot_actions:
        return "the model was trained on robot actions"
    return describe_map(fitted, by_latents=trained.genie.takes_latents)


def describe_map(fitted: ActionMap | None, *, by_latents: bool) -> str:
    """Accuracy of the action map, in words."""
    if fitted is None or fitted.report.accuracy.value is None:
        return ""
    report = fitted.report
    explained = [r2.value for r2 in report.latent_r2 if r2.value is not None]
    if by_latents and explained:
        return (
            f"the action map explains {np.mean(explained):.0%} of the latents of held-out steps "
            f"(R2, {report.num_labels} labels)"
        )
    return (
        f"the action map names the right code for {report.accuracy.value:.0%} of held-out "
        f"steps, each alone; always naming the most frequent would for {report.majority:.0%}"
    )


def _announce(text: str) -> None:
    Console(soft_wrap=True, highlight=False).print(text, markup=False)
