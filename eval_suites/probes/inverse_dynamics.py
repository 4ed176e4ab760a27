"""Reading the robot's motion off frames: a model fitted on real frames with true motions."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from eval_suites.metrics.regression import predict_by_ridge
from eval_suites.probes.data import ProbeData
from eval_suites.probes.pixel_features import coarse_grey
from eval_suites.probes.scores import Motion
from eval_suites.rollouts import Clip

Video = UInt8[np.ndarray, "t h w c"]


def read_motions(
    fit: ProbeData, motion: Motion, videos: Sequence[Video]
) -> list[Float[np.ndarray, "_ d"]]:
    """The motion between the frames of each video, by ridge on 16x16 grey frame differences.

    The ridge is fitted on real frames of the fit split and never sees the videos.
    """
    differences = [np.diff(coarse_grey(video), axis=0) for video in videos]
    guesses = predict_by_ridge(
        fit.differences, motion.of(fit), np.concatenate(differences), groups=fit.episode
    )
    return np.split(guesses, np.cumsum([len(rows) for rows in differences])[:-1])


def true_motions(
    data: ProbeData, motion: Motion, clips: Sequence[Clip], *, frame_stride: int
) -> Float[np.ndarray, "m n d"]:
    """The motions that lead from the last prompt frame of each clip through its future."""
    rows = dict(zip(data.episode_ids, data.by_episode(motion.of(data)), strict=True))
    first = [clip.window.start // frame_stride + clip.num_prompt_frames - 1 for clip in clips]
    return np.stack(
        [
            rows[clip.window.episode_id][start : start + len(clip.future)]
            for clip, start in zip(clips, first, strict=True)
        ]
    )
