"""World models with known answers, in the place of the learned one: `world_model=NAME`.

They are what a suite is checked with: MuJoCo itself must reach the best value of every metric, a
world that stands still must reach the worst.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8

from eval_suites.adapters import CopyLast
from eval_suites.base import EvalContext, Prompt
from eval_suites.plugs.best_codes import BestCodes
from genie_robo.data.actions import compose_actions
from genie_robo.sim.actions import ACTION_HIGH, ACTION_LOW
from genie_robo.sim.replay import replay
from genie_robo.types import Episode


class MujocoWorld:
    """MuJoCo as a world model: restores the recorded state of a prompt and executes actions.

    It understands robot actions only. Asked for latent actions it executes what the robot really
    did after the prompt, whatever the codes are. A robot action of a frame that spans several
    steps is executed in equal parts.

    Args:
        context: Whose held-out episodes prompts come from.
        scale: Factor on every motion.
        delay: Frames by which every action comes late; the robot holds still until then.
        coded: Tell it no more of a motion than one of the best codes.

    Raises:
        ValueError: the dataset holds no simulator state, or no episode to find codes in.
    """

    def __init__(
        self,
        context: EvalContext,
        *,
        scale: float = 1.0,
        delay: int = 0,
        coded: bool = False,
    ) -> None:
        numbers = (*context.fit.episodes, *context.test.episodes)
        if not numbers or context.dataset[numbers[0]].sim_state is None:
            raise ValueError(
                "world_model=mujoco needs a recorded simulator state in every step, which this "
                "dataset does not hold; `genie-robo record` makes such datasets"
            )
        self._dataset, self._stride = context.dataset, context.test.frame_stride
        self._scale, self._delay = scale, delay
        self._codes = BestCodes.fit(context, name="mujoco_coded") if coded else None
        self._numbers = {context.dataset[n].episode_id: n for n in numbers}

    def imagine(
        self,
        prompts: Sequence[Prompt],
        latent_actions: Int[np.ndarray, "b n"],
        seeds: Sequence[int],
    ) -> UInt8[np.ndarray, "b n h w c"]:
        """What the recorded robot actions lead to; the codes only say how many there are.

        Behind the end of the recording the robot holds still.
        """
        num_steps = latent_actions.shape[1] * self._stride
        recorded = []
        for prompt in prompts:
            episode, now = self._locate(prompt)
            actions = np.zeros((num_steps, 7))
            known = episode.robot_actions[now : min(now + num_steps, episode.num_steps - 1)]
            actions[: len(known)] = known
            actions[len(known) :, 6] = episode.robot_actions[now + len(known) - 1, 6]
            recorded.append(actions)
        if self._codes:
            motions = [compose_actions(actions, self._stride) for actions in recorded]
            return self.imagine_robot(prompts, np.stack(motions).astype(np.float64), seeds)
        return np.stack([self._execute(p, a) for p, a in zip(prompts, recorded, strict=True)])

    def imagine_robot(
        self,
        prompts: Sequence[Prompt],
        robot_actions: Float[np.ndarray, "b n 7"],
        seeds: Sequence[int],
    ) -> UInt8[np.ndarray, "b n h w c"]:
        """What these actions lead to."""
        tell = self._codes.tell if self._codes else np.asarray
        told = np.stack([tell(actions) for actions in robot_actions])
        parts = told / np.array([*[self._stride] * 6, 1])
        steps = parts.repeat(self._stride, axis=1)
        return np.stack([self._execute(p, a) for p, a in zip(prompts, steps, strict=True)])

    def _locate(self, prompt: Prompt) -> tuple[Episode, int]:
        """The episode of a prompt, and the step that its last frame shows."""
        episode = self._dataset[self._numbers[prompt.episode_id]]
        return episode, prompt.start + (len(prompt.frames) - 1) * self._stride

    def _execute(
        self, prompt: Prompt, actions: Float[np.ndarray, "m 7"]
    ) -> UInt8[np.ndarray, "n h w c"]:
        """Frames after single-step actions, which are clipped to the robot's bounds."""
        episode, now = self._locate(prompt)
        moves = actions * np.array([*[self._scale] * 6, 1])
        still = np.zeros((self._delay * self._stride, 7))
        still[:, 6] = episode.robot_actions[max(now - 1, 0), 6]
        late = np.concatenate([still, moves])[: len(moves)]
        height, width = prompt.frames.shape[1:3]
        happened = replay(
            episode,
            start=now,
            robot_actions=np.clip(late, ACTION_LOW, ACTION_HIGH),
            image_size=(height, width),
        )
        return happened.video[self._stride :: self._stride]


class Standing:
    """A world in which nothing moves: one of the prompt frames stays."""

    def __init__(self, frame: int) -> None:
        self._frame = frame

    def imagine(
        self,
        prompts: Sequence[Prompt],
        latent_actions: Int[np.ndarray, "b n"],
        seeds: Sequence[int],
    ) -> UInt8[np.ndarray, "b n h w c"]:
        """The prompt frame, as often as there are actions."""
        held = [Prompt(p.episode_id, p.start, p.frames[[self._frame]]) for p in prompts]
        return CopyLast().imagine(held, latent_actions, seeds)

    def imagine_robot(
        self,
        prompts: Sequence[Prompt],
        robot_actions: Float[np.ndarray, "b n 7"],
        seeds: Sequence[int],
    ) -> UInt8[np.ndarray, "b n h w c"]:
        """The prompt frame, as often as there are actions."""
        return self.imagine(prompts, np.zeros(robot_actions.shape[:2], np.int64), seeds)


WORLDS: Mapping[str, Callable[[EvalContext], MujocoWorld | Standing]] = {
    "mujoco": MujocoWorld,
    "mujoco_scaled": lambda context: MujocoWorld(context, scale=0.5),
    "mujoco_delayed": lambda context: MujocoWorld(context, delay=1),
    "mujoco_coded": lambda context: MujocoWorld(context, coded=True),
    "copy_first": lambda _: Standing(0),
    "copy_last": lambda _: Standing(-1),
}
"""World models that need no training, by name."""
