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
    choose_test_clips,
    follow_actions,
    imagine_branches,
    imagine_robot_actions,
    infer_actions,
    random_codes,
    stable_seed,
    too_short,
)
from eval_suites.metrics.image_metrics import CHANGE_THRESHOLD, PSNR_CAP_DB
from eval_suites.plugs.best_codes import BestCodes
from eval_suites.plugs.truth import Truth, execute
from eval_suites.probes.decoded_replay import spread
from eval_suites.simulated.decibels import (
    ALONE,
    BEST_CODES,
    COPY_LAST,
    IMAGINED,
    MEASURES,
    PROTOCOL,
    RANDOM,
    RECORDED,
    ROBOT,
    TOKENIZER,
    Measured,
    decibel_metrics,
    decibels,
)
from eval_suites.simulated.pose_reading import fit_pose_reader
from eval_suites.simulated.poses import PoseReadings, no_pose_metrics, pose_metrics
from eval_suites.statistics import notes_on_units
from genie_robo.progress import progress_bar
from genie_robo.sim.actions import ACTION_HIGH, ACTION_LOW

POSE_EPISODES, FAST_POSE_EPISODES = 60, 12
HEADLINE = (
    *MEASURES,
    *(f"{name}/gain_over_copy_last" for name in MEASURES),
    *(f"{name}/{path}" for name in ("psnr", "tool_error") for path in (ALONE, ROBOT, RANDOM)),
    *(f"{name}/{BEST_CODES}" for name in ("psnr", "changed_psnr", "tool_error", "gain")),
    "tool_error",
    "box_error",
    "gain",
    "lag",
    "replay_psnr",
)
NOTHING_TO_FIT = "there is no episode to fit on"
NO_ROBOT = "nothing maps robot actions to what steers this world model"


class _Videos(NamedTuple):
    """Frames after the prompt, for every clip."""

    true: Sequence[Truth]
    """MuJoCo's, the prompt frame first."""
    paths: Mapping[str, UInt8[np.ndarray, "m n h w c"]]
    """Imagined, by what steered."""
    others: Mapping[str, UInt8[np.ndarray, "m n h w c"]]

    @property
    def true_video(self) -> UInt8[np.ndarray, "m t h w c"]:
        """MuJoCo's frames of all clips."""
        return np.stack([truth.video for truth in self.true])


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
        videos = self._videos(context, clips)
        measured = self._measure(videos)
        metrics = decibel_metrics(clips, measured, seed=context.seed)
        metrics |= self._pose_metrics(context, clips, videos)
        if ROBOT not in videos.paths:
            metrics |= no_pose_metrics(NO_ROBOT, suffix=f"/{ROBOT}")
            metrics |= _no_decibels(NO_ROBOT, suffix=f"/{ROBOT}")
        if BEST_CODES not in videos.paths:
            metrics |= no_pose_metrics(NOTHING_TO_FIT, suffix=f"/{BEST_CODES}")
            metrics |= _no_decibels(NOTHING_TO_FIT, suffix=f"/{BEST_CODES}")
        return SuiteResult(
            metrics=metrics,
            headline=HEADLINE,
            per_episode=_rows(clips, measured),
            figures=_figures(metrics, videos, measured),
            notes=(*_notes_on_codes(videos), *_notes(clips, metrics["replay_psnr"])),
        )

    def _videos(self, context: EvalContext, clips: Sequence[Clip]) -> _Videos:
        paths, held = self._paths(context, clips)
        true = self._execute(context, clips, description="MuJoCo")
        if len(context.fit.episodes):
            best = BestCodes.fit(context, name=self.name)
            told = np.stack([best.tell(clip.robot_actions) for clip in clips])
            coded = self._execute(context, clips, told, description="MuJoCo, best codes")
            paths[BEST_CODES] = np.stack([truth.video[1:] for truth in coded])
        first = self.num_prompt_frames
        rebuilt = [
            context.tokenizer.reconstruct(
                np.concatenate([clip.prompt.frames, truth.video[1:]])
            ).video
            for clip, truth in zip(clips, true, strict=True)
        ]
        others = {
            COPY_LAST: held,
            TOKENIZER: np.stack([video[first:] for video in rebuilt]),
            RECORDED: np.stack([clip.future for clip in clips]),
        }
        return _Videos(true, paths, others)

    def _paths(
        self, context: EvalContext, clips: Sequence[Clip]
    ) -> tuple[dict[str, UInt8[np.ndarray, "m n h w c"]], UInt8[np.ndarray, "m n h w c"]]:
        """Rollouts by what steers them, and the last prompt frames held."""
        alone = infer_actions(context.encoder, clips)
        followed = follow_actions(context.encoder, clips)
        drawn = random_codes(clips, context.encoder.num_codes, alone.shape[1], context.seed)
        prompts = [clip.prompt for clip in clips]
        seeds = [stable_seed("sampler", context.seed, clip.key) for clip in clips]
        paths = {}
        for path, codes in ((IMAGINED, followed), (ALONE, alone), (RANDOM, drawn)):
            branches = [Branch(*row) for row in zip(prompts, codes, seeds, strict=True)]
            paths[path] = imagine_branches(
                context.world_model,
                branches,
                batch_size=self.batch_size,
                description=f"{self.name}: {path}",
            )
        if context.robot_world_model is not None:
            paths[ROBOT] = imagine_robot_actions(
                context.robot_world_model,
                prompts,
                np.stack([clip.robot_actions for clip in clips]),
                seeds,
                batch_size=self.batch_size,
                description=f"{self.name}: {ROBOT}",
            )
        return paths, CopyLast().imagine(prompts, alone, seeds)

    def _execute(
        self,
        context: EvalContext,
        clips: Sequence[Clip],
        told: Float[np.ndarray, "m n 7"] | None = None,
        *,
        description: str,
    ) -> list[Truth]:
        """What MuJoCo says about every clip from its last prompt frame on.

        It executes the recorded actions, or what it is `told` to do in each transition.
        """
        stride = context.test.frame_stride
        found = []
        description = f"{self.name}: {description}"
        with progress_bar(description, total=len(clips), unit="rollouts") as advance:
            for number, clip in enumerate(clips):
                episode = context.dataset[context.test.episodes[clip.number]]
                start = clip.window.start + (clip.num_prompt_frames - 1) * stride
                stop = start + len(clip.future) * stride
                recorded = episode.robot_actions[start:stop].astype(np.float64)
                height, width = clip.window.video.shape[1:3]
                truth = execute(
                    episode,
                    start=start,
                    robot_actions=recorded if told is None else _steps(told[number], stride),
                    image_size=(height, width),
                    renderer=self.renderer,
                )
                found.append(truth.every(stride))
                advance()
        return found

    def _measure(self, videos: _Videos) -> Measured:
        everything = {**videos.paths, **videos.others}
        masks = np.stack([truth.is_robot[1:] for truth in videos.true])
        return {
            who: decibels(videos.true_video, video, masks, threshold=self.change_threshold)
            for who, video in everything.items()
        }

    def _pose_metrics(
        self, context: EvalContext, clips: Sequence[Clip], videos: _Videos
    ) -> dict[str, Metric]:
        if not len(context.fit.episodes):
            return no_pose_metrics(NOTHING_TO_FIT) | {
                name: metric
                for path in (ALONE, RANDOM, ROBOT)
                for name, metric in no_pose_metrics(NOTHING_TO_FIT, suffix=f"/{path}").items()
            }
        reader = fit_pose_reader(
            context,
            max_episodes=FAST_POSE_EPISODES if context.fast else POSE_EPISODES,
            description=self.name,
        )
        readings = PoseReadings(reader, videos.true_video, [truth.poses for truth in videos.true])
        return pose_metrics(
            readings,
            videos.paths,
            copied=videos.others[COPY_LAST],
            episode=np.array([clip.number for clip in clips]),
            seed=context.seed,
        )


def _steps(told: Float[np.ndarray, "n 7"], stride: int) -> Float[np.ndarray, "s 7"]:
    """One action a step, within the robot's bounds."""
    return np.clip(spread(told, stride), ACTION_LOW, ACTION_HIGH)


def _rows(clips: Sequence[Clip], measured: Measured) -> list[Mapping[str, float | str | None]]:
    rows = []
    for c, clip in enumerate(clips):
        row: dict[str, float | str | None] = {
            "episode_id": clip.window.episode_id,
            "start": clip.window.start,
        }
        for who, by_name in measured.items():
            for name, values in by_name.items():
                for t, value in enumerate(values[c], start=1):
                    row[f"{name}_{who}_t{t}"] = float(value) if np.isfinite(value) else None
        rows.append(row)
    return rows


def _figures(
    metrics: Mapping[str, Metric], videos: _Videos, measured: Measured
) -> dict[str, Figure]:
    true = videos.true_video
    horizon = true.shape[1] - 1
    frames = range(1, horizon + 1)
    panels = figures.new_axes(len(MEASURES), width=5.5 * len(MEASURES))
    titles = ("whole frame", "pixels that change", "pixels of the robot")
    for axes, name, title in zip(panels, MEASURES, titles, strict=True):
        lines = {
            who.replace("_", " "): figures.metric_curve(
                [metrics[f"{name}/{who}/t{t}"] for t in frames]
            )
            for who in (*videos.paths, COPY_LAST, TOKENIZER)
        }
        labels = ("imagined frame t", "PSNR against MuJoCo (dB)")
        figures.draw_curves(axes, frames, lines, labels=labels, title=title)
    figures.share_legend(panels)
    quality = measured[IMAGINED]["psnr"].mean(axis=1)
    median = int(np.argsort(quality)[len(quality) // 2])
    shown = np.unique(np.linspace(0, horizon, min(horizon + 1, 9)).astype(int))
    strip = {"MuJoCo": true[median][shown]}
    for who, video in (*videos.paths.items(), (TOKENIZER, videos.others[TOKENIZER])):
        strip[who.replace("_", " ")] = np.concatenate([true[median, :1], video[median]])[shown]
    return {
        "horizon": figures.owner(panels[0]),
        "strip": figures.frame_strip(strip, titles=["prompt", *(f"t = {t}" for t in shown[1:])]),
    }


def _notes_on_codes(videos: _Videos) -> tuple[str, ...]:
    if not np.array_equal(videos.paths[IMAGINED], videos.paths[ALONE]):
        return ()
    return (
        f"{IMAGINED} and {ALONE} are the same: these latent actions are of single transitions "
        "also where a whole rollout is followed, or the world does not ask for them.",
    )


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


def _no_decibels(reason: str, *, suffix: str = "") -> dict[str, Metric]:
    metric = undefined(reason, unit="dB", protocol=PROTOCOL)
    return {f"{name}{suffix}": metric for name in MEASURES}


def _nothing(reason: str) -> SuiteResult:
    metrics = _no_decibels(reason) | no_pose_metrics(reason)
    headline = (*MEASURES, "tool_error", "gain", "lag")
    return SuiteResult(
        metrics=metrics, headline=headline, per_episode=[], figures={}, notes=(reason,)
    )
