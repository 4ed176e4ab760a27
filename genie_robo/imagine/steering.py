"""The actions after a prompt, as latent actions and as robot actions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from genie_robo.config import ImagineConfig
from genie_robo.eval_suites.adapters import GenieEncoder
from genie_robo.fit_action_map import fetch_action_map, saved_action_map
from genie_robo.imagine.actions import ALONE, INFERRED, LATENTS, RANDOM, ROBOT
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
from genie_robo.types import Window


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


def steer(trained: TrainedRun, clip: Clip, config: ImagineConfig, number: int) -> Steering:
    """The actions after a prompt.

    Raises:
        ValueError: No map to robot actions can be fitted, or latents are asked for and the model
            was trained on codes alone.
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
    assert window is not None, "check_steering refuses these actions after an image"
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


def _check_bounds(robot_actions: Float[np.ndarray, "n a"], *, stride: int) -> None:
    """Refuse early what MuJoCo would refuse during the rollout."""
    for number, action in enumerate(split_actions(robot_actions, stride)[::stride]):
        try:
            checked_action(action)
        except ValueError as error:
            raise ValueError(f"actions= number {number}: {error}") from error
