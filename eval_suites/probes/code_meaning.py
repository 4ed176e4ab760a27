"""Does a code mean the same motion in every episode? Statistics of per-episode sums."""

import numpy as np
from jaxtyping import Float, Int

from genie_robo.eval_suites.statistics import RESAMPLES, episode_sums


def code_sums(
    codes: Int[np.ndarray, " n"],
    motions: Float[np.ndarray, "n d"],
    episode: Int[np.ndarray, " n"],
    *,
    num_episodes: int,
    num_codes: int,
) -> Float[np.ndarray, "e k d+2"]:
    """Per episode and code: summed motion, summed squared motion (over dimensions), count.

    Standardise the motions first where dimensions differ in scale.
    """
    squares = (motions**2).sum(axis=1, keepdims=True)
    rows = np.concatenate([motions, squares, np.ones_like(squares)], axis=1)
    sums = np.zeros((num_episodes, num_codes, rows.shape[1]))
    np.add.at(sums, (episode, codes), rows)
    return sums


def eta_squared(totals: Float[np.ndarray, "... k d+2"]) -> Float[np.ndarray, "..."]:
    """Share of the variance of the motion that lies between codes (Pearson 1911), in 0 .. 1.

    Fitted and measured on the same transitions, so meaningless codes score about
    (codes - 1) / transitions, not 0: read it with its permutation p-value.
    """
    sums, squares, counts = totals[..., :-2], totals[..., -2].sum(-1), totals[..., -1]
    overall = (sums.sum(axis=-2) ** 2).sum(axis=-1) / counts.sum(axis=-1)
    means = sums / np.where(counts > 0, counts, 1.0)[..., None]
    between = (means * sums).sum(axis=(-2, -1)) - overall
    return between / (squares - overall)


def eta_p_value(
    codes: Int[np.ndarray, " n"],
    motions: Float[np.ndarray, "n d"],
    episode: Int[np.ndarray, " n"],
    *,
    num_codes: int,
    seed: int = 0,
    num_permutations: int = RESAMPLES,
) -> float:
    """Probability of an eta squared this high if codes were unrelated to the time in the episode.

    Every permutation rotates the codes of each episode by its own random number of steps. With n
    permutations the smallest possible value is 1 / (n + 1).
    """

    def eta(shuffled: Int[np.ndarray, " n"]) -> float:
        counts = np.bincount(shuffled, minlength=num_codes)
        columns = [np.bincount(shuffled, column, minlength=num_codes) for column in motions.T]
        sums = np.stack(columns, axis=1)
        # Only the variance between codes differs from one permutation to the next.
        return float((sums**2 / np.maximum(counts, 1)[:, None]).sum())

    rng = np.random.default_rng(seed)
    first = np.flatnonzero(np.diff(episode, prepend=-1))
    length = np.diff(np.append(first, len(episode)))
    place = np.arange(len(episode)) - np.repeat(first, length)
    observed, as_good = eta(codes), 0
    for _ in range(num_permutations):
        shift = np.repeat(rng.integers(length), length)
        turned = np.repeat(first, length) + (place + shift) % np.repeat(length, length)
        as_good += eta(codes[turned]) >= observed * (1 - 1e-12)
    return (1 + as_good) / (1 + num_permutations)


def other_episode_errors(
    sums: Float[np.ndarray, "e k d+2"],
    codes: Int[np.ndarray, " n"],
    motions: Float[np.ndarray, "n d"],
    episode: Int[np.ndarray, " n"],
) -> Float[np.ndarray, "e 2 d"]:
    """Squared error of predicting each code's mean motion in all other episodes, and deviation.

    The deviation is from the mean motion of the other episodes. A code that does not occur in them
    predicts that mean.
    """
    others = sums.sum(axis=0) - sums
    totals, counts = others[..., :-2], others[..., -1:]
    overall = totals.sum(axis=1) / np.maximum(counts.sum(axis=1), 1.0)
    means = np.where(counts > 0, totals / np.maximum(counts, 1.0), overall[:, None])
    errors = [(means[episode, codes] - motions) ** 2, (overall[episode] - motions) ** 2]
    return episode_sums(np.stack(errors, axis=1), episode, num_episodes=len(sums))


def sign_agreement(
    sums: Float[np.ndarray, "e k d+2"], meaning: Float[np.ndarray, "k d"], *, min_move: float
) -> Float[np.ndarray, "e k d"]:
    """1 where the mean motion of a code in an episode has the sign of its meaning, else 0.

    NaN where the code does not occur in the episode, or its meaning is below `min_move` along the
    axis. A mean of exactly 0 counts half.
    """
    counts = sums[..., -1:]
    right = 0.5 + 0.5 * np.sign(sums[..., :-2]) * np.sign(meaning)
    return np.where((counts > 0) & (np.abs(meaning) > min_move), right, np.nan)
