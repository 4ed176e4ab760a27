"""How many labelled transitions turn latent actions into robot actions?"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from genie_robo.eval_suites import figures
from genie_robo.eval_suites.base import EvalContext, SuiteResult
from genie_robo.eval_suites.probes.data import COMMANDED, ProbeData, collect_both
from genie_robo.eval_suites.probes.figures import draw_label_curve
from genie_robo.eval_suites.probes.label_efficiency import (
    CODES,
    ORACLE,
    SUPERVISED,
    decode,
    draw_labels,
    label_measurements,
)
from genie_robo.eval_suites.probes.scores import Motion, Probe, moving_dimensions, moving_joints
from genie_robo.eval_suites.settings import LABELS, FewLabelSettings
from genie_robo.eval_suites.statistics import notes_on_units
from genie_robo.eval_suites.table import Measurement, Metric, Table, UnavailableError, undefined
from genie_robo.progress import progress_bar
from genie_robo.sim.actions import ACTION_HIGH, ACTION_LOW
from genie_robo.sim.restore import execute, restore, split_actions
from genie_robo.types import END_EFFECTOR, GRIPPER, Episode

STILL = "stand_still"
FAST_REPLAYS = 4
REPLAY_PROTOCOL = (
    "MuJoCo, restored at the first step of a test episode, executes the actions decoded with n "
    "labels; distance of the end effector from its path under the recorded actions, mean over the "
    "first {steps} transitions; lower is better; stand_still: no motion; inverse_dynamics: "
    "from the same labels; ceiling: oracle codes with the same labels; interval over test episodes"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FewLabel(FewLabelSettings):
    """R2 and MuJoCo replay error of decoded actions, by number of labels."""

    summary: ClassVar[str] = "how many action labels turn latent actions into robot actions"
    headline: ClassVar[Mapping[str, str]] = {
        f"{what}/n{n}": unit for what, unit in (("r2", "R2"), ("replay_error", "m")) for n in LABELS
    }

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Decode actions with few labels, score them, replay them in MuJoCo."""
        fit, test = collect_both(context, max_episodes=self.max_episodes, name=self.name)
        probe = Probe(
            fit=fit,
            test=test,
            motion=self._motion(fit),
            num_codes=context.encoder.num_codes,
            seed=context.seed,
            num_random_draws=self.num_draws,
        )
        table = Table(test.episode_ids)
        table.add("num_transitions", test.lengths, given=True)
        scores = label_measurements(probe, table, self.labels)
        found = {name.replace("labels/", "r2/"): score for name, score in scores.items()}
        found |= self._replay(context, probe, table)
        scored = {n: found[f"r2/n{n}"].of for n in self.labels}
        counts = [n for n, score in scored.items() if score and score.value is not None]
        most = max(counts, default=self.labels[0])
        result = SuiteResult.of(
            found,
            seed=context.seed,
            headline=(f"r2/n{most}", f"replay_error/n{most}"),
            table=table,
            notes=notes_on_units(test.num_episodes),
        )
        drawn = {"labels": _figure(result.metrics, counts)} if counts else {}
        return replace(result, figures=drawn)

    def _motion(self, fit: ProbeData) -> Motion:
        """The moving dimensions of the end effector, else of the joints; commanded if it can be."""
        target = COMMANDED if COMMANDED in fit.targets else next(iter(fit.targets))
        limits = {"min_move": self.min_move, "min_share": self.min_share}
        moving = moving_dimensions(fit, target, **limits) or moving_joints(fit, target, **limits)
        if not moving:
            raise UnavailableError(
                f"no robot action moves by more than {self.min_move} (m or rad) in "
                f"{self.min_share:.0%} of the validation transitions"
            )
        return Motion(target, moving, fit.joint_names)

    def _replay(self, context: EvalContext, probe: Probe, table: Table) -> dict[str, Measurement]:
        """Replay decoded actions of the first test episodes, with every number of labels."""
        shared = {"unit": "m", "protocol": REPLAY_PROTOCOL.format(steps=self.replay_steps)}
        if not context.is_simulated:
            reason = "the dataset holds no simulator state, so MuJoCo cannot replay it"
            return {f"replay_error/n{n}": undefined(reason, **shared) for n in self.labels}
        errors = self._replay_errors(context, probe.test, self._ways(probe))
        for way, values in errors.items():
            table.add(way, values)
        replayed = table.where(np.isfinite(errors[STILL]))
        found = {}
        for n in self.labels:
            if f"{CODES}/n{n}" not in errors:
                reason = "the validation episodes have too few transitions"
                found[f"replay_error/n{n}"] = undefined(reason, **shared)
                continue
            found[f"replay_error/n{n}"] = Measurement(
                of=replayed.mean([f"{CODES}/n{n}"]),
                baselines={
                    STILL: replayed.mean([STILL]),
                    SUPERVISED: replayed.mean([f"{SUPERVISED}/n{n}"]),
                },
                ceiling=replayed.mean([f"{ORACLE}/n{n}"]),
                **shared,
            )
        return found

    def _ways(self, probe: Probe) -> dict[str, Float[np.ndarray, "m a"]]:
        """The actions to replay: none, and those decoded with every possible number of labels."""
        fit, target, num_transitions = probe.fit, probe.motion.target, len(probe.fit.codes)
        still = np.zeros_like(probe.test.targets[target])
        still[:, GRIPPER] = probe.test.targets[target][:, GRIPPER]
        ways = {STILL: still}
        for n in self.labels:
            if n <= num_transitions:
                labelled = draw_labels(num_transitions, n, draw=0, seed=probe.seed)
                decoded = decode(probe, fit.targets[target], labelled)
                ways |= {f"{way}/n{n}": actions for way, actions in decoded.items()}
        return ways

    def _replay_errors(
        self, context: EvalContext, test: ProbeData, ways: Mapping[str, Float[np.ndarray, "m a"]]
    ) -> dict[str, Float[np.ndarray, " e"]]:
        """Mean distance (m) from the recorded path by test episode, NaN where not replayed.

        `ways` hold an action for every test transition.
        """
        ids = test.episode_ids[: FAST_REPLAYS if context.fast else self.num_replays]
        dataset = (context.dataset[number] for number in context.test.episodes)
        episodes = {episode.episode_id: episode for episode in dataset if episode.episode_id in ids}
        stride = context.test.frame_stride
        errors = {way: np.full(test.num_episodes, np.nan) for way in ways}
        with progress_bar(f"{self.name}: MuJoCo", total=len(ids), unit="episodes") as advance:
            for e, name in enumerate(ids):
                rows = np.flatnonzero(test.episode == e)[: self.replay_steps]
                recorded = episodes[name].robot_actions[: len(rows) * stride].astype(np.float64)
                truth = _tool_path(episodes[name], recorded, stride)
                for way, actions in ways.items():
                    split = split_actions(actions[rows], stride)
                    errors[way][e] = mean_distance(_tool_path(episodes[name], split, stride), truth)
                advance()
        return errors


def _tool_path(
    episode: Episode, actions: Float[np.ndarray, "n a"], stride: int
) -> Float[np.ndarray, "t 3"]:
    """The end effector at the first recorded step and after every `stride` actions (m)."""
    with closing(restore(episode, 0)) as env:
        bounded = np.clip(actions[:, END_EFFECTOR], ACTION_LOW, ACTION_HIGH)
        return np.stack(execute(env, bounded, lambda env: env.pose[:3], stride=stride))


def mean_distance(path: Float[np.ndarray, "t 3"], truth: Float[np.ndarray, "t 3"]) -> float:
    """Mean distance of two paths after their common start (m)."""
    return float(np.linalg.norm(path - truth, axis=-1)[1:].mean())


def _figure(metrics: Mapping[str, Metric], counts: Sequence[int]) -> Figure:
    panels = figures.new_axes(2, width=11.0)
    scores = (("r2", "R2 of the robot action", 1.0), ("replay_error", "replay error (cm)", 100.0))
    for axes, (name, label, scale) in zip(panels, scores, strict=True):
        shown = {n: metrics[f"{name}/n{n}"] for n in counts}
        if shown[counts[0]].value is None:
            axes.set_title(label, fontsize=12, loc="left")
            axes.annotate("not measured", (0.5, 0.5), xycoords="axes fraction", ha="center")
        else:
            draw_label_curve(axes, shown, label=label, scale=scale)
    figures.legend_above(panels)
    panels[0].set_ylim(bottom=max(panels[0].get_ylim()[0], -1.0))
    return figures.owner(panels[0])
