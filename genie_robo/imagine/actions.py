"""The actions that are asked for after a prompt, checked by a run's settings. Imports no torch."""

from collections.abc import Sequence
from math import isfinite

from genie_robo.config import RolloutConfig
from genie_robo.data.settings import action_names
from genie_robo.imagine.pictures import EPISODE, SIMULATOR, needs_no_dataset

INFERRED, ALONE, LATENTS, ROBOT, RANDOM = WORDS = (
    "inferred",
    "inferred_alone",
    "latents",
    "robot",
    "random",
)


def check_steering(
    config: RolloutConfig, *, num_codes: int, action_dim: int, joint_names: Sequence[str] = ()
) -> None:
    """Check the actions before any slow work; robot actions are `action_dim` numbers.

    Raises:
        ValueError: An unknown word, an unknown code, an action that is not as many finite numbers,
            another number of actions than the horizon, or actions of true frames after a picture.
    """
    actions = config.actions
    if config.horizon < 1 or config.num_prompt_frames < 1:
        raise ValueError(
            f"horizon={config.horizon} and num_prompt_frames={config.num_prompt_frames} must be at "
            "least 1"
        )
    _check_truth(config)
    if config.branches and actions is not None:
        raise ValueError(
            f"branches=true holds each of the {num_codes} codes, so actions={actions} does not "
            "apply; leave one of them out"
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
        _check_robot_actions(actions, action_names(action_dim, joint_names))
        return
    wrong = [a for a in actions if type(a) is not int or not 0 <= a < num_codes]
    if wrong:
        raise ValueError(
            f"actions= wants codes 0..{num_codes - 1}, the latent actions of this model; got "
            f"{wrong[0]!r}"
        )


def _check_truth(config: RolloutConfig) -> None:
    """Actions that are read from the true frames need a prompt that some follow."""
    if needs_no_dataset(config) and config.actions in WORDS and config.actions != RANDOM:
        raise ValueError(
            f"actions={config.actions} needs the true frames after the prompt, but after an image "
            f"there are none; give actions={RANDOM} or a list of codes"
        )


def steers_by_robot(config: RolloutConfig) -> bool:
    """Whether robot actions are given, true ones or a list."""
    actions = config.actions
    is_list = isinstance(actions, list) and bool(actions) and isinstance(actions[0], list)
    return actions == ROBOT or is_list


def check_one_truth(config: RolloutConfig) -> None:
    """Check that several models can share one truth.

    Raises:
        ValueError: They would be steered by codes, which have another meaning in each model.
    """
    actions = config.actions
    has_truth = config.prompt in (EPISODE, SIMULATOR)
    known = (INFERRED, ALONE, LATENTS, *([None] if has_truth else []))
    if config.branches or not (steers_by_robot(config) or actions in known):
        asked = "branches=true" if config.branches else f"actions={actions or 'random'}"
        raise ValueError(
            f"{asked} steers by codes, which mean something else in every run, so run={config.run} "
            f"share no truth to compare with. Give actions={INFERRED}, actions={LATENTS}, "
            f"actions={ROBOT} or a list of robot actions, or one run"
        )


def _check_robot_actions(actions: Sequence[object], names: Sequence[str]) -> None:
    for number, action in enumerate(actions):
        numbers = action if isinstance(action, list) else []
        is_finite = all(isinstance(x, int | float) and isfinite(x) for x in numbers)
        if len(numbers) != len(names) or not is_finite:
            raise ValueError(
                f"actions= wants {len(names)} finite numbers each, {' '.join(names)}; number "
                f"{number} is {action}"
            )
