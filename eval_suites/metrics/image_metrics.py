"""Distances between frames. Videos are uint8, or float in [0, 1]."""

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torchmetrics.functional.image import structural_similarity_index_measure

from genie_robo.eval_suites.settings import CHANGE_THRESHOLD

PSNR_CAP_DB = 100.0
"""PSNR of equal frames, so that means stay finite."""

Video = UInt8[np.ndarray, "... h w c"] | Float[np.ndarray, "... h w c"]


def frame_psnr(true: Video, other: Video) -> Float[np.ndarray, "..."]:
    """Peak signal-to-noise ratio of every frame (dB), at most PSNR_CAP_DB."""
    return _decibels(_squared_error(true, other).mean(axis=(-3, -2, -1)))


def changed_psnr(
    true: Video, other: Video, changed: Bool[np.ndarray, "... h w"]
) -> Float[np.ndarray, "..."]:
    """PSNR over the changed pixels of every frame (dB); NaN in frames where none changed."""
    error = _squared_error(true, other).mean(axis=-1)
    count = changed.sum(axis=(-2, -1))
    total = (error * changed).sum(axis=(-2, -1))
    mean = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return _decibels(mean)


def changed_pixels(
    video: UInt8[np.ndarray, "t h w c"], *, threshold: int = CHANGE_THRESHOLD
) -> Bool[np.ndarray, "t-1 h w"]:
    """Pixels of frames 1.. in which any channel moved by more than `threshold` since the last."""
    change = np.abs(np.diff(video.astype(np.int16), axis=-4))
    return change.max(axis=-1) > threshold


def frame_ssim(
    true: UInt8[np.ndarray, "t h w c"], other: UInt8[np.ndarray, "t h w c"]
) -> Float[np.ndarray, " t"]:
    """Structural similarity of every frame, 1 = equal (Wang et al. 2004, 11-pixel Gaussian)."""
    first, second = (
        torch.from_numpy(to_unit(video)).permute(0, 3, 1, 2).float() for video in (true, other)
    )
    similarity = structural_similarity_index_measure(
        first, second, data_range=1.0, reduction="none"
    )
    assert isinstance(similarity, torch.Tensor)
    return similarity.double().numpy().reshape(-1)


def motion(video: Video) -> Float[np.ndarray, "..."]:
    """Mean absolute change of a pixel from each frame to the next, in [0, 1]."""
    return np.abs(np.diff(to_unit(video), axis=-4)).mean(axis=(-3, -2, -1))


def to_unit(video: Video) -> Float[np.ndarray, "... h w c"]:
    """Pixel values as float64 in [0, 1]."""
    return video / 255.0 if video.dtype == np.uint8 else video.astype(np.float64)


def _squared_error(true: Video, other: Video) -> Float[np.ndarray, "... h w c"]:
    if true.shape != other.shape:
        raise ValueError(
            f"compared videos must have one shape, got {true.shape} and {other.shape}; cut both "
            "to the same frames"
        )
    return (to_unit(true) - to_unit(other)) ** 2


def _decibels(mean_squared_error: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    floor = 10.0 ** (-PSNR_CAP_DB / 10)
    return -10.0 * np.log10(np.maximum(mean_squared_error, floor))
