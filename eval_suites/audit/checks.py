"""How well predicted success of policies follows true success, with intervals, chance and floors.

A judge, such as a world model, predicts the success of every trial of every policy. A correlation
over a handful of policies says little alone, so every statistic comes with the checks that such
numbers have to pass.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from genie_robo.eval_suites.metrics.ranking import mean_absolute_error, mmrv, pearson, spearman

Statistic = Callable[[Float[np.ndarray, "... p"], Float[np.ndarray, "... p"]], np.ndarray]
STATISTICS: Mapping[str, Statistic] = {"pearson": pearson, "spearman": spearman, "mmrv": mmrv}
BETTER = {"pearson": 1, "spearman": 1, "mmrv": -1}
"""Whether more of it is better."""
EXACT_POLICIES = 8
"""Up to so many policies all orders are tried: 40,320."""
SAMPLED_ORDERS = 20_000
RESAMPLES = 2_000
MIN_TRIALS = 10
"""With fewer trials of a policy, resamples of them have too few distinct values."""
MIN_DEFINED = 0.95
"""Share of resamples in which a statistic must be defined for an interval."""
_AT_ONCE = 4_000_000
_Z = 1.959964


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Predicted and true success of trials, a row for each.

    Trials of different policies with the same name are paired: they share their start.
    """

    policy: Sequence[str]
    trial: Sequence[str]
    predicted: Float[np.ndarray, " n"]
    true: Float[np.ndarray, " n"]
    blind: Mapping[str, Float[np.ndarray, " n"]] = field(default_factory=dict)
    """Predictions of judges that see no pixels, by name: a floor."""

    def __post_init__(self) -> None:
        """Refuse what cannot be audited.

        Raises:
            ValueError: There are fewer than three policies, or a trial of a policy is there twice.
        """
        if len(set(self.policy)) < 3:
            raise ValueError(
                f"{len(set(self.policy))} policies are in the table, and a ranking needs three"
            )
        seen: set[tuple[str, str]] = set()
        for pair in zip(self.policy, self.trial, strict=True):
            if pair in seen:
                raise ValueError(
                    f"trial {pair[1]!r} of policy {pair[0]!r} is in the table twice; name repeated "
                    "trials differently"
                )
            seen.add(pair)

    def where(self, chosen: Sequence[bool]) -> "Outcomes":
        """Some of the rows."""
        rows = [row for row, is_chosen in enumerate(chosen) if is_chosen]
        return Outcomes(
            policy=[self.policy[row] for row in rows],
            trial=[self.trial[row] for row in rows],
            predicted=self.predicted[rows],
            true=self.true[rows],
            blind={name: values[rows] for name, values in self.blind.items()},
        )


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float


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
    """Bootstrap: other policies of the same kind might have been tried."""
    over_trials: Interval | None
    """Bootstrap: other starts might have been drawn."""
    over_both: Interval | None
    fisher: Interval | None
    """Normal interval of atanh r; correlations only."""
    p_value: float | None
    """Chance of a value at least as good if predictions were dealt to policies at random."""
    is_exact: bool
    """Whether all orders were tried."""
    without_one: WithoutOne | None
    blind: Mapping[str, float | None]
    """The statistic of each judge that sees no pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What a table of trials says about a judge."""

    policies: tuple[str, ...]
    predicted: Float[np.ndarray, " p"]
    """Mean predicted success of each policy."""
    true: Float[np.ndarray, " p"]
    predicted_interval: Float[np.ndarray, "2 p"]
    """Low and high ends over trials."""
    true_interval: Float[np.ndarray, "2 p"]
    trials_of_policy: tuple[int, int]
    """Fewest and most."""
    is_paired: bool
    """Whether all policies share their trials."""
    findings: Mapping[str, Finding]
    absolute_error: float
    """Mean over policies of |predicted - true| success."""
    bias: float
    """Mean predicted minus mean true success."""
    levels: tuple[int, int]
    """Different values of predicted and of true success among policies."""
    resolved: float | None
    """Share of pairs of policies whose true difference is not zero by its interval over trials."""
    retest: float | None
    """Pearson of true success of one half of the trials with that of the other, mean of many."""

    @property
    def ceiling(self) -> float | None:
        """Expected Pearson of the true success rates with their means over these trials.

        From the reliability of half of the trials r: sqrt(2 r / (1 + r)) (Spearman 1910, Brown
        1910). None where halves do not agree.
        """
        if self.retest is None or self.retest <= 0:
            return None
        return math.sqrt(2 * self.retest / (1 + self.retest))


def audit(outcomes: Outcomes, *, seed: int = 0) -> Audit:
    """Every check on the agreement of predicted and true success."""
    trials = _Trials.of(outcomes)
    predicted, true = _means(trials.predicted), _means(trials.true)
    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(predicted), size=(RESAMPLES, len(predicted)))
    resampled = trials.resample(rng)
    return Audit(
        policies=trials.policies,
        predicted=predicted,
        true=true,
        predicted_interval=np.percentile(resampled.predicted, [2.5, 97.5], axis=0),
        true_interval=np.percentile(resampled.true, [2.5, 97.5], axis=0),
        trials_of_policy=(min(trials.counts), max(trials.counts)),
        is_paired=trials.is_paired,
        findings={
            name: _find(trials, statistic, BETTER[name], chosen, resampled, rng)
            for name, statistic in STATISTICS.items()
        },
        absolute_error=float(mean_absolute_error(predicted, true)),
        bias=float((predicted - true).mean()),
        levels=(_num_levels(predicted), _num_levels(true)),
        resolved=_resolved(resampled.true, num_trials=min(trials.counts)),
        retest=_retest(trials, rng),
    )


class _Means(NamedTuple):
    """Mean success of each policy in each resample."""

    predicted: Float[np.ndarray, "r p"]
    true: Float[np.ndarray, "r p"]


@dataclass(frozen=True, slots=True)
class _Trials:
    """The trials of each policy; in the same order where they are paired."""

    policies: tuple[str, ...]
    predicted: list[Float[np.ndarray, " n"]]
    true: list[Float[np.ndarray, " n"]]
    blind: Mapping[str, list[Float[np.ndarray, " n"]]]
    is_paired: bool

    @classmethod
    def of(cls, outcomes: Outcomes) -> "_Trials":
        policies = tuple(dict.fromkeys(outcomes.policy))
        own, names = np.array(outcomes.policy), np.array(outcomes.trial)
        # By name, so that the trials of paired policies stand in the same order.
        rows = [np.flatnonzero(own == name) for name in policies]
        rows = [chosen[names[chosen].argsort(kind="stable")] for chosen in rows]
        return cls(
            policies,
            [outcomes.predicted[chosen] for chosen in rows],
            [outcomes.true[chosen] for chosen in rows],
            {name: [v[chosen] for chosen in rows] for name, v in outcomes.blind.items()},
            is_paired=all(np.array_equal(names[chosen], names[rows[0]]) for chosen in rows),
        )

    @property
    def counts(self) -> list[int]:
        return [len(values) for values in self.true]

    def resample(self, rng: np.random.Generator) -> _Means:
        """Trials drawn with replacement: the same ones for all policies where they are paired."""
        both = [np.stack(pair, axis=1) for pair in zip(self.predicted, self.true, strict=True)]
        if self.is_paired:
            both = [np.concatenate(both, axis=1)]
        drawn = np.concatenate([_resampled_means(values, rng) for values in both], axis=1)
        return _Means(drawn[:, ::2], drawn[:, 1::2])

    def halves(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Mean true success of each policy on two random halves of its trials."""
        order = [rng.permutation(count) for count in self.counts]
        if self.is_paired:
            order = [order[0]] * len(order)
        pairs = zip(self.true, order, strict=True)
        halves = [np.array_split(true[chosen], 2) for true, chosen in pairs]
        first, second = (np.array([half[side].mean() for half in halves]) for side in (0, 1))
        return first, second


def _resampled_means(
    values: Float[np.ndarray, "n k"], rng: np.random.Generator
) -> Float[np.ndarray, "r k"]:
    """Means of rows drawn with replacement, some resamples at a time to bound memory."""
    count = len(values)
    at_once = max(1, _AT_ONCE // count)
    sizes = [min(at_once, RESAMPLES - first) for first in range(0, RESAMPLES, at_once)]
    chances = np.full(count, 1 / count)
    return np.concatenate(
        [rng.multinomial(count, chances, size=size) @ values / count for size in sizes]
    )


def _means(trials: Sequence[Float[np.ndarray, " n"]]) -> Float[np.ndarray, " p"]:
    return np.array([values.mean() for values in trials])


def _find(
    trials: _Trials,
    statistic: Statistic,
    better: int,
    chosen: Int[np.ndarray, "r p"],
    resampled: _Means,
    rng: np.random.Generator,
) -> Finding:
    predicted, true = _means(trials.predicted), _means(trials.true)
    value = _defined(statistic(predicted, true))
    rows = np.arange(len(chosen))[:, None]
    p_value, is_exact = _permutation(statistic, better, predicted, true, rng)
    is_correlation = better > 0
    return Finding(
        value=value,
        over_policies=_percentiles(statistic(predicted[chosen], true[chosen])),
        over_trials=_percentiles(statistic(*resampled)) if min(trials.counts) > 1 else None,
        over_both=_percentiles(
            statistic(resampled.predicted[rows, chosen], resampled.true[rows, chosen])
        )
        if min(trials.counts) > 1
        else None,
        fisher=_fisher(value, len(true), ranks=statistic is spearman) if is_correlation else None,
        p_value=None if value is None else p_value,
        is_exact=is_exact,
        without_one=_without_one(statistic, trials.policies, predicted, true),
        blind={
            name: _defined(statistic(_means(values), true)) for name, values in trials.blind.items()
        },
    )


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
    orders = (
        np.array(list(permutations(range(count))))
        if is_exact
        else rng.permuted(np.tile(np.arange(count), (SAMPLED_ORDERS, 1)), axis=1)
    )
    observed = better * statistic(predicted, true)
    # Statistics compare all pairs of policies: some orders at a time, to bound memory.
    blocks = np.array_split(orders, max(1, orders.size * count // _AT_ONCE))
    null = [better * statistic(predicted[b], np.broadcast_to(true, b.shape)) for b in blocks]
    as_good = np.sum(np.concatenate(null) >= observed - 1e-12)
    if is_exact:
        return float(as_good / len(orders)), True
    return float((as_good + 1) / (len(orders) + 1)), False


def _without_one(
    statistic: Statistic,
    policies: Sequence[str],
    predicted: Float[np.ndarray, " p"],
    true: Float[np.ndarray, " p"],
) -> WithoutOne | None:
    count = len(predicted)
    rest = np.array([np.delete(np.arange(count), left_out) for left_out in range(count)])
    values = statistic(predicted[rest], true[rest])
    whole = statistic(predicted, true)
    if not np.isfinite(values).all() or not np.isfinite(whole):
        return None
    change = np.abs(values - whole)
    most = int(change.argmax())
    return WithoutOne(float(values.min()), float(values.max()), policies[most], float(change[most]))


def _num_levels(values: Float[np.ndarray, " p"]) -> int:
    return len(np.unique(values.round(9)))


def _resolved(true: Float[np.ndarray, "r p"], *, num_trials: int) -> float | None:
    """Share of pairs of policies whose difference is on one side of zero in 95 % of resamples."""
    if num_trials < MIN_TRIALS:
        return None
    first, second = np.triu_indices(true.shape[1], 1)
    low, high = np.percentile(true[:, first] - true[:, second], [2.5, 97.5], axis=0)
    return float(((low > 0) | (high < 0)).mean())


def _retest(trials: _Trials, rng: np.random.Generator, *, num_halves: int = 200) -> float | None:
    """Pearson between true means of random halves of the trials."""
    if min(trials.counts) < 2:
        return None
    found = np.array([pearson(*trials.halves(rng)) for _ in range(num_halves)])
    finite = found[np.isfinite(found)]
    return float(finite.mean()) if len(finite) >= MIN_DEFINED * num_halves else None
