"""Imagination beside what MuJoCo says happens when the true actions are executed."""

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
    choose_clips,
    imagine_branches,
    infer_actions,
    stable_seed,
)
from eval_suites.image_metrics import (
    CHANGE_THRESHOLD,
    PSNR_CAP_DB,
    changed_pixels,
    changed_psnr,
    frame_psnr,
)
from eval_suites.statistics import episode_mean, notes_on_units, to_metric
from genie_robo.progress import progress_bar
from genie_robo.sim.replay import replay

IMAGINED, COPY_LAST, TOKENIZER, RECORDED = "imagined", "copy_last", "tokenizer", "recorded"
FAST_CLIPS = 6
MEASURES = {
    "psnr": "PSNR against MuJoCo's frame",
    "changed_psnr": "PSNR over the pixels that change from MuJoCo's frame t - 1 to t",
}
HEADLINE = (*MEASURES, *(f"{name}/gain_over_copy_last" for name in MEASURES), "replay_psnr")
PROTOCOL = (
    "MuJoCo restored at the prompt frame executes the recorded actions; the world model gets the "
    "prompt and the latent actions inferred on the recorded frames; per-frame dB averaged over "
    "prompts, interval over test episodes; copy_last holds the prompt frame, the ceiling is the "
    "tokenizer's own reconstruction of MuJoCo's frames"
)


Measured = dict[str, dict[str, Float[np.ndarray, "m n"]]]
"""PSNR by measure and by whose frames; NaN where no pixel changed."""


class _Videos(NamedTuple):
    """Frames after the prompt, for every clip."""

    true: UInt8[np.ndarray, "m t h w c"]
    """MuJoCo's, the prompt frame first."""
    others: Mapping[str, UInt8[np.ndarray, "m n h w c"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimRollout:
    """PSNR of imagined rollouts against MuJoCo, over the horizon."""

    name: ClassVar[str] = "sim_rollout"
    summary: ClassVar[str] = "how far imagination is from what MuJoCo says really happens"

    num_clips: int = 24
    """Prompts, from as many test episodes as possible."""
    num_prompt_frames: int = 1
    horizon: int = 10
    """Imagined frames per rollout, as far as the model's window goes."""
    change_threshold: int = CHANGE_THRESHOLD
    """Grey levels of 255 by which a pixel must change to count as changed."""
    renderer: str = "auto"
    """Must draw as the recording did: auto, egl, osmesa or raycast."""
    batch_size: int = 16

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Replay in MuJoCo, imagine, compare."""
        numbers = context.test.episodes
        if context.dataset[numbers[0]].sim_state is None:
            return _nothing("the dataset holds no simulator state, so MuJoCo cannot replay it")
        clips = choose_clips(
            context.test,
            num_clips=min(self.num_clips, FAST_CLIPS) if context.fast else self.num_clips,
            num_prompt_frames=self.num_prompt_frames,
            horizon=min(self.horizon, context.num_frames - self.num_prompt_frames),
            seed=context.seed,
            description=f"{self.name}: prompts",
        )
        if not clips:
            return _nothing(
                f"no test episode is as long as {self.num_prompt_frames} prompt frames and a "
                f"horizon of {self.horizon}; lower suite.sim_rollout.horizon"
            )
        videos = self._videos(context, clips)
        measured = self._measure(videos)
        metrics = _metrics(clips, measured, seed=context.seed)
        return SuiteResult(
            metrics=metrics,
            headline=HEADLINE,
            per_episode=_rows(clips, measured),
            figures=_figures(metrics, videos, measured),
            notes=_notes(clips, metrics["replay_psnr"]),
        )

    def _videos(self, context: EvalContext, clips: Sequence[Clip]) -> _Videos:
        actions = infer_actions(context.encoder, clips)
        branches = [
            Branch(clip.prompt, latent, stable_seed("sampler", context.seed, clip.key))
            for clip, latent in zip(clips, actions, strict=True)
        ]
        imagined = imagine_branches(
            context.world_model,
            branches,
            batch_size=self.batch_size,
            description=f"{self.name}: imagine",
        )
        prompts = [clip.prompt for clip in clips]
        true = self._replay(context, clips)
        first = self.num_prompt_frames
        rebuilt = [
            context.tokenizer.reconstruct(np.concatenate([clip.prompt.frames, video[1:]])).video
            for clip, video in zip(clips, true, strict=True)
        ]
        return _Videos(
            true,
            {
                IMAGINED: imagined,
                COPY_LAST: CopyLast().imagine(prompts, actions, [0] * len(clips)),
                TOKENIZER: np.stack([video[first:] for video in rebuilt]),
                RECORDED: np.stack([clip.future for clip in clips]),
            },
        )

    def _replay(
        self, context: EvalContext, clips: Sequence[Clip]
    ) -> UInt8[np.ndarray, "m t h w c"]:
        """MuJoCo's frames of every clip from its last prompt frame on."""
        stride = context.test.frame_stride
        videos = []
        with progress_bar(f"{self.name}: MuJoCo", total=len(clips), unit="rollouts") as advance:
            for clip in clips:
                episode = context.dataset[context.test.episodes[clip.number]]
                start = clip.window.start + (clip.num_prompt_frames - 1) * stride
                stop = start + len(clip.future) * stride
                height, width = clip.window.video.shape[1:3]
                true = replay(
                    episode,
                    start=start,
                    robot_actions=episode.robot_actions[start:stop],
                    image_size=(height, width),
                    renderer=self.renderer,
                )
                videos.append(true.video[::stride])
                advance()
        return np.stack(videos)

    def _measure(self, videos: _Videos) -> Measured:
        measured: Measured = {name: {} for name in MEASURES}
        for who, other in videos.others.items():
            rows = []
            for true, video in zip(videos.true, other, strict=True):
                changed = changed_pixels(true, threshold=self.change_threshold)
                rows.append((frame_psnr(true[1:], video), changed_psnr(true[1:], video, changed)))
            for name, values in zip(MEASURES, zip(*rows, strict=True), strict=True):
                measured[name][who] = np.stack(values)
        return measured


def _metrics(clips: Sequence[Clip], measured: Measured, *, seed: int) -> dict[str, Metric]:
    episode = np.array([clip.number for clip in clips])
    num_episodes = len(np.unique(episode))

    def mean(values: Float[np.ndarray, "m ..."], what: str, **context: float | None) -> Metric:
        return to_metric(
            episode_mean(values, episode, seed=seed),
            n_units=num_episodes,
            unit="dB",
            protocol=f"{what}; {PROTOCOL}",
            baselines={COPY_LAST: context[COPY_LAST]} if COPY_LAST in context else {},
            ceiling=context.get(TOKENIZER),
            reason="no pixel changes in MuJoCo's frames",
        )

    metrics = {}
    for name, what in MEASURES.items():
        by_whom = measured[name]
        means = {who: episode_mean(by_whom[who], episode).value for who in (COPY_LAST, TOKENIZER)}
        metrics[name] = mean(by_whom[IMAGINED], f"{what}, mean over the horizon", **means)
        gain = by_whom[IMAGINED] - by_whom[COPY_LAST]
        metrics[f"{name}/gain_over_copy_last"] = mean(gain, f"{what}, imagined minus copy_last")
        for who in (IMAGINED, COPY_LAST, TOKENIZER):
            for t, column in enumerate(by_whom[who].T, start=1):
                metrics[f"{name}/{who}/t{t}"] = mean(column, f"{what}, {who}, frame t")
    metrics["replay_psnr"] = mean(
        measured["psnr"][RECORDED], f"recorded frames against MuJoCo's; {PSNR_CAP_DB:.0f} = equal"
    )
    return metrics


def _rows(clips: Sequence[Clip], measured: Measured) -> list[Mapping[str, float | str | None]]:
    rows = []
    for c, clip in enumerate(clips):
        row: dict[str, float | str | None] = {
            "episode_id": clip.window.episode_id,
            "start": clip.window.start,
        }
        for name, by_whom in measured.items():
            for who, values in by_whom.items():
                for t, value in enumerate(values[c], start=1):
                    row[f"{name}_{who}_t{t}"] = float(value) if np.isfinite(value) else None
        rows.append(row)
    return rows


def _figures(
    metrics: Mapping[str, Metric], videos: _Videos, measured: Measured
) -> dict[str, Figure]:
    horizon = videos.true.shape[1] - 1
    frames = range(1, horizon + 1)
    left, right = figures.new_axes(2, width=11.0)
    titles = ("whole frame", "pixels that change")
    for axes, name, title in zip((left, right), MEASURES, titles, strict=True):
        lines = {
            who.replace("_", " "): figures.metric_curve(
                [metrics[f"{name}/{who}/t{t}"] for t in frames]
            )
            for who in (IMAGINED, COPY_LAST, TOKENIZER)
        }
        labels = ("imagined frame t", "PSNR against MuJoCo (dB)")
        figures.draw_curves(axes, frames, lines, labels=labels, title=title)
    quality = measured["psnr"][IMAGINED].mean(axis=1)
    median = int(np.argsort(quality)[len(quality) // 2])
    shown = np.unique(np.linspace(0, horizon, min(horizon + 1, 9)).astype(int))
    prompt = videos.true[median, :1]
    strip = {"MuJoCo": videos.true[median][shown]}
    for who in (IMAGINED, TOKENIZER):
        strip[who] = np.concatenate([prompt, videos.others[who][median]])[shown]
    return {
        "horizon": figures.owner(left),
        "strip": figures.frame_strip(strip, titles=["prompt", *(f"t = {t}" for t in shown[1:])]),
    }


def _notes(clips: Sequence[Clip], replayed: Metric) -> tuple[str, ...]:
    notes = [
        f"{len(clips)} prompts of {len({clip.number for clip in clips})} test episodes; the strip "
        "shows the prompt with the median PSNR.",
        *notes_on_units(replayed.n_units),
    ]
    if replayed.value is not None and replayed.value < PSNR_CAP_DB:
        notes.append(
            "MuJoCo's replay is not the recording bit for bit: another MuJoCo version, renderer "
            "or image size than the recording's. MuJoCo's frames are the reference here."
        )
    return tuple(notes)


def _nothing(reason: str) -> SuiteResult:
    metric = undefined(reason, unit="dB", protocol=PROTOCOL)
    return SuiteResult(
        metrics=dict.fromkeys(MEASURES, metric),
        headline=tuple(MEASURES),
        per_episode=[],
        figures={},
        notes=(reason,),
    )
