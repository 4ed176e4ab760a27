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
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from eval_suites.base import EvalContext
from eval_suites.rollouts import read_episodes
from eval_suites.simulated.truth import PALETTE, Poses, recorded_poses
from eval_suites.simulated.wrist_reading import WristReader
from genie_robo.inference.world import World
from genie_robo.sim.scene import COLORS, CameraSpec, SceneSpec

NUM_COLORS = 24
"""Number of colours to which an image is quantised."""
MAX_FRAMES = 1500
CHROMA_DISTANCE = 0.12
"""Largest distance in chromaticity of a pixel from the colour of its box."""
_LEVELS = 32
_PENALTIES = np.logspace(-2, 4, 7)
_PRIOR_MASS = 3.0
"""Pixels added to every colour at the centre of the image, which damps small counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseReader:
    """Ridge regression on the mass, mean, spread and edges of each colour in the image.

    The tool is regressed from learned colours. Each box is regressed from the pixels of its colour,
    with one regression for all boxes. An invisible box is placed near the middle of the table. Yaw
    and gripper are read where the tool is.
    """

    color_of: Int[np.ndarray, " levels"]
    """Learned colour of each coarse RGB value."""
    box_of: Int[np.ndarray, " levels"]
    """Index in PALETTE of each coarse RGB value; len(PALETTE) if it is no box colour."""
    tool: Pipeline
    boxes: Pipeline | None
    """None where no box was ever visible."""
    wrist: WristReader
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
        color_of, box_of = _learn_colors(frames), _box_colors()
        moments = _moments(frames, color_of, NUM_COLORS)
        tool = _regression().fit(moments, poses.tool)
        placed = _moments(frames, box_of, len(PALETTE) + 1).reshape(len(frames), -1, _NUM_MOMENTS)
        known = np.isfinite(poses.boxes[..., 0])
        boxes = None
        if known.any():
            boxes = _regression().fit(_squares(placed[:, :-1][known]), poses.boxes[known])
        places = np.concatenate([poses.tool, poses.boxes[known]])
        low, high = places.min(axis=0), places.max(axis=0)
        seen = np.clip(tool.predict(moments), low, high)
        return cls(
            color_of=color_of,
            box_of=box_of,
            tool=tool,
            boxes=boxes,
            wrist=WristReader.fit(frames, seen, poses.yaw, poses.gripper, camera=camera),
            low=low,
            high=high,
        )

    def read(self, video: UInt8[np.ndarray, "t h w c"]) -> Poses:
        """Poses in every frame; boxes are NaN where none was ever visible."""
        tool = self.tool.predict(_moments(video, self.color_of, NUM_COLORS))
        boxes = np.full((len(video), len(PALETTE), 3), np.nan)
        if self.boxes is not None:
            placed = _moments(video, self.box_of, len(PALETTE) + 1)
            placed = placed.reshape(len(video), -1, _NUM_MOMENTS)[:, :-1]
            boxes = self.boxes.predict(_squares(placed.reshape(-1, _NUM_MOMENTS)))
        boxes = np.asarray(boxes).reshape(len(video), len(PALETTE), 3)
        tool, boxes = (np.clip(found, self.low, self.high) for found in (tool, boxes))
        return Poses(tool, boxes, *self.wrist.read(video, tool))

    def box_pixels(self, video: UInt8[np.ndarray, "t h w c"]) -> Int[np.ndarray, "t h w"]:
        """The box whose colour each pixel has: its index in PALETTE, len(PALETTE) for none."""
        return self.box_of[_coarse(video)].reshape(video.shape[:3])


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


def _regression() -> Pipeline:
    return make_pipeline(StandardScaler(), RidgeCV(_PENALTIES))


def _coarse(frames: UInt8[np.ndarray, "t h w c"]) -> Int[np.ndarray, "t p"]:
    """RGB values as one number below _LEVELS cubed."""
    levels = (frames // (256 // _LEVELS)).astype(np.int64).reshape(len(frames), -1, 3)
    return levels @ np.array([_LEVELS**2, _LEVELS, 1])


def _all_colors() -> Float[np.ndarray, "levels 3"]:
    """The centre of each coarse RGB value, in [0, 1]."""
    axes = np.meshgrid(*[(np.arange(_LEVELS) + 0.5) / _LEVELS] * 3, indexing="ij")
    return np.stack(axes, axis=-1).reshape(-1, 3)


def _learn_colors(frames: UInt8[np.ndarray, "t h w c"]) -> Int[np.ndarray, " levels"]:
    """k-means over the distinct values, each counted once, so that small objects count too."""
    values = _all_colors()
    seen = values[np.unique(_coarse(frames[:: max(1, len(frames) // 200)]))]
    clusters = KMeans(min(NUM_COLORS, len(seen)), random_state=0).set_params(n_init=2).fit(seen)
    return np.asarray(clusters.predict(values)).astype(np.int64)


def _box_colors() -> Int[np.ndarray, " levels"]:
    """The box with the nearest chromaticity, if it is within CHROMA_DISTANCE."""
    values = _all_colors()
    palette = np.array([COLORS[name] for name in PALETTE])
    shares = values / values.sum(axis=1, keepdims=True)
    wanted = palette / palette.sum(axis=1, keepdims=True)
    distances = np.linalg.norm(shares[:, None] - wanted, axis=-1)
    return np.where(distances.min(1) < CHROMA_DISTANCE, distances.argmin(1), len(PALETTE))


_NUM_MOMENTS = 9


def _moments(
    frames: UInt8[np.ndarray, "t h w c"], color_of: Int[np.ndarray, " levels"], num_colors: int
) -> Float[np.ndarray, "t f"]:
    """Root mass, mean, spread, and soft maximum and minimum position of every colour."""
    height, width = frames.shape[1:3]
    v, u = (axis.ravel() for axis in np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j])
    columns = (u, v, u * u, v * v, np.exp(4 * u), np.exp(4 * v), np.exp(-4 * u), np.exp(-4 * v))
    rows = []
    for values in color_of[_coarse(frames)]:
        mass = np.bincount(values, minlength=num_colors)
        sums = [np.bincount(values, weights=w, minlength=num_colors) for w in columns]
        means = [total / (mass + _PRIOR_MASS) for total in sums[:4]]
        spread = [np.sqrt(np.maximum(means[k + 2] - means[k] ** 2, 0)) for k in range(2)]
        edges = [np.log1p(total) for total in sums[4:]]
        rows.append(np.stack([np.sqrt(mass), *means[:2], *spread, *edges], axis=1).ravel())
    return np.stack(rows)


def _squares(placed: Float[np.ndarray, "n 9"]) -> Float[np.ndarray, "n 54"]:
    """The moments and their products: perspective is not linear."""
    first, second = np.triu_indices(placed.shape[1])
    return np.concatenate([placed, placed[:, first] * placed[:, second]], axis=1)
