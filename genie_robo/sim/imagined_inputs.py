"""What comes into an imagined world: prompts, actions and seeds, checked."""

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Float, Int, UInt8

from genie_robo.data.transforms import resize_frame
from genie_robo.inference.error_feedback import ErrorFeedback
from genie_robo.sim.actions import checked_action, robot_action_space
from genie_robo.types import ACTION_NAMES

ToCodes = Callable[[Float[np.ndarray, "n 7"]], Int[np.ndarray, " n"]] | ErrorFeedback
"""Robot actions to latent actions, each by itself or with what was unsaid before it."""


def action_space(num_codes: int, to_codes: ToCodes | None) -> gymnasium.Space[Any]:
    """Latent actions, or robot actions where there is a map from them to codes."""
    return robot_action_space() if to_codes else gymnasium.spaces.Discrete(num_codes)


def no_residual(num_worlds: int) -> Float[np.ndarray, "n 7"]:
    """What codes have left unsaid at the start of an episode."""
    return np.zeros((num_worlds, len(ACTION_NAMES)))


def read_actions(
    actions: Sequence[Any] | np.ndarray,
    residual: Float[np.ndarray, "n 7"],
    *,
    num_codes: int,
    to_codes: ToCodes | None,
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n 7"]]:
    """Latent actions out of actions of `action_space`, one per world, and what is unsaid then.

    Raises:
        ValueError: an action is outside the space, or `to_codes` gives no codes of this model.
    """
    if to_codes is None:
        space = gymnasium.spaces.Discrete(num_codes)
        for action in actions:
            if not space.contains(action):
                raise ValueError(
                    f"latent action {action} is not one of this model's codes, 0 to {num_codes - 1}"
                )
        return np.array(actions, dtype=np.int64), residual
    wanted = np.stack([checked_action(action) for action in actions])
    if isinstance(to_codes, ErrorFeedback):
        codes, residual = to_codes.step(wanted, residual)
    else:
        codes = np.asarray(to_codes(wanted))
    if (
        codes.shape != (len(actions),)
        or codes.dtype.kind not in "iu"
        or not 0 <= codes.min() <= codes.max() < num_codes
    ):
        raise ValueError(
            f"to_codes must give {len(actions)} codes from 0 to {num_codes - 1}, one per action, "
            f"but it gave {codes}"
        )
    return codes.astype(np.int64), residual


def read_prompt(
    prompt: np.ndarray | None, *, image_size: tuple[int, int]
) -> UInt8[np.ndarray, "p h w 3"]:
    """An image or a stack of p frames as frames of the model's size.

    Raises:
        ValueError: there is no prompt, or it holds no uint8 RGB images.
    """
    if prompt is None:
        raise ValueError(
            "an imagined episode starts from an image, but there is none; give prompt=image, or "
            'reset(options={"prompt": image})'
        )
    prompt = np.asarray(prompt)
    frames = prompt[None] if prompt.ndim == 3 else prompt
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
        raise ValueError(
            "the prompt must be a uint8 image of shape (height, width, 3), or p of them as "
            f"(p, height, width, 3), with values 0 to 255; it is {prompt.dtype} of shape "
            f"{prompt.shape}"
        )
    return np.stack(
        [resize_frame(frame, image_size=image_size, resize="stretch") for frame in frames]
    )


def draw_seed(rng: np.random.Generator) -> int:
    """The seed of one imagined episode."""
    return int(rng.integers(2**31))
