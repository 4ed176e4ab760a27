"""How the imagined video looks: frame by frame over the horizon, and as a distribution."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

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
    infer_actions,
    stable_seed,
    too_short,
)
from eval_suites.metrics.image_metrics import frame_psnr, frame_ssim
from eval_suites.statistics import episode_mean, notes_on_units, to_metric
from eval_suites.video_distances import distribution_metrics
from eval_suites.video_features import (
    I3D_BYTES,
    I3D_SHA256,
    Features,
    check_weights,
    i3d_features,
    lpips_distance,
    random_conv_distance,
    random_video_features,
)

IMAGINED, COPY_LAST, TOKENIZER = "imagined", "copy_last", "tokenizer"
FAST_CLIPS = 8
RANDOM_FEATURES = "random_conv3d"
PROTOCOL = (
    "frames imagined from the prompt with the latent actions inferred on the true frames, against "
    "the true frames of test episodes; averaged over prompts, interval over test episodes; "
    "copy_last holds the prompt frame; ceiling: the tokenizer's reconstruction of the true frames"
)
UNITS = {"psnr": "dB", "ssim": "SSIM", "random_conv_distance": "distance", "lpips": "LPIPS"}
FrameMeasure = Callable[[np.ndarray, np.ndarray], Float[np.ndarray, " t"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoSuite:
    """PSNR, SSIM and perceptual distance over the horizon; Fréchet distance and MMD of videos.

    Raises:
        FileNotFoundError: A path to weights leads nowhere.
        ValueError: The file at a path is not the one it should be.
    """

    name: ClassVar[str] = "video"
    summary: ClassVar[str] = "how far imagined video is from real video, by frame and as a whole"

    num_clips: int = 64
    """Prompts, from as many test episodes as possible."""
    num_prompt_frames: int = 1
    horizon: int = 15
    """Imagined frames per rollout, as far as the model's window goes."""
    batch_size: int = 16
    i3d_path: str = ""
    """i3d_torchscript.pt (51,235,320 bytes); only with it is there a number called FVD."""
    lpips_path: str = ""
    """TorchScript VGG16 with LPIPS features; only with it is there a number called LPIPS."""
    lpips_sha256: str = ""
    """What the file at `lpips_path` must have."""

    def __post_init__(self) -> None:
        """Refuse wrong weights before anything slow."""
        self._i3d()
        self._lpips()

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Imagine, compare with the true frames."""
        clips = choose_test_clips(
            context,
            num_clips=self.num_clips,
            num_prompt_frames=self.num_prompt_frames,
            horizon=self.horizon,
            name=self.name,
            fast_clips=FAST_CLIPS,
        )
        if not clips:
            limits = {"num_prompt_frames": self.num_prompt_frames, "horizon": self.horizon}
            return _nothing(too_short(self.name, **limits))
        videos = self._videos(context, clips)
        true = np.stack([clip.future for clip in clips])
        measured = {
            name: {who: _by_frame(measure, true, video) for who, video in videos.items()}
            for name, measure in self._frame_measures().items()
        }
        metrics = _frame_metrics(clips, measured, seed=context.seed)
        rows = _rows(clips, measured)
        for name, features in self._video_features().items():
            found = distribution_metrics(clips, true, videos, features, name=name)
            metrics |= found.metrics
            for row, more in zip(rows, found.rows, strict=True):
                row |= more
        metrics |= self._absent()
        return SuiteResult(
            metrics=metrics,
            headline=(*measured, f"frechet/{RANDOM_FEATURES}", f"mmd/{RANDOM_FEATURES}", "fvd"),
            per_episode=rows,
            figures={"horizon": _figure(metrics, measured), "strip": _strip(videos, true)},
            notes=notes_on_units(len({clip.number for clip in clips})),
        )

    def _i3d(self) -> Path | None:
        if not self.i3d_path:
            return None
        return check_weights(self.i3d_path, sha256=I3D_SHA256, name="FVD")

    def _lpips(self) -> Path | None:
        if not self.lpips_path:
            return None
        if not self.lpips_sha256:
            raise ValueError(
                "suite.video.lpips_path needs suite.video.lpips_sha256: the sha256 of the file "
                "that you trust to be LPIPS"
            )
        return check_weights(self.lpips_path, sha256=self.lpips_sha256, name="LPIPS")

    def _frame_measures(self) -> dict[str, FrameMeasure]:
        measures: dict[str, FrameMeasure] = {
            "psnr": frame_psnr,
            "ssim": frame_ssim,
            "random_conv_distance": random_conv_distance,
        }
        file = self._lpips()
        return measures if file is None else measures | {"lpips": lpips_distance(file)}

    def _video_features(self) -> dict[str, Features]:
        features: dict[str, Features] = {RANDOM_FEATURES: random_video_features}
        file = self._i3d()
        return features if file is None else features | {"i3d": i3d_features(file)}

    def _absent(self) -> dict[str, Metric]:
        """Famous names that have no number here, and why."""
        found = {}
        if not self.i3d_path:
            reason = (
                f"suite.video.i3d_path is empty; it wants i3d_torchscript.pt ({I3D_BYTES:,} bytes)"
            )
            found["fvd"] = undefined(reason, unit="FVD", protocol="Fréchet video distance by I3D")
        if not self.lpips_path:
            reason = "suite.video.lpips_path is empty"
            found["lpips"] = undefined(reason, unit="LPIPS", protocol=PROTOCOL)
        return found

    def _videos(
        self, context: EvalContext, clips: Sequence[Clip]
    ) -> dict[str, UInt8[np.ndarray, "m n h w c"]]:
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
        rebuilt = [context.tokenizer.reconstruct(clip.window.video).video for clip in clips]
        return {
            IMAGINED: imagined,
            COPY_LAST: CopyLast().imagine(
                [clip.prompt for clip in clips], actions, [0] * len(clips)
            ),
            TOKENIZER: np.stack([video[self.num_prompt_frames :] for video in rebuilt]),
        }


def _by_frame(
    measure: FrameMeasure,
    true: UInt8[np.ndarray, "m n h w c"],
    other: UInt8[np.ndarray, "m n h w c"],
) -> Float[np.ndarray, "m n"]:
    return np.stack([measure(*pair) for pair in zip(true, other, strict=True)])


def _frame_metrics(
    clips: Sequence[Clip],
    measured: Mapping[str, Mapping[str, Float[np.ndarray, "m n"]]],
    *,
    seed: int,
) -> dict[str, Metric]:
    episode = np.array([clip.number for clip in clips])
    metrics = {}
    for name, by_whom in measured.items():
        shared = {"n_units": len(np.unique(episode)), "unit": UNITS[name]}
        means = {who: episode_mean(values, episode).value for who, values in by_whom.items()}
        metrics[name] = to_metric(
            episode_mean(by_whom[IMAGINED], episode, seed=seed),
            protocol=f"{name}, mean over the horizon; {PROTOCOL}",
            baselines={COPY_LAST: means[COPY_LAST]},
            ceiling=means[TOKENIZER],
            **shared,
        )
        metrics[f"{name}/gain_over_copy_last"] = to_metric(
            episode_mean(by_whom[IMAGINED] - by_whom[COPY_LAST], episode, seed=seed),
            protocol=f"{name}, imagined minus copy_last, paired; {PROTOCOL}",
            **shared,
        )
        for who, values in by_whom.items():
            for t, column in enumerate(values.T, start=1):
                metrics[f"{name}/{who}/t{t}"] = to_metric(
                    episode_mean(column, episode, seed=seed),
                    protocol=f"{name}, {who}, frame t; {PROTOCOL}",
                    **shared,
                )
    return metrics


def _rows(
    clips: Sequence[Clip], measured: Mapping[str, Mapping[str, Float[np.ndarray, "m n"]]]
) -> list[dict[str, float | str | None]]:
    rows = []
    for c, clip in enumerate(clips):
        row: dict[str, float | str | None] = {
            "episode_id": clip.window.episode_id,
            "start": clip.window.start,
        }
        for name, by_whom in measured.items():
            for who, values in by_whom.items():
                row[f"{name}_{who}"] = float(values[c].mean())
                for t, value in enumerate(values[c], start=1):
                    row[f"{name}_{who}_t{t}"] = float(value)
        rows.append(row)
    return rows


def _figure(
    metrics: Mapping[str, Metric], measured: Mapping[str, Mapping[str, Float[np.ndarray, "m n"]]]
) -> Figure:
    panels = figures.new_axes(len(measured), width=5.0 * len(measured))
    for axes, (name, by_whom) in zip(panels, measured.items(), strict=True):
        frames = range(1, by_whom[IMAGINED].shape[1] + 1)
        lines = {
            who.replace("_", " "): figures.metric_curve(
                [metrics[f"{name}/{who}/t{t}"] for t in frames]
            )
            for who in by_whom
        }
        labels = ("imagined frame t", f"{name.replace('_', ' ')} ({UNITS[name]})")
        figures.draw_curves(axes, frames, lines, labels=labels)
    figures.share_legend(panels)
    return figures.owner(panels[0])


def _strip(
    videos: Mapping[str, UInt8[np.ndarray, "m n h w c"]], true: UInt8[np.ndarray, "m n h w c"]
) -> Figure:
    """The prompt with the median PSNR."""
    quality = _by_frame(frame_psnr, true, videos[IMAGINED]).mean(axis=1)
    median = int(np.argsort(quality)[len(quality) // 2])
    shown = np.unique(np.linspace(0, true.shape[1] - 1, min(true.shape[1], 8)).astype(int))
    rows = {"true": true[median][shown]}
    rows |= {who: videos[who][median][shown] for who in (IMAGINED, TOKENIZER)}
    return figures.frame_strip(rows, titles=[f"t = {t + 1}" for t in shown])


def _nothing(reason: str) -> SuiteResult:
    names = ("psnr", "ssim", "random_conv_distance")
    return SuiteResult(
        metrics={n: undefined(reason, unit=UNITS[n], protocol=PROTOCOL) for n in names},
        headline=names,
        per_episode=[],
        figures={},
        notes=(reason,),
    )
