"""A Gymnasium environment whose physics is a world model."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
from jaxtyping import UInt8

from genie_robo.data.settings import Resize
from genie_robo.data.transforms import resize_frame
from genie_robo.inference.world import (
    Actions,
    Codes,
    GenieWorld,
    Prompt,
    RobotActions,
    Step,
    World,
    close_world,
)
from genie_robo.models.genie import Genie
from genie_robo.sim.actions import checked_action, robot_action_space

METADATA = {"render_modes": ["rgb_array"], "render_fps": 3}


class Imagined(gymnasium.Env[dict[str, Any], Any]):
    """Every step is a step of a world: a trained Genie, MuJoCo, or a class of your own.

    An episode starts from a prompt, given here or as `reset(options={"prompt": image})`, which then
    stays the prompt. Observations are `pixels`, as Tabletop's; the first one is the world's view of
    the last prompt frame. Actions are Tabletop's where the world takes robot actions, else its
    codes. There is no reward and no success. `info` has `uncertainty`, and where the world has
    them `tokens` of the frame and, after a step, its `code`.

    Args:
        world: A world, or a trained Genie on the device where it shall run.
        prompt: uint8 image of any size, or a stack of p frames; it is scaled to the world's size.
            A Prompt starts worlds that need its recording.
        image_size: Height and width of frames, for worlds that show any size.
        resize: How images become that size: stretch, crop or letterbox, as in `data.resize`.
        max_steps: Actions until the episode is truncated.
        render_mode: For Gymnasium's wrappers; `render` works in any case.
        former: Arguments of earlier versions, refused with what replaced them.
    """

    metadata: dict[str, Any] = METADATA

    def __init__(
        self,
        world: World | Genie | None = None,
        *,
        prompt: np.ndarray | Prompt | None = None,
        image_size: tuple[int, int] | None = None,
        resize: str = "stretch",
        max_steps: int = 40,
        render_mode: str | None = "rgb_array",
        **former: Any,
    ) -> None:
        self._world = as_world(world, former)
        self._image_size = image_size or frame_size(self._world)
        self._prompt, self._resize, self._max_steps = prompt, Resize(resize), max_steps
        self._now: Step | None = None
        self._num_actions = 0
        self.render_mode = render_mode
        self.action_space = action_space(self._world)
        self.observation_space = observation_space(self._image_size)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start from a prompt; the seed fixes everything that will be sampled.

        Raises:
            ValueError: There is no prompt, or it holds no uint8 RGB images.
        """
        super().reset(seed=seed, options=options)
        given = (options or {}).get("prompt", self._prompt)
        prompt = read_prompt(given, image_size=self._image_size, resize=self._resize)
        self._prompt, self._num_actions = given, 0
        self._now = self._world.start([prompt], [draw_seed(self.np_random)])
        return {"pixels": self.render()}, step_info(self._now, 0, is_start=True)

    def step(
        self, action: np.ndarray | np.integer[Any] | int
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Take one step of the world.

        Raises:
            ValueError: The action is not in the action space.
            RuntimeError: The environment was not reset.
        """
        self._started()
        self._now = self._world.step(read_actions(self.action_space, [action]))
        self._num_actions += 1
        is_truncated = self._num_actions >= self._max_steps
        return {"pixels": self.render()}, 0.0, False, is_truncated, step_info(self._now, 0)

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


def as_world(world: World | Genie | None, former: dict[str, Any]) -> World:
    """A world as it is, a Genie as a world that is steered by its codes.

    Raises:
        TypeError: There is neither, or an argument of an earlier version was given.
    """
    if former.keys() & {"genie", "to_codes", "sampler"}:
        raise TypeError(
            f"{', '.join(f'{name}=' for name in former)} became world=: give world=genie, or with "
            "from genie_robo.inference.world import GenieWorld "
            "world=GenieWorld(genie, sampler=sampler, to_codes=lambda: to_codes)"
        )
    if former or world is None:
        raise TypeError(
            "an imagined environment takes world=, a Genie or a World, with prompt, image_size, "
            f"resize, max_steps and render_mode; got world={world} and {list(former)}"
        )
    return GenieWorld(world) if isinstance(world, Genie) else world


def frame_size(world: World) -> tuple[int, int]:
    """Height and width of a world's frames, 64 x 64 where it shows any size."""
    return getattr(world, "image_size", (64, 64))


def observation_space(image_size: tuple[int, int]) -> gymnasium.Space[dict[str, Any]]:
    """`pixels` alone: a world model knows no pose, so there is no `agent_pos`."""
    pixels = gymnasium.spaces.Box(0, 255, (*image_size, 3), np.uint8)
    return gymnasium.spaces.Dict({"pixels": pixels})


def action_space(world: World) -> gymnasium.Space[Any]:
    """Robot actions where the world takes them, else its latent actions.

    Raises:
        ValueError: The world takes latent actions only and has no `num_codes`.
    """
    if RobotActions in world.takes:
        return robot_action_space()
    num_codes = getattr(world, "num_codes", None)
    if num_codes is None:
        raise ValueError(
            f"{type(world).__name__} takes latent actions only, so it needs an attribute "
            "num_codes, the number of them"
        )
    return gymnasium.spaces.Discrete(num_codes)


def read_actions(space: gymnasium.Space[Any], actions: Sequence[Any] | np.ndarray) -> Actions:
    """Actions of the space, one per world.

    Raises:
        ValueError: An action is outside the space.
    """
    if not isinstance(space, gymnasium.spaces.Discrete):
        return RobotActions(np.stack([checked_action(action) for action in actions]))
    for action in actions:
        if not space.contains(action):
            raise ValueError(
                f"latent action {action} is not one of this model's codes, 0 to {space.n - 1}"
            )
    return Codes(np.array(actions, dtype=np.int64))


def read_prompt(
    prompt: np.ndarray | Prompt | None, *, image_size: tuple[int, int], resize: Resize
) -> Prompt:
    """An image or a stack of p frames as frames of the world's size.

    Raises:
        ValueError: There is no prompt, or it holds no uint8 RGB images.
    """
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
            "the prompt must be a uint8 image of shape (height, width, 3), or p of them as "
            f"(p, height, width, 3), with values 0 to 255; it is {prompt.dtype} of shape "
            f"{prompt.shape}"
        )
    resized = np.stack([resize_frame(f, image_size=image_size, resize=resize) for f in frames])
    return replace(given, frames=resized) if given else Prompt(frames=resized)


def draw_seed(rng: np.random.Generator) -> int:
    """The seed of one imagined episode."""
    return int(rng.integers(2**31))


def step_info(step: Step, row: int, *, is_start: bool = False) -> dict[str, Any]:
    """What Gymnasium calls info, of one rollout; no task is known, so is_success is False."""
    info: dict[str, Any] = {"uncertainty": float(step.uncertainty[row]), "is_success": False}
    if step.tokens is not None:
        info["tokens"] = step.tokens[row].copy()
    if step.codes is not None and not is_start:
        info["code"] = int(step.codes[row])
    return info
