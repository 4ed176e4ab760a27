"""Are the latent actions the robot's actions? A linear probe on episodes never trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from eval_suites.base import EvalContext, Metric, SuiteResult, undefined
from eval_suites.probes.data import ACHIEVED, ProbeData, collect_both
from eval_suites.probes.figures import probe_figures
from eval_suites.probes.gripper_events import EVENTS, event_sums, gripper_metric
from eval_suites.probes.label_efficiency import CODES, check_labels, label_curve, label_metrics
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
from eval_suites.probes.rows import Columns, Found, Row, sequences, squares, to_rows
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

    def __post_init__(self) -> None:
        """Refuse what would fail after everything slow."""
        check_labels(self.labels, self.name)

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Encode validation and test episodes, probe every kind of motion."""
        fit, test = collect_both(
            context, max_episodes=self.max_episodes, name=self.name, with_flow=True
        )
        settings = ProbeSettings(
            num_codes=context.encoder.num_codes,
            num_random_draws=self.num_random_draws,
            num_components=self.num_components,
            seed=context.seed,
        )
        motions = self._motions(fit)
        probed = {
            name: self._probe(fit, test, motion, settings) for name, motion in motions.items()
        }
        metrics: dict[str, Metric] = {}
        for name, found in probed.items():
            metrics |= {f"{name}/{key}": metric for key, metric in found.metrics.items()}
        metrics |= self._metrics_of_targets(fit, test, settings)
        metrics |= code_metrics(test, num_codes=settings.num_codes)
        main = next(iter(motions), "")
        rows = [row for name, found in probed.items() for row in _rows(name, found.columns)]
        return SuiteResult(
            metrics=metrics,
            headline=tuple(
                name
                for name in _headline(main or f"{next(iter(fit.targets))}/xyz")
                if name in metrics
            ),
            per_episode=rows + _gripper_rows(fit, test, num_codes=settings.num_codes),
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

    def _probe(
        self, fit: ProbeData, test: ProbeData, motion: Motion, settings: ProbeSettings
    ) -> Found:
        scores = score(fit, test, motion, settings)
        lags = lag_errors(fit, test, motion, num_codes=settings.num_codes, max_lag=self.max_lag)
        curve = label_curve(fit, test, motion, settings, self.labels, oracle=scores.oracle)
        sizes = (len(fit.codes), test.num_episodes)
        names = [ACTION_NAMES[d] for d in motion.dimensions]
        metrics = {
            **r2_metrics(scores),
            **dimension_metrics(scores, names),
            **gain_metrics(scores),
            **lag_metrics(lags, max_lag=self.max_lag, seed=settings.seed),
            **p_value_metrics(p_values(fit, test, motion, settings), scores),
            **information_metrics(test, scores.oracle[1], settings),
            **label_metrics(curve, self.labels, settings, sizes=sizes),
        }
        columns = _columns(test, motion, scores)
        for number, lag in enumerate(range(-self.max_lag, self.max_lag + 1)):
            columns |= squares(f"error_lag{lag:+d}_", lags[:, number], names)
        columns |= squares("deviation_lag_", lags[:, -1], names)
        for n, sums in curve.items():
            columns |= squares(f"error_labels_n{n}_", sums[CODES][:, 0], names)
        return Found(metrics, columns)

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


def _columns(test: ProbeData, motion: Motion, scores: Scores) -> Columns:
    """Codes, and squared errors of every predictor, from which every R2 follows."""
    names = [ACTION_NAMES[d] for d in motion.dimensions]
    columns: Columns = {
        "episode_id": test.episode_ids,
        "target": [motion.target] * test.num_episodes,
        "num_transitions": test.lengths,
        "codes": sequences(test.codes, test),
        "codes_oracle": sequences(scores.oracle[1], test),
        **squares("deviation_", scores.deviation, names),
    }
    for predictor, errors in scores.errors.items():
        who = "" if predictor == "codes" else f"{predictor}_"
        columns |= squares(f"error_{who}", errors, names)
    return columns


def _rows(motion: str, columns: Columns) -> list[Row]:
    return [{"motion": motion, **row} for row in to_rows(columns)]


def _gripper_rows(fit: ProbeData, test: ProbeData, *, num_codes: int) -> list[Row]:
    """How often each event of the gripper occurs, and is told from the code."""
    rows: list[Row] = []
    for target in fit.targets:
        sums = event_sums(fit, test, target, num_codes=num_codes)
        if sums is not None:
            columns: Columns = {
                "episode_id": test.episode_ids,
                "target": [target] * test.num_episodes,
                "num_transitions": test.lengths,
                **{f"hits_{name}": sums[:, 0, number] for number, name in enumerate(EVENTS)},
                **{f"events_{name}": sums[:, 1, number] for number, name in enumerate(EVENTS)},
            }
            rows += _rows(f"{target}/gripper", columns)
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
