"""A Gymnasium environment whose physics is the world model: actions are latent actions."""

from typing import Any

import gymnasium
import numpy as np
import torch
from jaxtyping import UInt8

from genie_robo.inference.rollout import Imagination
from genie_robo.inference.sampler import Sampler
from genie_robo.models.genie import Genie


class Imagined(gymnasium.Env[dict[str, Any], Any]):
    """Every step imagines the next frame under one of the model's latent actions.

    An episode starts from a prompt image, given here or as `reset(options={"prompt": image})`.
    Observations are `pixels`, as Tabletop's; the first is the tokenizer's view of the prompt. There
    is no reward: the model knows no task.

    Args:
        genie: The trained world model, on the device where it shall run.
        prompt: Image of the model's size to start from, when `reset` names no other.
        sampler: How a frame is decoded; 25 steps by default.
        max_steps: Latent actions until the episode is truncated.
        render_mode: For Gymnasium's wrappers; `render` works in any case.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 3}  # noqa: RUF012 (as gymnasium declares it)

    def __init__(
        self,
        genie: Genie,
        *,
        prompt: UInt8[np.ndarray, "h w 3"] | None = None,
        sampler: Sampler | None = None,
        max_steps: int = 40,
        render_mode: str | None = "rgb_array",
    ) -> None:
        self._genie = genie.eval()
        self._device = next(genie.parameters()).device
        self._prompt, self._sampler = prompt, sampler or Sampler()
        self._max_steps, self._num_actions = max_steps, 0
        self._imagination: Imagination | None = None
        self.render_mode = render_mode
        self._shape = (*genie.tokenizer.image_size, 3)
        self.action_space = gymnasium.spaces.Discrete(genie.latent_action.num_codes)
        self.observation_space = gymnasium.spaces.Dict(
            {"pixels": gymnasium.spaces.Box(0, 255, self._shape, np.uint8)}
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start from a prompt; the seed fixes everything that will be sampled.

        Raises:
            ValueError: There is no prompt, or it is not an image of the model's size.
        """
        super().reset(seed=seed, options=options)
        prompt = (options or {}).get("prompt", self._prompt)
        if prompt is None:
            raise ValueError(
                "an imagined episode starts from an image, but there is none; give "
                'Imagined(genie, prompt=image) or reset(options={"prompt": image})'
            )
        if prompt.dtype != np.uint8 or prompt.shape != self._shape:
            raise ValueError(
                f"the prompt must be a uint8 image of shape {self._shape}, the model's size; it is "
                f"{prompt.dtype} of shape {prompt.shape}"
            )
        video = torch.from_numpy(np.array(prompt))[None, None].to(self._device)
        seeds = [int(self.np_random.integers(2**31))]
        self._imagination = Imagination(self._genie, video, seeds=seeds, sampler=self._sampler)
        self._num_actions = 0
        return {"pixels": self.render()}, {}

    def step(
        self, action: np.integer[Any] | int
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Imagine the next frame.

        Raises:
            ValueError: The action is not one of the model's codes.
            RuntimeError: The environment was not reset.
        """
        if not self.action_space.contains(action):
            raise ValueError(
                f"latent action {action} is not one of this model's codes, 0 to "
                f"{self._genie.latent_action.num_codes - 1}"
            )
        self._started.step(torch.tensor([int(action)], device=self._device))
        self._num_actions += 1
        return {"pixels": self.render()}, 0.0, False, self._num_actions >= self._max_steps, {}

    def render(self) -> UInt8[np.ndarray, "h w 3"]:
        """The frame imagined last.

        Raises:
            RuntimeError: The environment was not reset.
        """
        return self._started.rollout().video[0, -1].cpu().numpy()

    @property
    def _started(self) -> Imagination:
        if self._imagination is None:
            raise RuntimeError("call reset before step or render: there is no frame yet")
        return self._imagination
