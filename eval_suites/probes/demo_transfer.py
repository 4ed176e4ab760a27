"""The latent actions of one demonstration, imagined from another episode's first frame."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from eval_suites.base import EvalContext
from eval_suites.clips import Branch, Clip, imagine_branches, infer_actions, stable_seed
from eval_suites.probes.data import ProbeData
from eval_suites.probes.inverse_dynamics import read_motions, squared_sums, true_motions
from eval_suites.probes.rows import Columns, Found, error_and_deviation
from eval_suites.probes.scores import Motion
from eval_suites.statistics import bootstrap, episode_mean, episode_sums, mean_r2, to_metric
from genie_robo.types import ACTION_NAMES, Window

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


class Transferred(NamedTuple):
    """Each demonstration from its own prompt, and from that of another episode."""

    own: UInt8[np.ndarray, "m t h w c"]
    other: UInt8[np.ndarray, "m t h w c"]
    codes: Int[np.ndarray, "m n"]
    partner: Int[np.ndarray, " m"]
    """Which clip the other prompt is from."""


def partners(clips: Sequence[Clip]) -> Int[np.ndarray, " m"]:
    """For each clip the next clip of another episode."""
    names = [clip.window.episode_id for clip in clips]
    num = len(clips)
    return np.array(
        [
            next((c + k) % num for k in range(1, num) if names[(c + k) % num] != names[c])
            for c in range(num)
        ]
    )


def transfer(
    context: EvalContext, clips: Sequence[Clip], *, batch_size: int, description: str
) -> Transferred:
    """Imagine every demonstration twice; the first frame of each video is its prompt's last."""
    codes, partner = infer_actions(context.encoder, clips), partners(clips)
    prompts = [clip.prompt for clip in clips]
    chosen = [*prompts, *(prompts[p] for p in partner)]
    branches = [
        Branch(prompt, action, stable_seed("sampler", context.seed, clip.key))
        for prompt, action, clip in zip(chosen, [*codes, *codes], [*clips, *clips], strict=True)
    ]
    videos = imagine_branches(
        context.world_model, branches, batch_size=batch_size, description=description
    )
    first = np.stack([prompt.frames[-1:] for prompt in chosen])
    own, other = np.split(np.concatenate([first, videos], axis=1), 2)
    return Transferred(own, other, codes, partner)


def code_agreement(
    context: EvalContext,
    test: ProbeData,
    clips: Sequence[Clip],
    moved: Transferred,
    *,
    seed: int,
) -> Found:
    """Are the latent actions seen in the imagined video the ones it was imagined with?"""

    def seen(videos: UInt8[np.ndarray, "m t h w c"]) -> Int[np.ndarray, "m n"]:
        windows = (_window(clip, video) for clip, video in zip(clips, videos, strict=True))
        return np.stack([context.encoder.encode(window).codes for window in windows])

    episode = np.array([clip.number for clip in clips])
    other = seen(moved.other)
    hits = other == moved.codes

    def share(agrees: np.ndarray) -> float | None:
        return episode_mean(agrees.astype(float), episode).value

    metric = to_metric(
        episode_mean(hits.astype(float), episode, seed=seed),
        n_units=len(np.unique(episode)),
        unit="share",
        protocol=CODE_PROTOCOL,
        baselines={"own_codes": share(other == moved.codes[moved.partner])},
        ceiling=share(seen(moved.own) == moved.codes),
    )
    rows = np.stack([hits.sum(axis=1), np.full(len(hits), hits.shape[1])], axis=1)
    sums = _of_episodes(rows.astype(float), test, clips)
    columns: Columns = {"demo_hits": sums[:, 0], "num_demo_codes": sums[:, 1]}
    return Found({"demo_transfer/code_agreement": metric}, columns)


def motion_agreement(
    fit: ProbeData,
    test: ProbeData,
    motion: Motion,
    clips: Sequence[Clip],
    moved: Transferred,
    *,
    frame_stride: int,
    seed: int,
) -> Found:
    """Does the imagined robot move as in the demonstration?"""
    # From the prompt to the first imagined frame motion and blur cannot be told apart.
    read = read_motions(fit, motion, [*moved.own[:, 1:], *moved.other[:, 1:]])
    own, other = np.split(np.stack(read), 2)
    truth = true_motions(test, motion, clips, frame_stride=frame_stride)[:, 1:]
    episode = np.array([clip.number for clip in clips])
    mean = motion.of(fit).mean(axis=0)

    def sums(guess: np.ndarray, wanted: np.ndarray) -> Float[np.ndarray, "e 2 d"]:
        return squared_sums([guess], wanted, mean, episode)

    metric = to_metric(
        bootstrap(sums(other, truth), mean_r2, seed=seed),
        n_units=len(np.unique(episode)),
        unit="R2",
        protocol=MOTION_PROTOCOL,
        baselines={"own_motion": bootstrap(sums(other, truth[moved.partner]), mean_r2).value},
        ceiling=bootstrap(sums(own, truth), mean_r2).value,
        reason="the motion is constant in the test episodes",
    )
    rows = squared_sums([other], truth, mean, np.arange(len(clips)))
    names = [ACTION_NAMES[d] for d in motion.dimensions]
    columns = error_and_deviation("demo_", _of_episodes(rows, test, clips), names)
    return Found({"demo_transfer/motion_r2": metric}, columns)


def _of_episodes(
    rows: Float[np.ndarray, "m ..."], test: ProbeData, clips: Sequence[Clip]
) -> Float[np.ndarray, "e ..."]:
    """Sums over the clips of every test episode; NaN where it has none."""
    numbers = {name: e for e, name in enumerate(test.episode_ids)}
    episode = np.array([numbers[clip.window.episode_id] for clip in clips])
    sums = episode_sums(rows, episode, num_episodes=test.num_episodes)
    sums[~np.isin(np.arange(test.num_episodes), episode)] = np.nan
    return sums


def _window(clip: Clip, video: UInt8[np.ndarray, "t h w c"]) -> Window:
    return replace(
        clip.window,
        video=video,
        robot_actions=np.zeros((len(video) - 1, 7)),
        is_pad=np.zeros(len(video), bool),
        tokens=None,
    )
