"""Videos and actions of users, checked before a model sees them: wrong input never gives numbers.

Errors say what was wanted, what was found and how to convert it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from genie_robo.data.settings import Resize
from genie_robo.data.transforms import resize_frame
from genie_robo.types import video_to_bytes

Array = np.ndarray | Tensor

MIN_SIDE = 8
"""Pixels. A side of 3 is rather the channels of another layout."""
_CHANNELS = 3
_ROUNDING = 1e-4
"""How far floats may leave [0, 1]."""


class FrameSize(NamedTuple):
    """The size of a model's frames, and how images become that size."""

    image_size: tuple[int, int]
    resize: Resize

    def frames(self, pixels: UInt8[np.ndarray, "n h w c"]) -> UInt8[np.ndarray, "n h2 w2 c"]:
        """Images, scaled."""
        size = {"image_size": self.image_size, "resize": self.resize}
        return np.stack([resize_frame(frame, **size) for frame in pixels])


class Rows(NamedTuple):
    """Values of one or several rollouts or videos."""

    values: np.ndarray
    """With a first axis for the rows."""
    is_batch: bool
    """Whether that axis was given."""


def read_videos(video: Array, size: FrameSize) -> Rows:
    """One video (t h w 3) or a batch (b t h w 3), as uint8 frames of the model.

    Raises:
        TypeError: It is no array of uint8 or floating-point numbers.
        ValueError: Another layout, fewer than two frames, images that are too small, or floats
            that are not in [0, 1].
    """
    layouts = {4: "t h w 3", 5: "b t h w 3"}
    given = _check_layout(_pixels(video, "video"), "video", layouts)
    videos = given[None] if given.ndim == 4 else given
    if videos.shape[1] < 2:
        raise ValueError(
            f"video has {videos.shape[1]} frame of shape {given.shape}; a latent action leads from "
            "one frame to the next, so give at least 2 frames"
        )
    return Rows(_scaled(videos, size), given.ndim == 5)


def read_prompts(frame: Array, size: FrameSize) -> Rows:
    """A prompt (h w 3), a batch (b h w 3), or a batch of p frames each (b p h w 3), as (b p h w 3).

    Raises:
        TypeError: It is no array of uint8 or floating-point numbers.
        ValueError: Another layout, images that are too small, or floats that are not in [0, 1].
    """
    layouts = {3: "h w 3", 4: "b h w 3", 5: "b p h w 3"}
    given = _check_layout(_pixels(frame, "frame"), "frame", layouts)
    prompts = given.reshape(-1, given.shape[1] if given.ndim == 5 else 1, *given.shape[-3:])
    return Rows(_scaled(prompts, size), given.ndim > 3)


def read_codes(codes: int | Array | Sequence[Any], num_frames: int | None) -> Rows:
    """Codes (n), (b n), or one that is held for `num_frames`, as (b n).

    Raises:
        TypeError: They are no integers.
        ValueError: Another layout, or another number of them than `num_frames`.
    """
    values = to_numpy(codes, "codes")
    if values.dtype.kind not in "iu":
        raise TypeError(f"codes are integers, but these are {values.dtype}; for numbers: latents=")
    if values.ndim == 0:
        if num_frames is None:
            raise ValueError(f"codes={codes} is held, but for how long? Give num_frames=")
        values = np.full(num_frames, values)
    if values.ndim not in (1, 2):
        raise ValueError(f"codes have the shape (n) or (b n), or are one int; got {values.shape}")
    return _per_frame(values.astype(np.int64), values.ndim == 2, num_frames, "codes")


def read_vectors(
    values: Array | Sequence[Any], what: str, names: Sequence[str], num_frames: int | None
) -> Rows:
    """Vectors (n d) or (b n d), one for each imagined frame, as (b n d).

    Args:
        values: Numbers.
        what: The argument that they were given as.
        names: Of the d numbers of a vector.
        num_frames: How many are wanted; None takes all.

    Raises:
        TypeError: They are no numbers.
        ValueError: Another layout or width, a number that is not finite, or another number of
            vectors than `num_frames`.
    """
    given = to_numpy(values, what)
    if given.dtype.kind not in "fiu":
        raise TypeError(f"{what} are numbers, but these are {given.dtype}")
    if given.ndim not in (2, 3) or given.shape[-1] != len(names):
        raise ValueError(
            f"{what} have the shape (n {len(names)}) or (b n {len(names)}), one row for each "
            f"imagined frame with {' '.join(names)}; got {given.shape}"
        )
    if not np.isfinite(given).all():
        row = tuple(map(int, np.argwhere(~np.isfinite(given))[0]))
        raise ValueError(f"{what} must be finite, but {what}{list(row)} is {given[row]}")
    return _per_frame(given.astype(np.float64), given.ndim == 3, num_frames, what)


def _per_frame(values: np.ndarray, is_batch: bool, num_frames: int | None, what: str) -> Rows:  # noqa: FBT001  of Rows
    rows = values if is_batch else values[None]
    if 0 in rows.shape:
        raise ValueError(f"{what} are empty, of shape {values.shape}; give one for each frame")
    if num_frames is not None and rows.shape[1] != num_frames:
        raise ValueError(
            f"num_frames={num_frames}, but there are {what} for {rows.shape[1]} frames; leave out "
            "num_frames, or give as many"
        )
    return Rows(rows, is_batch)


def to_numpy(values: Any, what: str) -> np.ndarray:
    """As numpy, on the CPU.

    Raises:
        TypeError: It is no array and no lists of equal lengths.
    """
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        return (values.float() if values.dtype is torch.bfloat16 else values).numpy()
    found = np.asarray(values)
    if found.dtype.kind == "O":
        raise TypeError(f"{what} must be an array or lists of equal lengths; got {type(values)}")
    return found


def _pixels(images: Any, what: str) -> np.ndarray:
    if not isinstance(images, np.ndarray | Tensor):
        raise TypeError(
            f"{what} must be a numpy array or a torch tensor of uint8 or floats in [0, 1]; got a "
            f"{type(images).__name__}"
        )
    pixels = to_numpy(images, what)
    if pixels.dtype != np.uint8 and pixels.dtype.kind != "f":
        raise TypeError(
            f"{what} has the type {pixels.dtype}; give uint8 from 0 to 255, or floating-point "
            f"numbers from 0 to 1, for example {what}.astype('uint8')"
        )
    return pixels


def _check_layout(pixels: np.ndarray, what: str, layouts: dict[int, str]) -> np.ndarray:
    wanted = " or ".join(f"({layout})" for layout in layouts.values())
    shape = pixels.shape
    if pixels.ndim not in layouts:
        raise ValueError(f"{what} has the shape {shape}; wanted {wanted}, channels last")
    if shape[-1] != _CHANNELS:
        advice = "convert the images to RGB"
        if shape[-3] == _CHANNELS:
            advice = f"the channels come first: np.moveaxis({what}, -3, -1) moves them"
        raise ValueError(
            f"{what} has the shape {shape}; wanted {wanted} with three channels last; {advice}"
        )
    if min(shape[-3:-1]) < MIN_SIDE or 0 in shape:
        raise ValueError(
            f"{what} has the shape {shape}: images of {shape[-3]}x{shape[-2]} pixels; wanted "
            f"{wanted} with sides of at least {MIN_SIDE} pixels"
        )
    return pixels if pixels.dtype == np.uint8 else _to_bytes(pixels, what)


def _to_bytes(pixels: np.ndarray, what: str) -> UInt8[np.ndarray, "..."]:
    """Floats in [0, 1] as bytes."""
    if not np.isfinite(pixels).all():
        raise ValueError(
            f"{what} has {int((~np.isfinite(pixels)).sum())} pixels that are no number"
        )
    low, high = float(pixels.min()), float(pixels.max())
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        advice = f"({what} + 1) / 2" if low < 0 and high <= 1 + _ROUNDING else f"{what} / 255"
        raise ValueError(
            f"{what} has floating-point pixels from {low:.3g} to {high:.3g}; wanted 0 to 1, so "
            f"perhaps {advice}, or uint8 from 0 to 255"
        )
    return video_to_bytes(torch.from_numpy(np.ascontiguousarray(pixels, np.float32))).numpy()


def _scaled(
    videos: UInt8[np.ndarray, "b t h w c"], size: FrameSize
) -> UInt8[np.ndarray, "b t h2 w2 c"]:
    frames = size.frames(videos.reshape(-1, *videos.shape[2:]))
    return frames.reshape(*videos.shape[:2], *frames.shape[1:])


def check_num_frames(num_frames: int | None) -> None:
    """Refuse a number of frames below one.

    Raises:
        ValueError: It is.
    """
    if num_frames is not None and num_frames < 1:
        raise ValueError(f"num_frames={num_frames} must be at least 1")


def pair_rows(
    prompts: Rows, actions: Rows, what: str
) -> tuple[Int[np.ndarray, " b"], np.ndarray, bool]:
    """One prompt for all rows of actions, one row of actions for all prompts, or one each.

    Returns:
        The prompt of each rollout by number, the actions of each, and whether it is a batch.

    Raises:
        ValueError: Two batches of different sizes.
    """
    num_prompts, num_rows = len(prompts.values), len(actions.values)
    if prompts.is_batch and actions.is_batch and num_prompts != num_rows:
        raise ValueError(
            f"there are {num_prompts} frames to start from, but {what} for {num_rows} rollouts; "
            "give as many, or one for all"
        )
    count = max(num_prompts, num_rows)
    which = np.arange(count) if prompts.is_batch else np.zeros(count, np.int64)
    values = np.broadcast_to(actions.values, (count, *actions.values.shape[1:])).copy()
    return which, values, prompts.is_batch or actions.is_batch


def read_seeds(seed: int | Sequence[int], num_rollouts: int) -> list[int]:
    """A seed for each rollout; one int is that of all.

    Raises:
        ValueError: Another number of seeds, or a negative one.
    """
    seeds = np.atleast_1d(seed)
    if seeds.dtype.kind not in "iu" or seeds.shape not in ((1,), (num_rollouts,)) or min(seeds) < 0:
        raise ValueError(
            f"seed={seed} must be an int from 0 on, or one for each of {num_rollouts} rollouts"
        )
    return [int(each) for each in np.broadcast_to(seeds, num_rollouts)]


def unbatched(values: Float[np.ndarray, "b ..."] | Any, *, is_batch: bool) -> Any:
    """Values without the axis that was not given."""
    return values if is_batch or values is None else values[0]
