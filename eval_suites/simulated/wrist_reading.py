"""Yaw and opening of the gripper, read from the pixels around the tool.

In an image of 64 x 64 pixels the fingers are two or three pixels wide, too little for the colour
moments that positions are read from, but enough for a regression on a crop around the tool.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from sklearn.decomposition import PCA
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from genie_robo.eval_suites.simulated.truth import to_pixels
from genie_robo.sim.scene import CameraSpec

CROP = 3 / 8
"""Side of the crop, as a share of the image's: 24 of 64 pixels."""
NUM_COMPONENTS = 40
_RADIAN = 5.0
"""Weight of a radian of yaw against the opening, which is 0 to 1: both then spread alike."""


@dataclass(frozen=True, slots=True)
class WristReader:
    """Support vector regression on the principal components of the crop."""

    regression: Pipeline
    camera: CameraSpec

    @classmethod
    def fit(
        cls,
        frames: UInt8[np.ndarray, "t h w c"],
        tool: Float[np.ndarray, "t 3"],
        yaw: Float[np.ndarray, " t"],
        gripper: Float[np.ndarray, " t"],
        *,
        camera: CameraSpec,
    ) -> "WristReader":
        """Fit to frames with known poses; `tool` is where it was read, in metres."""
        crops = _crops(frames, tool, camera)
        num_components = min(NUM_COMPONENTS, *crops.shape)
        regression = make_pipeline(
            PCA(num_components, random_state=0), StandardScaler(), MultiOutputRegressor(SVR())
        )
        wanted = np.stack([_RADIAN * yaw, gripper], axis=1)
        return cls(regression.fit(crops, wanted), camera)

    def read(
        self, frames: UInt8[np.ndarray, "t h w c"], tool: Float[np.ndarray, "t 3"]
    ) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, " t"]]:
        """Yaw (rad) and opening (0 to 1) in every frame, from where the tool was read in it."""
        found = self.regression.predict(_crops(frames, tool, self.camera))
        return found[:, 0] / _RADIAN, found[:, 1].clip(0, 1)


def _crops(
    frames: UInt8[np.ndarray, "t h w c"], tool: Float[np.ndarray, "t 3"], camera: CameraSpec
) -> Float[np.ndarray, "t f"]:
    """The pixels around the tool in [0, 1], edges repeated beyond the image."""
    height, width = frames.shape[1:3]
    rows, columns = to_pixels(tool, camera, image_size=(height, width)).round().astype(int).T
    down, across = (np.arange(round(CROP * n)) - round(CROP * n) // 2 for n in (height, width))
    rows = (rows[:, None] + down).clip(0, height - 1)
    columns = (columns[:, None] + across).clip(0, width - 1)
    crops = frames[np.arange(len(frames))[:, None, None], rows[:, :, None], columns[:, None, :]]
    return crops.reshape(len(frames), -1) / 255.0
