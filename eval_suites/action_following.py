"""Does the robot in imagined frames follow the actions? Motion is read by inverse dynamics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure

from genie_robo.eval_suites import figures
from genie_robo.eval_suites.base import EvalContext, SuiteResult
from genie_robo.eval_suites.probes.data import collect
from genie_robo.eval_suites.probes.imagined import read_motions, true_motions
from genie_robo.eval_suites.probes.scores import Motion, main_motion
from genie_robo.eval_suites.rollouts import (
    NO_CONTROL,
    NO_LATENTS,
    ROBOT_ACTIONS_ONLY,
    Clip,
    choose_clips,
    clip_table,
    episode_limit,
    imagine,
    infer_codes,
    infer_latents,
    random_codes,
    sampler_seeds,
)
from genie_robo.eval_suites.settings import ActionFollowingSettings
from genie_robo.eval_suites.statistics import mean_r2, notes_on_units, r2_fraction
from genie_robo.eval_suites.table import (
    Measurement,
    Metric,
    Sums,
    Table,
    UnavailableError,
    undefined,
)
from genie_robo.inference.world import Latents, RobotActions, hold_last

REAL, LATENT, CONTINUOUS, ROBOT, CONTROL, RANDOM, COPY = (
    "real",
    "inferred",
    "latents",
    "robot",
    "robot_control",
    "random",
    "copy_last",
)
READABLE = 0.1
"""Below this R2 on real frames, the motion counts as unreadable."""
PROTOCOL = (
    "inverse dynamics (ridge on 16x16 grey frame differences), fitted on real frames of validation "
    "episodes, predicts the motion between imagined frames of test episodes; its R2 against the "
    "true motion, about the validation mean, divided by its R2 on the real frames; interval over "
    "test episodes, both resampled together"
)
WAYS = {
    LATENT: "the codes inferred on the true frames",
    CONTINUOUS: "the latents inferred on the true frames",
    ROBOT: "the true robot actions, mapped to latent actions where these steer the world",
    CONTROL: "the true robot actions, after stage robot_control",
    RANDOM: "codes drawn at random",
    COPY: "nothing: the prompt frame is held",
}


UNMAPPED = "nothing maps robot actions to this world model"
FIRST_FRAME = 2
"""Motion is read from the second imagined frame on, because between the prompt and the first
imagined frame blur looks like motion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionFollowing(ActionFollowingSettings):
    """R2 of motion read from imagined frames, relative to that read from real frames."""

    summary: ClassVar[str] = "whether the robot in imagined frames follows the actions"
    headline: ClassVar[Mapping[str, str]] = {
        f"ratio/{LATENT}": "ratio",
        f"ratio/{CONTINUOUS}": "ratio",
        f"ratio/{ROBOT}": "ratio",
        f"r2/{REAL}": "R2",
    }

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Fit inverse dynamics, imagine, read the motion from the frames."""
        limit = episode_limit(context, self.max_episodes)
        fit = collect(
            context, context.fit, max_episodes=limit, description=f"{self.name}: validation"
        )
        motion = main_motion(fit, min_move=self.min_move, min_share=self.min_share)
        if motion is None:
            raise UnavailableError(
                f"the robot never moves by more than {self.min_move} (m, of joints in their unit)"
            )
        clips = self._clips(context)
        test = collect(
            context,
            context.test,
            max_episodes=max(clip.number for clip in clips) + 1,
            description=f"{self.name}: test",
        )
        clips = [clip for clip in clips if clip.window.episode_id in test.episode_ids]
        if not clips:
            raise UnavailableError("no test episode that is long enough has finite actions")
        videos = self._videos(context, clips)
        flat = read_motions(fit, motion, [video for row in videos.values() for video in row])
        read = np.stack(flat).reshape(len(videos), len(clips), *flat[0].shape)
        stride = context.test.frame_stride
        table = _table(
            clips,
            motion,
            true_motions(test, motion, clips, frame_stride=stride)[:, 1:],
            dict(zip(videos, read, strict=True)),
            motion.of(fit).mean(axis=0),
        )
        frames = range(FIRST_FRAME, FIRST_FRAME + read.shape[2])
        result = SuiteResult.of(
            _measurements(table, list(videos), motion.names, frames),
            seed=context.seed,
            headline=tuple(self.headline),
            table=table,
            notes=notes_on_units(table.num_episodes),
        )
        return replace(result, figures={"horizon": _figure(result.metrics, list(videos), frames)})

    def _clips(self, context: EvalContext) -> list[Clip]:
        clips = choose_clips(
            context,
            num_clips=self.num_clips,
            num_prompt_frames=self.num_prompt_frames,
            horizon=self.horizon,
            name=self.name,
        )
        if len(clips[0].future) < FIRST_FRAME:
            raise UnavailableError(
                "motion is read between imagined frames, so two are needed; raise "
                "suite.action_following.horizon, or lower num_prompt_frames to fit the model's "
                f"window of {context.num_frames} frames"
            )
        return clips

    def _videos(
        self, context: EvalContext, clips: Sequence[Clip]
    ) -> dict[str, UInt8[np.ndarray, "m n h w c"]]:
        """Real frames after the prompt, and imagined ones by what steers the world."""
        inferred = infer_codes(context.encoder, clips)
        drawn = random_codes(clips, context.encoder.num_codes, inferred.shape[1], context.seed)
        seeds, prompts = sampler_seeds(clips, context.seed), [clip.prompt for clip in clips]
        futures = {REAL: np.stack([clip.future for clip in clips])}
        if context.takes_codes:
            # In one call, so that both share batches.
            both = imagine(
                context,
                prompts * 2,
                np.concatenate([inferred, drawn]),
                seeds * 2,
                batch_size=self.batch_size,
                description=f"{self.name}: imagine",
            )
            futures |= {LATENT: both[: len(clips)], RANDOM: both[len(clips) :]}
        if context.takes_latents:
            futures[CONTINUOUS] = imagine(
                context,
                prompts,
                infer_latents(context.encoder, clips),
                seeds,
                by=Latents,
                batch_size=self.batch_size,
                description=f"{self.name}: latents",
            )
        futures[COPY] = hold_last(prompts, inferred.shape[1])
        worlds = {
            ROBOT: context.world_without_feedback or context.world,
            CONTROL: context.world_by_control,
        }
        for way, world in worlds.items():
            if world is None or RobotActions not in world.takes:
                continue
            futures[way] = imagine(
                context,
                prompts,
                np.stack([clip.robot_actions for clip in clips]),
                seeds,
                by=RobotActions,
                batch_size=self.batch_size,
                description=f"{self.name}: {way.replace('_', ' ')}",
                world=world,
            )
        return futures


def _table(
    clips: Sequence[Clip],
    motion: Motion,
    truth: Float[np.ndarray, "m n d"],
    read: Mapping[str, Float[np.ndarray, "m n d"]],
    mean: Float[np.ndarray, " d"],
) -> Table:
    """Squared errors of the motions read, in total and by frame; `mean` is the baseline."""
    table = clip_table(clips)
    apart = {"deviation": truth - mean} | {f"error_{w}": r - truth for w, r in read.items()}
    for what, differences in apart.items():
        squared, given = differences**2, what in ("deviation", f"error_{REAL}", f"error_{COPY}")
        for column, name in enumerate(motion.names):
            by_frame = squared[..., column]
            table.add(f"squared_{what}_{name}", by_frame.sum(axis=1), given=given)
            for t, values in enumerate(by_frame.T, start=FIRST_FRAME):
                table.add(f"squared_{what}_t{t}_{name}", values, given=given)
    return table


def _measurements(
    table: Table, ways: Sequence[str], dimensions: Sequence[str], frames: range
) -> dict[str, Measurement]:
    def total(*parts: str, at: str = "", only: Sequence[str] = dimensions) -> Sums:
        groups = [[f"squared_{part}{at}_{d}" for d in only] for part in parts]
        return table.total(groups, mean_r2 if len(parts) == 2 else r2_fraction)

    def ratio(way: str) -> Sums:
        return total(f"error_{way}", f"error_{REAL}", "deviation")

    real = total(f"error_{REAL}", "deviation").value
    unreadable = (
        f"the motion cannot be read off real frames either (R2 {real or 0.0:.2f}, below "
        f"{READABLE}), so there is nothing to compare with"
    )
    found = {}
    for way, steered_by in WAYS.items():
        if way not in ways:
            reasons = {ROBOT: UNMAPPED, CONTROL: NO_CONTROL, CONTINUOUS: NO_LATENTS}
            reason = reasons.get(way, ROBOT_ACTIONS_ONLY)
            found[f"ratio/{way}"] = undefined(reason, unit="ratio", protocol=PROTOCOL)
        elif real is None or real < READABLE:
            found[f"ratio/{way}"] = undefined(unreadable, unit="ratio", protocol=PROTOCOL)
        else:
            found[f"ratio/{way}"] = Measurement(
                of=ratio(way),
                unit="ratio",
                protocol=f"steered by {steered_by}; {PROTOCOL}",
                baselines={
                    name: ratio(name) for name in (RANDOM, COPY) if name in ways and name != way
                },
                ceiling=1.0,
            )
    for way in ways:
        error = f"error_{way}"
        sums = {f"r2/{way}": total(error, "deviation")}
        sums |= {f"r2/{way}/{d}": total(error, "deviation", only=[d]) for d in dimensions}
        sums |= {f"r2/{way}/t{t}": total(error, "deviation", at=f"_t{t}") for t in frames}
        found |= {
            name: Measurement(of=of, unit="R2", protocol=PROTOCOL) for name, of in sums.items()
        }
    return found


def _figure(metrics: Mapping[str, Metric], ways: Sequence[str], frames: range) -> Figure:
    lines = {
        f"{way.replace('_', ' ')} frames": figures.metric_curve(
            [metrics[f"r2/{way}/t{t}"] for t in frames]
        )
        for way in ways
    }
    labels = ("frame t after the prompt", "R2 of the motion read from the frames")
    return figures.curves(frames, lines, labels=labels, zero_line=True)
