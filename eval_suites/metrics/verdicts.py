"""How well imagined scores tell success from failure, on plain arrays.

Everything is a function of how often each episode counts, so that intervals resample episodes.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

ByCounts = Callable[[Float[np.ndarray, "... e"]], Float[np.ndarray, "..."]]
"""A number, from how often each episode counts."""


def share(
    hit: Bool[np.ndarray, " m"],
    among: Bool[np.ndarray, " m"],
    episode: Int[np.ndarray, " m"],
) -> ByCounts:
    """How many of some trials are hits; NaN where there are none."""
    num_episodes = int(episode.max()) + 1
    hits = np.bincount(episode[hit & among], minlength=num_episodes)
    total = np.bincount(episode[among], minlength=num_episodes)
    return lambda counts: _ratio(counts @ hits, counts @ total)


def auroc(
    score: Float[np.ndarray, " m"],
    is_success: Bool[np.ndarray, " m"],
    episode: Int[np.ndarray, " m"],
) -> ByCounts:
    """Chance that a success scores higher than a failure, ties counting half; NaN without both."""
    num_episodes = int(episode.max()) + 1
    wins, pairs = (np.zeros((num_episodes, num_episodes)) for _ in range(2))
    good, bad = np.flatnonzero(is_success), np.flatnonzero(~is_success)
    apart = score[good][:, None] - score[bad][None]
    cells = (episode[good][:, None], episode[bad][None])
    np.add.at(wins, cells, (apart > 0) + 0.5 * (apart == 0))
    np.add.at(pairs, cells, 1.0)
    return lambda counts: _ratio(_quadratic(counts, wins), _quadratic(counts, pairs))


def gap(
    score: Float[np.ndarray, " m"],
    is_success: Bool[np.ndarray, " m"],
    episode: Int[np.ndarray, " m"],
) -> ByCounts:
    """Mean score of successes minus that of failures; NaN without both."""
    num_episodes = int(episode.max()) + 1

    def mean(chosen: Bool[np.ndarray, " m"]) -> ByCounts:
        total = np.bincount(episode[chosen], weights=score[chosen], minlength=num_episodes)
        number = np.bincount(episode[chosen], minlength=num_episodes)
        return lambda counts: _ratio(counts @ total, counts @ number)

    success, failure = mean(is_success), mean(~is_success)
    return lambda counts: success(counts) - failure(counts)


def _quadratic(
    counts: Float[np.ndarray, "... e"], table: Float[np.ndarray, "e e"]
) -> Float[np.ndarray, "..."]:
    return ((counts @ table) * counts).sum(axis=-1)


def _ratio(
    part: Float[np.ndarray, "..."], whole: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
