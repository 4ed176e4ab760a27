"""Does the trust in imagined frames tell which of them have left reality?"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from genie_robo.eval_suites import figures
from genie_robo.eval_suites.base import EvalContext, SuiteResult
from genie_robo.eval_suites.metrics.image_metrics import frame_psnr
from genie_robo.eval_suites.metrics.verdicts import auroc, share_terms
from genie_robo.eval_suites.rollouts import Clip, choose_clips, sampler_seeds, stable_seed
from genie_robo.eval_suites.settings import TrustSettings
from genie_robo.eval_suites.statistics import (
    MIN_EPISODES_FOR_INTERVAL,
    notes_on_units,
    ratio_of_sums,
)
from genie_robo.eval_suites.table import Measurement, Sums, Table, UnavailableError
from genie_robo.eval_suites.watching import watch
from genie_robo.inference.trust import WatchedWorld
from genie_robo.inference.world import Prompt, RobotActions, robot_steps
from genie_robo.progress import progress_bar
from genie_robo.sim.actions import ACTION_HIGH, ACTION_LOW
from genie_robo.sim.mujoco_world import MujocoWorld
from genie_robo.sim.restore import restore, stored_scene
from genie_robo.sim.robots import MENAGERIE
from genie_robo.sim.scene import SceneSpec
from genie_robo.sim.tabletop import Tabletop
from genie_robo.types import Episode

GOOD = "recorded"
MIN_TRUST = 0.05
"""A rollout is distrusted if a smaller share of validation clips is as strange."""
CAMERAS = {"camera_left": (0.75, -0.3, 0.6), "camera_above": (0.35, 0.35, 0.95)}
"""Where cameras stand that no episode was recorded with (m)."""
BOX_COLORS = {
    "orange": (0.95, 0.5, 0.1),
    "cyan": (0.1, 0.8, 0.85),
    "pink": (0.95, 0.5, 0.7),
    "black": (0.08, 0.08, 0.08),
}
TABLE, LIGHT = (0.45, 0.3, 0.18), (0.42, 0.3, 0.15)
"""Colours of boxes, a table and a lamp that no episode was recorded with."""
ROBOTS = {f"robot_{name}": name for name in MENAGERIE}
"""Robots that no episode was recorded with."""
CASES = {
    GOOD: "the recorded actions of test clips",
    "random": "uniformly random motions",
    "extreme": "one motion at the robot's bounds with a turn, held",
    **dict.fromkeys(CAMERAS, "the recorded actions, seen by a camera elsewhere"),
    "scene_boxes": "the recorded actions, with boxes of other colours",
    "scene_table": "the recorded actions, on a table of another colour in another light",
    **dict.fromkeys(ROBOTS, "the recorded actions, executed by another robot"),
}
PAIRS = "frames of different episodes are compared with each other: no p-value"


class _Clips(NamedTuple):
    """Clips of one case."""

    prompts: list[Prompt]
    robot_actions: Float[np.ndarray, "b n a"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust(TrustSettings):
    """AUROC of trust for frames that are far from MuJoCo's, on usual and on strange clips."""

    summary: ClassVar[str] = "whether trust tells imagined frames that have left reality"
    headline: ClassVar[Mapping[str, str]] = {"auroc": "chance", "auroc/strange": "chance"}

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Imagine every case under watch, and compare with MuJoCo."""
        if not context.is_simulated:
            raise UnavailableError("the dataset holds no simulator state to compare with")
        watched = watch(context)
        clips = choose_clips(
            context, num_clips=self.num_clips, horizon=self.horizon, name=self.name
        )
        tables = []
        cases, left_out = self._possible(clips[0].prompt)
        total = len(cases) * len(clips)
        with progress_bar(f"{self.name}: imagine", total=total, unit="clips") as advance:
            for case in cases:
                some = _case(case, clips, context.seed)
                tables.append(self._measure(case, some, clips, watched, context.seed))
                advance(len(clips))
        table = Table.concatenate(tables)
        result = SuiteResult.of(
            self._measurements(table, cases),
            seed=context.seed,
            headline=tuple(self.headline),
            table=table,
            notes=(
                f"{table.columns['lost'].mean():.0%} of the imagined frames have left reality.",
                *left_out,
                *notes_on_units(table.num_episodes),
            ),
        )
        return replace(result, figures={"trust": _figure(table, cases)})

    def _possible(self, prompt: Prompt) -> tuple[list[str], list[str]]:
        """The cases that can be made here, and why others cannot."""
        possible, left_out = [], []
        own = stored_scene(_recording(prompt)).robot
        for case in self.cases:
            try:
                if case in ROBOTS and ROBOTS[case] == own:
                    continue
                if case in ROBOTS:
                    _with_robot(prompt, ROBOTS[case])
                possible.append(case)
            except FileNotFoundError as error:
                left_out.append(f"{case} is left out: {error}.")
        return possible, left_out

    def _measure(
        self, case: str, some: _Clips, clips: Sequence[Clip], watched: WatchedWorld, seed: int
    ) -> Table:
        """A row for every imagined frame."""
        simulator = MujocoWorld(renderer=self.renderer)
        seeds = sampler_seeds(clips, seed)
        dream, real = [watched.start(some.prompts, seeds)], [simulator.start(some.prompts, seeds)]
        with closing(simulator):
            for actions in robot_steps(some.robot_actions):
                dream.append(watched.step(actions))
                real.append(simulator.step(actions))
        imagined, true = (
            np.stack([step.frames for step in steps], axis=1) for steps in (dream, real)
        )
        psnr = np.stack([frame_psnr(*pair)[1:] for pair in zip(true, imagined, strict=True)])
        moved = np.abs(np.diff(imagined.astype(np.float64), axis=1)).mean(axis=(2, 3, 4))
        num_clips, num_frames = psnr.shape
        table = Table(
            np.repeat([clip.window.episode_id for clip in clips], num_frames).tolist(),
            case=[case] * psnr.size,
            start=np.repeat([clip.window.start for clip in clips], num_frames).tolist(),
            frame=np.tile(np.arange(1, num_frames + 1), num_clips).tolist(),
        )
        trust = np.stack([step.trust for step in dream[1:] if step.trust is not None], axis=1)
        table.add("psnr", psnr.ravel())
        table.add("lost", (psnr < self.lost_below_db).ravel())
        table.add("trust", trust.ravel())
        signals = np.stack(watched.signals, axis=1)
        for number, name in enumerate(("latent", "entropy", "prompt")):
            table.add(f"signal_{name}", signals[..., number].ravel())
        table.add("motion", moved.ravel())
        usual, last = watched.usual[RobotActions], np.zeros(psnr.shape, bool)
        last[:, -1] = 1 / (usual.num_clips + 1) < MIN_TRUST  # else too few clips to know
        distrusted = usual.trust_in_rollouts(trust)[:, None] < MIN_TRUST
        table.add("distrusted", np.where(last, distrusted, np.nan).ravel())
        return table

    def _measurements(self, table: Table, cases: Sequence[str]) -> dict[str, Measurement]:
        protocol = (
            f"a frame has left reality if its PSNR against MuJoCo's is below {self.lost_below_db:g}"
            " dB; trust compares three signals, averaged over the frames so far, with those of "
            "validation clips; baselines: number of the frame, change of its pixels, single "
            "signals; interval over test episodes"
        )
        others = {
            "frame_number": np.array(table.keys["frame"], dtype=float),
            "motion": table.columns["motion"],
            **{n: table.columns[n] for n in table.columns if n.startswith("signal_")},
        }
        strange = np.array([case != GOOD for case in table.keys["case"]])
        lost = table.columns["lost"] > 0
        parts = {"": (table, lost, others)}
        for case in cases:
            rows = np.array([own == case for own in table.keys["case"]])
            part = {name: values[rows] for name, values in others.items()}
            parts[f"/{case}"] = (table.where(rows), lost[rows], part)
        found = {
            f"auroc{suffix}": Measurement(
                of=None
                if (reason := _few(part, is_lost))
                else _auroc(part, -part.columns["trust"], is_lost),
                unit="chance",
                protocol=f"chance that a lost frame is trusted less than another one; {protocol}",
                baselines={}
                if reason
                else {name: _auroc(part, values, is_lost) for name, values in predictors.items()},
                reason=reason,
            )
            for suffix, (part, is_lost, predictors) in parts.items()
        }
        found["auroc/strange"] = Measurement(
            of=_auroc(table, -table.columns["trust"], strange),
            unit="chance",
            protocol=(
                "chance that a frame of a strange clip is trusted less than one of a recorded clip;"
                f" {protocol}"
            ),
            baselines={name: _auroc(table, values, strange) for name, values in others.items()},
            reason="there are no strange clips, or no recorded ones",
        )
        for case in cases:
            part = table.with_key("case", case)
            found[f"lost/{case}"] = Measurement(
                of=Sums(
                    part,
                    share_terms(part.columns["lost"] > 0, np.ones(len(part), bool)),
                    ratio_of_sums,
                ),
                unit="share",
                protocol=f"frames that have left reality, {CASES[case]}; {protocol}",
            )
            found[f"trust/{case}"] = Measurement(
                of=part.mean(["trust"]), unit="share", protocol=f"mean trust; {protocol}"
            )
            is_known = np.isfinite(part.columns["distrusted"]).any()
            found[f"distrusted/{case}"] = Measurement(
                of=part.mean(["distrusted"]) if is_known else None,
                unit="share",
                protocol=(
                    f"clips whose least trusted frame is stranger than that of {1 - MIN_TRUST:.0%} "
                    f"of validation clips, {CASES[case]}; {protocol}"
                ),
                reason="there are too few validation clips",
            )
        return found


def _case(case: str, clips: Sequence[Clip], seed: int) -> _Clips:
    """The clips of a case; what is drawn depends on the seed and the clip alone."""
    prompts = [clip.prompt for clip in clips]
    actions = np.stack([clip.robot_actions for clip in clips])
    if case in ROBOTS:
        return _Clips([_with_robot(prompt, ROBOTS[case]) for prompt in prompts], actions)
    if case in _SCENES:
        return _Clips([_in_scene(prompt, _SCENES[case]) for prompt in prompts], actions)
    if case in _ACTIONS:
        for clip, own in zip(clips, actions, strict=True):
            drawn = stable_seed(case, seed, clip.window.episode_id, clip.window.start)
            own[:, :6] = _ACTIONS[case](len(own), np.random.default_rng(drawn))
    return _Clips(prompts, actions)


def _random(num_steps: int, rng: np.random.Generator) -> Float[np.ndarray, "n 6"]:
    """Motions anywhere in the bounds."""
    return rng.uniform(ACTION_LOW[:6], ACTION_HIGH[:6], (num_steps, 6))


def _extreme(num_steps: int, rng: np.random.Generator) -> Float[np.ndarray, "n 6"]:
    """The fastest motion in one direction with the fastest turn."""
    direction, motion = rng.normal(size=3), np.zeros((num_steps, 6))
    motion[:, :3] = direction / np.abs(direction).max() * ACTION_HIGH[:3]
    motion[:, 5] = ACTION_HIGH[5] * rng.choice([-1, 1])
    return motion


_ACTIONS: Mapping[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "random": _random,
    "extreme": _extreme,
}
"""Motions of a clip, the gripper as recorded."""


def _in_scene(prompt: Prompt, change: Callable[[SceneSpec], SceneSpec]) -> Prompt:
    """The same moment, in a scene that looks different."""
    recording = _recording(prompt)
    recording = replace(recording, scene=change(stored_scene(recording)).to_json())
    height, width = prompt.frames.shape[1:3]
    with closing(restore(recording, prompt.last_step, image_size=(height, width))) as env:
        return replace(prompt, recording=recording, frames=env.render()[None])


def _seen_from(scene: SceneSpec, *, position: tuple[float, ...]) -> SceneSpec:
    return replace(scene, camera=replace(scene.camera, position=position))


def _with_other_boxes(scene: SceneSpec) -> SceneSpec:
    colors = zip(scene.boxes, BOX_COLORS.items(), strict=False)
    boxes = (replace(box, color=name, rgba=(*rgb, 1.0)) for box, (name, rgb) in colors)
    return replace(scene, boxes=tuple(boxes))


_SCENES: Mapping[str, Callable[[SceneSpec], SceneSpec]] = {
    **{case: partial(_seen_from, position=place) for case, place in CAMERAS.items()},
    "scene_boxes": _with_other_boxes,
    "scene_table": lambda scene: replace(scene, table=TABLE, light=LIGHT),
}


def _with_robot(prompt: Prompt, robot: str) -> Prompt:
    """The start of the same scene, with another robot.

    Raises:
        FileNotFoundError: Its files are not found.
    """
    recording = _recording(prompt)
    scene = replace(stored_scene(recording), robot=robot)
    size = (prompt.frames.shape[1], prompt.frames.shape[2])
    with closing(Tabletop(image_size=size, renderer="raycast", scene=scene)) as env:
        states = np.tile(env.padded_state(), (recording.num_steps, 1))
        recording = replace(recording, scene=scene.to_json(), sim_state=states)
        return replace(prompt, recording=recording, frames=env.render()[None])


def _recording(prompt: Prompt) -> Episode:
    assert prompt.recording is not None
    return prompt.recording


def _few(table: Table, is_lost: np.ndarray) -> str:
    """Why frames cannot be told apart: lost or other ones are from too few episodes."""
    for what, rows in (("left reality", is_lost), ("not left reality", ~is_lost)):
        count = len(set(table.episode[rows]))
        if count < MIN_EPISODES_FOR_INTERVAL:
            return f"frames that have {what} are from {count} test episodes, which is too few"
    return ""


def _auroc(table: Table, score: np.ndarray, is_positive: np.ndarray) -> Sums:
    episode = table.episode
    counts = np.eye(table.num_episodes)[episode] / np.bincount(episode)[episode][:, None]
    return Sums(table, counts, auroc(score, is_positive, episode), not_swappable=PAIRS)


def _figure(table: Table, cases: Sequence[str]) -> Figure:
    """Mean trust over the frames of each case."""
    numbers = np.array(table.keys["frame"])
    frames = sorted(set(table.keys["frame"]))
    lines = {}
    for case in cases:
        rows = np.array([own == case for own in table.keys["case"]])
        trust = [table.columns["trust"][rows & (numbers == frame)].mean() for frame in frames]
        lines[case.replace("_", " ")] = figures.value_curve(trust)
    return figures.curves([int(f) for f in frames], lines, labels=("imagined frame", "mean trust"))
