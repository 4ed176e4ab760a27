"""Positions of the tool and the boxes, regressed from pixels.

The regression is fitted on real frames of validation episodes and applied to imagined frames. Its
error on real test frames is the floor below which errors of imagined poses cannot be resolved.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8
from sklearn.cluster import KMeans
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from eval_suites.base import EvalContext
from eval_suites.rollouts import read_episodes
from eval_suites.simulated.truth import PALETTE, Poses, recorded_poses
from genie_robo.sim.scene import COLORS

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
    with one regression for all boxes. An invisible box is placed near the middle of the table.
    """

    color_of: Int[np.ndarray, " levels"]
    """Learned colour of each coarse RGB value."""
    box_of: Int[np.ndarray, " levels"]
    """Index in PALETTE of each coarse RGB value; len(PALETTE) if it is no box colour."""
    tool: Pipeline
    boxes: Pipeline | None
    """None where no box was ever visible."""
    low: Float[np.ndarray, " 3"]
    """Smallest x y z in the frames fitted to (m); predictions are clipped to it."""
    high: Float[np.ndarray, " 3"]

    @classmethod
    def fit(cls, frames: UInt8[np.ndarray, "t h w c"], poses: Poses) -> "PoseReader":
        """Fit to frames with known poses.

        Raises:
            ValueError: There are no frames.
        """
        if len(frames) == 0:
            raise ValueError("a pose reader needs frames with known poses to be fitted to, got 0")
        color_of, box_of = _learn_colors(frames), _box_colors()
        tool = _regression().fit(_moments(frames, color_of, NUM_COLORS), poses.tool)
        placed = _moments(frames, box_of, len(PALETTE) + 1).reshape(len(frames), -1, _NUM_MOMENTS)
        known = np.isfinite(poses.boxes[..., 0])
        boxes = None
        if known.any():
            boxes = _regression().fit(_squares(placed[:, :-1][known]), poses.boxes[known])
        places = np.concatenate([poses.tool, poses.boxes[known]])
        low, high = places.min(axis=0), places.max(axis=0)
        return cls(color_of=color_of, box_of=box_of, tool=tool, boxes=boxes, low=low, high=high)

    def read(self, video: UInt8[np.ndarray, "t h w c"]) -> Poses:
        """Tool and boxes of every frame (m); NaN where no box was ever visible."""
        tool = self.tool.predict(_moments(video, self.color_of, NUM_COLORS))
        boxes = np.full((len(video), len(PALETTE), 3), np.nan)
        if self.boxes is not None:
            placed = _moments(video, self.box_of, len(PALETTE) + 1)
            placed = placed.reshape(len(video), -1, _NUM_MOMENTS)[:, :-1]
            boxes = self.boxes.predict(_squares(placed.reshape(-1, _NUM_MOMENTS)))
        boxes = np.asarray(boxes).reshape(len(video), len(PALETTE), 3)
        return Poses(*(np.clip(found, self.low, self.high) for found in (tool, boxes)))


def fit_pose_reader(context: EvalContext, *, max_episodes: int, description: str) -> PoseReader:
    """A pose reader fitted on the validation episodes.

    Raises:
        ValueError: There are none, or they are not from a simulator.
    """
    frames: list[np.ndarray] = []
    poses: list[Poses] = []
    for e, window in read_episodes(
        context.fit, max_episodes=max_episodes, description=f"{description}: poses"
    ):
        count = int((~window.is_pad).sum())
        stride = context.fit.frame_stride
        steps = [window.start + t * stride for t in range(count)]
        frames.append(window.video[:count])
        poses.append(recorded_poses(context.dataset[context.fit.episodes[e]], steps))
    if not frames:
        raise ValueError("there is no episode to fit a pose reader on")
    return PoseReader.fit(*_thinned(frames, poses))


def _thinned(frames: Sequence[np.ndarray], poses: Sequence[Poses]) -> tuple[np.ndarray, Poses]:
    """At most MAX_FRAMES frames, evenly spread."""
    total = sum(map(len, frames))
    chosen = np.unique(np.linspace(0, total - 1, min(total, MAX_FRAMES)).astype(int))
    tool, boxes = (np.concatenate([p[k] for p in poses])[chosen] for k in range(2))
    return np.concatenate(list(frames))[chosen], Poses(tool, boxes)


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
