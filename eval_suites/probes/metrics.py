"""Scores of a probe as measurements, each with its baselines, ceiling and protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from genie_robo.eval_suites.metrics.information import entropy, joint_counts, mutual_information
from genie_robo.eval_suites.probes.data import ProbeData
from genie_robo.eval_suites.probes.dense_flow import MISSING
from genie_robo.eval_suites.probes.scores import BASELINES, DENSE_FLOW, SUPERVISED, Errors, Probe
from genie_robo.eval_suites.statistics import (
    Statistic,
    mean_r2,
    perplexity,
    r2_difference,
    r2_fraction,
)
from genie_robo.eval_suites.table import (
    FEWER_CODES,
    OTHER_CODES,
    Fixed,
    Interval,
    Measurement,
    Sums,
    Table,
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
MIN_LAG_R2 = 0.02
"""R2 below which the best lag is chance."""
LAG_MARGIN = 0.02
"""R2 by which a lag must be better to be told from another: the errors of neighbouring lags rise
and fall together in resampled episodes, so that a resample would tell much smaller ones apart than
another fit could."""
LAG_PROTOCOL = (
    "the code of transition i predicts the motion of transition i + lag; all lags on the same "
    f"transitions; {PROTOCOL}"
)
CONSTANT = "the motion is constant in the test episodes"
CONSTANT_DIMENSION = "the dimension is constant in the test episodes"
ROUNDING = 1e-9
"""R2 below this is 0 up to rounding."""


class ProbeTable:
    """Squared errors of every predictor of one motion, a row for each test episode."""

    def __init__(
        self,
        table: Table,
        dimensions: Sequence[str],
        groups: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.table, self.dimensions = table, dimensions
        self.groups = groups or {}
        """Dimensions that are also scored together, by name."""
        self.predictors: set[str] = set()

    def add(self, errors: Errors) -> None:
        """Add the squared errors of predictors."""
        self.table.add_squares("deviation", errors["mean"], self.dimensions, given=True)
        for predictor, values in errors.items():
            self.table.add_squares(_error(predictor), values, self.dimensions)
        self.predictors |= errors.keys()

    def total(self, *parts: str, statistic: Statistic = mean_r2, only: str = "") -> Sums:
        """A statistic of squared errors and the deviation, in one dimension, a group or all."""
        chosen = self.groups.get(only, [only]) if only else self.dimensions
        columns = [["squared_" + "_".join(filter(None, (p, d))) for d in chosen] for p in parts]
        return self.table.total(columns, statistic)

    def r2(self, predictor: str, only: str = "") -> Sums:
        """Mean R2 of a predictor over the dimensions."""
        return self.total(_error(predictor), "deviation", only=only)

    def baselines(self, only: str = "") -> dict[str, Sums | None]:
        """Mean R2 of every baseline, None where it was not measured."""
        return {
            name: self.r2(name, only) if name in self.predictors else None
            for name in (*BASELINES, SUPERVISED, DENSE_FLOW)
        }


def _error(predictor: str) -> str:
    return "error" if predictor == "codes" else f"error_{predictor}"


def r2_measurements(probe: ProbeTable, *, num_labels: int) -> dict[str, Measurement]:
    """R2 of codes and of the latent, by dimension, fraction of the ceiling, partial R2.

    `num_labels` is how many labelled validation transitions everything is fitted to.
    """
    supervised = (
        f"{SUPERVISED} and {DENSE_FLOW}: a ridge on grey frame differences and on dense optical "
        f"flow with all {num_labels:,} labels of the validation split"
    )
    oracle, baselines = probe.r2("oracle"), probe.baselines()
    ceiling = oracle.value
    found = {
        "r2": _r2(
            probe.r2("codes"),
            f"least squares on one-hot codes; {PROTOCOL}; {supervised}; {CEILING_PROTOCOL}",
            baselines=baselines,
            ceiling=oracle,
        ),
        "fraction_of_ceiling": Measurement(
            of=probe.total("error", "error_oracle", "deviation", statistic=r2_fraction)
            if ceiling and ceiling > 0
            else None,
            unit="share",
            protocol=f"R2 of the codes over R2 of the oracle; {PROTOCOL}; {CEILING_PROTOCOL}",
            baselines={name: _share(sums, ceiling) for name, sums in baselines.items()},
            ceiling=1.0,
            reason="even the oracle codes do not predict the motion of the test episodes",
        ),
        "r2_latent": _r2(
            probe.r2("latent"),
            "ridge on the latent that is decoded and clustered (bounded, before quantisation), "
            "penalty and clipping chosen by cross-validation inside the validation split; "
            f"{PROTOCOL}; {supervised}",
            baselines=baselines,
        ),
    }
    for known, what in KNOWN.items():
        found[f"partial_r2_{known}"] = _r2(
            probe.total(f"error_{known}_and_codes", f"error_{known}"),
            f"share of the error of {what} that adding the codes to its prediction removes; "
            + PROTOCOL,
        )
    for d in (*probe.groups, *probe.dimensions):
        alone = "these joints alone" if d in probe.groups else "this dimension alone"
        found[f"r2_latent/{d}"] = _r2(
            probe.r2("latent", d),
            f"as the mean R2 of the latent, {alone}",
            baselines=probe.baselines(d),
            reason=CONSTANT_DIMENSION,
        )
        found[f"r2/{d}"] = _r2(
            probe.r2("codes", d),
            f"as the mean R2, {alone}; {CEILING_PROTOCOL}, of all dimensions together",
            baselines=probe.baselines(d),
            ceiling=probe.r2("oracle", d),
            reason=CONSTANT_DIMENSION,
        )
    for name in BASELINES:
        is_known = name in probe.predictors
        parts = ("error", _error(name), "deviation")
        found[f"gain_over/{name}"] = _r2(
            probe.total(*parts, statistic=r2_difference) if is_known else None,
            f"R2 of the codes minus R2 of this baseline on the same resampled episodes; {PROTOCOL}",
            reason=MISSING if name == "dense_flow_clusters" else "no untrained encoder was given",
        )
    return found


def lag_measurements(
    probe: ProbeTable, sums: Float[np.ndarray, "e l d"], *, max_lag: int
) -> dict[str, Measurement]:
    """R2 with codes shifted against motions, and the shift at which it peaks.

    `sums` are squared errors at lags -max_lag .. max_lag, then the deviation.
    """
    names = [f"error_lag{lag:+d}" for lag in range(-max_lag, max_lag + 1)]
    for row, name in enumerate([*names, "deviation_lag"]):
        given = name == "deviation_lag"
        probe.table.add_squares(name, sums[:, row], probe.dimensions, given=given)
    short = "the episodes are too short or too still for a lag"
    found = {
        f"lag/{lag:+d}": _r2(probe.total(name, "deviation_lag"), LAG_PROTOCOL, reason=short)
        for lag, name in zip(range(-max_lag, max_lag + 1), names, strict=True)
    }
    curve = probe.total(*names, "deviation_lag", statistic=best_lag)
    found["best_lag"] = Measurement(
        of=replace(curve, bounds=lag_bounds),
        unit="transitions",
        protocol=f"lag of the highest R2, 0 when codes are aligned; {LAG_PROTOCOL}: from the "
        f"smallest to the largest lag within {LAG_MARGIN} of the highest R2 in a resample, all "
        "lags where the resample has no best one",
        reason=_why_no_lag(curve.values.sum(axis=0)),
    )
    return found


def _why_no_lag(totals: Float[np.ndarray, "l d"]) -> str:
    r2 = float(_lag_r2(totals).max())
    if not np.isfinite(r2):
        return "the episodes are too short or too still for a lag"
    if r2 <= MIN_LAG_R2:
        return f"the codes predict the motion at no lag: the highest R2 is {r2:.2g}"
    return "the codes predict the motion best at the last lag that was tried, or beyond it"


def best_lag(totals: Float[np.ndarray, "... l d"]) -> Float[np.ndarray, "..."]:
    """The lag of the highest R2, from errors at lags -n .. n and the deviation; NaN without one.

    Of lags whose R2 is equal up to rounding the smallest is taken. A peak at the first or last lag
    may lie beyond it, and one below MIN_LAG_R2 is chance: neither is a lag.
    """
    r2, lags = _lag_r2(totals), _lags(totals)
    max_lag = lags[-1]
    best = lags[(r2 - ROUNDING * np.abs(lags)).argmax(axis=-1)]
    return np.where((r2.max(axis=-1) > MIN_LAG_R2) & (np.abs(best) < max_lag), best, np.nan)


def lag_bounds(totals: Float[np.ndarray, "... l d"]) -> Float[np.ndarray, "... 2"]:
    """The smallest and the largest lag that the best one cannot be told from."""
    r2, lags = _lag_r2(totals), _lags(totals)
    is_open = np.isnan(best_lag(totals))[..., None] | (
        r2 >= r2.max(axis=-1, keepdims=True) - LAG_MARGIN
    )
    return np.stack(
        [np.where(is_open, lags, lags[-1]).min(-1), np.where(is_open, lags, lags[0]).max(-1)],
        axis=-1,
    ).astype(np.float64)


def _lag_r2(totals: Float[np.ndarray, "... l d"]) -> Float[np.ndarray, "..."]:
    """R2 at every lag, from errors at lags -n .. n and the deviation."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return (1.0 - totals[..., :-1, :] / totals[..., -1:, :]).mean(axis=-1)


def _lags(totals: Float[np.ndarray, "... l d"]) -> Int[np.ndarray, " n"]:
    max_lag = totals.shape[-2] // 2 - 1
    return np.arange(-max_lag, max_lag + 1)


def information_measurements(probe: Probe, table: Table) -> dict[str, Measurement]:
    """Mutual information of codes and motions, which needs no linear relation."""
    test, oracle = probe.test, probe.oracle[1]
    shape = (test.num_episodes, probe.num_codes, probe.num_codes)

    def information(codes: Int[np.ndarray, " m"]) -> Sums:
        counts = joint_counts(codes, oracle, test.episode, shape=shape)
        return Sums(table, counts, mutual_information, Interval.jackknife, OTHER_CODES)

    permuted = np.random.default_rng(probe.seed).permutation(test.codes)
    return {
        "mutual_information": Measurement(
            of=information(test.codes),
            unit="bits",
            protocol=INFORMATION_PROTOCOL,
            baselines={"permuted_codes": information(permuted)},
            ceiling=float(entropy(np.bincount(oracle).astype(float))),
        )
    }


def p_value_measurements(
    table: Table, values: Mapping[str, float | None]
) -> dict[str, Measurement]:
    """Permutation tests."""
    how = {
        "circular_shift": "rotates the codes of each test episode by its own random shift",
        "reassignment": "gives each test episode the codes of another",
    }
    return {
        f"p_value/{name}": Measurement(
            of=Fixed(table, value),
            unit="p-value",
            protocol="share of 2,000 permutations with an R2 at least as high; a permutation "
            + how[name],
            reason="the motion is constant in the test episodes, or there is nothing to exchange",
        )
        for name, value in values.items()
    }


def code_measurements(table: Table, test: ProbeData, *, num_codes: int) -> dict[str, Measurement]:
    """How much of the codebook the test episodes use."""
    counts = test.sums(np.eye(num_codes)[test.codes])
    return {
        "codes/perplexity": Measurement(
            of=Sums(table, counts, perplexity, Interval.jackknife, OTHER_CODES),
            unit="codes",
            protocol="exp of the entropy of code use over test transitions; " + JACKKNIFE,
            ceiling=float(num_codes),
        ),
        "codes/used": Measurement(
            of=Fixed(table, float((counts.sum(axis=0) > 0).sum()), FEWER_CODES),
            unit="codes",
            protocol="codes that occur in the test episodes",
            ceiling=float(num_codes),
        ),
    }


def _r2(
    sums: Sums | None,
    protocol: str,
    *,
    baselines: Mapping[str, Sums | None] | None = None,
    ceiling: Sums | None = None,
    reason: str = CONSTANT,
) -> Measurement:
    return Measurement(
        of=sums,
        unit="R2",
        protocol=protocol,
        baselines=baselines or {},
        ceiling=ceiling,
        reason=reason,
    )


def _share(sums: Sums | None, ceiling: float | None) -> float | None:
    value = sums.value if sums else None
    return value / ceiling if value is not None and ceiling else None
