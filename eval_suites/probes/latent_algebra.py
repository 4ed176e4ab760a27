"""Latent actions as motions: undone by swapping frames, added along time, better than copying."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from eval_suites.adapters import CopyLast
from eval_suites.base import EvalContext, Metric, undefined
from eval_suites.clips import (
    Branch,
    Clip,
    choose_test_clips,
    imagine_branches,
    infer_actions,
    stable_seed,
)
from eval_suites.metrics.image_metrics import changed_pixels, changed_psnr, frame_psnr
from eval_suites.metrics.regression import predict_from_codes
from eval_suites.probes.data import ProbeData
from eval_suites.probes.rows import Columns, Found, error_and_deviation
from eval_suites.probes.scores import Motion, ProbeSettings, oracle_codes
from eval_suites.statistics import bootstrap, episode_sums, mean_r2, ratio_of_sums, to_metric
from genie_robo.types import ACTION_NAMES

SWAP_PROTOCOL = (
    "the two frames of a test transition change places and are encoded as a video of their own; "
    "the mean motion of that code, from validation episodes, against the negative of the motion; "
    "ceiling: R2 of the same transitions the right way round; unchanged_code: R2 if swapping did "
    "not change the code"
)
COMPOSITION_PROTOCOL = (
    "the mean motions of h successive codes, from validation episodes, added up, against the "
    "motion over all h transitions of a test episode; R2 about h times the validation mean; "
    "ceiling: oracle codes"
)
COPYING_PROTOCOL = (
    "the frame after the prompt, imagined with its inferred latent action, minus the prompt frame "
    "held, both against the true frame; interval over test episodes"
)

GAINS = ("psnr", "changed_psnr")

Swapped = Mapping[str, tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]]
"""Transitions and their codes with both frames swapped, by episode id."""


def swap_metric(
    fit: ProbeData, test: ProbeData, motion: Motion, settings: ProbeSettings, swapped: Swapped
) -> Found:
    """Does swapping the frames of a transition turn the decoded motion round?"""
    first = np.searchsorted(test.episode, np.arange(test.num_episodes))
    names = [name for name in test.episode_ids if name in swapped]
    numbers = {name: e for e, name in enumerate(test.episode_ids)}
    rows = np.concatenate([first[numbers[name]] + swapped[name][0] for name in names])
    codes = np.concatenate([swapped[name][1] for name in names])
    targets, fit_targets = motion.of(test)[rows], motion.of(fit)

    def sums(
        asked: Int[np.ndarray, " n"], truth: Float[np.ndarray, "n d"], sign: float
    ) -> Float[np.ndarray, "e 2 d"]:
        guess = predict_from_codes(fit.codes, fit_targets, asked, num_codes=settings.num_codes)
        both = [(guess - truth) ** 2, (truth - sign * fit_targets.mean(axis=0)) ** 2]
        return episode_sums(
            np.stack(both, axis=1), test.episode[rows], num_episodes=test.num_episodes
        )

    unchanged = bootstrap(sums(test.codes[rows], -targets, -1.0), mean_r2).value
    own = sums(codes, -targets, -1.0)
    metric = to_metric(
        bootstrap(own, mean_r2, seed=settings.seed),
        n_units=test.num_episodes,
        unit="R2",
        protocol=SWAP_PROTOCOL,
        baselines={"unchanged_code": unchanged},
        ceiling=bootstrap(sums(test.codes[rows], targets, 1.0), mean_r2).value,
        reason="the motion is constant in the test episodes",
    )
    names = [ACTION_NAMES[d] for d in motion.dimensions]
    return Found({"endpoint_swap/r2": metric}, error_and_deviation("swap_", own, names))


def composition_metrics(
    fit: ProbeData,
    test: ProbeData,
    motion: Motion,
    settings: ProbeSettings,
    horizons: tuple[int, ...],
) -> Found:
    """Do the decoded motions of successive codes add up to the motion over all of them?"""
    fit_oracle, oracle = oracle_codes(fit, test, motion, settings)
    fit_targets = motion.of(fit)
    truth = motion.of(test)
    decoded = {
        "codes": predict_from_codes(
            fit.codes, fit_targets, test.codes, num_codes=settings.num_codes
        ),
        "oracle": predict_from_codes(fit_oracle, fit_targets, oracle, num_codes=settings.num_codes),
        "mean": np.broadcast_to(fit_targets.mean(axis=0), truth.shape),
    }
    metrics: dict[str, Metric] = {}
    columns: Columns = {}
    for horizon in horizons:
        inside, total = sums_over_time(truth, test.episode, horizon)
        errors = {
            name: (sums_over_time(guess, test.episode, horizon)[1] - total) ** 2
            for name, guess in decoded.items()
        }
        sums = {
            name: episode_sums(
                np.stack([error, errors["mean"]], axis=1),
                test.episode[inside],
                num_episodes=test.num_episodes,
            )
            for name, error in errors.items()
        }
        metrics[f"composition/h{horizon}"] = to_metric(
            bootstrap(sums["codes"], mean_r2, seed=settings.seed),
            n_units=test.num_episodes,
            unit="R2",
            protocol=COMPOSITION_PROTOCOL,
            baselines={"mean": bootstrap(sums["mean"], mean_r2).value},
            ceiling=bootstrap(sums["oracle"], mean_r2).value,
            reason=f"no test episode has {horizon} transitions in which the robot moves",
        )
        names = [ACTION_NAMES[d] for d in motion.dimensions]
        columns |= error_and_deviation(f"h{horizon}_", sums["codes"], names)
    return Found(metrics, columns)


def sums_over_time(
    values: Float[np.ndarray, "n d"], episode: Int[np.ndarray, " n"], horizon: int
) -> tuple[Int[np.ndarray, " m"], Float[np.ndarray, "m d"]]:
    """Where `horizon` rows of one episode begin, and their sums."""
    starts = np.arange(max(0, len(values) - horizon + 1))
    starts = starts[episode[starts] == episode[starts + horizon - 1]]
    until = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    return starts, until[starts + horizon] - until[starts]


def copying_metrics(
    context: EvalContext, test: ProbeData, *, num_clips: int, batch_size: int, name: str
) -> Found:
    """What imagining one frame with the right latent action gains over holding the frame."""
    clips = choose_test_clips(context, num_clips=num_clips, horizon=1, name=name)
    clips = [clip for clip in clips if clip.window.episode_id in test.episode_ids]
    if not clips:
        missing = undefined("no test episode has two frames", unit="dB", protocol=COPYING_PROTOCOL)
        return Found({f"gain_over_copying/{name}": missing for name in GAINS}, {})
    gains = _gains(context, clips, batch_size=batch_size, description=f"{name}: imagine")
    numbers = {name: e for e, name in enumerate(test.episode_ids)}
    episode = np.array([numbers[clip.window.episode_id] for clip in clips])
    both = np.stack([np.nan_to_num(gains), np.isfinite(gains)], axis=1).astype(float)
    sums = episode_sums(both, episode, num_episodes=test.num_episodes)
    seen = np.unique(episode)
    metrics = {
        f"gain_over_copying/{name}": to_metric(
            bootstrap(sums[seen, :, column], ratio_of_sums, seed=context.seed),
            n_units=len(seen),
            unit="dB",
            protocol=COPYING_PROTOCOL,
            baselines={"copy_last": 0.0},
            reason="no pixel changes after the prompts",
        )
        for column, name in enumerate(GAINS)
    }
    columns: Columns = {}
    unseen = ~np.isin(np.arange(test.num_episodes), seen)
    for column, name in enumerate(GAINS):
        total, count = np.where(unseen[:, None], np.nan, sums[..., column]).T
        columns |= {f"gain_over_copying_{name}": total, f"num_over_copying_{name}": count}
    return Found(metrics, columns)


def _gains(
    context: EvalContext, clips: Sequence[Clip], *, batch_size: int, description: str
) -> Float[np.ndarray, "m 2"]:
    """Decibels that imagining one frame gains, over all and over changed pixels."""
    actions = infer_actions(context.encoder, clips)
    branches = [
        Branch(clip.prompt, action, stable_seed("sampler", context.seed, clip.key))
        for clip, action in zip(clips, actions, strict=True)
    ]
    imagined = imagine_branches(
        context.world_model, branches, batch_size=batch_size, description=description
    )
    copied = CopyLast().imagine([clip.prompt for clip in clips], actions, [0] * len(clips))
    return np.array(
        [
            _psnrs(clip.window.video, new) - _psnrs(clip.window.video, old)
            for clip, new, old in zip(clips, imagined, copied, strict=True)
        ]
    )


def _psnrs(video: np.ndarray, frame: np.ndarray) -> Float[np.ndarray, " 2"]:
    changed = changed_pixels(video)
    return np.array(
        [frame_psnr(video[1:], frame).mean(), changed_psnr(video[1:], frame, changed).mean()]
    )
