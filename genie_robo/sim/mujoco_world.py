"""MuJoCo as a world: it restores the recorded state of a prompt and executes actions."""

import copy
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from jaxtyping import Float

from genie_robo.data.actions import compose_actions
from genie_robo.inference.error_feedback import ErrorFeedback, FeedbackState
from genie_robo.inference.world import (
    Actions,
    Codes,
    Latents,
    Prompt,
    RobotActions,
    Step,
    WorldState,
)
from genie_robo.sim.actions import ACTION_HIGH, ACTION_LOW
from genie_robo.sim.restore import restore, split_actions
from genie_robo.sim.tabletop import Tabletop
from genie_robo.types import END_EFFECTOR, GRIPPER, XYZ, Episode


class MujocoWorld:
    """The simulator that a dataset was recorded in, with optional known errors.

    Given Codes, which MuJoCo cannot interpret, it executes the recorded actions instead. A robot
    action of a frame that spans several steps is executed in equal parts. Actions are clipped to
    the robot's bounds.
    """

    takes = (Codes, Latents, RobotActions)

    def __init__(
        self,
        *,
        scale: float = 1.0,
        delay: int = 0,
        feedback: ErrorFeedback | None = None,
        renderer: str = "auto",
    ) -> None:
        """Configure the simulator.

        Args:
            scale: Factor on every motion.
            delay: Frames by which every action is delayed; the robot holds still until then.
            feedback: Quantises the xyz motion of every action greedily, a reference for worlds that
                are driven by the same number of codes.
            renderer: auto, raycast, egl or osmesa.
        """
        self._scale, self._delay, self._feedback = scale, delay, feedback
        self._renderer = renderer
        self.envs: list[Tabletop] = []
        """The simulator of every rollout, at its current frame."""

    def __copy__(self) -> "MujocoWorld":
        """An independent world with the same settings: simulators are not shared."""
        return MujocoWorld(
            scale=self._scale,
            delay=self._delay,
            feedback=self._feedback,
            renderer=self._renderer,
        )

    def __reduce__(self) -> tuple[Callable[[], "MujocoWorld"], tuple[()]]:
        """A pickled world keeps its settings, not its simulators: start it again."""
        settings = {"scale": self._scale, "delay": self._delay, "feedback": self._feedback}
        return partial(MujocoWorld, **settings, renderer=self._renderer), ()

    def start(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Step:
        """Restore the recorded state of every last prompt frame; the seeds have no effect.

        Raises:
            ValueError: a prompt does not come from a recorded simulation.
        """
        self.close()
        self._prompts = [(_recording(prompt), prompt) for prompt in prompts]
        self.envs = [
            restore(
                episode,
                prompt.last_step,
                image_size=(prompt.frames.shape[1], prompt.frames.shape[2]),
                renderer=self._renderer,
            )
            for episode, prompt in self._prompts
        ]
        self._num_frames = 0
        self._pending = [deque(self._late(*started)) for started in self._prompts]
        self._quantiser = FeedbackState(self._feedback) if self._feedback else None
        return self._show()

    def step(self, actions: Actions) -> Step:
        """Execute one action of every rollout."""
        if isinstance(actions, RobotActions):
            steps = self._split(actions.values)
        else:
            steps = [self._recorded(*started) for started in self._prompts]
            if self._quantiser:
                steps = self._split(np.concatenate([compose_actions(s, len(s)) for s in steps]))
        self._num_frames += 1
        for env, pending, now in zip(self.envs, self._pending, steps, strict=True):
            now[:, :GRIPPER] *= self._scale
            pending.extend(now)
            for _ in now:
                env.advance(np.clip(pending.popleft(), ACTION_LOW, ACTION_HIGH))
        return self._show()

    def get_state(self) -> WorldState:
        """The state of every simulator, and the actions that are still delayed."""
        simulators = [env.get_state() for env in self.envs]
        pending = [deque(actions) for actions in self._pending]
        return WorldState((simulators, self._num_frames, pending, copy.copy(self._quantiser)))

    def set_state(self, state: WorldState) -> None:
        """Go on from a state of this world."""
        simulators, self._num_frames, pending, quantiser = state.content
        self._pending = [deque(actions) for actions in pending]
        self._quantiser = copy.copy(quantiser)
        for env, simulator in zip(self.envs, simulators, strict=True):
            env.set_state(simulator)

    def close(self) -> None:
        """Free the renderers."""
        for env in self.envs:
            env.close()
        self.envs = []

    def _late(self, episode: Episode, prompt: Prompt) -> Float[np.ndarray, "n 7"]:
        """Actions that hold still for the delay."""
        still = np.zeros((self._delay * prompt.stride, GRIPPER + 1))
        still[:, GRIPPER] = episode.robot_actions[max(prompt.last_step - 1, 0), GRIPPER]
        return still

    def _recorded(self, episode: Episode, prompt: Prompt) -> Float[np.ndarray, "stride 7"]:
        """The recorded actions up to the next frame; after the last one the robot holds still."""
        first = prompt.last_step + self._num_frames * prompt.stride
        known = episode.robot_actions[: episode.num_steps - 1][first : first + prompt.stride]
        actions = np.zeros((prompt.stride, GRIPPER + 1))
        actions[: len(known)] = known[:, END_EFFECTOR]
        actions[len(known) :, GRIPPER] = episode.robot_actions[episode.num_steps - 2, GRIPPER]
        return actions

    def _split(self, motions: Float[np.ndarray, "b a"]) -> list[Float[np.ndarray, "stride 7"]]:
        """Single steps of the action of every rollout, its motion along xyz quantised first."""
        motions = motions[:, END_EFFECTOR].astype(np.float64)
        if self._quantiser and self._feedback:
            codes = self._quantiser.step(motions[:, XYZ])
            motions[:, XYZ] = self._feedback.centroids[codes]
        strides = [prompt.stride for _, prompt in self._prompts]
        return [split_actions(m[None], n) for m, n in zip(motions, strides, strict=True)]

    def _show(self) -> Step:
        frames = np.stack([env.render() for env in self.envs])
        return Step(frames=frames, uncertainty=np.zeros(len(frames)))


def _recording(prompt: Prompt) -> Episode:
    if prompt.recording is None:
        raise ValueError(
            f"MuJoCo needs a recorded simulator state to start from, but prompt {prompt.name} has "
            "none; `genie-robo record` makes datasets that do"
        )
    return prompt.recording
