"""Known-answer tests of each family of metrics.

Expected values are derived analytically or published, never recorded from an earlier run. The unit
tests cover more cases.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, NamedTuple, SupportsFloat

import numpy as np

from genie_robo.eval_suites.base import EvalContext, SuiteResult
from genie_robo.eval_suites.metrics.following import best_lag, gain_terms, lag_terms
from genie_robo.eval_suites.metrics.frechet import frechet_distance, unbiased_mmd
from genie_robo.eval_suites.metrics.image_metrics import frame_psnr
from genie_robo.eval_suites.metrics.information import joint_counts, mutual_information
from genie_robo.eval_suites.metrics.ranking import mmrv
from genie_robo.eval_suites.metrics.regression import predict_from_codes
from genie_robo.eval_suites.metrics.verdicts import auroc
from genie_robo.eval_suites.probes.data import ACHIEVED, ProbeData
from genie_robo.eval_suites.probes.scores import Errors, Motion, Probe, score
from genie_robo.eval_suites.statistics import (
    circular_shift_p_value,
    jackknife,
    mean_r2,
    perplexity,
    ratio_of_sums,
)
from genie_robo.eval_suites.table import Metric

PROTOCOL = "metric functions on inputs with an analytic or published answer; no model"
MAX_BORDERS = np.array([-1.748, -1.050, -0.5006, 0.0, 0.5006, 1.050, 1.748])
"""Thresholds of the optimal eight-level quantiser of a Gaussian, R2 0.9655 (Max 1960)."""
REAL = np.array([0.733, 0.633, 0.583, 0.450, 0.017, 0.350])
SIMULATED = np.array([0.779, 0.442, 0.354, 0.317, 0.050, 0.042])
"""Success rates of six policies at "move near", from the code of Li et al. 2024 (SIMPLER)."""
_GREY = np.full((1, 8, 8, 3), 0.5)
_PATH = np.cumsum(np.random.default_rng(0).normal(size=(12, 3)), axis=0)
_CLOUD = np.random.default_rng(0).normal(size=(40, 3))
_VALUES = np.array([2.0, 4.0, 4.0, 6.0, 9.0])


class Known(NamedTuple):
    """A metric function on one input, with the expected value."""

    name: str
    why: str
    """Derivation or source of the expected value."""
    expected: float
    compute: Callable[[], SupportsFloat]
    tolerance: float = 1e-9


class Checked(NamedTuple):
    """A known answer and the computed value."""

    known: Known
    found: float
    is_ok: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfCheck:
    """Known-answer tests; needs neither a run nor data."""

    name: ClassVar[str] = "selfcheck"
    summary: ClassVar[str] = "whether the metric functions give their known answers"
    headline: ClassVar[Mapping[str, str]] = {"wrong": "answers"}

    def evaluate(self, context: EvalContext | None = None) -> SuiteResult:
        """Compute every known answer; the context is not used."""
        rows = check(ANSWERS)
        wrong, unit = float(sum(not row.is_ok for row in rows)), f"of {len(rows)}"
        metrics = {
            "wrong": Metric(value=wrong, n_units=0, unit=unit, protocol=PROTOCOL, ceiling=0.0)
        }
        for number, row in enumerate(rows):
            metrics[f"{row.known.name}/{number}"] = _metric(row)
        return SuiteResult(metrics=metrics, headline=("wrong",))


def check(answers: Sequence[Known]) -> list[Checked]:
    """Compare each computed value with the expected one; NaN is always wrong."""
    rows = []
    for known in answers:
        found = float(known.compute())
        rows.append(Checked(known, found, abs(found - known.expected) <= known.tolerance))
    return rows


def _metric(row: Checked) -> Metric:
    (known, found, is_ok), protocol = row, f"{row.known.why}; {PROTOCOL}"
    if not is_ok:
        reason = f"{found} instead of {known.expected}"
        return Metric(value=None, n_units=0, unit="", protocol=protocol, reason=reason)
    ceiling = float(known.expected)
    return Metric(value=found, n_units=0, unit="", protocol=protocol, ceiling=ceiling)


def _bins() -> float:
    motion = np.random.default_rng(0).random((2, 10_000, 1))
    fit, test = (motion[..., 0] * 8).astype(int)
    guess = predict_from_codes(fit, motion[0], test, num_codes=8)
    squares = [((motion[1] - other) ** 2).sum(axis=0) for other in (guess, motion[0].mean(axis=0))]
    return float(mean_r2(np.stack(squares)))


@cache
def _late_codes() -> Errors:
    """Errors of a probe on AR(0.95) motion whose codes are those of the previous transition."""

    def side(seed: int) -> ProbeData:
        values = np.random.default_rng(seed).normal(size=(20, 401))
        for t in range(1, values.shape[1]):
            values[:, t] = 0.95 * values[:, t - 1] + np.sqrt(1 - 0.95**2) * values[:, t]
        before, motion = values[:, :-1].ravel(), values[:, 1:].reshape(-1, 1)
        empty = np.zeros_like(motion)
        return ProbeData(
            episode_ids=tuple(f"{e:02d}" for e in range(20)),
            episode=np.repeat(np.arange(20), 400),
            codes=np.digitize(before, MAX_BORDERS),
            latents=empty,
            untrained_latents=None,
            frames=empty,
            differences=motion,
            flow=empty,
            targets={ACHIEVED: np.pad(motion, ((0, 0), (0, 6)))},
            masks={ACHIEVED: np.ones(7, bool)},
        )

    return score(Probe(fit=side(0), test=side(1), motion=Motion(ACHIEVED, (0,)), num_codes=8))


def _r2(predictor: str, baseline: str) -> float:
    """R2 of a predictor in `_late_codes`, relative to a baseline predictor."""
    sums = [_late_codes()[name].sum(axis=0) for name in (predictor, baseline)]
    return float(mean_r2(np.stack(sums)))


def _standard_errors() -> float:
    estimate = jackknife(np.stack([_VALUES, np.ones(5)], axis=1), ratio_of_sums)
    assert estimate.value is not None
    assert estimate.ci95 is not None
    return (estimate.ci95[1] - estimate.value) / (_VALUES.std(ddof=1) / np.sqrt(5))


def _perfect_p_value() -> float:
    motion = [np.random.default_rng(e).normal(size=(30, 2)) for e in range(8)]
    return circular_shift_p_value(motion, motion, np.zeros(2), num_permutations=199)


def _next_code() -> float:
    cycle = np.arange(1201) % 4
    counts = joint_counts(cycle[:-1], cycle[1:], np.zeros(1200, int), shape=(1, 4, 4))
    return float(mutual_information(counts[0]))


def _auroc() -> float:
    score, success = np.array([3.0, 1.0, 2.0, 0.0]), np.array([True, True, False, False])
    return float(auroc(score, success, np.zeros(4, int))(np.ones(1)))


def _lag() -> float:
    return float(best_lag(lag_terms(_PATH[np.clip(np.arange(12) - 1, 0, None)], _PATH)))


def _gain() -> float:
    half = _PATH[0] + 0.5 * (_PATH - _PATH[0])
    return float(ratio_of_sums(gain_terms(half, _PATH, _PATH)))


def _psnr_of_error(error: float) -> float:
    return float(frame_psnr(_GREY, _GREY + error)[0])


ANSWERS = (
    Known("latent_probe/r2", "eight equal bins of a uniform motion", 1 - 1 / 64, _bins, 2e-3),
    Known(
        "latent_probe/r2",
        "AR(0.95) motion, codes one transition late: 0.95^2 x 0.9655",
        0.95**2 * 0.9655,
        lambda: _r2("codes", "mean"),
        0.02,
    ),
    Known(
        "latent_probe/partial_r2_previous_action",
        "the same codes add no information to the previous motion",
        0.0,
        lambda: _r2("previous_action_and_codes", "previous_action"),
        0.03,
    ),
    Known("jackknife", "a mean: 1.96 standard errors s / sqrt(n)", 1.96, _standard_errors),
    Known(
        "circular_shift_p_value",
        "perfect predictions, 199 permutations",
        1 / 200,
        _perfect_p_value,
    ),
    Known("frame_psnr", "an error of 0.1: -20 log10 0.1", 20.0, lambda: _psnr_of_error(0.1)),
    Known(
        "controllability/delta_psnr",
        "errors of 0.01 and 0.1: 40 dB - 20 dB",
        20.0,
        lambda: _psnr_of_error(0.01) - _psnr_of_error(0.1),
    ),
    Known(
        "frechet_distance",
        "samples shifted by (3, 0, -4): the squared length of the shift",
        25.0,
        lambda: frechet_distance(_CLOUD, _CLOUD + np.array([3.0, 0.0, -4.0])),
    ),
    Known(
        "unbiased_mmd",
        "samples 0, 0 and 1, 1 under the kernel (xy + 1)^3: 1 + 8 - 2 x 1",
        7.0,
        lambda: unbiased_mmd(np.zeros((2, 1)), np.ones((2, 1))),
    ),
    Known("mmrv", "SIMPLER move near", 0.111, lambda: mmrv(SIMULATED, REAL)),
    Known("perplexity", "eight codes equally often", 8.0, lambda: perplexity(np.full(8, 5.0))),
    Known(
        "latent_structure/transitions",
        "a cycle of four codes: 2 bits plus the bias correction 3 / (2 n ln 2)",
        2.0 + 3 / (2 * 1200 * np.log(2)),
        _next_code,
    ),
    Known("auroc", "three of four pairs in order", 0.75, _auroc),
    Known("gain", "imagined motion is half of the true motion", 0.5, _gain),
    Known("lag", "imagined motion is one frame late", 1.0, _lag),
)
