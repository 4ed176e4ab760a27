"""Imagined rollouts against MuJoCo under the recorded actions."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float, UInt8
from matplotlib.figure import Figure

from genie_robo.eval_suites import figures
from genie_robo.eval_suites.base import EvalContext, SuiteResult
from genie_robo.eval_suites.metrics.image_metrics import (
    PSNR_CAP_DB,
    changed_pixels,
    changed_psnr,
    frame_psnr,
)
from genie_robo.eval_suites.plugs import fit_motion_centroids
from genie_robo.eval_suites.rollouts import (
    NO_CONTROL,
    NO_LATENTS,
    ROBOT_ACTIONS_ONLY,
    Clip,
    choose_clips,
    clip_table,
    imagine,
    infer_codes,
    infer_latents,
    infer_sequences,
    random_codes,
    sampler_seeds,
)
from genie_robo.eval_suites.settings import SimRolloutSettings
from genie_robo.eval_suites.simulated.pose_reading import fit_pose_readers, shows_decoded
from genie_robo.eval_suites.simulated.poses import (
    REBUILT_FRAMES,
    TRUE_FRAMES,
    PoseTable,
    Source,
    no_poses,
    pose_measurements,
)
from genie_robo.eval_suites.simulated.truth import ROBOT as ROBOT_PIXEL
from genie_robo.eval_suites.simulated.truth import Truth, look, stack
from genie_robo.eval_suites.statistics import notes_on_units
from genie_robo.eval_suites.table import Measurement, Metric, Table, UnavailableError, undefined
from genie_robo.eval_suites.uninformed import (
    ABOUT,
    BLURRED,
    MEAN_FRAME,
    UNINFORMED,
    uninformed_videos,
)
from genie_robo.inference.world import Actions, Codes, Latents, RobotActions, World, hold_last
from genie_robo.progress import progress_bar
from genie_robo.sim.mujoco_world import MujocoWorld
from genie_robo.video_files import equally_spaced

Videos = dict[str, UInt8[np.ndarray, "m n h w c"]]
"""Frames after the prompt of every clip, by kind of rollout."""

IMAGINED, ALONE, LATENTS = "imagined", "codes_alone", "latents"
"""Rollouts steered by what is inferred on the recorded frames: codes with error feedback, codes of
each transition alone as in the paper, the latents themselves."""
ROBOT, ROBOT_BY_CODES, CONTROL, RANDOM = (
    "robot_actions",
    "robot_actions_by_codes",
    "robot_control",
    "random_codes",
)
"""Rollouts steered by the recorded robot actions through latents, through codes, as they are after
stage robot_control, and by random codes."""
GREEDY_CODES = "greedy_codes"
"""MuJoCo driven by motions quantised to as many k-means centroids as there are codes, by greedy
error feedback. A search over whole sequences, or other centroids, can come closer: no bound."""
PATHS = (IMAGINED, ALONE, LATENTS, ROBOT, ROBOT_BY_CODES, CONTROL, RANDOM, GREEDY_CODES)
DRAWN = (IMAGINED, LATENTS, ROBOT, CONTROL, RANDOM, GREEDY_CODES)
"""Paths in the figures."""
CALLED = {IMAGINED: "codes", GREEDY_CODES: "MuJoCo coded"}
COPY_LAST, TOKENIZER, RECORDED = "copy_last", "tokenizer", "recorded"
GIVEN = (COPY_LAST, MEAN_FRAME, BLURRED)
"""Videos that are the same for every model."""
MEASURES = {
    "psnr": "PSNR against MuJoCo's frame",
    "changed_psnr": "PSNR over the pixels that change from MuJoCo's frame t - 1 to t",
    "robot_psnr": "PSNR over the pixels of the robot in MuJoCo's frame t",
}
PROTOCOL = (
    "MuJoCo restored at the prompt frame executes the recorded actions; the world model gets the "
    "prompt and codes inferred on the recorded frames with error feedback (codes_alone: each "
    "quantised alone; latents: not quantised; robot_actions: the recorded ones through the action "
    "map, to latents where the model takes them; robot_actions_by_codes; robot_control: as they "
    "are, after stage robot_control; random_codes); "
    "greedy_codes is MuJoCo under the recorded actions, every xyz motion quantised to the nearest "
    "k-means centroid with error feedback, as many centroids as latent actions; per-frame dB "
    "averaged over prompts, interval over test episodes; copy_last holds the prompt frame, "
    f"{ABOUT}; the ceiling is the tokenizer's own reconstruction of MuJoCo's frames"
)
POSE_EPISODES, FAST_POSE_EPISODES = 60, 12
NOTHING_TO_FIT = "there is no episode to fit on"
NO_ROBOT = "nothing maps robot actions to what steers this world model"
ONE_MAP = "this world model has no second way from robot actions to what steers it"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimRollout(SimRolloutSettings):
    """PSNR and poses of imagined rollouts against MuJoCo, over the horizon."""

    summary: ClassVar[str] = "how far imagined rollouts are from MuJoCo's"
    headline: ClassVar[Mapping[str, str]] = {
        "tool_error": "mm",
        f"tool_error/{LATENTS}": "mm",
        f"tool_error/{ROBOT}": "mm",
        f"tool_error/{CONTROL}": "mm",
        "box_error": "mm",
        "gain": "ratio",
        "psnr": "dB",
        "replay_psnr": "dB",
    }

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Replay in MuJoCo, imagine, compare."""
        if not context.is_simulated:
            raise UnavailableError(
                "the dataset holds no simulator state, so MuJoCo cannot replay it"
            )
        clips = choose_clips(
            context,
            num_clips=self.num_clips,
            num_prompt_frames=self.num_prompt_frames,
            horizon=self.horizon,
            name=self.name,
        )
        truths = self._execute(clips, MujocoWorld(renderer=self.renderer), "MuJoCo")
        paths = self._paths(context, clips)
        others = self._others(context, clips, truths)
        others |= uninformed_videos(context, clips, paths[_main(paths)])
        table = clip_table(clips)
        true_video = np.stack([truth.video for truth in truths])
        self._add_decibels(table, true_video, paths | others, truths)
        uninformed = [name for name in UNINFORMED if name in others]
        found = _decibels(table, list(paths), uninformed, true_video.shape[1] - 1)
        found |= self._poses(context, table, clips, truths, paths | others)
        result = SuiteResult.of(
            found,
            seed=context.seed,
            headline=tuple(self.headline),
            table=table,
            notes=(*_notes_on_codes(paths), *_notes(table, found["replay_psnr"])),
        )
        shown = _figures(result.metrics, table, true_video, paths, others[TOKENIZER])
        return replace(result, figures=shown)

    def _paths(self, context: EvalContext, clips: Sequence[Clip]) -> Videos:
        """Imagined rollouts by what steers them, and MuJoCo under quantised motions."""
        given: list[tuple[str, np.ndarray, type[Actions], World]] = []
        if context.takes_codes:
            num_codes, horizon = context.encoder.num_codes, len(clips[0].future)
            codes = {
                IMAGINED: infer_sequences(context.encoder, clips),
                ALONE: infer_codes(context.encoder, clips),
                RANDOM: random_codes(clips, num_codes, horizon, context.seed),
            }
            given += [(path, values, Codes, context.world) for path, values in codes.items()]
        if context.takes_latents:
            latents = infer_latents(context.encoder, clips)
            given.append((LATENTS, latents, Latents, context.world))
        motions = np.stack([clip.robot_actions for clip in clips])
        worlds = {
            ROBOT: context.world,
            ROBOT_BY_CODES: context.world_by_codes,
            CONTROL: context.world_by_control,
        }
        for path, world in worlds.items():
            if world is not None and RobotActions in world.takes:
                given.append((path, motions, RobotActions, world))
        prompts, seeds = [clip.prompt for clip in clips], sampler_seeds(clips, context.seed)
        paths = {
            path: imagine(
                context,
                prompts,
                values,
                seeds,
                by=kind,
                world=world,
                batch_size=self.batch_size,
                description=f"{self.name}: {path}",
            )
            for path, values, kind, world in given
        }
        if len(context.fit.episodes):
            feedback = fit_motion_centroids(context, name=self.name)
            world = MujocoWorld(feedback=feedback, renderer=self.renderer)
            coded = self._execute(clips, world, "MuJoCo, quantised motions")
            paths[GREEDY_CODES] = np.stack([truth.video[1:] for truth in coded])
        return {path: paths[path] for path in PATHS if path in paths}

    def _execute(self, clips: Sequence[Clip], world: MujocoWorld, description: str) -> list[Truth]:
        """Frames and states of MuJoCo for every clip, from its last prompt frame on."""
        found = []
        description = f"{self.name}: {description}"
        with progress_bar(description, total=len(clips), unit="rollouts") as advance:
            for clip in clips:
                world.start([clip.prompt], [0])
                moments = [look(world.envs[0])]
                for _ in clip.future:
                    world.step(Codes(np.zeros(1, np.int64)))  # MuJoCo executes the recording
                    moments.append(look(world.envs[0]))
                found.append(stack(moments))
                advance()
        world.close()
        return found

    def _others(
        self, context: EvalContext, clips: Sequence[Clip], truths: Sequence[Truth]
    ) -> Videos:
        """The held prompt, MuJoCo's frames after tokenization, and the recorded frames."""
        rebuilt = self._rebuild(context, clips, truths)
        return {
            COPY_LAST: hold_last([clip.prompt for clip in clips], len(clips[0].future)),
            TOKENIZER: rebuilt[:, 1:],
            RECORDED: np.stack([clip.future for clip in clips]),
        }

    def _rebuild(
        self, context: EvalContext, clips: Sequence[Clip], truths: Sequence[Truth]
    ) -> UInt8[np.ndarray, "m t h w c"]:
        """MuJoCo's frames after tokenization, from the last prompt frame on."""
        pairs = zip(clips, truths, strict=True)
        full = [np.concatenate([clip.prompt.frames, truth.video[1:]]) for clip, truth in pairs]
        seen = [context.tokenizer.reconstruct(video).video for video in full]
        return np.stack([video[self.num_prompt_frames - 1 :] for video in seen])

    def _add_decibels(
        self,
        table: Table,
        true_video: UInt8[np.ndarray, "m t h w c"],
        videos: Videos,
        truths: Sequence[Truth],
    ) -> None:
        """A column for every measure, kind of rollout and frame."""
        is_robot = np.stack([truth.shows[1:] == ROBOT_PIXEL for truth in truths])
        for who, video in videos.items():
            measured = decibels(true_video, video, is_robot, threshold=self.change_threshold)
            for name, values in measured.items():
                table.add_series(f"{name}_{who}", values, given=who in GIVEN)

    def _poses(
        self,
        context: EvalContext,
        table: Table,
        clips: Sequence[Clip],
        truths: Sequence[Truth],
        videos: Videos,
    ) -> dict[str, Measurement]:
        """Pose measurements of every path."""
        missing = _missing(videos)
        if not len(context.fit.episodes):
            missing = dict.fromkeys(PATHS, NOTHING_TO_FIT) | missing
        found: dict[str, Measurement] = {}
        for path, reason in missing.items():
            found |= {f"{n}{_suffix(path)}": value for n, value in no_poses(reason).items()}
        if not len(context.fit.episodes):
            return found
        readers = fit_pose_readers(
            context,
            max_episodes=FAST_POSE_EPISODES if context.fast else POSE_EPISODES,
            description=self.name,
        )
        true_video = np.stack([truth.video for truth in truths])
        sources = {
            TRUE_FRAMES: Source(readers.recorded, true_video),
            REBUILT_FRAMES: Source(readers.decoded, self._rebuild(context, clips, truths)),
        }
        poses = PoseTable(table, truths, sources)
        known = [path for path in PATHS if path in videos]
        shown = REBUILT_FRAMES if shows_decoded(context.world) else TRUE_FRAMES
        for who in (COPY_LAST, *known):
            source = TRUE_FRAMES if who in (COPY_LAST, GREEDY_CODES) else shown
            poses.add(who, videos[who], source=source)
        for path in known:
            others = known if path == IMAGINED else [p for p in known if p == RANDOM]
            baselines = {other: other for other in others if other != path}
            measured = pose_measurements(poses, path, baselines=baselines)
            found |= {f"{name}{_suffix(path)}": value for name, value in measured.items()}
        return found


def decibels(
    true: UInt8[np.ndarray, "m t h w c"],
    video: UInt8[np.ndarray, "m n h w c"],
    is_robot: Bool[np.ndarray, "m n h w"],
    *,
    threshold: int,
) -> dict[str, Float[np.ndarray, "m n"]]:
    """All measures of every frame, NaN without such pixels; `true` begins with the prompt frame."""
    rows = []
    for seen, other, robot in zip(true, video, is_robot, strict=True):
        changed = changed_pixels(seen, threshold=threshold)
        masked = (changed_psnr(seen[1:], other, mask) for mask in (changed, robot))
        rows.append((frame_psnr(seen[1:], other), *masked))
    columns = zip(*rows, strict=True)
    return {name: np.stack(column) for name, column in zip(MEASURES, columns, strict=True)}


def _decibels(
    table: Table, paths: Sequence[str], uninformed: Sequence[str], horizon: int
) -> dict[str, Measurement]:
    """Means over the horizon, gains over uninformed videos, and values of every frame."""
    frames, main = range(1, horizon + 1), _main(paths)

    def columns(name: str, who: str) -> list[str]:
        return [f"{name}_{who}_t{t}" for t in frames]

    found = {}
    decibel = partial(Measurement, unit="dB", reason="there are no such pixels in MuJoCo's frames")
    for name, what in MEASURES.items():
        means = {w: table.mean(columns(name, w)) for w in (*paths, COPY_LAST, TOKENIZER)}
        blind = {w: table.mean(columns(name, w)) for w in uninformed}
        for path in paths:
            others = [COPY_LAST, *(p for p in paths if p != path and path == IMAGINED)]
            found[f"{name}{_suffix(path)}"] = decibel(
                of=means[path],
                protocol=f"{what}, {path}, mean over the horizon; {PROTOCOL}",
                baselines={other: means[other] for other in others} | blind,
                ceiling=means[TOKENIZER],
            )
        for other in (COPY_LAST, *uninformed):
            found[f"{name}/gain_over_{other}"] = decibel(
                of=table.mean_difference(columns(name, main), columns(name, other)),
                protocol=f"{what}, {main} minus {other}; {PROTOCOL}",
            )
        for who in means:
            for t in frames:
                found[f"{name}/{who}/t{t}"] = decibel(
                    of=table.mean([f"{name}_{who}_t{t}"]),
                    protocol=f"{what}, {who}, frame t; {PROTOCOL}",
                )
    for path, reason in _missing(paths).items():
        found |= {
            f"{name}{_suffix(path)}": undefined(reason, unit="dB", protocol=PROTOCOL)
            for name in MEASURES
        }
    found["replay_psnr"] = decibel(
        of=table.mean(columns("psnr", RECORDED)),
        protocol=f"recorded frames against MuJoCo's; {PSNR_CAP_DB:.0f} = equal; {PROTOCOL}",
    )
    return found


def _missing(paths: Mapping[str, object] | Sequence[str]) -> dict[str, str]:
    """Why some paths have no rollouts."""
    reasons = {
        **dict.fromkeys((IMAGINED, ALONE, RANDOM), ROBOT_ACTIONS_ONLY),
        LATENTS: NO_LATENTS,
        ROBOT: NO_ROBOT,
        ROBOT_BY_CODES: ONE_MAP,
        CONTROL: NO_CONTROL,
        GREEDY_CODES: NOTHING_TO_FIT,
    }
    return {path: reason for path, reason in reasons.items() if path not in paths}


def _main(paths: Collection[str]) -> str:
    """The rollouts by codes, or by robot actions where these alone steer."""
    return next(path for path in PATHS if path in paths)


def _suffix(path: str) -> str:
    return "" if path == IMAGINED else f"/{path}"


def _figures(
    metrics: Mapping[str, Metric],
    table: Table,
    true: UInt8[np.ndarray, "m t h w c"],
    paths: Videos,
    rebuilt: UInt8[np.ndarray, "m n h w c"],
) -> dict[str, Figure]:
    """Curves over the horizon, and the rollout of the clip with the median PSNR."""
    horizon = true.shape[1] - 1
    titles = ("whole frame", "pixels that change", "pixels of the robot")
    label = "PSNR against MuJoCo (dB)"
    panels = {name: (label, title) for name, title in zip(MEASURES, titles, strict=True)}
    drawn = [path for path in DRAWN if path in paths]
    who = (*drawn, COPY_LAST, TOKENIZER)
    curves = figures.horizon_panels(metrics, who, panels, horizon=horizon, width=4.2, names=CALLED)
    quality = table.values([f"psnr_{_main(paths)}_t{t + 1}" for t in range(horizon)]).mean(axis=1)
    median = int(np.argsort(quality)[len(quality) // 2])
    shown = equally_spaced(horizon + 1, most=9)
    strip = {"MuJoCo": true[median][shown]}
    rows = {path: paths[path] for path in drawn} | {TOKENIZER: rebuilt}
    for path, video in rows.items():
        name = CALLED.get(path, path.replace("_", " "))
        strip[name] = video[median][np.array(shown[1:]) - 1]
    return {
        "horizon": curves,
        "strip": figures.frame_strip(strip, titles=["prompt", *(f"t = {t}" for t in shown[1:])]),
    }


def _notes_on_codes(paths: Videos) -> tuple[str, ...]:
    if IMAGINED not in paths or not np.array_equal(paths[IMAGINED], paths[ALONE]):
        return ()
    return (
        f"{IMAGINED} and {ALONE} are equal: this encoder has no error feedback, or the "
        "world does not depend on the codes.",
    )


def _notes(table: Table, replayed: Measurement) -> tuple[str, ...]:
    notes = [
        f"{len(table)} prompts of {table.num_episodes} test episodes; the strip shows the prompt "
        "with the median PSNR.",
        *notes_on_units(table.num_episodes),
    ]
    value = replayed.metric(seed=0).value
    if value is not None and value < PSNR_CAP_DB:
        notes.append(
            "MuJoCo's replay is not the recording bit for bit: another MuJoCo version, renderer "
            "or image size than the recording's. MuJoCo's frames are the reference here."
        )
    return tuple(notes)
