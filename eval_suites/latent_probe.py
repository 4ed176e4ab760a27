"""Do latent actions encode robot actions? A linear probe on held-out episodes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from genie_robo.eval_suites.base import EvalContext, SuiteResult
from genie_robo.eval_suites.probes.data import ACHIEVED, ProbeData, collect_both
from genie_robo.eval_suites.probes.figures import name_codes, probe_figures
from genie_robo.eval_suites.probes.gripper_events import gripper_measurement
from genie_robo.eval_suites.probes.label_efficiency import label_measurements
from genie_robo.eval_suites.probes.metrics import (
    PROTOCOL,
    ProbeTable,
    code_measurements,
    information_measurements,
    lag_measurements,
    p_value_measurements,
    r2_measurements,
)
from genie_robo.eval_suites.probes.scores import (
    TRANSLATION,
    Motion,
    Probe,
    lag_errors,
    moving_dimensions,
    moving_joints,
    p_values,
    score,
)
from genie_robo.eval_suites.probes.utilisation import utilisation_measurements
from genie_robo.eval_suites.rollouts import FAST_CLIPS
from genie_robo.eval_suites.settings import LatentProbeSettings
from genie_robo.eval_suites.statistics import FEW_EPISODES, notes_on_units
from genie_robo.eval_suites.table import Measurement, Metric, Table, undefined
from genie_robo.types import END_EFFECTOR, GRIPPER, JOINTS, action_names, action_units

HEADLINE = {
    "r2": "R2",
    "fraction_of_ceiling": "share",
    "r2_latent": "R2",
    "gain_over/untrained_encoder": "R2",
    "partial_r2_previous_action": "R2",
    "gain_over/dense_flow_clusters": "R2",
    "best_lag": "transitions",
}
"""Headline metrics, reported for the first probed motion; with the events of the gripper eight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentProbe(LatentProbeSettings):
    """R2 of robot motion predicted from latent actions, with a ceiling and baselines."""

    summary: ClassVar[str] = "how well latent actions predict the robot's motion"
    headline: ClassVar[Mapping[str, str]] = HEADLINE

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Encode validation and test episodes, probe every kind of motion."""
        fit, test = collect_both(
            context, max_episodes=self.max_episodes, name=self.name, with_flow=True
        )
        num_codes, motions = context.encoder.num_codes, self._motions(fit)
        found: dict[str, Measurement] = {}
        tables = []
        for number, (name, motion) in enumerate(motions.items()):
            probe = Probe(
                fit=fit,
                test=test,
                motion=motion,
                num_codes=num_codes,
                seed=context.seed,
                num_random_draws=self.num_random_draws,
                num_components=self.num_components,
            )
            table, measurements = self._probe(probe, name)
            tables.append(table)
            if number == 0:
                used, utilisation = utilisation_measurements(
                    context,
                    probe,
                    num_clips=FAST_CLIPS if context.fast else self.num_clips,
                    batch_size=self.batch_size,
                    suite=self.name,
                )
                measurements |= utilisation
                tables += [used] if used else []
            found |= {f"{name}/{key}": value for key, value in measurements.items()}
        for target in fit.targets:
            gripper, table = gripper_measurement(
                fit, test, target, num_codes=num_codes, seed=context.seed
            )
            found[f"{target}/gripper_events"] = gripper
            tables += [table] if table else []
            if not self._moving(fit, target):
                found[f"{target}/xyz/r2"] = self._still(target)
        per_episode = Table(test.episode_ids, motion=["codes"] * test.num_episodes)
        found |= code_measurements(per_episode, test, num_codes=num_codes)
        main = next(iter(motions), f"{next(iter(fit.targets))}/xyz")
        target = main.split("/")[0]
        headline = [f"{main}/{name}" for name in HEADLINE]
        result = SuiteResult.of(
            found,
            seed=context.seed,
            headline=[*headline, f"{target}/gripper_events"],
            table=Table.concatenate(tables) if tables else None,
            notes=_notes(fit, test, motions),
        )
        lags = _lag_notes(result.metrics, motions, context)
        result = replace(result, notes=(*lags, *result.notes))
        if not motions:
            return result
        drawn = probe_figures(result.metrics, test, motions, name_codes(context, fit))
        return replace(result, figures=drawn)

    def _moving(self, fit: ProbeData, target: str) -> tuple[int, ...]:
        return moving_dimensions(fit, target, **self._limits)

    @property
    def _limits(self) -> dict[str, float]:
        return {"min_move": self.min_move, "min_share": self.min_share}

    def _motions(self, fit: ProbeData) -> dict[str, Motion]:
        """Motions to probe, by name, of every target.

        The translation, then all moving dimensions of the end effector, and last the joints.
        """
        motions, joints = {}, {}
        for target in fit.targets:
            moving = self._moving(fit, target)
            translation = tuple(d for d in moving if d in TRANSLATION)
            if translation:
                motions[f"{target}/xyz"] = Motion(target, translation, fit.joint_names)
            if moving != translation:
                motions[f"{target}/all"] = Motion(target, moving, fit.joint_names)
            if moving := moving_joints(fit, target, **self._limits):
                joints[f"{target}/joints"] = Motion(target, moving, fit.joint_names)
        return motions | joints

    def _probe(self, probe: Probe, name: str) -> tuple[Table, dict[str, Measurement]]:
        """Table and measurements of all predictors of one motion."""
        test, motion = probe.test, probe.motion
        table = Table(test.episode_ids, motion=[name] * test.num_episodes)
        table.texts["target"] = [motion.target] * test.num_episodes
        table.texts["codes"] = test.as_text(test.codes)
        table.texts["codes_oracle"] = test.as_text(probe.oracle[1])
        table.add("num_transitions", test.lengths, given=True)
        scored = ProbeTable(table, motion.names, motion.groups)
        scored.add(score(probe))
        lags = lag_errors(probe, max_lag=self.max_lag)
        return table, {
            **r2_measurements(scored, num_labels=len(probe.fit.codes)),
            **lag_measurements(scored, lags, max_lag=self.max_lag),
            **p_value_measurements(table, p_values(probe)),
            **information_measurements(probe, table),
            **label_measurements(probe, table, self.labels),
        }

    def _still(self, target: str) -> Measurement:
        """Why there is no R2 where the robot does not move."""
        return undefined(
            f"no dimension of the {target} action moves by more than {self.min_move} (m or rad) in "
            f"{self.min_share:.0%} of the validation transitions",
            unit="R2",
            protocol=PROTOCOL,
        )


def _notes_on_joints(fit: ProbeData, motions: Mapping[str, Motion]) -> list[str]:
    """The joints that are probed, by group, with their units where they are known."""
    width = len(next(iter(fit.masks.values())))
    names = action_names(width, fit.joint_names)
    units = dict(zip(names, action_units(width, fit.joint_units), strict=True))
    groups: dict[str, dict[str, str]] = {}
    for motion in motions.values():
        joints = [name for name in motion.names if name in names[JOINTS]]
        for group, members in (motion.groups or {"joints": joints}).items():
            groups.setdefault(group, {}).update({name: units[name] for name in members})
    listed = {
        group: ", ".join(f"{name} ({unit})" for name, unit in members.items())
        for group, members in groups.items()
    }
    return [f"Probed in {group}: {members}." for group, members in listed.items() if members]


def _lag_notes(
    metrics: Mapping[str, Metric], motions: Mapping[str, Motion], context: EvalContext
) -> tuple[str, ...]:
    """What is shifted against what: the codes that were found, and the actions as they are read."""
    first: dict[str, str] = {}
    for name, motion in motions.items():
        first.setdefault(motion.target, name)
    notes = [
        _lag_note(metrics[f"{name}/best_lag"], name, context)
        for name in first.values()
        if _is_shifted(metrics[f"{name}/best_lag"])
    ]
    if lag := context.action_lag:
        notes.append(
            f"Commands are read {abs(lag)} steps {'late' if lag > 0 else 'early'} "
            f"(data.source.action.lag={lag})."
        )
    return tuple(notes)


def _is_shifted(best: Metric) -> bool:
    """Whether there is a best lag whose interval leaves 0 out."""
    if not best.value:
        return False
    low, high = best.ci95 or (best.value, best.value)
    return not low <= 0 <= high


def _lag_note(best: Metric, name: str, context: EvalContext) -> str:
    """A lag with its interval, and the setting that mends it, where there is one."""
    assert best.value is not None
    stride, target = context.test.frame_stride, name.split("/")[0]
    side = "next" if best.value > 0 else "previous"
    interval = f" [{best.ci95[0]:.0f}, {best.ci95[1]:.0f}]" if best.ci95 else ""
    note = (
        f"The codes predict {name} best at lag {best.value:+.0f}{interval}, that of a {side} "
        "transition: R2 of aligned codes is lower than it could be. "
    )
    is_stored = context.action_is_achieved and not context.action_is_pose_change
    if target == ACHIEVED and not is_stored:
        return note + (
            "Images and measured poses are stored so far apart, which no setting changes: look at "
            "the times at which both were taken."
        )
    lag = context.action_lag - round(best.value) * stride
    note += f"data.source.action.lag={lag} reads stored actions with the motion that they cause"
    if stride > 1:
        note += f"; a transition is {stride} steps, so its neighbours may fit better"
    return f"{note}."


def _notes(fit: ProbeData, test: ProbeData, motions: Mapping[str, Motion]) -> tuple[str, ...]:
    notes = []
    probed = {d for motion in motions.values() for d in motion.dimensions}
    recorded = np.any([fit.masks[target] for target in fit.targets], axis=0)
    known = np.flatnonzero(recorded[JOINTS]) + JOINTS.start
    if recorded[END_EFFECTOR].any():
        known = np.concatenate([np.arange(GRIPPER), known])
    names = action_names(len(recorded), fit.joint_names)
    left_out = [names[d] for d in known if d not in probed]
    if left_out:
        notes.append(f"Not probed, because they hardly ever move: {', '.join(left_out)}.")
    notes += _notes_on_joints(fit, motions)
    if fit.num_episodes < FEW_EPISODES:
        notes.append(
            f"The probe was fitted on only {fit.num_episodes} validation episodes, which lowers "
            "every R2 and lets codes that mean nothing score below 0."
        )
    notes += notes_on_units(test.num_episodes)
    if ACHIEVED not in test.targets:
        notes.append(
            "This dataset has no proprioception (data.source.pose), so the headline is about "
            "commanded actions, which may lag the motion."
        )
    if len(np.unique(test.codes)) == 1:
        notes.append("All test transitions have one code: the latent action codebook collapsed.")
    return tuple(notes)
