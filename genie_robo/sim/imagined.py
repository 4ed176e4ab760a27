"""Gymnasium environments whose physics is a world model: a single one, and many as one batch."""

import copy
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool, Float, Int, UInt8

from genie_robo.data.images import MAX_PICTURE_BYTES
from genie_robo.data.settings import MAX_IMAGE_PIXELS, Resize
from genie_robo.data.transforms import picture_frame, resize_frame
from genie_robo.inference.world import (
    Actions,
    Codes,
    GenieWorld,
    Latents,
    Prompt,
    RobotActions,
    Step,
    World,
    close_world,
)
from genie_robo.models.genie import Genie
from genie_robo.sim.actions import checked_action, robot_action_space
from genie_robo.stored_files import read_bytes
from genie_robo.types import ACTION_NAMES, action_names

# The OpenMP threads of torch do not exist in a forked process, where the first parallel loop would
# wait for them forever. Workers of AsyncVectorEnv are forked by default.
os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))

_Prompt = np.ndarray | Prompt | str | Path
_METADATA = {"render_modes": ["rgb_array"], "render_fps": 3.0}


class Imagined(gymnasium.Env[dict[str, Any], Any]):
    """Every step is a step of a world: a trained Genie, MuJoCo, or a user class.

    An episode starts from a prompt, given here or as `reset(options={"prompt": image})`, which then
    stays the prompt. It has no end of its own: `gymnasium.make(..., max_episode_steps=N)` truncates
    it. Observations are `pixels`, as Tabletop's; the first one is the world's view of the last
    prompt frame. Actions are Tabletop's where the world takes robot actions, else its codes;
    `actions` chooses another kind. There is no reward and no success. `info` has `uncertainty`,
    and where the world has them `tokens` of the frame and, after a step, its `code` and `trust`.

    Args:
        world: A world, or a trained Genie on its device.
        prompt: A picture file, read as by `imagine`, a uint8 image of any size, or a stack of p
            frames; scaled to the world's size. A Prompt starts worlds that need its recording.
        image_size: Height and width of frames, for worlds that show any size.
        resize: How images become that size: stretch, crop or letterbox, as in `data.resize`.
        max_image_pixels: Of a picture file, as `data.max_image_pixels`.
        actions: What steers: robot, latents or codes; by default robot actions where the world
            takes them, else codes.
        render_mode: For Gymnasium's wrappers; `render` works in any case.
        former: Arguments of earlier versions, refused with what replaced them.
    """

    metadata: dict[str, Any] = _METADATA

    def __init__(
        self,
        world: World | Genie | None = None,
        *,
        prompt: _Prompt | None = None,
        image_size: tuple[int, int] | None = None,
        resize: str = "stretch",
        max_image_pixels: int = MAX_IMAGE_PIXELS,
        actions: str | None = None,
        render_mode: str | None = "rgb_array",
        **former: Any,
    ) -> None:
        self._world = _as_world(world, former)
        self._image_size = image_size or _frame_size(self._world)
        self._scaling = _Scaling(self._image_size, Resize(resize), max_image_pixels)
        self._prompt, self._kind = prompt, actions
        self._now: Step | None = None
        self.metadata = _METADATA | {"render_fps": _frame_rate(self._world, prompt)}
        self.render_mode = render_mode
        self.action_space = _action_space(self._world, actions)
        self.observation_space = _observation_space(self._image_size)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start from a prompt; the seed fixes everything that will be sampled.

        Raises:
            FileNotFoundError: The prompt is a file that is not there.
            ValueError: There is no prompt, or it holds no uint8 RGB images.
        """
        super().reset(seed=seed, options=options)
        given = (options or {}).get("prompt", self._prompt)
        prompt = _read_prompt(given, self._scaling)
        self._prompt = given
        self.metadata["render_fps"] = _frame_rate(self._world, given)
        self._now = self._world.start([prompt], [_draw_seed(self.np_random)])
        return {"pixels": self.render()}, _step_info(self._now, 0, is_start=True)

    def step(
        self, action: np.ndarray | np.integer[Any] | int
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Take one step of the world.

        Raises:
            ValueError: The action is not in the action space.
            RuntimeError: The environment was not reset.
        """
        self._started()
        actions = _read_actions(self._world, self.action_space, [action], self._kind)
        self._now = self._world.step(actions)
        return {"pixels": self.render()}, 0.0, False, False, _step_info(self._now, 0)

    def render(self) -> UInt8[np.ndarray, "h w 3"]:
        """The current frame.

        Raises:
            RuntimeError: The environment was not reset.
        """
        return self._started().frames[0].copy()

    def close(self) -> None:
        """Free the world's simulators."""
        close_world(self._world)

    def _started(self) -> Step:
        if self._now is None:
            raise RuntimeError("call reset before step or render: there is no frame yet")
        return self._now


def _as_world(world: World | Genie | None, former: dict[str, Any]) -> World:
    """A Genie becomes a world that is steered by its codes."""
    if former.keys() & {"genie", "to_codes", "sampler"}:
        raise TypeError(
            f"{', '.join(f'{name}=' for name in former)} became world=: give world=genie, or with "
            "from genie_robo.inference.world import GenieWorld "
            "world=GenieWorld(genie, sampler=sampler, robot_map=lambda: to_codes)"
        )
    if former or world is None:
        raise TypeError(
            "an imagined environment takes world=, a Genie or a World, with prompt, image_size, "
            "resize and render_mode, and max_steps= is now max_episode_steps= of gymnasium.make; "
            f"got world={world} and {list(former)}"
        )
    return GenieWorld(world) if isinstance(world, Genie) else world


def _frame_size(world: World) -> tuple[int, int]:
    """64 x 64 for worlds that show any size."""
    return getattr(world, "image_size", (64, 64))


def _frame_rate(world: World, prompt: "_Prompts | None") -> float:
    """Frames per second of the first prompt's recording, else of the world, else 3."""
    first = prompt[0] if isinstance(prompt, Sequence) and not isinstance(prompt, str) else prompt
    recorded_hz = first.control_hz if isinstance(first, Prompt) else 0.0
    return recorded_hz or getattr(world, "frames_per_second", 0.0) or _METADATA["render_fps"]


def _observation_space(image_size: tuple[int, int]) -> gymnasium.Space[dict[str, Any]]:
    pixels = gymnasium.spaces.Box(0, 255, (*image_size, 3), np.uint8)
    return gymnasium.spaces.Dict({"pixels": pixels})


_KINDS = {"robot": RobotActions, "latents": Latents, "codes": Codes}


def _action_space(world: World, actions: str | None) -> gymnasium.Space[Any]:
    """The space of one kind of action of a world; latents are bounded by -1 and 1."""
    if actions not in (None, *_KINDS):
        raise ValueError(f"actions={actions!r} is not known; choose one of {', '.join(_KINDS)}")
    name = actions or ("robot" if RobotActions in world.takes else "codes")
    if actions and _KINDS[actions] not in world.takes:
        known = ", ".join(other for other, kind in _KINDS.items() if kind in world.takes)
        raise ValueError(
            f"this world is not steered by actions={actions}; it takes {known}. A trained Genie "
            "takes latents if model.dynamics.latents_share was above 0, and robot actions with "
            "GenieWorld(genie, robot_map=...)"
        )
    if name == "robot":
        return robot_action_space(getattr(world, "joint_range", None))
    attribute = "num_codes" if name == "codes" else "latent_dim"
    size = getattr(world, attribute, None)
    if size is None:
        raise ValueError(
            f"{type(world).__name__} is steered by {name}, so it needs an attribute {attribute}, "
            "the number of them"
        )
    if name == "codes":
        return gymnasium.spaces.Discrete(size)
    return gymnasium.spaces.Box(-1.0, 1.0, (size,), np.float32)


def _read_actions(
    world: World, space: gymnasium.Space[Any], actions: Sequence[Any] | np.ndarray, kind: str | None
) -> Actions:
    if kind == "latents":
        for action in actions:
            if np.shape(action) != space.shape or not np.isfinite(action).all():
                raise ValueError(
                    f"a latent of this world has the shape {space.shape} and finite numbers; got "
                    f"{action}"
                )
        return Latents(np.clip(np.array(actions, dtype=np.float64), -1, 1))
    if not isinstance(space, gymnasium.spaces.Discrete):
        (width,) = space.shape or (len(ACTION_NAMES),)
        names = action_names(width, getattr(world, "joint_names", ()))
        return RobotActions(np.stack([checked_action(action, names=names) for action in actions]))
    for action in actions:
        if not space.contains(action):
            raise ValueError(
                f"latent action {action} is not one of this model's codes, 0 to {space.n - 1}"
            )
    return Codes(np.array(actions, dtype=np.int64))


class _Scaling(NamedTuple):
    """How images become frames."""

    image_size: tuple[int, int]
    resize: Resize
    max_pixels: int


def _read_prompt(prompt: _Prompt | None, scaling: _Scaling) -> Prompt:
    """An image, its file or a stack of p frames, scaled to the world's size."""
    if isinstance(prompt, str | Path):
        content = read_bytes(Path(prompt), max_bytes=MAX_PICTURE_BYTES)
        frame = picture_frame(content, **scaling._asdict())
        return Prompt(frames=frame[None], title=Path(prompt).name)
    if prompt is None:
        raise ValueError(
            "an imagined episode starts from an image, but there is none; give prompt=image, or "
            'reset(options={"prompt": image})'
        )
    given = prompt if isinstance(prompt, Prompt) else None
    prompt = np.asarray(prompt if given is None else given.frames)
    frames = prompt[None] if prompt.ndim == 3 else prompt
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
        raise ValueError(
            "the prompt must be a picture file, a uint8 image of shape (height, width, 3), or p of "
            f"them as (p, height, width, 3), with values 0 to 255; it is {prompt.dtype} of shape "
            f"{prompt.shape}"
        )
    size = {"image_size": scaling.image_size, "resize": scaling.resize}
    resized = np.stack([resize_frame(f, **size) for f in frames])
    return replace(given, frames=resized) if given else Prompt(frames=resized)


def _draw_seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def _step_info(step: Step, row: int, *, is_start: bool = False) -> dict[str, Any]:
    info: dict[str, Any] = {"uncertainty": float(step.uncertainty[row]), "is_success": False}
    if step.trust is not None:
        info["trust"] = float(step.trust[row])
    if step.tokens is not None:
        info["tokens"] = step.tokens[row].copy()
    if step.codes is not None and not is_start:
        info["code"] = int(step.codes[row])
    return info


_VectorStep = tuple[
    dict[str, np.ndarray],
    Float[np.ndarray, " n"],
    Bool[np.ndarray, " n"],
    Bool[np.ndarray, " n"],
    dict[str, Any],
]
_Prompts = _Prompt | Sequence[_Prompt]


@dataclass(slots=True)
class _Group:
    """Rollouts that started together: one batch of a world."""

    world: World
    envs: Int[np.ndarray, " b"]
    """The environment of each row; -1 after it was restarted."""


class ImaginedVector(gymnasium.vector.VectorEnv[dict[str, np.ndarray], np.ndarray, np.ndarray]):
    """`num_envs` rollouts of a world in batches; number i is Imagined with the i-th seed.

    Resets, seeds, info and autoreset are those of Gymnasium's SyncVectorEnv: `reset(seed=s)` gives
    environment i the seed s + i, and `options={"reset_mask": mask}` restarts some. Environments
    that started together are one batch. One that starts again leaves its batch for a new one, a
    shallow copy of the world; its row is computed but not shown until the whole batch has ended.

    Args:
        world: A world, or a trained Genie on its device.
        num_envs: Number of environments.
        prompt: As Imagined's for all, or one each: a list, or an array with one more axis
            (num_envs p h w 3).
        image_size, resize, max_image_pixels, actions: As Imagined's.
        max_episode_steps: Actions until an episode is truncated; None or -1 for no limit.
        autoreset_mode: NextStep (default), SameStep or Disabled, as Gymnasium defines them.
        render_mode, former: As Imagined's.
    """

    def __init__(
        self,
        world: World | Genie | None = None,
        *,
        num_envs: int,
        prompt: _Prompts | None = None,
        image_size: tuple[int, int] | None = None,
        resize: str = "stretch",
        max_image_pixels: int = MAX_IMAGE_PIXELS,
        actions: str | None = None,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = "rgb_array",
        **former: Any,
    ) -> None:
        self.num_envs, self.render_mode = num_envs, render_mode
        self._mode = AutoresetMode(autoreset_mode)
        self._world = _as_world(world, former)
        self.metadata = _METADATA | {"autoreset_mode": self._mode}
        self.metadata["render_fps"] = _frame_rate(self._world, prompt)
        self._image_size = image_size or _frame_size(self._world)
        limit = -1 if max_episode_steps is None else max_episode_steps
        self._prompt, self._max_steps = prompt, math.inf if limit < 0 else limit
        self._scaling = _Scaling(self._image_size, Resize(resize), max_image_pixels)
        self._kind = actions
        self.single_action_space = _action_space(self._world, actions)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.single_observation_space = _observation_space(self._image_size)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._generators = [seeding.np_random()[0] for _ in range(num_envs)]
        self._num_actions = np.full(num_envs, -1)
        """-1 in an environment that was never reset."""
        self._groups: list[_Group] = []
        self._shown: dict[int, tuple[Step, int]] = {}
        """Last step of the batch of each environment, and its row."""

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start all environments, or those of `options["reset_mask"]`, from `options["prompt"]`.

        Raises:
            ValueError: There is no prompt, it holds no uint8 RGB images, or seeds or mask are not
                one per environment.
        """
        options = options or {}
        mask = self._checked_mask(options.get("reset_mask"))
        for env, single in enumerate(self._checked_seeds(seed)):
            if mask[env] and single is not None:
                self._generators[env] = seeding.np_random(single)[0]
        self._start(mask, options.get("prompt", self._prompt))
        infos = {int(env): self._info(int(env)) for env in np.flatnonzero(mask)}
        return self._observe(), self._merged(infos)

    def step(self, actions: Sequence[Any] | np.ndarray) -> _VectorStep:
        """Take one step in every environment; ended ones start again by the autoreset mode.

        Raises:
            ValueError: An action is not in the action space, or there is not one per environment.
            RuntimeError: An environment was not reset, or has ended and autoreset is disabled.
        """
        if len(actions) != self.num_envs:
            raise ValueError(
                f"got {len(actions)} actions for {self.num_envs} worlds; give one each"
            )
        known = _read_actions(self._world, self.single_action_space, actions, self._kind)
        ended = self._checked_ended()
        if ended.any():
            self._start(ended, self._prompt)
        self._advance(known, moving=~ended)
        self._num_actions[~ended] += 1
        truncated = self._num_actions >= self._max_steps
        infos = {env: self._info(env) for env in range(self.num_envs)}
        if truncated.any() and self._mode is AutoresetMode.SAME_STEP:
            infos |= self._restarted(truncated, infos)
        terminated = np.zeros(self.num_envs, bool)
        return self._observe(), np.zeros(self.num_envs), terminated, truncated, self._merged(infos)

    def render(self) -> tuple[UInt8[np.ndarray, "h w 3"], ...]:
        """The current frames."""
        return tuple(self._observe()["pixels"])

    def close_extras(self, **kwargs: Any) -> None:
        """Free the worlds' simulators."""
        for group in self._groups:
            close_world(group.world)

    def _start(self, mask: Bool[np.ndarray, " n"], prompt: _Prompts | None) -> None:
        """Start these environments as one new batch."""
        envs = np.flatnonzero(mask)
        prompts = self._read_prompts(prompt, envs)
        self._prompt, self._num_actions[mask] = prompt, 0
        world = copy.copy(self._world)
        step = world.start(prompts, [_draw_seed(self._generators[env]) for env in envs])
        self._leave_groups(envs)
        self._groups.append(_Group(world, envs.copy()))
        self._shown |= {int(env): (step, row) for row, env in enumerate(envs)}

    def _read_prompts(self, prompt: _Prompts | None, envs: Int[np.ndarray, " m"]) -> list[Prompt]:
        is_array = isinstance(prompt, np.ndarray)
        is_one = isinstance(prompt, Prompt | str | Path)
        if prompt is None or is_one or (is_array and prompt.ndim < 5):
            return [_read_prompt(prompt, self._scaling)] * len(envs)
        if len(prompt) != self.num_envs:
            raise ValueError(
                f"got {len(prompt)} prompts for {self.num_envs} worlds; give one each, or one for "
                "all without that axis"
            )
        return [_read_prompt(prompt[env], self._scaling) for env in envs]

    def _leave_groups(self, envs: Int[np.ndarray, " m"]) -> None:
        for group in self._groups:
            group.envs[np.isin(group.envs, envs)] = -1
            if (group.envs < 0).all():
                close_world(group.world)
        self._groups = [group for group in self._groups if (group.envs >= 0).any()]

    def _advance(self, actions: Actions, *, moving: Bool[np.ndarray, " n"]) -> None:
        """Step every batch whose environments are moving; those of one batch move together."""
        for group in self._groups:
            rows = np.flatnonzero(group.envs >= 0)
            if not moving[group.envs[rows]].any():
                continue
            # Rows that are not shown repeat the action of one that is.
            sources = np.where(group.envs >= 0, group.envs, group.envs[rows[0]])
            step = group.world.step(type(actions)(actions.values[sources]))
            self._shown |= {int(group.envs[row]): (step, int(row)) for row in rows}

    def _restarted(
        self, truncated: Bool[np.ndarray, " n"], infos: dict[int, dict[str, Any]]
    ) -> dict[int, dict[str, Any]]:
        """Start ended environments at once; their last frame and info become final_*."""
        frames = self._observe()["pixels"]
        self._start(truncated, self._prompt)
        return {
            int(env): self._info(int(env))
            | {"final_obs": {"pixels": frames[env]}, "final_info": infos[int(env)]}
            for env in np.flatnonzero(truncated)
        }

    def _observe(self) -> dict[str, np.ndarray]:
        shown = [self._shown[env] for env in range(self.num_envs)]
        return {"pixels": np.stack([step.frames[row] for step, row in shown])}

    def _info(self, env: int) -> dict[str, Any]:
        return _step_info(*self._shown[env], is_start=bool(self._num_actions[env] == 0))

    def _merged(self, infos: dict[int, dict[str, Any]]) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for env, info in infos.items():
            merged = self._add_info(merged, info, env)
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
        """Environments whose episode ended with the last step."""
        if (self._num_actions < 0).any():
            raise RuntimeError("call reset before step: there is no frame yet")
        ended = self._num_actions >= self._max_steps
        if ended.any() and self._mode is AutoresetMode.DISABLED:
            raise RuntimeError(
                f"worlds {np.flatnonzero(ended).tolist()} have ended and autoreset is disabled; "
                'call reset(options={"reset_mask": mask}) with these true'
            )
        return ended
