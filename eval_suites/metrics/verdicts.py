"""How well imagined scores separate success from failure, on plain arrays."""

import numpy as np
from jaxtyping import Bool, Float, Int

from genie_robo.eval_suites.statistics import Statistic, ratio_of_sums


def share_terms(
    hit: Bool[np.ndarray, " m"], among: Bool[np.ndarray, " m"]
) -> Float[np.ndarray, "m 2"]:
    """Rows from whose total `ratio_of_sums` gives the share of hits among some trials."""
    return np.stack([hit & among, among], axis=1).astype(float)


def gap_terms(
    score: Float[np.ndarray, " m"], is_success: Bool[np.ndarray, " m"]
) -> Float[np.ndarray, "m 4"]:
    """Rows from whose total `gap` is computed."""
    return np.stack([score * is_success, is_success, score * ~is_success, ~is_success], axis=1)


def gap(totals: Float[np.ndarray, "... 4"]) -> Float[np.ndarray, "..."]:
    """Mean score of successes minus that of failures; NaN without both."""
    return ratio_of_sums(totals[..., :2]) - ratio_of_sums(totals[..., 2:])


def auroc(
    score: Float[np.ndarray, " m"],
    is_success: Bool[np.ndarray, " m"],
    episode: Int[np.ndarray, " m"],
) -> Statistic:
    """Chance that a success scores higher than a failure, ties counting half; NaN without both.

    A function of the weight of each episode, because trials of different episodes are compared.
    """
    num_episodes = int(episode.max()) + 1
    wins, pairs = (np.zeros((num_episodes, num_episodes)) for _ in range(2))
    good, bad = np.flatnonzero(is_success), np.flatnonzero(~is_success)
    apart = score[good][:, None] - score[bad][None]
    cells = (episode[good][:, None], episode[bad][None])
    np.add.at(wins, cells, (apart > 0) + 0.5 * (apart == 0))
    np.add.at(pairs, cells, 1.0)

    def over_pairs(counts: Float[np.ndarray, "... e"]) -> Float[np.ndarray, "..."]:
        won, total = (((counts @ table) * counts).sum(axis=-1) for table in (wins, pairs))
        return np.divide(won, total, out=np.full(np.shape(total), np.nan), where=total > 0)

    return over_pairs
