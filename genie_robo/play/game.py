"""An imagined episode that is steered one action at a time, with the true one beside it."""

import statistics
import time
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from genie_robo.inference.rollout import Imagination
from genie_robo.inference.settings import Sampler
from genie_robo.models.genie import Genie
from genie_robo.play.start import Start
from genie_robo.play.true_world import TrueMoment, TrueWorld
from genie_robo.types import ACTION_NAMES, GRIPPER


@runtime_checkable
class ToCodes(Protocol):
    """Robot actions to latent actions."""

    def step(
        self, motions: Float[np.ndarray, "n 7"], residual: Float[np.ndarray, "n 7"]
    ) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n 7"]]:
        """The code of each robot action plus its residual, and the residual to carry."""
        ...


@runtime_checkable
class ToRobotActions(Protocol):
    """Latent actions to robot actions."""

    @property
    def counts(self) -> Int[np.ndarray, " k"]:
        """Labelled transitions per code."""
        ...

    def mean(self, latent_actions: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n 7"]:
        """The mean robot action of each code."""
        ...


@runtime_checkable
class ActionMap(Protocol):
    """Both ways between the actions of the robot and those of the model."""

    @property
    def feedback(self) -> ToCodes:
        """Robot actions that follow each other to codes."""
        ...

    @property
    def dictionary(self) -> ToRobotActions:
        """Codes to robot actions."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What led to a frame."""

    name: str
    """The key's own: a code's number or a direction."""
    code: int
    """What the model was given."""
    robot_action: Float[np.ndarray, " 7"] | None
    """What MuJoCo executed; of a code its mean robot action. None without a simulator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A frame of the game."""

    frame: UInt8[np.ndarray, "h w c"]
    """Imagined; of the prompt the tokenizer's view."""
    uncertainty: float
    """Mean entropy of the frame's tokens when they were revealed (nats), 0 for the prompt."""
    action: Action | None
    """None for the prompt."""
    latency_s: float
    truth: TrueMoment | None
    residual: Float[np.ndarray, " 7"]
    """What the codes so far have left unsaid of the robot actions that were asked for."""


class Game:
    """An imagined episode under the player's hands.

    The same prompt, seed and actions give the same frames. An undone step is imagined again only
    when the next action needs it, so taking back is immediate and the step after it takes longer.
    """

    def __init__(
        self,
        genie: Genie,
        start: Start,
        *,
        sampler: Sampler,
        seed: int = 0,
        action_map: ActionMap | None = None,
        renderer: str = "auto",
    ) -> None:
        """Begin.

        Args:
            genie: The trained world model, on the device where it shall run.
            start: The prompt.
            sampler: How a frame is decoded.
            seed: Of everything that is sampled.
            action_map: Lets robot actions steer, and MuJoCo follow codes.
            renderer: What draws the true frames.
        """
        self.genie, self.sampler, self.seed = genie.eval(), sampler, seed
        self.action_map, self.renderer = action_map, renderer
        self.num_codes = genie.latent_action.num_codes
        self.latencies_s: list[float] = []
        """Of all frames ever imagined, also those taken back."""
        self._world: TrueWorld | None = None
        self.begin(start)

    def begin(self, start: Start) -> None:
        """Start anew from another prompt."""
        imagination = self._imagine_from(start)
        world = self._true_world(start)
        self.close()
        self._world, self._imagination, self.start = world, imagination, start
        prompt = Moment(
            frame=_pixels(imagination),
            uncertainty=0.0,
            action=None,
            latency_s=0.0,
            truth=world.first if world else None,
            residual=np.zeros(len(ACTION_NAMES)),
        )
        self.moments = [prompt]
        self._imagined: Moment | None = prompt
        """How far the imagination has come; None while it is on its way."""

    @property
    def now(self) -> Moment:
        """The current frame."""
        return self.moments[-1]

    @property
    def actions(self) -> list[Action]:
        """Everything done since the prompt."""
        return [moment.action for moment in self.moments if moment.action is not None]

    @property
    def median_latency_s(self) -> float:
        """Of all frames ever imagined; 0 before the first."""
        return statistics.median(self.latencies_s) if self.latencies_s else 0.0

    @property
    def speed(self) -> str:
        """How fast the model imagines, in words."""
        if not self.latencies_s:
            return "no frame imagined"
        return (
            f"{len(self.latencies_s)} frames imagined, {1000 * self.median_latency_s:.0f} ms each "
            f"(median), {1 / self.median_latency_s:.1f} frames per second"
        )

    def press_code(self, code: int) -> None:
        """Imagine the next frame under a latent action.

        Raises:
            ValueError: The model has no such code.
        """
        if not 0 <= code < self.num_codes:
            raise ValueError(f"code {code} is not one of this model's: 0 to {self.num_codes - 1}")
        robot_action = None
        if self.action_map is not None and self._world is not None:
            robot_action = np.asarray(self.action_map.dictionary.mean(np.array([code]))[0], float)
        action = Action(name=str(code), code=code, robot_action=robot_action)
        self._act(action, residual=self.now.residual)

    def move(self, name: str, delta: Float[np.ndarray, " 3"]) -> None:
        """Move the tool by dx dy dz (m), the gripper as it was.

        Raises:
            ValueError: The run has no action map.
        """
        self._press_robot(name, np.array([*delta, 0.0, 0.0, 0.0, self.gripper]))

    def toggle_gripper(self) -> None:
        """Open a closed gripper, close an open one.

        Raises:
            ValueError: The run has no action map.
        """
        gripper = 0.0 if self.gripper >= 0.5 else 1.0
        name = "open" if gripper else "close"
        self._press_robot(name, np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, gripper]))

    @property
    def gripper(self) -> float:
        """What the gripper was last told, 1 = open; a code may tell it anything between."""
        told = [a.robot_action[GRIPPER] for a in self.actions if a.robot_action is not None]
        return float(told[-1]) if told else self._gripper_at_start

    def undo(self) -> None:
        """Take the last action back."""
        if len(self.moments) > 1:
            self.moments.pop()

    def reset(self) -> None:
        """Go back to the prompt."""
        self.moments = self.moments[:1]

    def close(self) -> None:
        """Free the simulator."""
        if self._world is not None:
            self._world.close()
            self._world = None

    def _press_robot(self, name: str, robot_action: Float[np.ndarray, " 7"]) -> None:
        if self.action_map is None:
            raise ValueError("robot actions cannot steer this run: it has no action map")
        codes, residual = self.action_map.feedback.step(robot_action[None], self.now.residual[None])
        action = Action(name=name, code=int(codes[0]), robot_action=robot_action)
        self._act(action, residual=residual[0])

    def _act(self, action: Action, *, residual: Float[np.ndarray, " 7"]) -> None:
        self._catch_up()
        truth = self.now.truth
        if truth is not None and self._world is not None and action.robot_action is not None:
            truth = self._world.after(truth, action.robot_action)
        self._imagined = None
        began = time.perf_counter()
        frame = self._step(action.code)
        latency_s = time.perf_counter() - began
        moment = Moment(
            frame=frame,
            uncertainty=float(self._imagination.uncertainty[0]),
            action=action,
            latency_s=latency_s,
            truth=truth,
            residual=residual,
        )
        self.latencies_s.append(latency_s)
        self.moments.append(moment)
        self._imagined = moment

    def _catch_up(self) -> None:
        """After steps were taken back, imagine the remaining ones again."""
        if self._imagined is self.now:
            return
        self._imagined = None
        self._imagination = self._imagine_from(self.start)
        for action in self.actions:
            self._step(action.code)
        self._imagined = self.now

    def _imagine_from(self, start: Start) -> Imagination:
        prompt = torch.from_numpy(start.frame[None, None].copy()).to(self._device)
        return Imagination(self.genie, prompt, seeds=[self.seed], sampler=self.sampler)

    def _step(self, code: int) -> UInt8[np.ndarray, "h w c"]:
        self._imagination.step(torch.tensor([code], device=self._device))
        return _pixels(self._imagination)

    def _true_world(self, start: Start) -> TrueWorld | None:
        """The simulator, where it can follow: without an action map codes mean nothing to it."""
        if start.sim is None or self.action_map is None:
            return None
        height, width = start.frame.shape[:2]
        return TrueWorld(
            start.sim,
            image_size=(height, width),
            steps_per_frame=start.steps_per_frame,
            renderer=self.renderer,
        )

    @property
    def _gripper_at_start(self) -> float:
        return 1.0 if self._world is None or self._world.gripper >= 0.5 else 0.0

    @property
    def _device(self) -> torch.device:
        return next(self.genie.parameters()).device


def _pixels(imagination: Imagination) -> UInt8[np.ndarray, "h w c"]:
    return imagination.frame[0].cpu().numpy()
