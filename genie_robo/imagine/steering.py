"""The actions after a prompt, as latent actions and as robot actions."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from jaxtyping import Float, Int

from genie_robo.config import ImagineConfig, RolloutConfig
from genie_robo.eval_suites.adapters import GenieEncoder
from genie_robo.fit_action_map import fetch_action_map, saved_action_map
from genie_robo.inference.action_map import ActionMap
from genie_robo.inference.world import (
    Actions,
    Codes,
    Latents,
    RobotActions,
    World,
    code_steps,
    latent_steps,
    robot_steps,
)
from genie_robo.prompts import Clip
from genie_robo.sim.actions import checked_action
from genie_robo.sim.restore import split_actions
from genie_robo.trained_run import TrainedRun
from genie_robo.types import Window, action_names

INFERRED, ALONE, LATENTS, ROBOT, RANDOM = WORDS = (
    "inferred",
    "inferred_alone",
    "latents",
    "robot",
    "random",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Steering:
    """One action for each frame after the prompt."""

    codes: Int[np.ndarray, " n"]
    """For worlds that take no latents."""
    latents: Float[np.ndarray, "n e"] | None = None
    """None for codes."""
    robot_actions: Float[np.ndarray, "n a"] | None
    """None for codes that no robot executes."""
    is_true: bool
    """Whether the true frames were reached by these actions."""

    def steps(self, world: World) -> Sequence[Actions]:
        """The actions of one rollout, step by step, of a kind that the world takes.

        Raises:
            ValueError: The world takes robot actions only, and there are none.
        """
        if self.robot_actions is not None and RobotActions in world.takes:
            return robot_steps(self.robot_actions[None])
        if self.latents is not None and Latents in world.takes:
            return latent_steps(self.latents[None])
        if Codes not in world.takes:
            raise ValueError(
                f"world_model={type(world).__name__} takes robot actions only, but these latent "
                "actions have none; give a list of robot actions"
            )
        return code_steps(self.codes[None])


def check_steering(
    config: RolloutConfig, *, num_codes: int, action_dim: int, joint_names: Sequence[str] = ()
) -> None:
    """Check the actions before any slow work; robot actions are `action_dim` numbers.

    Raises:
        ValueError: An unknown word, an unknown code, an action that is not as many finite numbers,
            or another number of actions than the horizon.
    """
    actions = config.actions
    if config.horizon < 1 or config.num_prompt_frames < 1:
        raise ValueError(
            f"horizon={config.horizon} and num_prompt_frames={config.num_prompt_frames} must be at "
            "least 1"
        )
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


def steers_by_robot(config: ImagineConfig) -> bool:
    """Whether robot actions are given, true ones or a list."""
    actions = config.actions
    is_list = isinstance(actions, list) and bool(actions) and isinstance(actions[0], list)
    return actions == ROBOT or is_list


def check_one_truth(config: ImagineConfig) -> None:
    """Check that several models can share one truth.

    Raises:
        ValueError: They would be steered by codes, which have another meaning in each model.
    """
    actions = config.actions
    has_truth = config.prompt in ("episode", "simulator")
    known = (INFERRED, ALONE, LATENTS, *([None] if has_truth else []))
    if config.branches or not (steers_by_robot(config) or actions in known):
        asked = "branches=true" if config.branches else f"actions={actions or 'random'}"
        raise ValueError(
            f"{asked} steers by codes, which mean something else in every run, so run={config.run} "
            f"share no truth to compare with. Give actions={INFERRED}, actions={LATENTS}, "
            f"actions={ROBOT} or a list of robot actions, or one run"
        )


def steer(trained: TrainedRun, clip: Clip, config: ImagineConfig, number: int) -> Steering:
    """The actions after a prompt.

    Raises:
        ValueError: True actions are requested after an image prompt, or no map to robot actions
            can be fitted, or latents for a model that was trained on codes alone.
    """
    window, num_codes = clip.window, trained.genie.latent_action.num_codes
    by_latents = trained.genie.takes_latents
    word = config.actions or (INFERRED if window else RANDOM)

    def fetch() -> ActionMap:
        num_labels = config.action_map.num_labels
        saved = None if window else saved_action_map(trained, num_labels=num_labels)
        return saved or fetch_action_map(trained, num_labels=num_labels)

    if isinstance(word, list) and isinstance(word[0], list):
        given = np.array(word, dtype=np.float64)
        if clip.prompt.is_simulated:
            _check_bounds(given, stride=clip.prompt.stride)
        codes, latents = _map(fetch(), given, by_latents=by_latents)
        return Steering(codes=codes, latents=latents, robot_actions=given, is_true=False)
    if isinstance(word, list) or word == RANDOM:
        rng = np.random.default_rng(config.seed + number)
        random = rng.integers(num_codes, size=config.horizon)
        codes = random if word == RANDOM else np.array(word)
        # MuJoCo executes the mean robot action of each code.
        means = fetch().dictionary.mean(codes) if clip.prompt.is_simulated else None
        return Steering(codes=codes, robot_actions=means, is_true=False)
    if window is None:
        raise ValueError(
            f"actions={word} needs the true frames after the prompt, but after an image there are "
            f"none; give actions={RANDOM} or a list of codes"
        )
    true = window.robot_actions[-config.horizon :].astype(np.float64)
    if word == ROBOT:
        codes, latents = _map(fetch(), true, by_latents=by_latents)
    else:
        codes, latents = _infer(trained, window, word, horizon=config.horizon)
    return Steering(codes=codes, latents=latents, robot_actions=true, is_true=True)


def _map(
    fitted: ActionMap, robot_actions: Float[np.ndarray, "n a"], *, by_latents: bool
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n e"] | None]:
    """Robot actions as codes, and as latents where these steer the model."""
    codes = fitted.feedback.encode_sequence(robot_actions)
    return codes, fitted.latents.predict(robot_actions) if by_latents else None


def _infer(
    trained: TrainedRun, window: Window, word: str, *, horizon: int
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n e"] | None]:
    """What led to the last frames: latents, codes of each transition alone, or by feedback."""
    encoder = GenieEncoder(genie=trained.genie, device=trained.device)
    if word == INFERRED:
        return encoder.encode_sequence(window, len(window.video) - 1 - horizon), None
    codes, latents = (found[-horizon:] for found in encoder.encode(window))
    if word == ALONE:
        return codes, None
    if not encoder.latents_steer:
        raise ValueError(
            f"actions={LATENTS} needs a model that was trained on latents, but this one was "
            "trained on codes alone (model.dynamics.latents_share=0); give "
            f"actions={INFERRED}"
        )
    return codes, latents


def _check_robot_actions(actions: Sequence[object], names: Sequence[str]) -> None:
    for number, action in enumerate(actions):
        numbers = action if isinstance(action, list) else []
        is_finite = all(isinstance(x, int | float) and isfinite(x) for x in numbers)
        if len(numbers) != len(names) or not is_finite:
            raise ValueError(
                f"actions= wants {len(names)} finite numbers each, {' '.join(names)}; number "
                f"{number} is {action}"
            )


def _check_bounds(robot_actions: Float[np.ndarray, "n a"], *, stride: int) -> None:
    """Refuse early what MuJoCo would refuse during the rollout."""
    for number, action in enumerate(split_actions(robot_actions, stride)[::stride]):
        try:
            checked_action(action)
        except ValueError as error:
            raise ValueError(f"actions= number {number}: {error}") from error
