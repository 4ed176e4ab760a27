"""How well predicted success of policies follows true success, with intervals, chance and floors.

A judge, such as a world model, predicts the success of every trial of every policy. A correlation
over a handful of policies says little alone, so every statistic comes with the checks that such
numbers have to pass.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from genie_robo.eval_suites.audit.trials import AT_ONCE, RESAMPLES, Means, Outcomes, Trials
from genie_robo.eval_suites.metrics.ranking import mean_absolute_error, mmrv, pearson, spearman
from genie_robo.eval_suites.statistics import MIN_EPISODES_FOR_INTERVAL, normal_interval

Statistic = Callable[[Float[np.ndarray, "... p"], Float[np.ndarray, "... p"]], np.ndarray]
STATISTICS: Mapping[str, Statistic] = {"pearson": pearson, "spearman": spearman, "mmrv": mmrv}
BETTER = {"pearson": 1, "spearman": 1, "mmrv": -1}
"""Whether more of it is better."""
RANGE = {"pearson": (-1.0, 1.0), "spearman": (-1.0, 1.0), "mmrv": (0.0, math.inf)}
"""Of the values of each statistic: its normal interval ends there."""
EXACT_POLICIES = 8
"""Up to so many policies all orders are tried: 40,320."""
SAMPLED_ORDERS = 20_000
MOST_COMPARISONS = 100_000_000
"""Comparisons of two policies over all sampled orders: above 70 policies fewer are sampled."""
MIN_STARTS = 10
"""With fewer starts of a policy, resamples have too few distinct values to compare pairs."""
MIN_DEFINED = 0.95
"""Share of resamples in which a statistic must be defined for an interval."""
_Z = 1.959964


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float


class Difference(NamedTuple):
    """The judge's statistic minus that of a judge that sees no pixels."""

    value: float
    over_both: Interval | None
    """Bootstrap of both judges on the same policies and starts."""


class WithoutOne(NamedTuple):
    """A statistic when each policy in turn is left out."""

    low: float
    high: float
    policy: str
    """The one whose absence changes it most."""
    change: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A statistic over policies with its checks; None where undefined."""

    value: float | None
    over_policies: Interval | None
    """Other policies of the same kind might have been tried: bootstrap; MMRV by jackknife, as a
    policy that is drawn twice is ordered rightly with itself."""
    over_trials: Interval | None
    """Other starts might have been drawn: jackknife, as noise lowers a correlation, and resamples
    hold it twice. None below five starts of a policy."""
    over_both: Interval | None
    """Bootstrap of policies and starts; MMRV by both jackknives. None below five starts of a
    policy."""
    fisher: Interval | None
    """Normal interval of atanh r; correlations only."""
    p_value: float | None
    """Chance of a value at least as good if predictions were dealt to policies at random."""
    is_exact: bool
    """Whether all orders were tried."""
    without_one: WithoutOne | None
    blind: Mapping[str, float | None]
    """The statistic of each judge that sees no pixels."""
    beyond_blind: Mapping[str, Difference | None]
    """How much more it is than that of each judge that sees no pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What a table of trials says about a judge."""

    policies: tuple[str, ...]
    predicted: Float[np.ndarray, " p"]
    """Mean predicted success of each policy."""
    true: Float[np.ndarray, " p"]
    predicted_interval: Float[np.ndarray, "2 p"] | None
    """Low and high ends over starts; None below five starts of a policy."""
    true_interval: Float[np.ndarray, "2 p"] | None
    trials_of_policy: tuple[int, int]
    """Fewest and most."""
    starts_of_policy: tuple[int, int]
    """Fewest and most: trials from one start are one unit."""
    is_paired: bool
    """Whether all policies have as many trials from each start."""
    findings: Mapping[str, Finding]
    absolute_error: float | None
    """Mean over policies of |predicted - true| success; None where a value is not in 0..1."""
    bias: float | None
    """Mean predicted minus mean true success; None as above."""
    levels: tuple[int, int]
    """Different values of predicted and of true success among policies."""
    resolved: float | None
    """Share of pairs of policies whose true difference is not zero by its interval over trials."""
    retest: float | None
    """Pearson of true success of one half of the starts with that of the other, mean of many."""

    @property
    def ceiling(self) -> float | None:
        """Expected Pearson of the true success rates with their means over these starts.

        From the reliability of half of the starts r: sqrt(2 r / (1 + r)) (Spearman 1910, Brown
        1910). None where halves do not agree.
        """
        if self.retest is None or self.retest <= 0:
            return None
        return math.sqrt(2 * self.retest / (1 + self.retest))


def audit(outcomes: Outcomes, *, seed: int = 0) -> Audit:
    """Every check on the agreement of predicted and true success."""
    trials = Trials.of(outcomes)
    rng = np.random.default_rng(seed)
    samples = _Samples.of(trials, rng)
    predicted, true = samples.whole.predicted[0], samples.whole.true[0]
    starts, resampled = trials.num_starts, samples.over_starts
    values = np.concatenate([outcomes.predicted, outcomes.true])
    is_success = values.min() >= 0 and values.max() <= 1
    return Audit(
        policies=trials.policies,
        predicted=predicted,
        true=true,
        predicted_interval=None if resampled is None else _ends(resampled.predicted),
        true_interval=None if resampled is None else _ends(resampled.true),
        trials_of_policy=(int(trials.num_trials.min()), int(trials.num_trials.max())),
        starts_of_policy=(int(starts.min()), int(starts.max())),
        is_paired=trials.is_paired,
        findings={name: _find(trials.policies, samples, name, rng) for name in STATISTICS},
        absolute_error=float(mean_absolute_error(predicted, true)) if is_success else None,
        bias=float((predicted - true).mean()) if is_success else None,
        levels=(_num_levels(predicted), _num_levels(true)),
        resolved=None
        if resampled is None or starts.min() < MIN_STARTS
        else _resolved(resampled.true),
        retest=_retest(trials, rng) if starts.min() > 1 else None,
    )


class _Samples(NamedTuple):
    """Means of policies that a statistic is computed of."""

    whole: Means
    """One row: of all policies and trials."""
    over_policies: Means
    """Policies drawn with replacement."""
    without_policy: Means
    """Each policy left out."""
    over_starts: Means | None
    """Starts drawn with replacement; None with too few of them."""
    over_both: Means | None
    without_start: tuple[Means, Int[np.ndarray, " r"]] | None
    """Each start left out, and its group."""

    @classmethod
    def of(cls, trials: Trials, rng: np.random.Generator) -> "_Samples":
        whole, count = trials.means(), len(trials.policies)
        chosen = rng.integers(count, size=(RESAMPLES, count))
        rest = np.array([np.delete(np.arange(count), left_out) for left_out in range(count)])
        is_enough = trials.num_starts.min() >= MIN_EPISODES_FOR_INTERVAL
        drawn = trials.resample(rng) if is_enough else None
        return cls(
            whole,
            whole.of_policies(chosen),
            whole.of_policies(rest),
            drawn,
            None if drawn is None else drawn.of_policies(chosen),
            trials.without_each() if is_enough else None,
        )


def _find(
    policies: Sequence[str], samples: _Samples, name: str, rng: np.random.Generator
) -> Finding:
    statistic, better = STATISTICS[name], BETTER[name]
    predicted, true = samples.whole.predicted[0], samples.whole.true[0]
    value = _defined(statistic(predicted, true))
    p_value, is_exact = _permutation(statistic, better, predicted, true, rng)
    without_policy = _evaluate(statistic, samples.without_policy)
    over_policies, over_trials, over_both = _intervals(name, value, samples, without_policy)
    return Finding(
        value=value,
        over_policies=over_policies,
        over_trials=over_trials,
        over_both=over_both,
        fisher=_fisher(value, len(true), ranks=name == "spearman") if better > 0 else None,
        p_value=None if value is None else p_value,
        is_exact=is_exact,
        without_one=_without_one(policies, value, without_policy),
        blind={
            judge: _defined(statistic(means[0], true))
            for judge, means in samples.whole.blind.items()
        },
        beyond_blind={
            judge: _beyond_blind(statistic, samples, judge) for judge in samples.whole.blind
        },
    )


def _evaluate(statistic: Statistic, means: Means) -> Float[np.ndarray, " r"]:
    """The statistic of each row; some rows at a time, as pairs of policies are compared."""
    count, width = means.predicted.shape
    true = np.broadcast_to(means.true, means.predicted.shape)
    rows = np.array_split(np.arange(count), max(1, count * width**2 // AT_ONCE))
    return np.concatenate([statistic(means.predicted[some], true[some]) for some in rows])


def _intervals(
    name: str, value: float | None, samples: _Samples, without_policy: Float[np.ndarray, " p"]
) -> tuple[Interval | None, Interval | None, Interval | None]:
    """Over policies, over trials and over both; what they cover is in docs/policies.md."""
    statistic, starts = STATISTICS[name], None
    if samples.without_start is not None:
        means, group = samples.without_start
        values = _evaluate(statistic, means)
        starts = [values[group == each] for each in np.unique(group)]
    over_trials = _jackknife(name, value, starts)
    if name == "mmrv":
        policies = [without_policy]
        both = None if starts is None else policies + starts
        return _jackknife(name, value, policies), over_trials, _jackknife(name, value, both)
    resampled = (
        None if means is None else _percentiles(_evaluate(statistic, means))
        for means in (samples.over_policies, samples.over_both)
    )
    over_policies, over_both = resampled
    return over_policies, over_trials, over_both


def _jackknife(
    name: str, value: float | None, left: Sequence[Float[np.ndarray, " _"]] | None
) -> Interval | None:
    """Within the values that the statistic can have; None where one of `left` is undefined."""
    if value is None or left is None or not all(np.isfinite(side).all() for side in left):
        return None
    low, high = normal_interval(value, left)
    least, most = RANGE[name]
    return Interval(max(low, least), min(high, most))


def _beyond_blind(statistic: Statistic, samples: _Samples, judge: str) -> Difference | None:
    def apart(means: Means) -> Float[np.ndarray, " r"]:
        blind = _evaluate(statistic, means._replace(predicted=means.blind[judge]))
        return _evaluate(statistic, means) - blind

    value, both = _defined(apart(samples.whole)[0]), samples.over_both
    if value is None:
        return None
    return Difference(value, None if both is None else _percentiles(apart(both)))


def _defined(value: np.ndarray) -> float | None:
    return float(value) if np.isfinite(value) else None


def _percentiles(values: Float[np.ndarray, " r"]) -> Interval | None:
    finite = values[np.isfinite(values)]
    if len(finite) < MIN_DEFINED * len(values):
        return None
    return Interval(*(float(end) for end in np.percentile(finite, [2.5, 97.5])))


def _fisher(value: float | None, num_policies: int, *, ranks: bool) -> Interval | None:
    """The normal interval of atanh r, wider for ranks (Bonett and Wright 2000)."""
    if value is None or num_policies < 4:
        return None
    if abs(value) > 1 - 1e-12:
        return None
    error = math.sqrt((1 + value**2 / 2 if ranks else 1.0) / (num_policies - 3))
    middle = math.atanh(value)
    return Interval(math.tanh(middle - _Z * error), math.tanh(middle + _Z * error))


def _permutation(
    statistic: Statistic,
    better: int,
    predicted: Float[np.ndarray, " p"],
    true: Float[np.ndarray, " p"],
    rng: np.random.Generator,
) -> tuple[float, bool]:
    """Share of orders of the predictions that agree at least as well, and whether all were tried.

    Of sampled orders the one that was observed counts as one (Phipson and Smyth 2010).
    """
    count = len(predicted)
    is_exact = count <= EXACT_POLICIES
    num_orders = min(SAMPLED_ORDERS, MOST_COMPARISONS // count**2 + RESAMPLES)
    orders = (
        np.array(list(permutations(range(count))))
        if is_exact
        else rng.permuted(np.tile(np.arange(count), (num_orders, 1)), axis=1)
    )
    observed = better * statistic(predicted, true)
    null = better * _evaluate(statistic, Means(predicted[orders], true[None], {}))
    as_good = np.sum(null >= observed - 1e-12)
    if is_exact:
        return float(as_good / len(orders)), True
    return float((as_good + 1) / (len(orders) + 1)), False


def _without_one(
    policies: Sequence[str], whole: float | None, without_policy: Float[np.ndarray, " p"]
) -> WithoutOne | None:
    if whole is None or not np.isfinite(without_policy).all():
        return None
    change = np.abs(without_policy - whole)
    most = int(change.argmax())
    return WithoutOne(
        float(without_policy.min()),
        float(without_policy.max()),
        policies[most],
        float(change[most]),
    )


def _num_levels(values: Float[np.ndarray, " p"]) -> int:
    return len(np.unique(values.round(9)))


def _ends(means: Float[np.ndarray, "r p"]) -> Float[np.ndarray, "2 p"]:
    """Of the interval of each policy, over the resamples that hold some of its trials."""
    return np.nanpercentile(means, [2.5, 97.5], axis=0)


def _resolved(true: Float[np.ndarray, "r p"]) -> float:
    """Share of pairs of policies whose difference is on one side of zero in 95 % of resamples."""
    first, second = np.triu_indices(true.shape[1], 1)
    some = max(1, AT_ONCE // len(true))  # pairs at a time, to bound memory
    ends = [
        _ends(true[:, first[n : n + some]] - true[:, second[n : n + some]])
        for n in range(0, len(first), some)
    ]
    low, high = np.concatenate(ends, axis=1)
    return float(((low > 0) | (high < 0)).mean())


def _retest(trials: Trials, rng: np.random.Generator, *, num_halves: int = 200) -> float | None:
    """Pearson between true means of random halves of the starts."""
    found = np.array([pearson(*trials.halves(rng)) for _ in range(num_halves)])
    finite = found[np.isfinite(found)]
    return float(finite.mean()) if len(finite) >= MIN_DEFINED * num_halves else None
