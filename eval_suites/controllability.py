"""Do latent actions control the imagined video? Delta PSNR (Genie, section 3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure

from genie_robo.eval_suites import figures
from genie_robo.eval_suites.base import EvalContext, SuiteResult
from genie_robo.eval_suites.metrics.image_metrics import PSNR_CAP_DB, frame_psnr, motion
from genie_robo.eval_suites.rollouts import (
    Clip,
    choose_clips,
    clip_table,
    imagine,
    infer_codes,
    stable_seed,
)
from genie_robo.eval_suites.settings import ControllabilitySettings
from genie_robo.eval_suites.statistics import notes_on_units
from genie_robo.eval_suites.table import Measurement, Metric, Table

LAWS = {
    "uniform": "random = every code equally likely",
    "marginal": "random = drawn independently from the codes inferred on all prompts",
    "permuted": "random = the whole sequence inferred for another prompt",
}
INFERRED = "inferred"
FAST_DRAWS = 2
PROTOCOL = (
    "PSNR(true frame t, rollout with inferred latent actions) - PSNR(true frame t, rollout with "
    "random ones); same prompt and same sampler seed in both; per-frame dB, at most "
    f"{PSNR_CAP_DB:.0f}, averaged over draws and prompts; interval over test episodes"
)
MOTION_PROTOCOL = (
    "mean absolute pixel change between imagined frames, divided by that between true frames; 1 = "
    "as much motion as in the true video; interval over test episodes"
)

Branches = dict[str, Int[np.ndarray, "m r n"]]
"""Latent actions by branch, clip and draw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Controllability(ControllabilitySettings):
    """Delta PSNR over the horizon under three laws of random latent actions."""

    summary: ClassVar[str] = "how much the latent actions steer the imagined video"

    headline: ClassVar[Mapping[str, str]] = {
        **{f"delta_psnr/{law}/t4": "dB" for law in LAWS},
        "motion_ratio": "ratio",
    }

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Imagine every prompt under inferred and under random latent actions."""
        clips = choose_clips(
            context,
            num_clips=self.num_clips,
            num_prompt_frames=self.num_prompt_frames,
            horizon=self.horizon,
            name=self.name,
        )
        horizon = len(clips[0].future)
        frame = min(self.headline_frame, horizon)
        table = self._measure(context, clips)
        result = SuiteResult.of(
            _measurements(table, horizon),
            seed=context.seed,
            headline=(*(f"delta_psnr/{law}/t{frame}" for law in LAWS), "motion_ratio"),
            table=table,
            notes=(
                f"{len(clips)} prompts of {table.num_episodes} test episodes, "
                f"{self.num_prompt_frames} prompt frames, horizon {horizon}.",
                *notes_on_units(table.num_episodes),
            ),
        )
        return replace(result, figures=_figures(result.metrics, horizon))

    def _draw_actions(self, clips: Sequence[Clip], context: EvalContext) -> Branches:
        """Inferred latent actions, repeated for every draw, and random ones under each law."""
        num_draws = min(self.num_draws, FAST_DRAWS) if context.fast else self.num_draws
        inferred = infer_codes(context.encoder, clips)
        shape = (num_draws, inferred.shape[1])
        drawn: dict[str, list[np.ndarray]] = {law: [] for law in LAWS}
        for number, clip in enumerate(clips):
            rng = np.random.default_rng(stable_seed("codes", context.seed, clip.key))
            drawn["uniform"].append(rng.integers(context.encoder.num_codes, size=shape))
            drawn["marginal"].append(rng.choice(inferred.ravel(), size=shape))
            if len(clips) > 1:
                other = (number + rng.integers(1, len(clips), size=num_draws)) % len(clips)
                drawn["permuted"].append(inferred[other])
        branches = {law: np.stack(rows) for law, rows in drawn.items() if rows}
        return {INFERRED: np.repeat(inferred[:, None], num_draws, axis=1)} | branches

    def _measure(self, context: EvalContext, clips: Sequence[Clip]) -> Table:
        """PSNR by frame and motion of every clip and branch, averaged over draws."""
        actions = self._draw_actions(clips, context)
        num_draws = actions[INFERRED].shape[1]
        draws = [(clip, draw) for clip in clips for draw in range(num_draws)]
        seeds = [stable_seed("sampler", context.seed, clip.key, draw) for clip, draw in draws]
        prompts = [clip.prompt for clip in clips]
        table = clip_table(clips)
        true_motion = np.array([motion(clip.future).sum() for clip in clips])
        table.add("motion_true", true_motion, given=True)
        # In one call, so that all branches share batches.
        videos = imagine(
            context,
            [prompt for _ in actions for prompt in prompts for _ in range(num_draws)],
            np.concatenate([codes.reshape(-1, codes.shape[-1]) for codes in actions.values()]),
            seeds * len(actions),
            batch_size=self.batch_size,
            description=f"{self.name}: imagine",
        )
        branches = videos.reshape(len(actions), len(clips), num_draws, *videos.shape[1:])
        for name, branch in zip(actions, branches, strict=True):
            moved = [np.mean([motion(video).sum() for video in videos]) for videos in branch]
            table.add(f"motion_{name}", np.array(moved))
            pairs = zip(clips, branch, strict=True)
            psnr = np.stack([_psnr(clip.future, videos).mean(axis=0) for clip, videos in pairs])
            table.add_series(f"psnr_{name}", psnr)
        return table


def _psnr(
    true: UInt8[np.ndarray, "n h w c"], videos: UInt8[np.ndarray, "r n h w c"]
) -> Float[np.ndarray, "r n"]:
    return np.stack([frame_psnr(true, video) for video in videos])


def _measurements(table: Table, horizon: int) -> dict[str, Measurement]:
    frames = range(1, horizon + 1)
    measured = [law for law in LAWS if f"motion_{law}" in table.columns]
    found = {}
    for law, meaning in LAWS.items():
        for t in frames:
            columns = [f"psnr_{INFERRED}_t{t}"], [f"psnr_{law}_t{t}"]
            found[f"delta_psnr/{law}/t{t}"] = Measurement(
                of=table.mean_difference(*columns) if law in measured else None,
                unit="dB",
                protocol=f"{PROTOCOL}; {meaning}",
                # A world that ignores its actions gives the same video in both branches.
                baselines={"copy_last": 0.0},
                reason="there is no other prompt to take a sequence from",
            )
    for branch in (INFERRED, *measured):
        for t in frames:
            found[f"psnr/{branch}/t{t}"] = Measurement(
                of=table.mean([f"psnr_{branch}_t{t}"]),
                unit="dB",
                protocol=f"PSNR of the rollout with {branch} latent actions against true frame t",
            )
    found["motion_ratio"] = Measurement(
        of=table.ratio(f"motion_{INFERRED}", "motion_true"),
        unit="ratio",
        protocol=MOTION_PROTOCOL,
        baselines={"copy_last": 0.0}
        | {law: table.ratio(f"motion_{law}", "motion_true") for law in measured},
        reason="nothing moves in the true frames, or the horizon is a single frame",
    )
    return found


def _figures(metrics: Mapping[str, Metric], horizon: int) -> dict[str, Figure]:
    frames = range(1, horizon + 1)

    def curve(name: str) -> figures.Curve:
        return figures.metric_curve([metrics[f"{name}/t{t}"] for t in frames])

    laws = [law for law in LAWS if metrics[f"delta_psnr/{law}/t1"].value is not None]
    delta = {f"against {law} actions": curve(f"delta_psnr/{law}") for law in laws}
    psnr = {f"{branch} actions": curve(f"psnr/{branch}") for branch in (INFERRED, *laws)}
    return {
        "delta_psnr": figures.curves(
            frames,
            delta,
            labels=("imagined frame t", "delta PSNR (dB)"),
            title="PSNR gained by the inferred latent actions",
            zero_line=True,
        ),
        "psnr": figures.curves(frames, psnr, labels=("imagined frame t", "PSNR (dB)")),
    }
