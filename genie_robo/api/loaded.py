"""A trained Genie for arrays: the latent actions of videos, and imagined videos under actions."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from genie_robo.api.arrays import (
    Array,
    FrameSize,
    Rows,
    check_num_frames,
    pair_rows,
    read_codes,
    read_prompts,
    read_seeds,
    read_vectors,
    read_videos,
    unbatched,
)
from genie_robo.eval_suites.adapters import GenieEncoder
from genie_robo.eval_suites.base import Transitions
from genie_robo.inference.action_map import ActionMap, steered_world
from genie_robo.inference.rollout import check_takes_codes
from genie_robo.inference.settings import Sampler
from genie_robo.inference.trust import Usual, WatchedWorld
from genie_robo.inference.world import (
    Actions,
    Prompt,
    RobotActions,
    Step,
    World,
    check_codes,
    code_steps,
    latent_steps,
    robot_steps,
)
from genie_robo.pretrained import Genie

_CHUNKS = 16
"""Windows of a long video that are encoded at once."""
_FAR, _SMALLEST = 1.0, 1e-3
"""Robot actions that leave the fitted range by more than its width times this are reported."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class InferredActions:
    """Latent actions of the n transitions of a video: i leads from frame i to frame i + 1.

    The first axis b is there where a batch was given.
    """

    codes: Int[np.ndarray, "*b n"]
    latents: Float[np.ndarray, "*b n e"]
    """The continuous latent actions that codes are clusters of."""
    robot_actions: Float[np.ndarray, "*b n a"] | None
    """Mean robot action of the labelled steps with each code; None without an action map. Named
    by `LoadedGenie.action_names`; m, rad, gripper 1 = open, joints as stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImaginedVideo:
    """The n frames after the prompt; the first axis b is there where a batch was given."""

    frames: UInt8[np.ndarray, "*b n h w 3"]
    """Of the model's own size."""
    uncertainty: Float[np.ndarray, "*b n"]
    """Mean entropy of each frame's tokens (nats); 0 is certain."""
    trust: Float[np.ndarray, "*b n"] | None
    """How usual each rollout is so far, from 1 to 0: the share of validation frames that look at
    least as strange. None where that was not measured for this kind of actions."""
    codes: Int[np.ndarray, "*b n"] | None
    """The latent actions that led to the frames; None where robot actions alone steer."""


class LoadedGenie:
    """A trained Genie, ready to use; made by `genie_robo.load`.

    Frames are taken at `frames_per_second`, in any size: they are scaled as the run scaled them.
    """

    def __init__(
        self,
        model: Genie,
        *,
        action_map: ActionMap | None = None,
        usual: Mapping[type[Actions], Usual] | None = None,
        sampler: Sampler | None = None,
    ) -> None:
        """Wrap models on their device.

        Args:
            model: The networks.
            action_map: Latent to robot actions and back, for models not steered by robot actions.
            usual: What validation clips look like with this sampler, for each kind of actions.
            sampler: How frames are decoded; by default in one step.
        """
        self.model, self.action_map = model.eval(), action_map
        self.usual, self.sampler = dict(usual or {}), sampler or Sampler()

    def __repr__(self) -> str:
        height, width = self.image_size
        kinds = ", ".join(kind.__name__ for kind in self.world.takes)
        return f"LoadedGenie({height}x{width} pixels, {self.num_codes} codes, steered by {kinds})"

    @property
    def num_codes(self) -> int:
        """Codes are 0 .. num_codes - 1."""
        return self.model.latent_action.num_codes

    @property
    def code_names(self) -> tuple[str, ...]:
        """The name of each code in figures and in `play`: its number and direction, as in `6 +x-y`.

        Its number alone without an action map, and for a code without labels.
        """
        if self.action_map is None:
            return tuple(map(str, range(self.num_codes)))
        return self.action_map.code_names

    @property
    def latent_dim(self) -> int:
        """Numbers of a latent."""
        return self.model.latent_action.code_dim

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of frames, in pixels."""
        return self.model.tokenizer.image_size

    @property
    def frames_per_second(self) -> float:
        """Rate of the frames that it was trained on; 0 when unknown."""
        return self.model.frames_per_second

    @property
    def action_names(self) -> tuple[str, ...]:
        """Names of the numbers of a robot action."""
        return self.model.action_names

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.model.parameters()).device

    @property
    def world(self) -> World:
        """A new world of this model, for Gymnasium environments and for steps one by one."""
        world = steered_world(self.model, self.action_map, sampler=self.sampler)
        if not self.usual:
            return world
        to_latents = self.action_map.latents.predict if self.action_map else None
        return WatchedWorld(world, self.usual, to_latents=to_latents)

    def actions(self, video: Array) -> InferredActions:
        """The latent action of each transition of a video.

        Args:
            video: uint8, or floating-point numbers in [0, 1]: one video (t h w 3) of 2 or more
                frames, or a batch (b t h w 3).

        Raises:
            TypeError: It is no array of such numbers.
            ValueError: Another layout, a single frame, tiny images, or floats outside [0, 1].
        """
        videos, is_batch = read_videos(video, self._frame_size)
        found = [self._encode(each) for each in videos]
        codes = np.stack([each.codes for each in found])
        robot_actions = None
        if self.action_map is not None:
            flat = self.action_map.dictionary.mean(codes.ravel())
            robot_actions = flat.reshape(*codes.shape, -1).astype(np.float64)
        return InferredActions(
            codes=unbatched(codes, is_batch=is_batch),
            latents=unbatched(np.stack([each.latents for each in found]), is_batch=is_batch),
            robot_actions=unbatched(robot_actions, is_batch=is_batch),
        )

    def imagine(
        self,
        frame: Array,
        *,
        codes: int | Array | Sequence[Any] | None = None,
        latents: Array | Sequence[Any] | None = None,
        robot_actions: Array | Sequence[Any] | None = None,
        num_frames: int | None = None,
        seed: int | Sequence[int] = 0,
    ) -> ImaginedVideo:
        """Imagine what follows a frame under actions of one kind.

        A batch of frames may share one row of actions, and one frame may have a batch of them. A
        rollout is the same alone and in a batch.

        Args:
            frame: uint8, or floating-point numbers in [0, 1]: one frame (h w 3), a batch (b h w 3),
                or a batch of prompts of p frames each (b p h w 3).
            codes: Integers (n) or (b n), or one that is held for `num_frames`.
            latents: Numbers (n e) or (b n e), for models that were trained on latents.
            robot_actions: Numbers (n a) or (b n a) named by `action_names`, each from one frame to
                the next.
            num_frames: How many frames to imagine; by default one for each action.
            seed: Of the sampling, one for all rollouts or one each.

        Raises:
            TypeError: Something is no array of the numbers above.
            ValueError: Another layout or width, an unknown code, values that are not finite, not
                exactly one kind of actions, or one that does not steer this model.
        """
        check_num_frames(num_frames)
        given = {"codes": codes, "latents": latents, "robot_actions": robot_actions}
        kinds = [what for what, values in given.items() if values is not None]
        if len(kinds) != 1:
            raise ValueError(
                "give exactly one of codes=, latents= and robot_actions=; got "
                f"{' and '.join(kinds) or 'none'}"
            )
        prompts = read_prompts(frame, self._frame_size)
        rows = self._read_actions(kinds[0], given[kinds[0]], num_frames)
        which, values, is_batch = pair_rows(prompts, rows, kinds[0])
        starts = [Prompt(frames=frames) for frames in prompts.values]
        world = self.world
        world.start([starts[number] for number in which], read_seeds(seed, len(which)))
        steps = [world.step(action) for action in _STEPS[kinds[0]](values)]
        return _as_video(steps, is_batch=is_batch)

    @property
    def _frame_size(self) -> FrameSize:
        return FrameSize(self.image_size, self.model.config.data.resize)

    def _encode(self, video: UInt8[np.ndarray, "t h w c"]) -> Transitions:
        """Encode a video in pieces that begin where windows do, so that memory has a bound."""
        encoder = GenieEncoder(genie=self.model, device=self.device)
        length = _CHUNKS * (self.model.num_frames - 1)
        starts = range(0, len(video) - 1, length)
        pieces = [encoder.encode_video(video[s : s + length + 1]) for s in starts]
        return Transitions(*(np.concatenate(parts) for parts in zip(*pieces, strict=True)))

    def _read_actions(self, what: str, values: Any, num_frames: int | None) -> Rows:
        if what == "robot_actions":
            self._check_robot_actions()
            rows = read_vectors(values, what, self.action_names, num_frames)
            self._warn_beyond_range(rows.values)
            return rows
        check_takes_codes(self.model)
        if what == "latents":
            names = [f"z{number}" for number in range(self.latent_dim)]
            return read_vectors(values, what, names, num_frames)
        rows = read_codes(values, num_frames)
        check_codes(rows.values.ravel(), num_codes=self.num_codes)
        return rows

    def _check_robot_actions(self) -> None:
        if RobotActions not in self.world.takes:
            raise ValueError(
                "nothing maps robot actions to the latent actions of this model: it has no action "
                "map and was not trained on robot actions. `genie-robo imagine run=RUN` fits a "
                "map, which `genie-robo export` takes along; or give codes="
            )

    def _warn_beyond_range(self, actions: Float[np.ndarray, "b n a"]) -> None:
        """Say which robot actions are far outside those that were fitted to, as in another unit."""
        robot = self.model.dynamics.robot
        if robot is not None:
            low, high = robot.action_range.cpu().double().numpy()
        else:
            assert self.action_map is not None  # else robot actions were refused
            low, high = self.action_map.latents.action_range
        margin = _FAR * (high - low) + _SMALLEST
        given = zip(actions.min(axis=(0, 1)), actions.max(axis=(0, 1)), strict=True)
        for name, (least, most), a, b, far in zip(
            self.action_names, given, low, high, margin, strict=True
        ):
            if least < a - far or most > b + far:
                _log.warning(
                    "robot actions have %s from %.3g to %.3g, but the model was fitted to %.3g to "
                    "%.3g and clips them; are they in m, rad and 1 = open?",
                    *(name, least, most, a, b),
                )


_STEPS = {"codes": code_steps, "latents": latent_steps, "robot_actions": robot_steps}


def _as_video(steps: Sequence[Step], *, is_batch: bool) -> ImaginedVideo:
    def joined(name: str) -> Any:
        parts = [getattr(step, name) for step in steps]
        if any(part is None for part in parts):
            return None
        return unbatched(np.stack(parts, axis=1), is_batch=is_batch)

    return ImaginedVideo(
        frames=joined("frames"),
        uncertainty=joined("uncertainty"),
        trust=joined("trust"),
        codes=joined("codes"),
    )
