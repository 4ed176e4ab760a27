"""Imagined worlds that step as one batch and start anew one by one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8

from genie_robo.inference.rollout import Imagination
from genie_robo.inference.sampler import Sampler
from genie_robo.models.genie import Genie


@dataclass(slots=True)
class _Batch:
    """Worlds that started together."""

    imagination: Imagination
    worlds: Int[np.ndarray, " b"]
    """Which world each row is; -1 where it has started anew since."""


class Worlds:
    """The state of n imagined worlds: last frame, its tokens, and how unsure the model was of them.

    Worlds that started together are one batch of the model, so n worlds of equal episode length
    cost one batch. One that starts anew leaves its batch for a new one; its row is computed in vain
    until the whole batch has ended.
    """

    def __init__(self, genie: Genie, *, num_worlds: int, sampler: Sampler | None = None) -> None:
        self._genie = genie.eval()
        self._device = next(genie.parameters()).device
        self._sampler = sampler or Sampler()
        self._batches: list[_Batch] = []
        self.image_shape = (*genie.tokenizer.image_size, 3)
        self.num_codes = genie.latent_action.num_codes
        self.frames = np.zeros((num_worlds, *self.image_shape), np.uint8)
        self.tokens = np.zeros((num_worlds, genie.dynamics.tokens_per_frame), np.int64)
        self.uncertainty = np.zeros(num_worlds, np.float64)
        """Mean entropy of the tokens' distributions (nats); 0 in a prompt."""

    @property
    def observation_space(self) -> gymnasium.Space[dict[str, Any]]:
        """Of one world: `pixels`. The model knows no pose, so there is no `agent_pos`."""
        return gymnasium.spaces.Dict(
            {"pixels": gymnasium.spaces.Box(0, 255, self.image_shape, np.uint8)}
        )

    def start(
        self,
        worlds: Int[np.ndarray, " m"],
        prompts: UInt8[np.ndarray, "prompts p h w 3"],
        *,
        seeds: Sequence[int],
    ) -> None:
        """Start these worlds, each from its prompt or all from one.

        The seeds, one per world, fix everything that is sampled.
        """
        for batch in self._batches:
            batch.worlds[np.isin(batch.worlds, worlds)] = -1
        self._batches = [batch for batch in self._batches if (batch.worlds >= 0).any()]
        video = torch.from_numpy(np.array(prompts)).to(self._device)
        imagination = Imagination(self._genie, video, seeds=seeds, sampler=self._sampler)
        self._batches.append(_Batch(imagination, worlds.copy()))
        self._read(self._batches[-1])

    def step(self, codes: Int[np.ndarray, " n"], *, moving: Bool[np.ndarray, " n"]) -> None:
        """Imagine the next frame of the moving worlds; worlds of one batch move together."""
        for batch in self._batches:
            is_live = batch.worlds >= 0
            if not moving[batch.worlds[is_live]].any():
                continue
            latent = np.where(is_live, codes[batch.worlds], 0)
            batch.imagination.step(torch.from_numpy(latent).to(self._device))
            self._read(batch)

    def _read(self, batch: _Batch) -> None:
        rows = batch.worlds >= 0
        worlds, imagination = batch.worlds[rows], batch.imagination
        self.frames[worlds] = imagination.frame.cpu().numpy()[rows]
        self.tokens[worlds] = imagination.tokens.cpu().numpy()[rows]
        self.uncertainty[worlds] = imagination.uncertainty.cpu().numpy()[rows]

    def info(self, world: int) -> dict[str, Any]:
        """What Gymnasium calls info: tokens, uncertainty, is_success (never: no task is known)."""
        return {
            "tokens": self.tokens[world].copy(),
            "uncertainty": float(self.uncertainty[world]),
            "is_success": False,
        }
