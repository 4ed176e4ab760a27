"""Does the imagined video obey the latent actions? Delta PSNR (Genie, section 3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure

from eval_suites import figures
from eval_suites.base import EvalContext, Metric, SuiteResult, undefined
from eval_suites.clips import (
    Branch,
    Clip,
    choose_test_clips,
    imagine_branches,
    infer_actions,
    stable_seed,
    too_short,
)
from eval_suites.metrics.image_metrics import PSNR_CAP_DB, frame_psnr, motion
from eval_suites.statistics import (
    bootstrap,
    episode_mean,
    episode_sums,
    notes_on_units,
    number_episodes,
    ratio_of_sums,
    to_metric,
)

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
    "mean absolute change of a pixel from one imagined frame to the next over that of the true "
    "frames; 1 = as much motion as really happens; interval over test episodes"
)

Branches = dict[str, Int[np.ndarray, "m r n"]]
"""Latent actions by branch, clip and draw."""
Measures = dict[str, Float[np.ndarray, "m r _"]]
"""What is measured of every rollout, by branch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Controllability:
    """Delta PSNR over the horizon under three laws of random latent actions."""

    name: ClassVar[str] = "controllability"
    summary: ClassVar[str] = "how much the latent actions steer the imagined video"

    num_clips: int = 12
    """Prompts, from as many test episodes as possible."""
    num_prompt_frames: int = 1
    horizon: int = 6
    """Imagined frames per rollout, as far as the model's window goes."""
    headline_frame: int = 4
    num_draws: int = 5
    batch_size: int = 16

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Imagine every prompt under inferred and under random latent actions."""
        clips = choose_test_clips(
            context,
            num_clips=self.num_clips,
            num_prompt_frames=self.num_prompt_frames,
            horizon=self.horizon,
            name=self.name,
        )
        if not clips:
            return self._nothing(context)
        horizon = len(clips[0].future)
        frame = min(self.headline_frame, horizon)
        actions = self._draw_actions(clips, context)
        psnr, moved = self._imagine(clips, actions, context)
        metrics = _metrics(clips, psnr, moved, seed=context.seed)
        return SuiteResult(
            metrics=metrics,
            headline=(*(f"delta_psnr/{law}/t{frame}" for law in LAWS), "motion_ratio"),
            per_episode=_rows(clips, psnr, moved),
            figures=_figures(metrics, horizon),
            notes=(
                f"{len(clips)} prompts of {len({clip.number for clip in clips})} test episodes, "
                f"{self.num_prompt_frames} prompt frames, horizon {horizon}.",
                *notes_on_units(len({clip.number for clip in clips})),
            ),
        )

    def _draw_actions(self, clips: Sequence[Clip], context: EvalContext) -> Branches:
        """Inferred latent actions, repeated for every draw, and random ones under each law."""
        num_draws = min(self.num_draws, FAST_DRAWS) if context.fast else self.num_draws
        inferred = infer_actions(context.encoder, clips)
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

    def _imagine(
        self, clips: Sequence[Clip], actions: Branches, context: EvalContext
    ) -> tuple[Measures, Measures]:
        """PSNR and motion of every frame of every rollout."""
        rollouts = [
            Branch(clip.prompt, latent, stable_seed("sampler", context.seed, clip.key, draw))
            for branch in actions.values()
            for clip, draws in zip(clips, branch, strict=True)
            for draw, latent in enumerate(draws)
        ]
        videos = imagine_branches(
            context.world_model,
            rollouts,
            batch_size=self.batch_size,
            description=f"{self.name}: imagine",
        )
        shape = (len(actions), *actions[INFERRED].shape[:2])
        per_branch = videos.reshape(*shape, *videos.shape[1:])
        psnr, moved = {}, {}
        for name, branch in zip(actions, per_branch, strict=True):
            psnr[name] = np.stack(
                [_psnr(clip.future, videos) for clip, videos in zip(clips, branch, strict=True)]
            )
            moved[name] = np.stack([motion(videos) for videos in branch])
        return psnr, moved

    def _nothing(self, context: EvalContext) -> SuiteResult:
        limits = {"num_prompt_frames": self.num_prompt_frames, "horizon": self.horizon}
        reason = too_short(self.name, **limits)
        name = f"delta_psnr/uniform/t{self.headline_frame}"
        metric = undefined(reason, unit="dB", protocol=PROTOCOL, n_units=len(context.test.episodes))
        return SuiteResult(
            metrics={name: metric}, headline=(name,), per_episode=[], figures={}, notes=(reason,)
        )


def _psnr(
    true: UInt8[np.ndarray, "n h w c"], videos: UInt8[np.ndarray, "r n h w c"]
) -> Float[np.ndarray, "r n"]:
    return np.stack([frame_psnr(true, video) for video in videos])


def _metrics(
    clips: Sequence[Clip], psnr: Measures, moved: Measures, *, seed: int
) -> dict[str, Metric]:
    episode = np.array([clip.number for clip in clips])
    num_episodes = len(np.unique(episode))
    inferred = psnr[INFERRED]
    absent = np.full_like(inferred, np.nan)
    metrics = {}
    for law, meaning in LAWS.items():
        for t in range(inferred.shape[-1]):
            delta = inferred[..., t] - psnr.get(law, absent)[..., t]
            metrics[f"delta_psnr/{law}/t{t + 1}"] = to_metric(
                episode_mean(delta, episode, seed=seed),
                n_units=num_episodes,
                unit="dB",
                protocol=f"{PROTOCOL}; {meaning}",
                # Both branches of a world that ignores its actions are the same video.
                baselines={"copy_last": 0.0},
                reason="there is no other prompt to take a sequence from",
            )
    for branch, values in psnr.items():
        for t in range(values.shape[-1]):
            metrics[f"psnr/{branch}/t{t + 1}"] = to_metric(
                episode_mean(values[..., t], episode, seed=seed),
                n_units=num_episodes,
                unit="dB",
                protocol=f"PSNR of the rollout with {branch} latent actions against true frame t",
            )
    return metrics | {"motion_ratio": _motion_ratio(clips, moved, seed=seed)}


def _motion_ratio(clips: Sequence[Clip], moved: Measures, *, seed: int) -> Metric:
    number = number_episodes(np.array([clip.number for clip in clips]))
    num_episodes = int(number.max()) + 1
    true = np.array([motion(clip.future).sum() for clip in clips])

    def totals(branch: str) -> Float[np.ndarray, "e 2"]:
        imagined = moved[branch].mean(axis=1).sum(axis=-1)
        pairs = np.stack([imagined, true], axis=1)
        return episode_sums(pairs, number, num_episodes=num_episodes)

    random = {
        law: bootstrap(totals(law), ratio_of_sums, seed=seed).value for law in LAWS if law in moved
    }
    return to_metric(
        bootstrap(totals(INFERRED), ratio_of_sums, seed=seed),
        n_units=num_episodes,
        unit="ratio",
        protocol=MOTION_PROTOCOL,
        baselines={"copy_last": 0.0, **random},
        reason="nothing moves in the true frames, or the horizon is a single frame",
    )


def _rows(
    clips: Sequence[Clip], psnr: Measures, moved: Measures
) -> list[Mapping[str, float | str | None]]:
    rows = []
    for c, clip in enumerate(clips):
        row: dict[str, float | str | None] = {
            "episode_id": clip.window.episode_id,
            "start": clip.window.start,
            "motion_true": float(motion(clip.future).sum()),
        }
        for branch, values in moved.items():
            row[f"motion_{branch}"] = float(values[c].mean(axis=0).sum())
        for branch, values in psnr.items():
            for t, value in enumerate(values[c].mean(axis=0)):
                row[f"psnr_{branch}_t{t + 1}"] = float(value)
        rows.append(row)
    return rows


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
            title="what knowing the latent actions adds",
            zero_line=True,
        ),
        "psnr": figures.curves(frames, psnr, labels=("imagined frame t", "PSNR (dB)")),
    }
