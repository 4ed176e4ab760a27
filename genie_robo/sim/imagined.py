"""A Gymnasium environment whose physics is the world model."""

from typing import Any

import gymnasium
import numpy as np
from jaxtyping import UInt8

from genie_robo.inference.sampler import Sampler
from genie_robo.models.genie import Genie
from genie_robo.sim.imagined_inputs import (
    ToCodes,
    action_space,
    draw_seed,
    no_residual,
    read_actions,
    read_prompt,
)
from genie_robo.sim.worlds import Worlds

METADATA = {"render_modes": ["rgb_array"], "render_fps": 3}


class Imagined(gymnasium.Env[dict[str, Any], Any]):
    """Every step imagines the next frame under one of the model's latent actions.

    An episode starts from a prompt, given here or as `reset(options={"prompt": image})`, which then
    stays the prompt. Observations are `pixels`, as Tabletop's; the first is the tokenizer's view of
    the prompt. There is no reward and no success: the model knows no task. `info` has `tokens` of
    the frame, `uncertainty` (their mean entropy, nats) and after a step `code`, the latent action.

    Args:
        genie: The trained world model, on the device where it shall run.
        prompt: uint8 image of any size, or a stack of p frames; it is scaled to the model's size.
        to_codes: Robot actions (n 7) to latent actions (n), or the `feedback` of an ActionMap.
            With it actions are those of Tabletop, without it they are the model's codes.
        sampler: How a frame is decoded, by default in 4 steps.
        max_steps: Actions until the episode is truncated.
        render_mode: For Gymnasium's wrappers; `render` works in any case.
    """

    metadata: dict[str, Any] = METADATA

    def __init__(
        self,
        genie: Genie,
        *,
        prompt: np.ndarray | None = None,
        to_codes: ToCodes | None = None,
        sampler: Sampler | None = None,
        max_steps: int = 40,
        render_mode: str | None = "rgb_array",
    ) -> None:
        self._worlds = Worlds(genie, num_worlds=1, sampler=sampler)
        self._prompt, self._to_codes, self._max_steps = prompt, to_codes, max_steps
        self._num_actions: int | None = None
        self._residual = no_residual(1)
        self.render_mode = render_mode
        self.action_space = action_space(self._worlds.num_codes, to_codes)
        self.observation_space = self._worlds.observation_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start from a prompt; the seed fixes everything that will be sampled.

        Raises:
            ValueError: There is no prompt, or it holds no uint8 RGB images.
        """
        super().reset(seed=seed, options=options)
        prompt = (options or {}).get("prompt", self._prompt)
        frames = read_prompt(prompt, image_size=self._worlds.image_shape[:2])
        self._prompt, self._num_actions, self._residual = prompt, 0, no_residual(1)
        seeds = [draw_seed(self.np_random)]
        self._worlds.start(np.zeros(1, np.int64), frames[None], seeds=seeds)
        return {"pixels": self.render()}, self._worlds.info(0)

    def step(
        self, action: np.ndarray | np.integer[Any] | int
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Imagine the next frame.

        Raises:
            ValueError: The action is not in the action space.
            RuntimeError: The environment was not reset.
        """
        num_actions = self._started() + 1
        codes, self._residual = read_actions(
            [action], self._residual, num_codes=self._worlds.num_codes, to_codes=self._to_codes
        )
        self._worlds.step(codes, moving=np.ones(1, bool))
        self._num_actions = num_actions
        info = self._worlds.info(0) | {"code": int(codes[0])}
        return {"pixels": self.render()}, 0.0, False, num_actions >= self._max_steps, info

    def render(self) -> UInt8[np.ndarray, "h w 3"]:
        """The frame imagined last.

        Raises:
            RuntimeError: The environment was not reset.
        """
        self._started()
        return self._worlds.frames[0].copy()

    def _started(self) -> int:
        if self._num_actions is None:
            raise RuntimeError("call reset before step or render: there is no frame yet")
        return self._num_actions
