"""Quality of imagined video: frame by frame over the horizon, and as a distribution."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure

from genie_robo.eval_suites import figures
from genie_robo.eval_suites.base import EvalContext, SuiteResult
from genie_robo.eval_suites.metrics.frechet import (
    Distance,
    frechet_distance,
    left_out,
    unbiased_mmd,
)
from genie_robo.eval_suites.metrics.image_metrics import frame_psnr, frame_ssim
from genie_robo.eval_suites.rollouts import (
    Clip,
    choose_clips,
    clip_table,
    imagine,
    infer_codes,
    sampler_seeds,
)
from genie_robo.eval_suites.settings import VideoSettings
from genie_robo.eval_suites.statistics import MIN_EPISODES_FOR_INTERVAL, notes_on_units
from genie_robo.eval_suites.table import LeftOut, Measurement, Metric, Table, undefined
from genie_robo.eval_suites.uninformed import ABOUT, BLURRED, MEAN_FRAME, uninformed_videos
from genie_robo.eval_suites.video_features import (
    Features,
    i3d_features,
    lpips_distance,
    random_conv_distance,
    random_video_features,
)
from genie_robo.eval_suites.weights_file import I3D_BYTES
from genie_robo.inference.world import hold_last
from genie_robo.video_files import equally_spaced

IMAGINED, COPY_LAST, TOKENIZER = "imagined", "copy_last", "tokenizer"
GIVEN = (COPY_LAST, MEAN_FRAME, BLURRED)
"""Videos that are the same for every model."""
FLOOR = "real_against_real"
FAST_CLIPS = 8
RANDOM_FEATURES = "random_conv3d"
PROTOCOL = (
    "frames imagined from the prompt with the latent actions inferred on the true frames, against "
    "the true frames of test episodes; averaged over prompts, interval over test episodes; "
    f"copy_last holds the prompt frame, {ABOUT}; ceiling: the tokenizer's reconstruction of the "
    "true frames"
)
DISTANCE_PROTOCOL = (
    "test episodes are cut into two halves; features ({name}) of the imagined videos of one half "
    "against those of the real videos of the other, N = {first} and {second}; real_against_real: "
    "the real videos of the first half instead, the lowest value to be expected at this N; "
    "interval by jackknife over test episodes; comparable only with the same features, dataset and "
    "N"
)
UNITS = {"psnr": "dB", "ssim": "SSIM", "random_conv_distance": "distance", "lpips": "LPIPS"}
FrameMeasure = Callable[[np.ndarray, np.ndarray], Float[np.ndarray, " t"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoSuite(VideoSettings):
    """PSNR, SSIM and perceptual distance over the horizon; Fréchet distance and MMD of videos.

    Raises:
        FileNotFoundError: A file of weights does not exist.
        ValueError: A file of weights has another sha256 than expected.
    """

    summary: ClassVar[str] = (
        "how far imagined video is from real video, by frame and as a distribution"
    )
    headline: ClassVar[Mapping[str, str]] = {
        "psnr": "dB",
        "ssim": "SSIM",
        "random_conv_distance": "distance",
        "lpips": "LPIPS",
        f"frechet/{RANDOM_FEATURES}": "distance",
        f"mmd/{RANDOM_FEATURES}": "distance",
        "fvd": "FVD",
    }

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Imagine and compare with the true frames."""
        clips = choose_clips(
            context,
            num_clips=self.num_clips,
            num_prompt_frames=self.num_prompt_frames,
            horizon=self.horizon,
            name=self.name,
            fast_clips=FAST_CLIPS,
        )
        videos = self._videos(context, clips)
        blind = uninformed_videos(context, clips, videos[IMAGINED])
        true = np.stack([clip.future for clip in clips])
        table = clip_table(clips)
        measures = self._frame_measures()
        for name, measure in measures.items():
            for who, video in (videos | blind).items():
                values = _by_frame(measure, true, video)
                table.add(f"{name}_{who}", values.mean(axis=1), given=who in GIVEN)
                table.add_series(f"{name}_{who}", values, given=who in GIVEN)
        frames = range(1, true.shape[1] + 1)
        found = _frame_measurements(table, list(measures), list(blind), frames)
        for name, features in self._video_features().items():
            found |= distance_measurements(table, true, videos, features, name=name)
        result = SuiteResult.of(
            found | self._absent(),
            seed=context.seed,
            headline=tuple(self.headline),
            table=table,
            notes=notes_on_units(table.num_episodes),
        )
        curves = _figure(result.metrics, list(measures), true.shape[1])
        return replace(result, figures={"horizon": curves, "strip": _strip(videos, true)})

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

    def _absent(self) -> dict[str, Measurement]:
        """FVD and LPIPS, undefined where their weights are missing."""
        found = {}
        if not self.i3d_path:
            reason = (
                f"suite.video.i3d_path is empty; it needs i3d_torchscript.pt ({I3D_BYTES:,} bytes)"
            )
            found["fvd"] = undefined(reason, unit="FVD", protocol="Fréchet video distance by I3D")
        if not self.lpips_path:
            reason = "suite.video.lpips_path is empty"
            found["lpips"] = undefined(reason, unit="LPIPS", protocol=PROTOCOL)
        return found

    def _videos(
        self, context: EvalContext, clips: Sequence[Clip]
    ) -> dict[str, UInt8[np.ndarray, "m n h w c"]]:
        codes, prompts = infer_codes(context.encoder, clips), [clip.prompt for clip in clips]
        imagined = imagine(
            context,
            prompts,
            codes,
            sampler_seeds(clips, context.seed),
            batch_size=self.batch_size,
            description=f"{self.name}: imagine",
        )
        rebuilt = [context.tokenizer.reconstruct(clip.window.video).video for clip in clips]
        return {
            IMAGINED: imagined,
            COPY_LAST: hold_last(prompts, codes.shape[1]),
            TOKENIZER: np.stack([video[self.num_prompt_frames :] for video in rebuilt]),
        }


def _by_frame(
    measure: FrameMeasure,
    true: UInt8[np.ndarray, "m n h w c"],
    other: UInt8[np.ndarray, "m n h w c"],
) -> Float[np.ndarray, "m n"]:
    return np.stack([measure(*pair) for pair in zip(true, other, strict=True)])


def _frame_measurements(
    table: Table, measures: Sequence[str], uninformed: Sequence[str], frames: range
) -> dict[str, Measurement]:
    found = {}
    for name in measures:
        means = {who: table.mean([f"{name}_{who}"]) for who in (IMAGINED, COPY_LAST, TOKENIZER)}
        found[name] = Measurement(
            of=means[IMAGINED],
            unit=UNITS[name],
            protocol=f"{name}, mean over the horizon; {PROTOCOL}",
            baselines={w: table.mean([f"{name}_{w}"]) for w in (COPY_LAST, *uninformed)},
            ceiling=means[TOKENIZER],
        )
        for other in (COPY_LAST, *uninformed):
            found[f"{name}/gain_over_{other}"] = Measurement(
                of=table.mean_difference([f"{name}_{IMAGINED}"], [f"{name}_{other}"]),
                unit=UNITS[name],
                protocol=f"{name}, imagined minus {other}, paired; {PROTOCOL}",
            )
        for who in means:
            for t in frames:
                found[f"{name}/{who}/t{t}"] = Measurement(
                    of=table.mean([f"{name}_{who}_t{t}"]),
                    unit=UNITS[name],
                    protocol=f"{name}, {who}, frame t; {PROTOCOL}",
                )
    return found


def distance_measurements(
    table: Table,
    true: UInt8[np.ndarray, "m n h w c"],
    videos: Mapping[str, UInt8[np.ndarray, "m n h w c"]],
    features: Features,
    *,
    name: str,
) -> dict[str, Measurement]:
    """Fréchet distance and unbiased MMD; with I3D features the former is FVD.

    Adds the half of each clip, and the distances without its episode, to the table.
    """
    names = {"fvd" if name == "i3d" else f"frechet/{name}": frechet_distance}
    distances: dict[str, Distance] = names | {f"mmd/{name}": unbiased_mmd}
    episode = np.unique(table.episodes, return_inverse=True)[1]
    first, second = halves(episode)
    protocol = DISTANCE_PROTOCOL.format(name=name, first=len(first), second=len(second))
    if min(len(first), len(second)) < 2:
        reason = f"{len(table)} videos of {table.num_episodes} test episodes cannot be cut in two"
        return dict.fromkeys(distances, undefined(reason, unit="distance", protocol=protocol))
    real = features(true[second])
    seen = {who: features(video[first]) for who, video in ({FLOOR: true} | dict(videos)).items()}
    sides = {"first_episode": episode[first], "second_episode": episode[second]}
    is_enough = min(len(np.unique(side)) for side in sides.values()) >= MIN_EPISODES_FOR_INTERVAL
    side = table.texts["side"] = np.where(episode % 2 == 0, IMAGINED, "real").tolist()
    found = {}
    for metric, distance in distances.items():
        without = None
        if is_enough:
            left = left_out(distance, seen[IMAGINED], real, **sides)
            # Halves alternate: the first has the even episode numbers.
            without = np.array([left[e % 2][e // 2] for e in episode])
            table.add(f"{metric}/without", without)
        found[metric] = Measurement(
            of=LeftOut(table, distance(seen[IMAGINED], real), without, side),
            unit="distance",
            protocol=protocol,
            baselines={who: distance(seen[who], real) for who in (FLOOR, "copy_last", "tokenizer")},
            ceiling=distance(seen[FLOOR], real),
        )
    return found


def halves(episode: Int[np.ndarray, " m"]) -> tuple[np.ndarray, np.ndarray]:
    """Clips of even and of odd episodes, so that no episode is in both halves."""
    return np.flatnonzero(episode % 2 == 0), np.flatnonzero(episode % 2 == 1)


def _figure(metrics: Mapping[str, Metric], measures: Sequence[str], horizon: int) -> Figure:
    panels = {name: (f"{name.replace('_', ' ')} ({UNITS[name]})", "") for name in measures}
    who = (IMAGINED, COPY_LAST, TOKENIZER)
    return figures.horizon_panels(metrics, who, panels, horizon=horizon, width=4.2)


def _strip(
    videos: Mapping[str, UInt8[np.ndarray, "m n h w c"]], true: UInt8[np.ndarray, "m n h w c"]
) -> Figure:
    """Frames of the rollout with the median PSNR."""
    quality = _by_frame(frame_psnr, true, videos[IMAGINED]).mean(axis=1)
    median = int(np.argsort(quality)[len(quality) // 2])
    shown = equally_spaced(true.shape[1], most=8)
    rows = {"true": true[median][shown]}
    rows |= {who: videos[who][median][shown] for who in (IMAGINED, TOKENIZER)}
    return figures.frame_strip(rows, titles=[f"t = {t + 1}" for t in shown])
