"""Poses of the tool and positions of the boxes, regressed from pixels.

There is one reader for each source of pictures, because a regression that was fitted to MuJoCo's
sharp frames misreads the softer ones that a tokenizer decodes. Each is fitted to frames of its
source from validation episodes. Its error on true test frames of that source is the floor below
which errors of imagined poses cannot be resolved.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from sklearn.cluster import KMeans
from sklearn.pipeline import Pipeline

from genie_robo.eval_suites.base import EvalContext
from genie_robo.eval_suites.rollouts import read_episodes
from genie_robo.eval_suites.simulated.box_reading import BoxReader
from genie_robo.eval_suites.simulated.color_moments import (
    all_colors,
    coarse,
    color_moments,
    regression,
)
from genie_robo.eval_suites.simulated.truth import PALETTE, Poses, recorded_poses
from genie_robo.eval_suites.simulated.wrist_reading import WristReader
from genie_robo.inference.world import World
from genie_robo.sim.scene import CameraSpec, SceneSpec

NUM_COLORS = 24
"""Number of colours to which an image is quantised."""
MAX_FRAMES = 1500
SEEN_PIXELS = 3
"""A box is seen where at least so many pixels have its colour.

In MuJoCo's frames of 64 x 64 a box has 54 (median); one in 170 visible ones has fewer than three,
and so have 15 in 16 of the colours that no box there has, whose pixels are shades of other things.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseReader:
    """Ridge regression of the tool on the moments of learned colours in the image.

    Yaw and gripper are read where the tool is, then the boxes.
    """

    color_of: Int[np.ndarray, " levels"]
    """Learned colour of each coarse RGB value."""
    tool: Pipeline
    wrist: WristReader
    boxes: BoxReader | None
    """None where no box was ever visible."""
    low: Float[np.ndarray, " 3"]
    """Smallest x y z in the frames fitted to (m); predictions are clipped to it."""
    high: Float[np.ndarray, " 3"]

    @classmethod
    def fit(
        cls, frames: UInt8[np.ndarray, "t h w c"], poses: Poses, *, camera: CameraSpec
    ) -> "PoseReader":
        """Fit to frames with known poses, and the camera that took them.

        Raises:
            ValueError: There are no frames.
        """
        if len(frames) == 0:
            raise ValueError("a pose reader needs frames with known poses to be fitted to, got 0")
        color_of = _learn_colors(frames)
        moments = _tool_moments(frames, color_of)
        tool = regression().fit(moments, poses.tool)
        places = np.concatenate([poses.tool, poses.boxes[np.isfinite(poses.boxes[..., 0])]])
        low, high = places.min(axis=0), places.max(axis=0)
        seen = np.clip(tool.predict(moments), low, high)
        wrist = WristReader.fit(frames, seen, poses.yaw, poses.gripper, camera=camera)
        _, gripper = wrist.read(frames, seen)
        boxes = BoxReader.fit(
            frames, poses.boxes, poses.tool, read_tool=seen, read_gripper=gripper, camera=camera
        )
        return cls(color_of=color_of, tool=tool, wrist=wrist, boxes=boxes, low=low, high=high)

    def read(self, video: UInt8[np.ndarray, "t h w c"]) -> Poses:
        """Poses in every frame; boxes are NaN where none was ever visible."""
        tool = np.clip(self.tool.predict(_tool_moments(video, self.color_of)), self.low, self.high)
        yaw, gripper = self.wrist.read(video, tool)
        boxes = np.full((len(video), len(PALETTE), 3), np.nan)
        if self.boxes is not None:
            boxes = np.clip(self.boxes.read(video, tool, gripper), self.low, self.high)
        return Poses(tool, boxes, yaw, gripper)

    def box_pixels(self, video: UInt8[np.ndarray, "t h w c"]) -> Int[np.ndarray, "t h w"]:
        """The box whose colour each pixel has: its index in PALETTE, len(PALETTE) for none."""
        if self.boxes is None:
            return np.full(video.shape[:3], len(PALETTE))
        return self.boxes.pixels(video)


def read_seen(reader: PoseReader, video: UInt8[np.ndarray, "t h w c"]) -> Poses:
    """Poses in every frame; a box is NaN where it is not seen, and not read where none is."""
    poses, shown = reader.read(video), reader.box_pixels(video)
    counts = np.stack([(shown == k).sum(axis=(1, 2)) for k in range(len(PALETTE))], axis=1)
    return poses._replace(boxes=np.where(counts[..., None] < SEEN_PIXELS, np.nan, poses.boxes))


class PoseReaders(NamedTuple):
    """A reader for each source of pictures."""

    recorded: PoseReader
    """Of MuJoCo's own frames."""
    decoded: PoseReader
    """Of frames that the tokenizer decoded."""

    def of(self, world: World) -> PoseReader:
        """The reader of a world's frames."""
        return self.decoded if shows_decoded(world) else self.recorded


def shows_decoded(world: World) -> bool:
    """Whether a world's frames are decoded from the tokens of the run's tokenizer."""
    return getattr(world, "decodes_tokens", False)


def fit_pose_readers(context: EvalContext, *, max_episodes: int, description: str) -> PoseReaders:
    """Readers of both sources, fitted on the validation episodes.

    Raises:
        ValueError: There are none, or they are not from a simulator.
    """
    frames: list[np.ndarray] = []
    decoded: list[np.ndarray] = []
    poses: list[Poses] = []
    camera = None
    for e, window in read_episodes(
        context.fit, max_episodes=max_episodes, description=f"{description}: poses"
    ):
        count, stride = int((~window.is_pad).sum()), context.fit.frame_stride
        steps = [window.start + t * stride for t in range(count)]
        episode = context.dataset[context.fit.episodes[e]]
        frames.append(window.video[:count])
        decoded.append(context.tokenizer.reconstruct(window.video[:count]).video)
        poses.append(recorded_poses(episode, steps))
        camera = camera or SceneSpec.from_json(episode.scene).camera
    if camera is None:
        raise ValueError("there is no episode to fit a pose reader on")
    chosen = _thin(sum(map(len, frames)))
    known = Poses(*(np.concatenate(part)[chosen] for part in zip(*poses, strict=True)))
    return PoseReaders(
        *(
            PoseReader.fit(np.concatenate(shown)[chosen], known, camera=camera)
            for shown in (frames, decoded)
        )
    )


def _thin(total: int) -> Int[np.ndarray, " n"]:
    """At most MAX_FRAMES frames, evenly spread."""
    return np.unique(np.linspace(0, total - 1, min(total, MAX_FRAMES)).astype(int))


def _learn_colors(frames: UInt8[np.ndarray, "t h w c"]) -> Int[np.ndarray, " levels"]:
    """k-means over the distinct values, each counted once, so that small objects count too."""
    values = all_colors()
    seen = values[np.unique(coarse(frames[:: max(1, len(frames) // 200)]))]
    clusters = KMeans(min(NUM_COLORS, len(seen)), random_state=0).set_params(n_init=2).fit(seen)
    return np.asarray(clusters.predict(values)).astype(np.int64)


def _tool_moments(
    frames: UInt8[np.ndarray, "t h w c"], color_of: Int[np.ndarray, " levels"]
) -> Float[np.ndarray, "t f"]:
    return color_moments(frames, color_of, NUM_COLORS).reshape(len(frames), -1)
