"""Which latent actions follow a prompt, and which robot actions they stand for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from jaxtyping import Float, Int

from eval_suites.adapters import GenieEncoder
from genie_robo.config import ImagineConfig
from genie_robo.fit_action_map import fetch_action_map
from genie_robo.imagine.prompts import Followed, Prompt
from genie_robo.inference.action_map import ActionMap
from genie_robo.sim.actions import checked_action
from genie_robo.trained_run import TrainedRun
from genie_robo.types import ACTION_NAMES

INFERRED, ALONE, ROBOT, RANDOM = WORDS = "inferred", "inferred_alone", "robot", "random"


@dataclass(frozen=True, slots=True, kw_only=True)
class Steering:
    """The actions after the prompt, as codes and as robot actions."""

    codes: Int[np.ndarray, " n"]
    robot_actions: Float[np.ndarray, "n 7"] | None
    """None where they cannot be executed."""
    is_true: bool
    """Whether the frames that really followed were reached by these actions."""


def check_steering(config: ImagineConfig, *, num_codes: int) -> None:
    """Refuse actions that cannot follow any prompt, before any model runs.

    Raises:
        ValueError: An unknown word, a code that is none of the model's, an action that is not
            seven finite numbers, or another number of them than the horizon.
    """
    actions = config.actions
    if config.horizon < 1 or config.num_prompt_frames < 1:
        raise ValueError(
            f"horizon={config.horizon} and num_prompt_frames={config.num_prompt_frames} must be at "
            "least 1"
        )
    if config.branches and actions is not None:
        raise ValueError(
            f"branches=true holds each of the {num_codes} codes, so actions={actions} cannot be "
            "followed as well; leave one of them out"
        )
    if actions is None or actions in WORDS:
        return
    if not isinstance(actions, list) or not actions:
        raise ValueError(
            f"actions={actions} is not {', '.join(WORDS)}, a list of codes 0..{num_codes - 1} or a "
            "list of robot actions"
        )
    if len(actions) != config.horizon:
        raise ValueError(
            f"actions= has {len(actions)} actions, but horizon={config.horizon} frames want one "
            f"each; give horizon={len(actions)} or as many actions"
        )
    if isinstance(actions[0], list):
        _check_robot_actions(actions)
        return
    wrong = [a for a in actions if type(a) is not int or not 0 <= a < num_codes]
    if wrong:
        raise ValueError(
            f"actions= wants codes 0..{num_codes - 1}, the latent actions of this model; got "
            f"{wrong[0]!r}"
        )


def steer(trained: TrainedRun, prompt: Prompt, config: ImagineConfig, number: int) -> Steering:
    """The actions after a prompt.

    Raises:
        ValueError: Actions of an episode are asked for after a picture, or no map to robot actions
            can be fitted.
    """
    given, followed = config.actions, prompt.followed
    word = given or (INFERRED if followed else RANDOM)
    if followed is None and word in (INFERRED, ALONE, ROBOT):
        raise ValueError(
            f"actions={word} needs frames that really followed, but after a picture there are "
            f"none; give actions={RANDOM} or a list of codes"
        )

    def fetch() -> ActionMap:
        return fetch_action_map(trained, num_labels=config.action_map.num_labels)

    num_codes = trained.genie.latent_action.num_codes
    if isinstance(word, list) and isinstance(word[0], list):
        wanted = np.array(word, dtype=np.float64)
        if followed and followed.episode.sim_state is not None:
            _check_bounds(wanted, stride=followed.stride)
        return Steering(
            codes=fetch().feedback.encode_sequence(wanted), robot_actions=wanted, is_true=False
        )
    if isinstance(word, list):
        return _by_codes(np.array(word), followed, fetch)
    if word == RANDOM:
        rng = np.random.default_rng(config.seed + number)
        return _by_codes(rng.integers(num_codes, size=config.horizon), followed, fetch)
    assert followed is not None
    true = followed.window.robot_actions[-config.horizon :].astype(np.float64)
    if word == ROBOT:
        return Steering(
            codes=fetch().feedback.encode_sequence(true), robot_actions=true, is_true=True
        )
    codes = _infer(trained, followed, horizon=config.horizon, alone=word == ALONE)
    return Steering(codes=codes, robot_actions=true, is_true=True)


def single_steps(
    robot_actions: Float[np.ndarray, "n 7"], *, stride: int
) -> Float[np.ndarray, "m 7"]:
    """Robot actions of model steps as those of single steps.

    A motion is cut into equal parts; the gripper, which is absolute, stays.
    """
    return (robot_actions / np.array([*[stride] * 6, 1])).repeat(stride, axis=0)


def _infer(
    trained: TrainedRun, followed: Followed, *, horizon: int, alone: bool
) -> Int[np.ndarray, " n"]:
    """The latent actions of the last transitions, each alone or for the rollout as a whole."""
    encoder = GenieEncoder(genie=trained.genie, device=trained.device)
    if alone:
        return encoder.encode(followed.window).codes[-horizon:]
    return encoder.encode_sequence(followed.window, len(followed.window.video) - 1 - horizon)


def _by_codes(
    codes: Int[np.ndarray, " n"], followed: Followed | None, fetch: Callable[[], ActionMap]
) -> Steering:
    """Codes, and in a simulator the mean robot action of each."""
    if followed is None or followed.episode.sim_state is None:
        return Steering(codes=codes, robot_actions=None, is_true=False)
    return Steering(codes=codes, robot_actions=fetch().dictionary.mean(codes), is_true=False)


def _check_robot_actions(actions: Sequence[object]) -> None:
    for number, action in enumerate(actions):
        numbers = action if isinstance(action, list) else []
        is_finite = all(isinstance(x, int | float) and isfinite(x) for x in numbers)
        if len(numbers) != len(ACTION_NAMES) or not is_finite:
            raise ValueError(
                f"actions= wants seven finite numbers each, {' '.join(ACTION_NAMES)}; number "
                f"{number} is {action}"
            )


def _check_bounds(robot_actions: Float[np.ndarray, "n 7"], *, stride: int) -> None:
    """Refuse before the rollout what MuJoCo would refuse in the middle of it."""
    for number, action in enumerate(single_steps(robot_actions, stride=stride)[::stride]):
        try:
            checked_action(action)
        except ValueError as error:
            raise ValueError(f"actions= number {number}: {error}") from error
