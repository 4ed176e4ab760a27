"""A policy: anything that turns observations into robot actions, in MuJoCo and in imagination.

class Still:
    def reset(self, instruction, seed):
        pass

    def act(self, observation):
        return [0, 0, 0, 0, 0, 0, 1]
"""

import copy
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from genie_robo.sim.actions import ACTION_HIGH, ACTION_LOW, ACTION_NAMES

MAX_CHUNK = 1000
"""Most actions that a policy may give at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a policy sees at one moment."""

    pixels: UInt8[np.ndarray, "h w 3"]
    """The camera's picture: MuJoCo's or an imagined one."""
    instruction: str
    """The task in words, such as `push the red box to the left`."""
    agent_pos: Float[np.ndarray, " 7"] | None = None
    """Pose of the tool: x y z (m) roll pitch yaw (rad) gripper (1 = open). MuJoCo's state; in
    imagination it is read from the imagined picture, roll and pitch as zero. None where neither is
    known."""
    boxes: Mapping[str, Float[np.ndarray, " 3"]] = field(default_factory=dict)
    """Centres of the boxes by colour (m), known as `agent_pos` is. One that is not seen in an
    imagined picture stays where it was last, at first where MuJoCo has it."""
    poses_are_read: bool = False
    """Whether `agent_pos` and `boxes` are read from the picture, with the errors of that; False
    where they are MuJoCo's state."""


@runtime_checkable
class Policy(Protocol):
    """Chooses robot actions from observations.

    An action is dx dy dz (m), droll dpitch dyaw (rad) and gripper (1 = open), the motion until the
    next observation. `reset` replaces all state and changes none in place, so a shallow copy is an
    independent policy that shares weights: a batch of worlds is acted in by copies.
    """

    def reset(self, instruction: str, seed: int) -> None:
        """Begin an episode. Everything random depends on the seed."""
        ...

    def act(self, observation: Observation) -> Any:
        """One action of 7 numbers, or a chunk of them: an array n x 7 that is executed in turn."""
        ...


class Actor:
    """A copy of a policy in one episode: gives one checked action at a time."""

    def __init__(self, policy: Policy, *, name: str, instruction: str, seed: int) -> None:
        """Copy and reset the policy; `name` stands in errors."""
        self._policy, self._name, self._instruction = copy.copy(policy), name, instruction
        self._chunk: deque[Float[np.ndarray, " 7"]] = deque()
        self._policy.reset(instruction, seed)

    def act(self, observation: Observation) -> Float[np.ndarray, " 7"]:
        """The next action, clipped to the robot's bounds.

        A chunk is executed to its end before the policy sees another observation. What the policy
        does to the observation and to its chunk afterwards changes nothing here.

        Raises:
            ValueError: The policy gives something else than actions.
        """
        if not self._chunk:
            self._chunk.extend(self._checked(self._policy.act(copy.deepcopy(observation))))
        return np.clip(self._chunk.popleft(), ACTION_LOW, ACTION_HIGH)

    def _checked(self, given: Any) -> Float[np.ndarray, "n 7"]:
        width = len(ACTION_NAMES)
        try:
            actions = np.atleast_2d(np.array(given, dtype=np.float64))
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise ValueError(f"{self._wanted()}; it gave {type(given).__name__}") from error
        if actions.ndim != 2 or actions.shape[1] != width or not 0 < len(actions) <= MAX_CHUNK:
            raise ValueError(f"{self._wanted()}; it gave the shape {np.shape(given)}")
        if not np.isfinite(actions).all():
            wrong = actions[~np.isfinite(actions).all(axis=1)][0]
            raise ValueError(f"{self._wanted()}; it gave {wrong.tolist()}")
        return actions

    def _wanted(self) -> str:
        return (
            f"policy {self._name} must give an action, {len(ACTION_NAMES)} finite numbers "
            f"({' '.join(ACTION_NAMES)}), or a chunk of up to {MAX_CHUNK} of them"
        )


def actors(
    policy: Policy, instructions: Sequence[str], seeds: Sequence[int], *, name: str
) -> list[Actor]:
    """An independent copy of a policy for each episode of a batch."""
    return [
        Actor(policy, name=name, instruction=instruction, seed=seed)
        for instruction, seed in zip(instructions, seeds, strict=True)
    ]
