"""Positions of the boxes, read from the pixels of their colours and from where the tool is.

One picture does not tell a box that is lifted from one that lies further back on the table. A box
in the gripper is therefore recognised first, and is where the tool is; the others lie on the table.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from genie_robo.eval_suites.simulated.color_moments import (
    BLOB,
    U,
    V,
    all_colors,
    coarse,
    color_moments,
    regression,
    squares,
)
from genie_robo.eval_suites.simulated.truth import PALETTE, to_pixels
from genie_robo.sim.scene import COLORS, CameraSpec

GRASPED = 0.03
"""Largest distance (m) of a box in the gripper from the tool."""
CHROMA_DISTANCE = 0.12
"""Largest distance in chromaticity of a pixel from the colour of its box."""
_MARGIN = 10.0
"""Cost of a box on the wrong side of the boundary between grasped and lying ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxReader:
    """A support vector machine tells grasped boxes; a ridge regression places the others.

    Both see one box at a time and are shared by all colours. An invisible box is placed near the
    middle of the table.
    """

    box_of: Int[np.ndarray, " levels"]
    """Index in PALETTE of each coarse RGB value; len(PALETTE) if it is no box colour."""
    camera: CameraSpec
    table: Pipeline
    grasped: Pipeline | None
    """None where all boxes that it was fitted to lie on the table, or all are grasped."""
    in_gripper: Float[np.ndarray, " 3"]
    """Mean centre of a grasped box from where the tool is read (m)."""

    @classmethod
    def fit(
        cls,
        frames: UInt8[np.ndarray, "t h w c"],
        boxes: Float[np.ndarray, "t o 3"],
        tool: Float[np.ndarray, "t 3"],
        *,
        read_tool: Float[np.ndarray, "t 3"],
        read_gripper: Float[np.ndarray, " t"],
        camera: CameraSpec,
    ) -> "BoxReader | None":
        """Fit to frames with known boxes and tool; None where no box is known.

        `read_tool` and `read_gripper` are what was read in these frames.
        """
        known = np.isfinite(boxes[..., 0])
        if not known.any():
            return None
        box_of = _box_colors()
        moments = color_moments(frames, box_of, len(PALETTE) + 1)[:, :-1]
        features = _beside_the_tool(moments, read_tool, read_gripper, camera)
        is_grasped = np.linalg.norm(boxes - tool[:, None], axis=-1) <= GRASPED
        lying, held = known & ~is_grasped, known & is_grasped
        has_both = lying.any() and held.any()
        chosen = lying if lying.any() else known
        machine = make_pipeline(StandardScaler(), SVC(C=_MARGIN))
        return cls(
            box_of=box_of,
            camera=camera,
            table=regression().fit(squares(moments[chosen]), boxes[chosen]),
            grasped=machine.fit(features[known], is_grasped[known]) if has_both else None,
            in_gripper=(boxes - read_tool[:, None])[held].mean(axis=0) if has_both else np.zeros(3),
        )

    def read(
        self,
        video: UInt8[np.ndarray, "t h w c"],
        tool: Float[np.ndarray, "t 3"],
        gripper: Float[np.ndarray, " t"],
    ) -> Float[np.ndarray, "t o 3"]:
        """Centres in every frame (m), in the order of PALETTE, from what was read of the tool."""
        moments = color_moments(video, self.box_of, len(PALETTE) + 1)[:, :-1]
        flat = squares(moments.reshape(-1, moments.shape[-1]))
        lying = np.asarray(self.table.predict(flat)).reshape(*moments.shape[:2], 3)
        is_grasped = self._recognise(moments, tool, gripper)
        return np.where(is_grasped[..., None], tool[:, None] + self.in_gripper, lying)

    def _recognise(
        self,
        moments: Float[np.ndarray, "t o 9"],
        tool: Float[np.ndarray, "t 3"],
        gripper: Float[np.ndarray, " t"],
    ) -> Bool[np.ndarray, "t o"]:
        if self.grasped is None:
            return np.zeros(moments.shape[:2], bool)
        features = _beside_the_tool(moments, tool, gripper, self.camera)
        found = self.grasped.predict(features.reshape(-1, features.shape[-1]))
        return np.asarray(found, bool).reshape(moments.shape[:2])

    def pixels(self, video: UInt8[np.ndarray, "t h w c"]) -> Int[np.ndarray, "t h w"]:
        """The box whose colour each pixel has: its index in PALETTE, len(PALETTE) for none."""
        return self.box_of[coarse(video)].reshape(video.shape[:3])


def _beside_the_tool(
    moments: Float[np.ndarray, "t o 9"],
    tool: Float[np.ndarray, "t 3"],
    gripper: Float[np.ndarray, " t"],
    camera: CameraSpec,
) -> Float[np.ndarray, "t o f"]:
    """Mass, place and spread of each box's colour, the tool, and the way from one to the other."""
    row, column = (to_pixels(tool, camera, image_size=(2, 2)) - 1).T
    away = np.stack([moments[..., U] - column[:, None], moments[..., V] - row[:, None]], axis=-1)
    pose = np.concatenate([tool, gripper[:, None]], axis=1)[:, None]
    return np.concatenate(
        [
            moments[..., BLOB],
            np.broadcast_to(pose, (*moments.shape[:2], pose.shape[-1])),
            away,
            np.linalg.norm(away, axis=-1, keepdims=True),
        ],
        axis=-1,
    )


def _box_colors() -> Int[np.ndarray, " levels"]:
    """The box with the nearest chromaticity, if it is within CHROMA_DISTANCE."""
    values = all_colors()
    palette = np.array([COLORS[name] for name in PALETTE])
    shares = values / values.sum(axis=1, keepdims=True)
    wanted = palette / palette.sum(axis=1, keepdims=True)
    distances = np.linalg.norm(shares[:, None] - wanted, axis=-1)
    return np.where(distances.min(1) < CHROMA_DISTANCE, distances.argmin(1), len(PALETTE))
