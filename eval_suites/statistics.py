"""Statistics over episodes, on plain arrays.

Frames of one episode are not independent, so intervals and permutations are over whole episodes.
Measurements enter as sums per episode. A statistic is a function of their total, so that 2,000
resamples are one matrix product.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

MIN_EPISODES_FOR_INTERVAL = 5
"""With fewer episodes there are too few distinct resamples for a 95 % interval."""

FEW_EPISODES = 12
"""With fewer episodes, percentile intervals cover clearly less than 95 %."""

RESAMPLES = 2000

Statistic = Callable[[Float[np.ndarray, "..."]], Float[np.ndarray, "..."]]
"""Maps totals over episodes, with any leading axes, to one number for each leading index."""


class Estimate(NamedTuple):
    """A number and its 95 % interval, None where undefined."""

    value: float | None
    ci95: tuple[float, float] | None


def episode_sums(
    values: Float[np.ndarray, "n ..."], episode: Int[np.ndarray, " n"], *, num_episodes: int
) -> Float[np.ndarray, "e ..."]:
    """Sum of the rows of each episode."""
    sums = np.zeros((num_episodes, *values.shape[1:]))
    np.add.at(sums, episode, values)
    return sums


def bootstrap(
    sums: Float[np.ndarray, "e ..."],
    statistic: Statistic,
    *,
    bounds: Statistic | None = None,
    seed: int = 0,
    num_resamples: int = RESAMPLES,
) -> Estimate:
    """A statistic of per-episode sums with its percentile interval over episodes.

    With `bounds`, two numbers of each resample, the interval reaches from a low percentile of the
    first to a high one of the second: for whole numbers, which differ by one or not at all.

    Two statistics bootstrapped with the same seed and episodes see the same resamples, so their
    difference must be bootstrapped as one statistic, never by subtracting intervals.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(statistic(sums.sum(axis=0)[None])[0])
        if not np.isfinite(value):
            return Estimate(None, None)
        num_episodes = len(sums)
        if num_episodes < MIN_EPISODES_FOR_INTERVAL:
            return Estimate(value, None)
        counts = _resample_counts(num_episodes, num_resamples=num_resamples, seed=seed)
        totals = np.tensordot(counts, sums, axes=1)
        if bounds is not None:
            low, high = bounds(totals).T
            return Estimate(value, (_percentile(low, 2.5), _percentile(high, 97.5)))
        resampled = statistic(totals)
    finite = resampled[np.isfinite(resampled)]
    # Undefined in many resamples, such as recall of an event that occurs in one episode.
    if len(finite) < 0.95 * num_resamples:
        return Estimate(value, None)
    low, high = np.percentile(finite, [2.5, 97.5])
    return Estimate(value, (float(low), float(high)))


def _percentile(values: Float[np.ndarray, " r"], percent: float) -> float:
    """One of the values, the one farther out where two are equally near."""
    method = "lower" if percent < 50 else "higher"
    return float(np.percentile(values, percent, method=method))


def jackknife(sums: Float[np.ndarray, "e ..."], statistic: Statistic) -> Estimate:
    """A statistic of per-episode sums with its normal interval (Tukey 1958).

    Leaves out one episode at a time. For statistics fitted to the episodes they are measured on,
    such as an entropy or a distance of distributions: a bootstrap repeats episodes, which lowers
    the apparent variety and biases its resamples.
    """
    totals = sums.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(statistic(totals[None])[0])
        left = statistic(totals - sums)
    if not np.isfinite(value):
        return Estimate(None, None)
    if len(sums) < MIN_EPISODES_FOR_INTERVAL or not np.isfinite(left).all():
        return Estimate(value, None)
    return Estimate(value, normal_interval(value, [left]))


def normal_interval(value: float, left: Sequence[Float[np.ndarray, " _"]]) -> tuple[float, float]:
    """Value +- 1.96 standard errors, from the values without each episode of each sample."""
    variance = sum((len(side) - 1) * float(np.var(side)) for side in left)
    reach = 1.96 * float(np.sqrt(variance))
    return value - reach, value + reach


def number_episodes(episode: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Episodes numbered 0, 1, .. in the order in which they first appear."""
    _, first, number = np.unique(episode, return_index=True, return_inverse=True)
    return first.argsort().argsort()[number]


@lru_cache(maxsize=4)
def _resample_counts(
    num_episodes: int, *, num_resamples: int, seed: int
) -> Float[np.ndarray, "r e"]:
    """How often each episode is drawn in each resample."""
    rng = np.random.default_rng(seed)
    chances = np.full(num_episodes, 1 / num_episodes)
    return rng.multinomial(num_episodes, chances, size=num_resamples).astype(float)


def ratio_of_sums(totals: Float[np.ndarray, "... 2"]) -> Float[np.ndarray, "..."]:
    """A mean over frames: total over count."""
    return totals[..., 0] / totals[..., 1]


def mean_r2(totals: Float[np.ndarray, "... 2 d"]) -> Float[np.ndarray, "..."]:
    """Mean over dimensions of 1 - SSE / SST, from totals of squared error and squared deviation.

    The deviation is taken about the mean of the split that the probe was fitted on, so that
    predicting this mean scores exactly 0.
    """
    return (1.0 - totals[..., 0, :] / totals[..., 1, :]).mean(axis=-1)


def r2_difference(totals: Float[np.ndarray, "... 3 d"]) -> Float[np.ndarray, "..."]:
    """Mean R2 of the first predictor minus that of the second; the third row is the deviation."""
    gain = (totals[..., 1, :] - totals[..., 0, :]) / totals[..., 2, :]
    return gain.mean(axis=-1)


def r2_fraction(totals: Float[np.ndarray, "... 3 d"]) -> Float[np.ndarray, "..."]:
    """Mean R2 of the first predictor as a share of that of the second, the ceiling."""
    return mean_r2(totals[..., [0, 2], :]) / mean_r2(totals[..., [1, 2], :])


def perplexity(counts: Float[np.ndarray, "... k"]) -> Float[np.ndarray, "..."]:
    """Effective number of codes in use: exp of the entropy of how often each is used."""
    chances = counts / counts.sum(axis=-1, keepdims=True)
    logs = np.log(np.where(chances > 0, chances, 1.0))
    return np.exp(-(chances * logs).sum(axis=-1))


def balanced_accuracy(totals: Float[np.ndarray, "... 2 c"]) -> Float[np.ndarray, "..."]:
    """Mean recall over classes, from totals of hits and of occurrences of each class."""
    return (totals[..., 0, :] / totals[..., 1, :]).mean(axis=-1)


def circular_shift_p_value(
    targets: Sequence[Float[np.ndarray, "_ d"]],
    predictions: Sequence[Float[np.ndarray, "_ d"]],
    reference: Float[np.ndarray, " d"],
    *,
    seed: int = 0,
    num_permutations: int = RESAMPLES,
) -> float:
    """Probability of a mean R2 this high if predictions were unrelated to the time in the episode.

    Every permutation rotates the predictions of each episode by its own random number of steps,
    which preserves autocorrelation. `reference` is the mean that R2 is taken about.
    """
    tables = [
        np.stack(
            [_squared_error(target, np.roll(guess, shift, axis=0)) for shift in range(len(target))]
        )
        for target, guess in zip(targets, predictions, strict=True)
    ]
    rng = np.random.default_rng(seed)
    null = np.zeros((num_permutations, len(reference)))
    for table in tables:
        null += table[rng.integers(len(table), size=num_permutations)]
    observed = sum(table[0] for table in tables)
    return _p_value(null, np.asarray(observed), _total_deviation(targets, reference))


def reassignment_p_value(
    targets: Sequence[Float[np.ndarray, "_ d"]],
    predictions: Sequence[Float[np.ndarray, "_ d"]],
    reference: Float[np.ndarray, " d"],
    *,
    seed: int = 0,
    num_permutations: int = RESAMPLES,
) -> float:
    """Probability of a mean R2 this high if predictions were unrelated to the episode.

    Every permutation gives each episode the predictions of another, repeated or cut to its
    length.
    """
    num_episodes = len(targets)
    table = np.stack(
        [
            np.stack(
                [_squared_error(target, _fit_length(guess, len(target))) for guess in predictions]
            )
            for target in targets
        ]
    )
    rng = np.random.default_rng(seed)
    order = rng.permuted(np.tile(np.arange(num_episodes), (num_permutations, 1)), axis=1)
    null = table[np.arange(num_episodes), order].sum(axis=1)
    observed = table[np.arange(num_episodes), np.arange(num_episodes)].sum(axis=0)
    return _p_value(null, observed, _total_deviation(targets, reference))


def notes_on_units(num_episodes: int) -> tuple[str, ...]:
    """A warning where there are few test episodes."""
    if num_episodes < MIN_EPISODES_FOR_INTERVAL:
        return (
            f"Only {num_episodes} test episodes were measured: too few for intervals, and a single "
            "episode can change every number.",
        )
    if num_episodes < FEW_EPISODES:
        return (
            f"Only {num_episodes} test episodes were measured: the intervals are narrower than "
            "they should be.",
        )
    return ()


def _squared_error(
    target: Float[np.ndarray, "t d"], guess: Float[np.ndarray, "t d"]
) -> Float[np.ndarray, " d"]:
    return ((target - guess) ** 2).sum(axis=0)


def _fit_length(guess: Float[np.ndarray, "t d"], length: int) -> Float[np.ndarray, "n d"]:
    return guess[np.arange(length) % len(guess)]


def _total_deviation(
    targets: Sequence[Float[np.ndarray, "_ d"]], reference: Float[np.ndarray, " d"]
) -> Float[np.ndarray, " d"]:
    return ((np.concatenate(list(targets)) - reference) ** 2).sum(axis=0)


def _p_value(
    null: Float[np.ndarray, "r d"],
    observed: Float[np.ndarray, " d"],
    deviation: Float[np.ndarray, " d"],
) -> float:
    """Share of permutations at least as good, the observed arrangement counted among them."""
    null_error = (null / deviation).mean(axis=1)
    observed_error = (observed / deviation).mean()
    # Rotations that leave the predictions unchanged tie only up to the order of summation.
    as_good = null_error <= observed_error * (1 + 1e-12)
    return float((1 + as_good.sum()) / (1 + len(null)))
