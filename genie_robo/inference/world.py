"""A world: anything that starts from prompts and steps under actions.

Suites, `imagine`, `play` and `Genie/Imagined-v0` use worlds only through this interface.
A trained Genie, MuJoCo, a held frame and user classes implement it.
"""

import copy
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from genie_robo.inference.error_feedback import ErrorFeedback, FeedbackState
from genie_robo.inference.rollout import Imagination
from genie_robo.inference.settings import Sampler
from genie_robo.models.genie import Genie
from genie_robo.types import ACTION_NAMES, JOINTS, Episode, Rollout, action_names


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """The frames that a rollout starts from, and the recording that they were cut from."""

    frames: UInt8[np.ndarray, "p h w c"]
    name: str = "prompt"
    """Used in file names: the id of the episode, or another name of the frames."""
    title: str = "the prompt"
    """Shown on screen, such as `test episode 3`."""
    start: int = 0
    """Step of the episode that the first frame shows."""
    stride: int = 1
    """Steps from one frame to the next."""
    recording: Episode | None = None
    """The recorded episode; simulators restore its state."""

    @property
    def last_step(self) -> int:
        """Step of the episode that the last frame shows."""
        return self.start + (len(self.frames) - 1) * self.stride

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the joints in its robot actions; empty where they have none."""
        return self.recording.joint_names if self.recording else ()

    @property
    def control_hz(self) -> float:
        """Frames per second; 0 when unknown."""
        return self.recording.control_hz / self.stride if self.recording else 0.0

    @property
    def instruction(self) -> str:
        """Language instruction of the recording; empty when there is none."""
        return self.recording.instruction if self.recording else ""

    @property
    def is_simulated(self) -> bool:
        """Whether MuJoCo can restore the state of the recording."""
        return self.recording is not None and self.recording.is_simulated


@dataclass(frozen=True, slots=True)
class Codes:
    """A latent action for each rollout."""

    values: Int[np.ndarray, " b"]


@dataclass(frozen=True, slots=True)
class Latents:
    """A continuous latent action for each rollout: what the codes are clusters of."""

    values: Float[np.ndarray, "b e"]


@dataclass(frozen=True, slots=True)
class RobotActions:
    """A robot action for each rollout: the motion from one frame to the next.

    dx dy dz (m), droll dpitch dyaw (rad), gripper (1 = open), then the joints where there are any.
    """

    values: Float[np.ndarray, "b a"]


Actions = Codes | Latents | RobotActions


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The result of `World.start` and `World.step`."""

    frames: UInt8[np.ndarray, "b h w c"]
    uncertainty: Float[np.ndarray, " b"]
    """0 is certain; for a Genie the mean entropy of the frame's tokens (nats)."""
    tokens: Int[np.ndarray, "b s"] | None = None
    """None for worlds without tokens."""
    token_entropy: Float[np.ndarray, "b s"] | None = None
    """Entropy of each token (nats); None for worlds without tokens."""
    codes: Int[np.ndarray, " b"] | None = None
    """The latent actions that led to the frames, nearest to the latents if those did; None for
    worlds without codes."""
    trust: Float[np.ndarray, " b"] | None = None
    """How usual the rollout is so far, from 1 to 0: the share of validation frames that look at
    least as strange. None where that is not known (`genie_robo.inference.trust`)."""
    earlier: "tuple[Step, ...]" = ()
    """After a start: the prompt frames before the last one, as the world represents them."""


@runtime_checkable
class World(Protocol):
    """Anything that predicts what follows a prompt, in batches of rollouts.

    The same prompt, actions and seed give the same frames in any batch. `start` replaces all
    state and changes none in place, so a shallow copy is an independent world that shares weights.
    """

    @property
    def takes(self) -> Collection[type[Actions]]:
        """The kinds of actions that `step` understands: Codes, Latents, RobotActions."""
        ...

    def start(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Step:
        """Start one rollout for each prompt and seed; shows the last prompt frames."""
        ...

    def step(self, actions: Actions) -> Step:
        """Advance every rollout by one frame."""
        ...


@dataclass(frozen=True, slots=True)
class WorldState:
    """Everything that the next steps of a world depend on; later steps do not change it."""

    content: Any
    num_bytes: int = 0
    """Memory of its tensors."""


@runtime_checkable
class Rewindable(Protocol):
    """A world that can go back to an earlier frame without repeating the steps to it."""

    def get_state(self) -> WorldState:
        """The state after the last start or step."""
        ...

    def set_state(self, state: WorldState) -> None:
        """Go on from a state of this world, as often as wanted."""
        ...


def roll_out(
    world: World,
    prompts: Sequence[Prompt],
    actions: Sequence[Actions],
    *,
    seeds: Sequence[int],
) -> UInt8[np.ndarray, "b n h w c"]:
    """The n frames after each prompt under n actions."""
    world.start(prompts, seeds)
    return np.stack([world.step(action).frames for action in actions], axis=1)


def code_steps(codes: Int[np.ndarray, "b n"]) -> list[Codes]:
    """Sequences of codes, one for each rollout, step by step."""
    return [Codes(values) for values in codes.T]


def latent_steps(latents: Float[np.ndarray, "b n e"]) -> list[Latents]:
    """Sequences of latents, one for each rollout, step by step."""
    return [Latents(values) for values in latents.swapaxes(0, 1)]


def robot_steps(actions: Float[np.ndarray, "b n a"]) -> list[RobotActions]:
    """Sequences of robot actions, one for each rollout, step by step."""
    return [RobotActions(values) for values in actions.swapaxes(0, 1)]


RobotMap = (
    ErrorFeedback
    | Callable[[Float[np.ndarray, "b a"]], Int[np.ndarray, " b"] | Float[np.ndarray, "b e"]]
)
"""Robot actions to codes with error feedback, or each action alone to a code or a latent: a
function that returns integers gives codes, one that returns floating-point numbers latents."""


class GenieWorld:
    """A trained Genie as a world.

    Codes steer it, latents where it was trained on them, robot actions where it was trained on them
    or a map to latent actions is given. Where robot actions alone steer it, codes do not.
    """

    decodes_tokens = True
    """Its frames are those of a tokenizer, softer than a camera's."""

    def __init__(
        self,
        genie: Genie,
        *,
        sampler: Sampler | None = None,
        robot_map: Callable[[], RobotMap] | None = None,
    ) -> None:
        """Wrap a model on its device; `robot_map` is called only when robot actions arrive.

        A model that was trained on robot actions takes them as they are unless there is a map.
        """
        self.genie, self.sampler = genie.eval(), sampler or Sampler()
        self._robot_map = robot_map
        self._feedback: FeedbackState | None = None

    def __copy__(self) -> "GenieWorld":
        """An independent world that shares the weights; the map is not looked up yet."""
        world = object.__new__(GenieWorld)
        vars(world).update(vars(self))
        return world

    def __getstate__(self) -> dict[str, Any]:
        """With the map itself in place of the function that finds it, which may be local."""
        found = None if self._robot_map is None else partial(_always, self._robot_map())
        return vars(self) | {"_robot_map": found}

    @property
    def takes(self) -> Collection[type[Actions]]:
        """Codes, latents and robot actions, each if the model was trained on them or has a map."""
        by_robot = self.genie.takes_robot_actions or self._robot_map is not None
        known = {
            Codes: self.genie.takes_codes,
            Latents: self.genie.takes_latents,
            RobotActions: by_robot,
        }
        return tuple(kind for kind, is_known in known.items() if is_known)

    @property
    def num_codes(self) -> int:
        """Codes are 0 .. num_codes - 1."""
        return self.genie.latent_action.num_codes

    @property
    def latent_dim(self) -> int:
        """Numbers of a latent."""
        return self.genie.latent_action.code_dim

    @property
    def joint_range(self) -> Float[np.ndarray, "2 k"] | None:
        """Lowest and highest of the joints that it was trained on; None where it knows none."""
        robot = self.genie.dynamics.robot
        if robot is None or self._robot_map is not None or robot.action_dim == len(ACTION_NAMES):
            return None
        return robot.action_range[:, JOINTS].cpu().double().numpy()

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Of the joints that it was trained on; empty where it knows none."""
        return () if self.joint_range is None else self._action_names[JOINTS]

    @property
    def frames_per_second(self) -> float:
        """Rate of the frames that it was trained on; 0 where the model does not know it."""
        return getattr(self.genie, "frames_per_second", 0.0)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of frames."""
        return self.genie.tokenizer.image_size

    def start(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Step:
        """Encode the prompts; one that all rollouts share is encoded once."""
        distinct = prompts[:1] if all(p is prompts[0] for p in prompts) else prompts
        frames = torch.from_numpy(np.stack([prompt.frames for prompt in distinct]))
        self._imagination = Imagination(
            self.genie, frames.to(self._device), seeds=seeds, sampler=self.sampler
        )
        self._feedback = None
        return _prompt_steps(self._imagination.rollout())

    def step(self, actions: Actions) -> Step:
        """Imagine the next frame of every rollout.

        Raises:
            ValueError: A code outside the codebook, latents that the model was not trained on, or
                robot actions without a map.
        """
        now = self._imagination
        if isinstance(actions, RobotActions) and self._robot_map is None:
            now.step_robot(self._to_tensor(self._checked(actions)))
        else:
            now.step(self._to_tensor(self._latent_actions(actions)))
        return Step(
            frames=now.frame.cpu().numpy(),
            uncertainty=now.uncertainty.cpu().double().numpy(),
            tokens=now.tokens.cpu().numpy(),
            token_entropy=now.token_entropy.cpu().numpy(),
            codes=None if now.code is None else now.code.cpu().numpy(),
        )

    @property
    def _action_names(self) -> tuple[str, ...]:
        """Names of the numbers of the robot actions that it was trained on."""
        robot = self.genie.dynamics.robot
        assert robot is not None
        return action_names(robot.action_dim, self.genie.joint_names)

    def get_state(self) -> WorldState:
        """A copy of the caches and of the random numbers' state."""
        content = (copy.deepcopy(self._imagination), copy.copy(self._feedback))
        return WorldState(content, self._imagination.num_bytes)

    def set_state(self, state: WorldState) -> None:
        """Go on from a state of this world, as often as wanted."""
        imagination, feedback = state.content
        self._imagination, self._feedback = copy.deepcopy(imagination), copy.copy(feedback)

    def _checked(self, actions: RobotActions) -> Float[np.ndarray, "b a"]:
        """Robot actions that the model understands."""
        robot, values = self.genie.dynamics.robot, np.asarray(actions.values, np.float64)
        if robot is None:
            raise ValueError(
                "this world is steered by latent actions alone: nothing maps robot actions to them"
            )
        if values.shape[1:] != (robot.action_dim,) or not np.isfinite(values).all():
            raise ValueError(
                f"a robot action of this model is {robot.action_dim} finite numbers, "
                f"{' '.join(self._action_names)}; got {values.tolist()}"
            )
        return values

    def _latent_actions(self, actions: Actions) -> Int[np.ndarray, " b"] | Float[np.ndarray, "b e"]:
        """Codes or latents: those given, or those of robot actions."""
        if isinstance(actions, RobotActions):
            assert self._robot_map is not None
            return self._map(actions, self._robot_map())
        given = np.asarray(actions.values)
        if isinstance(actions, Codes):
            check_codes(given, num_codes=self.num_codes)
        return given

    def _map(
        self, actions: RobotActions, robot_map: RobotMap
    ) -> Int[np.ndarray, " b"] | Float[np.ndarray, "b e"]:
        """The codes or latents of robot actions."""
        if isinstance(robot_map, ErrorFeedback):
            self._feedback = self._feedback or FeedbackState(robot_map)
            found = self._feedback.step(actions.values)
        else:
            found = np.asarray(robot_map(actions.values))
        num, highest = len(actions.values), self.num_codes - 1
        if found.dtype.kind != "f" and (
            found.shape != (num,)
            or found.dtype.kind not in "iu"
            or not 0 <= found.min() <= found.max() <= highest
        ):
            raise ValueError(
                f"robot_map must give {num} codes from 0 to {highest}, one per action, but it gave "
                f"{found}"
            )
        return found

    def _to_tensor(self, steering: np.ndarray) -> torch.Tensor:
        kind = torch.float32 if steering.dtype.kind == "f" else torch.int64
        return torch.from_numpy(steering).to(self._device, kind)

    @property
    def _device(self) -> torch.device:
        return next(self.genie.parameters()).device


def _always(robot_map: RobotMap) -> RobotMap:
    return robot_map


def check_codes(codes: Int[np.ndarray, " b"], *, num_codes: int) -> None:
    """Refuse codes that a model does not have.

    Raises:
        ValueError: A code is not one of 0 .. num_codes - 1.
    """
    unknown = codes[(codes < 0) | (codes >= num_codes)]
    if len(unknown):
        raise ValueError(
            f"latent action {unknown[0]} is not one of this model's codes, 0 to {num_codes - 1}"
        )


def _prompt_steps(prompt: Rollout) -> Step:
    """The last prompt frame, with those before it."""
    assert prompt.token_entropy is not None
    codes = () if prompt.latent_actions is None else prompt.latent_actions.unbind(1)
    steps = []
    for t in range(prompt.num_prompt_frames):
        entropy = prompt.token_entropy[:, t]
        step = Step(
            frames=prompt.video[:, t].cpu().numpy(),
            uncertainty=entropy.mean(-1).cpu().double().numpy(),
            tokens=prompt.tokens[:, t].cpu().numpy(),
            token_entropy=entropy.cpu().numpy(),
            codes=codes[t - 1].cpu().numpy() if t and codes else None,
        )
        steps.append(step)
    return replace(steps[-1], earlier=tuple(steps[:-1]))


class HeldFrame:
    """A world in which nothing moves: a prompt frame is repeated."""

    takes = (Codes, Latents, RobotActions)

    def __init__(self, frame: int = -1) -> None:
        """Hold the prompt frame of this index."""
        self._index = frame

    def start(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Step:
        """Choose the frames to hold."""
        frames = np.stack([prompt.frames[self._index] for prompt in prompts])
        self._held = Step(frames=frames, uncertainty=np.zeros(len(prompts)))
        return self._held

    def step(self, actions: Actions) -> Step:
        """The same frames again."""
        return self._held

    def get_state(self) -> WorldState:
        """The frames that are held."""
        return WorldState(self._held)

    def set_state(self, state: WorldState) -> None:
        """Hold those of a state."""
        self._held = state.content


def hold_last(prompts: Sequence[Prompt], num_frames: int) -> UInt8[np.ndarray, "b n h w c"]:
    """The last prompt frames, `num_frames` times: the baseline of every rollout."""
    return np.stack([prompt.frames[-1:].repeat(num_frames, axis=0) for prompt in prompts])


def close_world(world: World) -> None:
    """Free the resources of a world that has a `close` method."""
    close = getattr(world, "close", None)
    if close is not None:
        close()
