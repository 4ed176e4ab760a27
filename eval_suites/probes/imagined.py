"""Measurements on rollouts under the latent actions of test episodes, as sums per episode."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped, UInt8

from genie_robo.eval_suites.base import EvalContext, why_unavailable
from genie_robo.eval_suites.metrics.image_metrics import changed_pixels, changed_psnr, frame_psnr
from genie_robo.eval_suites.metrics.regression import predict_by_ridge
from genie_robo.eval_suites.probes.data import ProbeData
from genie_robo.eval_suites.probes.pixel_features import coarse_grey
from genie_robo.eval_suites.probes.scores import Motion, Probe
from genie_robo.eval_suites.rollouts import Clip, choose_clips, imagine, infer_codes, sampler_seeds
from genie_robo.eval_suites.statistics import episode_sums, mean_r2
from genie_robo.eval_suites.table import Measurement, Sums, Table, UnavailableError, undefined
from genie_robo.inference.world import hold_last
from genie_robo.types import Window

COPYING_PROTOCOL = (
    "the frame after the prompt, imagined with its inferred latent action, minus the prompt frame "
    "held, both against the true frame; interval over test episodes"
)
CODE_PROTOCOL = (
    "the latent actions of a demonstration are imagined from the prompt of another test episode; "
    "share of imagined transitions whose re-inferred latent action is the demonstration's; "
    "own_codes: share that has the latent action of the prompt's own episode instead; ceiling: the "
    "same with each demonstration's own prompt; interval over episodes of the demonstrations"
)
MOTION_PROTOCOL = (
    "motion from each imagined frame to the next, read by inverse dynamics (fitted on real frames "
    "of validation episodes) against the true motion of the demonstration; own_motion: against the "
    "motion of the prompt's own episode; ceiling: the same with each demonstration's own prompt"
)

Videos = UInt8[np.ndarray, "m n h w c"]


def read_motions(
    fit: ProbeData, motion: Motion, videos: Sequence[UInt8[np.ndarray, "t h w c"]]
) -> list[Float[np.ndarray, "_ d"]]:
    """The motion between the frames of each video, by ridge on 16x16 grey frame differences.

    The ridge is fitted on real frames of the fit split only.
    """
    differences = [np.diff(coarse_grey(video), axis=0) for video in videos]
    guesses = predict_by_ridge(
        fit.differences, motion.of(fit), np.concatenate(differences), groups=fit.episode
    )
    return np.split(guesses, np.cumsum([len(rows) for rows in differences])[:-1])


def true_motions(
    data: ProbeData, motion: Motion, clips: Sequence[Clip], *, frame_stride: int
) -> Float[np.ndarray, "m n d"]:
    """The true motions of the future transitions of each clip."""
    rows = dict(zip(data.episode_ids, data.by_episode(motion.of(data)), strict=True))
    first = [clip.window.start // frame_stride + clip.num_prompt_frames - 1 for clip in clips]
    return np.stack(
        [
            rows[clip.window.episode_id][start : start + len(clip.future)]
            for clip, start in zip(clips, first, strict=True)
        ]
    )


def probed_clips(
    context: EvalContext, test: ProbeData, *, num_clips: int, horizon: int, name: str
) -> list[Clip]:
    """Clips of the test episodes in `test`; empty if no episode is long enough."""
    with suppress(UnavailableError):
        clips = choose_clips(context, num_clips=num_clips, horizon=horizon, name=name)
        return [clip for clip in clips if clip.window.episode_id in test.episode_ids]
    return []


def sum_over_clips(
    table: Table, clips: Sequence[Clip], values: Shaped[np.ndarray, "m ..."]
) -> Float[np.ndarray, "e ..."]:
    """Sums over the clips of every episode of a table; NaN where it has none."""
    row = {name: e for e, name in enumerate(table.episodes)}
    episode = np.array([row[clip.window.episode_id] for clip in clips])
    sums = episode_sums(values, episode, num_episodes=len(table))
    sums[~np.isin(np.arange(len(table)), episode)] = np.nan
    return sums


def copying_measurements(
    context: EvalContext, table: Table, clips: Sequence[Clip], *, batch_size: int, suite: str
) -> dict[str, Measurement]:
    """PSNR gain of imagining one frame over holding the prompt frame."""
    names = ("psnr", "changed_psnr")
    if not clips:
        reason = "no test episode has two frames"
        missing = undefined(reason, unit="dB", protocol=COPYING_PROTOCOL)
        return {f"gain_over_copying/{name}": missing for name in names}
    prompts = [clip.prompt for clip in clips]
    imagined = imagine(
        context,
        prompts,
        infer_codes(context.encoder, clips),
        sampler_seeds(clips, context.seed),
        batch_size=batch_size,
        description=f"{suite}: imagine",
    )
    videos = zip(clips, imagined, hold_last(prompts, 1), strict=True)
    gains = [_psnrs(c.window.video, new) - _psnrs(c.window.video, old) for c, new, old in videos]
    found = {}
    for name, gain in zip(names, np.array(gains).T, strict=True):
        total, count = (
            sum_over_clips(table, clips, part) for part in (np.nan_to_num(gain), np.isfinite(gain))
        )
        columns = (
            table.add(f"gain_over_copying_{name}", total),
            table.add(f"num_over_copying_{name}", count, given=True),
        )
        found[f"gain_over_copying/{name}"] = Measurement(
            of=table.where(np.isfinite(count)).ratio(*columns),
            unit="dB",
            protocol=COPYING_PROTOCOL,
            baselines={"copy_last": 0.0},
            reason="no pixel changes after the prompts",
        )
    return found


def _psnrs(
    video: UInt8[np.ndarray, "2 h w c"], frame: UInt8[np.ndarray, "1 h w c"]
) -> Float[np.ndarray, " 2"]:
    """PSNR of the second frame, over all and over changed pixels (dB)."""
    changed = changed_psnr(video[1:], frame, changed_pixels(video))
    return np.array([frame_psnr(video[1:], frame).mean(), changed.mean()])


class Demonstrations(NamedTuple):
    """Rollouts under the latent actions of clips, from their own prompts and from other clips'."""

    clips: Sequence[Clip]
    codes: Int[np.ndarray, "m n"]
    partner: Int[np.ndarray, " m"]
    """Which clip the other prompt is from."""
    own: Videos
    other: Videos


def imagine_demonstrations(
    context: EvalContext, clips: Sequence[Clip], *, batch_size: int, name: str
) -> Demonstrations:
    """Imagine every demonstration from its own and from another episode's prompt."""
    codes, partner = infer_codes(context.encoder, clips), partners(clips)
    prompts = [clip.prompt for clip in clips]
    videos = imagine(
        context,
        [*prompts, *(prompts[p] for p in partner)],
        np.concatenate([codes, codes]),
        sampler_seeds(clips, context.seed) * 2,
        batch_size=batch_size,
        description=f"{name}: imagine",
    )
    return Demonstrations(clips, codes, partner, *np.split(videos, 2))


def partners(clips: Sequence[Clip]) -> Int[np.ndarray, " m"]:
    """For each clip, the next clip of another episode."""
    names = [clip.window.episode_id for clip in clips]
    num = len(clips)
    return np.array(
        [
            next((c + k) % num for k in range(1, num) if names[(c + k) % num] != names[c])
            for c in range(num)
        ]
    )


def code_agreement(context: EvalContext, table: Table, demos: Demonstrations) -> Measurement:
    """Are the latent actions re-inferred on imagined video equal to those that steered it?"""
    shared = {"unit": "share", "protocol": CODE_PROTOCOL}
    if reason := why_unavailable(context.encoder):
        return undefined(reason, **shared)
    prompts = [clip.prompt.frames[-1:] for clip in demos.clips]
    others = [prompts[p] for p in demos.partner]
    own, other = (
        np.stack(
            [
                context.encoder.encode(clip_window(clip, np.concatenate([prompt, video]))).codes
                for clip, prompt, video in zip(demos.clips, first, videos, strict=True)
            ]
        )
        for first, videos in ((prompts, demos.own), (others, demos.other))
    )
    hits = other == demos.codes
    count = sum_over_clips(table, demos.clips, np.full(len(hits), hits.shape[1]))
    columns = (
        table.add("demo_hits", sum_over_clips(table, demos.clips, hits.sum(axis=1))),
        table.add("num_demo_codes", count, given=True),
    )
    return Measurement(
        of=table.where(np.isfinite(count)).ratio(*columns),
        baselines={"own_codes": float((other == demos.codes[demos.partner]).mean())},
        ceiling=float((own == demos.codes).mean()),
        **shared,
    )


def motion_agreement(
    probe: Probe, table: Table, demos: Demonstrations, *, frame_stride: int
) -> Measurement:
    """Does the imagined robot move as in the demonstration?"""
    read = read_motions(probe.fit, probe.motion, [*demos.own, *demos.other])
    own, other = np.split(np.stack(read), 2)
    # Between the prompt and the first imagined frame, blur looks like motion.
    motions = true_motions(probe.test, probe.motion, demos.clips, frame_stride=frame_stride)
    truth = motions[:, 1:]

    def sums(
        table: Table, guess: Float[np.ndarray, "m n d"], true: Float[np.ndarray, "m n d"]
    ) -> Float[np.ndarray, "e 2 d"]:
        squares = np.stack([(guess - true) ** 2, (true - probe.mean) ** 2], axis=1)
        return sum_over_clips(table, demos.clips, squares.sum(axis=2))

    columns = table.add_errors("demo", sums(table, other, truth), probe.motion.names)
    shown = table.where(np.isfinite(table.columns[columns[0][0]]))
    return Measurement(
        of=shown.total(columns, mean_r2),
        unit="R2",
        protocol=MOTION_PROTOCOL,
        baselines={"own_motion": Sums(shown, sums(shown, other, truth[demos.partner]), mean_r2)},
        ceiling=Sums(shown, sums(shown, own, truth), mean_r2),
        reason="the motion is constant in the test episodes",
    )


def clip_window(clip: Clip, video: UInt8[np.ndarray, "t h w c"]) -> Window:
    """A video of any length as a window of a clip's episode, without robot actions."""
    return replace(
        clip.window,
        video=video,
        robot_actions=np.zeros((len(video) - 1, clip.window.robot_actions.shape[1])),
        is_pad=np.zeros(len(video), bool),
        tokens=None,
    )
