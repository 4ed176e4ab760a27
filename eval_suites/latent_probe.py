"""Are the latent actions the robot's actions? A linear probe on episodes never trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from eval_suites.base import EvalContext, Metric, SuiteResult, undefined
from eval_suites.probes.data import ACHIEVED, ProbeData, collect_both
from eval_suites.probes.figures import probe_figures
from eval_suites.probes.gripper_events import gripper_metric
from eval_suites.probes.label_efficiency import label_metrics
from eval_suites.probes.metrics import (
    PROTOCOL,
    code_metrics,
    dimension_metrics,
    gain_metrics,
    information_metrics,
    lag_metrics,
    p_value_metrics,
    r2_metrics,
)
from eval_suites.probes.scores import (
    BASELINES,
    TRANSLATION,
    Motion,
    ProbeSettings,
    Scores,
    lag_errors,
    moving_dimensions,
    p_values,
    score,
)
from eval_suites.statistics import FEW_EPISODES, notes_on_units
from genie_robo.types import ACTION_NAMES, GRIPPER


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentProbe:
    """R2 of latent actions against robot motion, with a ceiling and baselines."""

    name: ClassVar[str] = "latent_probe"
    summary: ClassVar[str] = "how far the latent actions are the robot's actions"

    max_episodes: int = 500
    """Of validation and of test episodes."""
    max_lag: int = 3
    """Transitions by which codes are shifted against motions, both ways."""
    num_random_draws: int = 5
    num_components: int = 16
    """Principal components of frame differences, or of flow, that a clustering baseline sees."""
    labels: Sequence[int] = (10, 50, 200, 1000)
    """Labelled transitions for the label-efficiency curve."""
    min_move: float = 1e-3
    """Distance (m or rad) from the median that counts as motion of a dimension."""
    min_share: float = 0.1
    """Share of transitions in which a dimension must move to be probed."""

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Encode validation and test episodes, probe every kind of motion."""
        fit, test = collect_both(context, max_episodes=self.max_episodes, name=self.name)
        settings = ProbeSettings(
            num_codes=context.encoder.num_codes,
            num_random_draws=self.num_random_draws,
            num_components=self.num_components,
            seed=context.seed,
        )
        motions = self._motions(fit)
        scores = {name: score(fit, test, motion, settings) for name, motion in motions.items()}
        metrics: dict[str, Metric] = {}
        for name, motion in motions.items():
            found = self._metrics(fit, test, motion, scores[name], settings)
            metrics |= {f"{name}/{key}": metric for key, metric in found.items()}
        metrics |= self._metrics_of_targets(fit, test, settings)
        metrics |= code_metrics(test, num_codes=settings.num_codes, seed=settings.seed)
        main = next(iter(motions), "")
        return SuiteResult(
            metrics=metrics,
            headline=tuple(
                name
                for name in _headline(main or f"{next(iter(fit.targets))}/xyz")
                if name in metrics
            ),
            per_episode=_rows(test, motions[main], scores[main]) if main else [],
            figures=probe_figures(metrics, test, motions, settings.num_codes) if main else {},
            notes=_notes(fit, test, motions),
        )

    def _moving(self, fit: ProbeData, target: str) -> tuple[int, ...]:
        return moving_dimensions(fit, target, min_move=self.min_move, min_share=self.min_share)

    def _motions(self, fit: ProbeData) -> dict[str, Motion]:
        """What to probe, by name: the translation of every target, then all that moves."""
        motions = {}
        for target in fit.targets:
            moving = self._moving(fit, target)
            translation = tuple(d for d in moving if d in TRANSLATION)
            if translation:
                motions[f"{target}/xyz"] = Motion(target, translation)
            if moving != translation:
                motions[f"{target}/all"] = Motion(target, moving)
        return motions

    def _metrics(
        self,
        fit: ProbeData,
        test: ProbeData,
        motion: Motion,
        scores: Scores,
        settings: ProbeSettings,
    ) -> dict[str, Metric]:
        lags = lag_errors(fit, test, motion, num_codes=settings.num_codes, max_lag=self.max_lag)
        names = [ACTION_NAMES[d] for d in motion.dimensions]
        return {
            **r2_metrics(scores),
            **dimension_metrics(scores, names),
            **gain_metrics(scores),
            **lag_metrics(lags, max_lag=self.max_lag, seed=settings.seed),
            **p_value_metrics(p_values(fit, test, motion, settings), scores),
            **information_metrics(fit, test, motion, settings),
            **label_metrics(fit, test, motion, settings, tuple(self.labels)),
        }

    def _metrics_of_targets(
        self, fit: ProbeData, test: ProbeData, settings: ProbeSettings
    ) -> dict[str, Metric]:
        """Gripper events, and why there is no R2 where nothing moves."""
        found = {}
        for target in fit.targets:
            found[f"{target}/gripper_events"] = gripper_metric(
                fit, test, target, num_codes=settings.num_codes, seed=settings.seed
            )
            if not self._moving(fit, target):
                found[f"{target}/xyz/r2"] = undefined(
                    f"no dimension of the {target} action moves by more than {self.min_move} "
                    f"(m or rad) in {self.min_share:.0%} of the validation transitions",
                    unit="R2",
                    protocol=PROTOCOL,
                    n_units=test.num_episodes,
                )
        return found


def _headline(main: str) -> list[str]:
    partial = ["partial_r2_previous_action", "partial_r2_current_frame"]
    names = ["r2", "fraction_of_ceiling", *partial, "r2_latent", "best_lag"]
    gains = [f"gain_over/{name}" for name in BASELINES]
    target = main.split("/")[0]
    return [f"{main}/{name}" for name in names + gains] + [
        f"{target}/gripper_events",
        "codes/perplexity",
    ]


def _rows(
    test: ProbeData, motion: Motion, scores: Scores
) -> list[Mapping[str, float | str | None]]:
    """One row per test episode: squared error and squared deviation, from which R2 follows."""
    lengths = np.bincount(test.episode, minlength=test.num_episodes)
    rows = []
    for e, episode_id in enumerate(test.episode_ids):
        row: dict[str, float | str | None] = {
            "episode_id": episode_id,
            "target": motion.target,
            "num_transitions": int(lengths[e]),
        }
        for column, d in enumerate(motion.dimensions):
            row[f"squared_error_{ACTION_NAMES[d]}"] = float(scores.errors["codes"][e, column])
            row[f"squared_deviation_{ACTION_NAMES[d]}"] = float(scores.deviation[e, column])
        rows.append(row)
    return rows


def _notes(fit: ProbeData, test: ProbeData, motions: Mapping[str, Motion]) -> tuple[str, ...]:
    notes = []
    probed = {d for motion in motions.values() for d in motion.dimensions}
    left_out = [ACTION_NAMES[d] for d in range(GRIPPER) if d not in probed]
    if left_out:
        notes.append(f"Not probed, because they hardly ever move: {', '.join(left_out)}.")
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
