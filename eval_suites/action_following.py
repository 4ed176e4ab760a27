"""Does the robot in the imagined frames move as the actions say? Read off by inverse dynamics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure

from eval_suites import figures
from eval_suites.adapters import CopyLast
from eval_suites.base import EvalContext, Metric, SuiteResult, undefined
from eval_suites.clips import (
    Branch,
    Clip,
    choose_test_clips,
    imagine_branches,
    imagine_robot_actions,
    infer_actions,
    random_codes,
    stable_seed,
    too_short,
)
from eval_suites.episodes import episode_limit
from eval_suites.probes.data import collect
from eval_suites.probes.inverse_dynamics import read_motions, squared_sums, true_motions
from eval_suites.probes.scores import Motion, main_motion
from eval_suites.statistics import bootstrap, mean_r2, notes_on_units, r2_fraction, to_metric
from genie_robo.types import ACTION_NAMES

REAL, LATENT, ROBOT, RANDOM, COPY = "real", "inferred", "robot", "random", "copy_last"
READABLE = 0.1
"""Below this R2 on real frames, motion cannot be read off frames at all."""
PROTOCOL = (
    "inverse dynamics (ridge on 16x16 grey frame differences) fitted on real frames of validation "
    "episodes reads the motion from each imagined frame to the next in test episodes; R2 against "
    "the true motion, about the validation mean, over the R2 of the same model on the real frames; "
    "interval over test episodes, both resampled together"
)
WAYS = {
    LATENT: "the latent actions inferred on the true frames",
    ROBOT: "the true robot actions",
    RANDOM: "latent actions drawn at random",
    COPY: "nothing: the prompt frame is held",
}


class _Read(NamedTuple):
    """Motions of every clip: the true ones, and what is read off frames, by whose frames."""

    truth: Float[np.ndarray, "m n d"]
    read: Mapping[str, Float[np.ndarray, "m n d"]]
    mean: Float[np.ndarray, " d"]
    """Of the validation split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionFollowing:
    """R2 of the motion read off imagined frames over that read off real ones."""

    name: ClassVar[str] = "action_following"
    summary: ClassVar[str] = "whether the robot in imagined frames moves as the actions say"

    num_clips: int = 48
    """Prompts, from as many test episodes as possible."""
    num_prompt_frames: int = 1
    horizon: int = 6
    max_episodes: int = 200
    """Of validation episodes, to fit inverse dynamics on."""
    batch_size: int = 16
    min_move: float = 1e-3
    min_share: float = 0.1

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Fit inverse dynamics, imagine, read the motion off the frames."""
        limit = episode_limit(context, self.max_episodes)
        fit = collect(
            context, context.fit, max_episodes=limit, description=f"{self.name}: validation"
        )
        motion = main_motion(fit, min_move=self.min_move, min_share=self.min_share)
        if motion is None:
            return _nothing(f"the robot never moves by more than {self.min_move} m")
        clips = choose_test_clips(
            context,
            num_clips=self.num_clips,
            num_prompt_frames=self.num_prompt_frames,
            horizon=self.horizon,
            name=self.name,
        )
        if not clips:
            limits = {"num_prompt_frames": self.num_prompt_frames, "horizon": self.horizon}
            return _nothing(too_short(self.name, **limits))
        if len(clips[0].future) < 2:
            return _nothing(
                "motion is read between imagined frames, so two are needed; raise "
                "suite.action_following.horizon, or lower num_prompt_frames to fit the model's "
                f"window of {context.num_frames} frames"
            )
        test = collect(
            context,
            context.test,
            max_episodes=max(clip.number for clip in clips) + 1,
            description=f"{self.name}: test",
        )
        clips = [clip for clip in clips if clip.window.episode_id in test.episode_ids]
        if not clips:
            return _nothing("no test episode that is long enough has finite actions")
        stride = context.test.frame_stride
        videos = self._videos(context, clips)
        flat = read_motions(fit, motion, [video for row in videos.values() for video in row])
        read = np.stack(flat).reshape(len(videos), len(clips), *flat[0].shape)
        found = _Read(
            # From the prompt to the first imagined frame motion and blur cannot be told apart.
            true_motions(test, motion, clips, frame_stride=stride)[:, 1:],
            dict(zip(videos, read, strict=True)),
            motion.of(fit).mean(axis=0),
        )
        metrics = _metrics(clips, found, motion, seed=context.seed)
        return SuiteResult(
            metrics=metrics,
            headline=(f"ratio/{LATENT}", f"ratio/{ROBOT}", f"r2/{REAL}"),
            per_episode=_rows(clips, found, motion),
            figures={"horizon": _figure(metrics, found)},
            notes=notes_on_units(len({clip.number for clip in clips})),
        )

    def _videos(
        self, context: EvalContext, clips: Sequence[Clip]
    ) -> dict[str, UInt8[np.ndarray, "m n h w c"]]:
        """The frames after the prompt: really, and in imagination."""
        inferred = infer_actions(context.encoder, clips)
        drawn = random_codes(clips, context.encoder.num_codes, inferred.shape[1], context.seed)
        seeds = [stable_seed("sampler", context.seed, clip.key) for clip in clips]
        prompts = [clip.prompt for clip in clips]
        branches = [
            Branch(prompt, codes, seed)
            for actions in (inferred, drawn)
            for prompt, codes, seed in zip(prompts, actions, seeds, strict=True)
        ]
        both = imagine_branches(
            context.world_model,
            branches,
            batch_size=self.batch_size,
            description=f"{self.name}: imagine",
        )
        futures = {
            REAL: np.stack([clip.future for clip in clips]),
            LATENT: both[: len(clips)],
            RANDOM: both[len(clips) :],
            COPY: CopyLast().imagine(prompts, inferred, seeds),
        }
        robot_world_model = context.alone_world_model or context.robot_world_model
        if robot_world_model is not None:
            futures[ROBOT] = imagine_robot_actions(
                robot_world_model,
                prompts,
                np.stack([clip.robot_actions for clip in clips]),
                seeds,
                batch_size=self.batch_size,
                description=f"{self.name}: robot actions",
            )
        return futures


def _metrics(
    clips: Sequence[Clip], found: _Read, motion: Motion, *, seed: int
) -> dict[str, Metric]:
    episode = np.array([clip.number for clip in clips])
    num_episodes = len(np.unique(episode))
    shared = {"n_units": num_episodes, "protocol": PROTOCOL}

    def sums(*names: str, frames: slice = slice(None)) -> Float[np.ndarray, "e g d"]:
        guesses = [found.read[name][:, frames] for name in names]
        return squared_sums(guesses, found.truth[:, frames], found.mean, episode)

    real = bootstrap(sums(REAL), mean_r2, seed=seed)
    is_readable = real.value is not None and real.value >= READABLE
    unreadable = (
        f"the motion cannot be read off real frames either (R2 {real.value or 0.0:.2f}, below "
        f"{READABLE}), so there is nothing to compare with"
    )
    metrics = {}
    for way, steered_by in WAYS.items():
        if way not in found.read:
            reason = "nothing maps robot actions to this world model"
            metrics[f"ratio/{way}"] = undefined(reason, unit="ratio", **shared)
            continue
        others = {
            name: bootstrap(sums(name, REAL), r2_fraction).value
            for name in (RANDOM, COPY)
            if name != way and is_readable
        }
        pair = sums(way, REAL)
        metrics[f"ratio/{way}"] = (
            to_metric(
                bootstrap(pair, r2_fraction, seed=seed),
                unit="ratio",
                baselines=others,
                ceiling=1.0,
                n_units=num_episodes,
                protocol=f"steered by {steered_by}; {PROTOCOL}",
            )
            if is_readable
            else undefined(unreadable, unit="ratio", **shared)
        )
    for name in found.read:
        metrics[f"r2/{name}"] = to_metric(
            bootstrap(sums(name), mean_r2, seed=seed), unit="R2", **shared
        )
        for column, d in enumerate(motion.dimensions):
            only = sums(name)[..., column : column + 1]
            metrics[f"r2/{name}/{ACTION_NAMES[d]}"] = to_metric(
                bootstrap(only, mean_r2, seed=seed), unit="R2", **shared
            )
        for t in range(found.truth.shape[1]):
            at = sums(name, frames=slice(t, t + 1))
            metrics[f"r2/{name}/t{t + 2}"] = to_metric(
                bootstrap(at, mean_r2, seed=seed), unit="R2", **shared
            )
    return metrics


def _rows(
    clips: Sequence[Clip], found: _Read, motion: Motion
) -> list[Mapping[str, float | str | None]]:
    rows = []
    for c, clip in enumerate(clips):
        row: dict[str, float | str | None] = {
            "episode_id": clip.window.episode_id,
            "start": clip.window.start,
        }
        for column, d in enumerate(motion.dimensions):
            name, truth = ACTION_NAMES[d], found.truth[c, :, column]
            row |= _squares("deviation_", truth - found.mean[column], name)
            for who, read in found.read.items():
                row |= _squares(f"error_{who}_", read[c, :, column] - truth, name)
        rows.append(row)
    return rows


def _squares(
    what: str, apart: Float[np.ndarray, " n"], dimension: str
) -> dict[str, float | str | None]:
    """Over all frames, and in each; motion is read from the second imagined frame on."""
    by_frame = {
        f"squared_{what}t{t}_{dimension}": float(value**2) for t, value in enumerate(apart, start=2)
    }
    return {f"squared_{what}{dimension}": float((apart**2).sum()), **by_frame}


def _figure(metrics: Mapping[str, Metric], found: _Read) -> Figure:
    frames = range(2, found.truth.shape[1] + 2)
    lines = {
        f"{who.replace('_', ' ')} frames": figures.metric_curve(
            [metrics[f"r2/{who}/t{t}"] for t in frames]
        )
        for who in found.read
    }
    labels = ("frame t after the prompt", "R2 of the motion read off the frames")
    return figures.curves(frames, lines, labels=labels, zero_line=True)


def _nothing(reason: str) -> SuiteResult:
    metric = undefined(reason, unit="ratio", protocol=PROTOCOL)
    names = (f"ratio/{LATENT}", f"ratio/{ROBOT}")
    return SuiteResult(
        metrics=dict.fromkeys(names, metric),
        headline=names,
        per_episode=[],
        figures={},
        notes=(reason,),
    )
