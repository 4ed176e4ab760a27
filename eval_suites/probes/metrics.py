"""Scores of a probe as metrics, each with its baselines, ceiling and protocol."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from eval_suites.base import Metric
from eval_suites.metrics.information import entropy, joint_counts, mutual_information
from eval_suites.metrics.jackknife import jackknife
from eval_suites.probes.data import ProbeData
from eval_suites.probes.scores import BASELINES, ProbeSettings, Scores
from eval_suites.statistics import (
    Estimate,
    bootstrap,
    mean_r2,
    perplexity,
    to_metric,
)

PROTOCOL = (
    "probe fitted on validation episodes, scored on test episodes; R2 about the mean of the "
    "validation split; interval by bootstrap over test episodes"
)
JACKKNIFE = "interval by jackknife over test episodes"
CEILING_PROTOCOL = "ceiling: k-means on the true motions of the validation split with as many codes"

KNOWN = {
    "previous_action": "a ridge on the previous action",
    "current_frame": "a ridge on the 16x16 grey image of the frame before the motion",
}
INFORMATION_PROTOCOL = (
    "mutual information of codes and oracle codes (k-means of the true motions) over test "
    "transitions, corrected for its bias (Miller 1955); ceiling: entropy of the oracle codes; "
    "permuted_codes: the codes in random order; " + JACKKNIFE
)

ROUNDING = 1e-9
"""R2 up to here is 0 up to rounding."""


def r2_metrics(scores: Scores) -> dict[str, Metric]:
    """R2 of codes and of the latent, fraction of ceiling, partial R2."""
    ceiling = scores.r2("oracle").value
    baselines = scores.baselines()
    return {
        "r2": _metric(
            scores,
            scores.r2("codes"),
            f"least squares on one-hot codes; {PROTOCOL}; {CEILING_PROTOCOL}",
            baselines=baselines,
            ceiling=ceiling,
        ),
        "fraction_of_ceiling": _metric(
            scores,
            scores.fraction_of_ceiling(),
            f"R2 of the codes over R2 of the oracle; {PROTOCOL}; {CEILING_PROTOCOL}",
            unit="share",
            baselines={name: _share(value, ceiling) for name, value in baselines.items()},
            ceiling=1.0,
            reason="even the oracle codes do not predict the motion of the test episodes",
        ),
        **{
            f"partial_r2_{known}": _metric(
                scores,
                scores.partial_r2(known),
                f"share of the error of {what} that adding the codes to its prediction removes; "
                + PROTOCOL,
            )
            for known, what in KNOWN.items()
        },
        "r2_latent": _metric(
            scores,
            scores.r2("latent"),
            "ridge on the encoding before quantisation, penalty chosen by cross-validation inside "
            f"the validation split; {PROTOCOL}",
            baselines=baselines,
        ),
    }


def gain_metrics(scores: Scores) -> dict[str, Metric]:
    """R2 of the codes minus that of each baseline, paired by episode."""
    return {
        f"gain_over/{name}": _metric(
            scores,
            scores.gain(name) if name in scores.errors else Estimate(None, None),
            f"R2 of the codes minus R2 of this baseline on the same resampled episodes; {PROTOCOL}",
            reason="no untrained encoder was given",
        )
        for name in BASELINES
    }


def dimension_metrics(scores: Scores, names: Sequence[str]) -> dict[str, Metric]:
    """R2 of the codes for each dimension alone."""
    found = {}
    for column, name in enumerate(names):
        only = slice(column, column + 1)
        found[f"r2/{name}"] = _metric(
            scores,
            scores.r2("codes", only),
            f"as the mean R2, this dimension alone; {CEILING_PROTOCOL}, of all dimensions together",
            baselines=scores.baselines(only),
            ceiling=scores.r2("oracle", only).value,
            reason="the dimension is constant in the test episodes",
        )
    return found


def lag_metrics(sums: Float[np.ndarray, "e l d"], *, max_lag: int, seed: int) -> dict[str, Metric]:
    """R2 with codes shifted against motions, and the shift at which it peaks."""
    protocol = (
        "the code of transition i predicts the motion of transition i + lag; all lags on the same "
        f"transitions; {PROTOCOL}"
    )
    reason = "the episodes are too short or too still for a lag"
    found = {
        f"lag/{lag:+d}": to_metric(
            bootstrap(sums[:, [row, -1]], mean_r2, seed=seed),
            n_units=len(sums),
            unit="R2",
            protocol=protocol,
            reason=reason,
        )
        for row, lag in enumerate(range(-max_lag, max_lag + 1))
    }
    found["best_lag"] = to_metric(
        bootstrap(sums, best_lag, seed=seed),
        n_units=len(sums),
        unit="transitions",
        protocol=f"lag of the highest R2, 0 when codes are aligned; {protocol}",
        reason="the codes predict the motion at no lag",
    )
    return found


def best_lag(totals: Float[np.ndarray, "... l d"]) -> Float[np.ndarray, "..."]:
    """The lag of the highest R2, from errors at lags -n .. n and the deviation; NaN without one."""
    max_lag = totals.shape[-2] // 2 - 1
    r2 = (1.0 - totals[..., :-1, :] / totals[..., -1:, :]).mean(axis=-1)
    # Codes that predict nothing at any lag are not aligned with any.
    return np.where(r2.max(axis=-1) > ROUNDING, r2.argmax(axis=-1) - max_lag, np.nan)


def information_metrics(
    test: ProbeData, oracle: Int[np.ndarray, " m"], settings: ProbeSettings
) -> dict[str, Metric]:
    """What codes say about the motion in whatever nonlinear way."""
    k = settings.num_codes

    def counts(codes: Int[np.ndarray, " m"]) -> Float[np.ndarray, "e k k"]:
        return joint_counts(codes, oracle, test.episode, shape=(test.num_episodes, k, k))

    permuted = counts(np.random.default_rng(settings.seed).permutation(test.codes))
    return {
        "mutual_information": to_metric(
            jackknife(counts(test.codes), mutual_information),
            n_units=test.num_episodes,
            unit="bits",
            protocol=INFORMATION_PROTOCOL,
            baselines={"permuted_codes": jackknife(permuted, mutual_information).value},
            ceiling=float(entropy(np.bincount(oracle).astype(float))),
        )
    }


def p_value_metrics(values: dict[str, float | None], scores: Scores) -> dict[str, Metric]:
    """Permutation tests as metrics."""
    how = {
        "circular_shift": "rotates the codes of each test episode by its own random shift",
        "reassignment": "gives each test episode the codes of another",
    }
    return {
        f"p_value/{name}": _metric(
            scores,
            Estimate(value, None),
            f"share of 2,000 permutations with an R2 at least as high; a permutation {how[name]}",
            unit="p-value",
            reason="the motion is constant in the test episodes, or there is nothing to exchange",
        )
        for name, value in values.items()
    }


def code_metrics(test: ProbeData, *, num_codes: int) -> dict[str, Metric]:
    """How much of the codebook the test episodes use."""
    counts = np.zeros((test.num_episodes, num_codes))
    np.add.at(counts, (test.episode, test.codes), 1)
    used = float((counts.sum(axis=0) > 0).sum())
    shared = {"n_units": test.num_episodes, "ceiling": float(num_codes)}
    return {
        "codes/perplexity": to_metric(
            jackknife(counts, perplexity),
            unit="codes",
            protocol="exp of the entropy of code use over test transitions; " + JACKKNIFE,
            **shared,
        ),
        "codes/used": Metric(
            value=used, unit="codes", protocol="codes that occur in the test episodes", **shared
        ),
    }


def _metric(
    scores: Scores,
    estimate: Estimate,
    protocol: str,
    *,
    unit: str = "R2",
    baselines: dict[str, float | None] | None = None,
    ceiling: float | None = None,
    reason: str = "the motion is constant in the test episodes",
) -> Metric:
    return to_metric(
        estimate,
        n_units=scores.num_episodes,
        unit=unit,
        protocol=protocol,
        baselines=baselines,
        ceiling=ceiling,
        reason=reason,
    )


def _share(value: float | None, ceiling: float | None) -> float | None:
    return value / ceiling if value is not None and ceiling else None
