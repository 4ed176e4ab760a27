"""Many imagined worlds as one Gymnasium vector environment."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool, Float, UInt8

from genie_robo.inference.sampler import Sampler
from genie_robo.models.genie import Genie
from genie_robo.sim.imagined import METADATA
from genie_robo.sim.imagined_inputs import (
    ToCodes,
    action_space,
    draw_seed,
    no_residual,
    read_actions,
    read_prompt,
)
from genie_robo.sim.worlds import Worlds

Step = tuple[
    dict[str, np.ndarray],
    Float[np.ndarray, " n"],
    Bool[np.ndarray, " n"],
    Bool[np.ndarray, " n"],
    dict[str, Any],
]


class ImaginedVector(gymnasium.vector.VectorEnv[dict[str, np.ndarray], np.ndarray, np.ndarray]):
    """`num_envs` imagined worlds, computed as one batch; world i is Imagined with the i-th seed.

    Resets, seeds, info and autoreset are those of Gymnasium's SyncVectorEnv: `reset(seed=s)` gives
    world i the seed s + i, and `options={"reset_mask": mask}` restarts some worlds. A prompt has
    one more axis than Imagined's (num_envs p h w 3) when each world has its own.

    Args:
        genie: The trained world model, on the device where it shall run.
        num_envs: Number of worlds.
        prompt: As Imagined's for all worlds, or num_envs stacks of p frames.
        to_codes: Robot actions (n 7) to latent actions (n), or the `feedback` of an ActionMap.
        sampler: How a frame is decoded, by default in 4 steps.
        max_steps: Actions until an episode is truncated.
        autoreset_mode: NextStep (default), SameStep or Disabled, as Gymnasium defines them.
        render_mode: For Gymnasium's wrappers; `render` works in any case.
    """

    def __init__(
        self,
        genie: Genie,
        *,
        num_envs: int,
        prompt: np.ndarray | None = None,
        to_codes: ToCodes | None = None,
        sampler: Sampler | None = None,
        max_steps: int = 40,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = "rgb_array",
    ) -> None:
        self.num_envs, self.render_mode = num_envs, render_mode
        self._mode = AutoresetMode(autoreset_mode)
        self.metadata = METADATA | {"autoreset_mode": self._mode}
        self._worlds = Worlds(genie, num_worlds=num_envs, sampler=sampler)
        self._prompt, self._to_codes, self._max_steps = prompt, to_codes, max_steps
        self.single_action_space = action_space(self._worlds.num_codes, to_codes)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.single_observation_space = self._worlds.observation_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._generators = [seeding.np_random()[0] for _ in range(num_envs)]
        self._num_actions = np.full(num_envs, -1)
        """-1 in a world that was never reset."""
        self._residual = no_residual(num_envs)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start all worlds, or those of `options["reset_mask"]`, from `options["prompt"]`.

        Raises:
            ValueError: There is no prompt, it holds no uint8 RGB images, or seeds or mask are not
                one per world.
        """
        options = options or {}
        mask = self._checked_mask(options.get("reset_mask"))
        for world, single in enumerate(self._checked_seeds(seed)):
            if mask[world] and single is not None:
                self._generators[world] = seeding.np_random(single)[0]
        self._start(mask, options.get("prompt", self._prompt))
        infos = {int(world): self._worlds.info(int(world)) for world in np.flatnonzero(mask)}
        return self._observe(), self._merged(infos)

    def step(self, actions: Sequence[Any] | np.ndarray) -> Step:
        """Imagine the next frames; worlds that have ended start anew by the autoreset mode.

        Raises:
            ValueError: An action is not in the action space, or there is not one per world.
            RuntimeError: A world was not reset, or has ended and autoreset is disabled.
        """
        if len(actions) != self.num_envs:
            raise ValueError(
                f"got {len(actions)} actions for {self.num_envs} worlds; give one each"
            )
        codes, residual = read_actions(
            actions, self._residual, num_codes=self._worlds.num_codes, to_codes=self._to_codes
        )
        ended = self._checked_ended()
        self._residual[~ended] = residual[~ended]
        if ended.any():
            self._start(ended, self._prompt)
        self._worlds.step(codes, moving=~ended)
        self._num_actions[~ended] += 1
        truncated = self._num_actions >= self._max_steps
        infos = {world: self._worlds.info(world) for world in range(self.num_envs)}
        for world in np.flatnonzero(~ended):
            infos[int(world)]["code"] = int(codes[world])
        if truncated.any() and self._mode is AutoresetMode.SAME_STEP:
            infos |= self._restarted(truncated, infos)
        never = np.zeros(self.num_envs, bool)
        return self._observe(), np.zeros(self.num_envs), never, truncated, self._merged(infos)

    def render(self) -> tuple[UInt8[np.ndarray, "h w 3"], ...]:
        """The frames imagined last."""
        return tuple(self._worlds.frames.copy())

    def _start(self, mask: Bool[np.ndarray, " n"], prompt: np.ndarray | None) -> None:
        worlds = np.flatnonzero(mask)
        size = self._worlds.image_shape[:2]
        if prompt is None or np.ndim(prompt) < 5:
            prompts = read_prompt(prompt, image_size=size)[None]
        elif len(prompt) != self.num_envs:
            raise ValueError(
                f"got {len(prompt)} prompts for {self.num_envs} worlds; give one each, or one for "
                "all without that axis"
            )
        else:
            prompts = np.stack([read_prompt(prompt[i], image_size=size) for i in worlds])
        self._prompt, self._num_actions[mask], self._residual[mask] = prompt, 0, 0.0
        seeds = [draw_seed(self._generators[world]) for world in worlds]
        self._worlds.start(worlds, prompts, seeds=seeds)

    def _restarted(
        self, truncated: Bool[np.ndarray, " n"], infos: dict[int, dict[str, Any]]
    ) -> dict[int, dict[str, Any]]:
        """Start ended worlds at once; what they ended with becomes final_obs and final_info."""
        frames = self._worlds.frames.copy()
        self._start(truncated, self._prompt)
        return {
            int(world): self._worlds.info(int(world))
            | {"final_obs": {"pixels": frames[world]}, "final_info": infos[int(world)]}
            for world in np.flatnonzero(truncated)
        }

    def _observe(self) -> dict[str, np.ndarray]:
        return {"pixels": self._worlds.frames.copy()}

    def _merged(self, infos: dict[int, dict[str, Any]]) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for world, info in infos.items():
            merged = self._add_info(merged, info, world)
        return merged

    def _checked_mask(self, mask: np.ndarray | None) -> Bool[np.ndarray, " n"]:
        if mask is None:
            return np.ones(self.num_envs, bool)
        mask = np.asarray(mask)
        if mask.dtype != bool or mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(
                f"reset_mask must be {self.num_envs} booleans, one of them true; it is {mask}"
            )
        return mask

    def _checked_seeds(self, seed: int | Sequence[int | None] | None) -> Sequence[int | None]:
        if seed is None:
            return [None] * self.num_envs
        seeds = (
            [seed + i for i in range(self.num_envs)] if isinstance(seed, int | np.integer) else seed
        )
        if len(seeds) != self.num_envs:
            raise ValueError(f"got {len(seeds)} seeds for {self.num_envs} worlds; give one each")
        return seeds

    def _checked_ended(self) -> Bool[np.ndarray, " n"]:
        """Worlds whose episode ended with the last step."""
        if (self._num_actions < 0).any():
            raise RuntimeError("call reset before step: there is no frame yet")
        ended = self._num_actions >= self._max_steps
        if ended.any() and self._mode is AutoresetMode.DISABLED:
            raise RuntimeError(
                f"worlds {np.flatnonzero(ended).tolist()} have ended and autoreset is disabled; "
                'call reset(options={"reset_mask": mask}) with these true'
            )
        return ended
