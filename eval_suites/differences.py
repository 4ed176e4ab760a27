"""The difference of two runs over the same episodes, with its interval and p-value.

Two models are measured on the same episodes, and an episode that is hard for one is hard for the
other. So the interval of a difference resamples both together, and its p-value swaps both within
an episode.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

from eval_suites.metrics.jackknife import jackknife, normal_interval
from eval_suites.recomputing.terms import Terms
from eval_suites.statistics import MIN_EPISODES_FOR_INTERVAL, Statistic, bootstrap, episode_sums

PERMUTATIONS = 10_000
"""Where there are no more ways to swap than these, every one is tried."""

ROUNDING = 1e-12
"""Relative: below it two totals differ by the order of summation only."""

FEW = f"fewer than {MIN_EPISODES_FOR_INTERVAL} shared episodes: no interval"
RARE = "most resamples of the shared episodes do not determine it: no interval"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A run minus the first run."""

    value: float | None
    ci95: tuple[float, float] | None = None
    p_value: float | None = None
    num_episodes: int = 0
    """Shared ones that it is made of; 0 where it is not made of episodes."""
    shared: tuple[float, float] | None = None
    """First and other run, on what they share."""
    reason: str = ""
    """Why a part is missing."""


def swap_p_value(
    first: Float[np.ndarray, "e m"],
    other: Float[np.ndarray, "e m"],
    gap: Statistic,
    *,
    seed: int = 0,
) -> float:
    """Chance of a difference this large if it did not matter which run is which in an episode.

    For a mean this is the sign-flip test. `gap` takes the totals of both, side by side.
    """
    is_exact = _is_exact(len(first))
    moved = _swaps(len(first), seed=seed) @ (other - first)
    with np.errstate(divide="ignore", invalid="ignore"):
        totals = np.concatenate([first.sum(axis=0) + moved, other.sum(axis=0) - moved], axis=-1)
        null = np.abs(gap(totals))
        observed = np.abs(gap(np.concatenate([first.sum(axis=0), other.sum(axis=0)])[None]))[0]
    # What cannot be formed speaks for nobody: it counts as large.
    as_large = ~(null < observed * (1 - 1e-9))
    return float(as_large.mean() if is_exact else (1 + as_large.sum()) / (1 + len(null)))


def _is_exact(num_episodes: int) -> bool:
    return 2**num_episodes <= PERMUTATIONS


@lru_cache(maxsize=4)
def _swaps(num_episodes: int, *, seed: int) -> Float[np.ndarray, "s e"]:
    """Which episodes are swapped, 1 or 0: every way, or random ones."""
    if _is_exact(num_episodes):
        ways = np.arange(2**num_episodes)[:, None] >> np.arange(num_episodes) & 1
    else:
        ways = np.random.default_rng(seed).integers(2, size=(PERMUTATIONS, num_episodes))
    # Numbers of this kind make the product with the sums a fast one.
    return ways.astype(float)


def paired_difference(
    first: Terms, other: Terms, episode: Int[np.ndarray, " n"], *, seed: int = 0
) -> Difference:
    """The statistic of the other run minus that of the first, over the same episodes."""
    is_measured = first.is_measured | other.is_measured
    if not is_measured.any():
        return Difference(value=None, reason="no shared row has a value")
    _, number = np.unique(episode[is_measured], return_inverse=True)
    num_episodes = int(number.max()) + 1
    one, two = (
        episode_sums(terms.sums[is_measured], number, num_episodes=num_episodes)
        for terms in (first, other)
    )
    width = one.shape[1]

    def gap(totals: Float[np.ndarray, "... m"]) -> Float[np.ndarray, "..."]:
        a, b = first.statistic(totals[..., :width]), other.statistic(totals[..., width:])
        return np.where(np.abs(b - a) <= ROUNDING * (np.abs(a) + np.abs(b)), 0.0, b - a)

    both = np.concatenate([one, two], axis=1)
    is_plug_in = first.is_plug_in or other.is_plug_in
    found = jackknife(both, gap) if is_plug_in else bootstrap(both, gap, seed=seed)
    if found.value is None:
        return Difference(value=None, reason="the shared episodes do not determine it")
    no_p_value = first.no_p_value or other.no_p_value
    no_interval = FEW if num_episodes < MIN_EPISODES_FOR_INTERVAL else RARE
    reasons = ["" if found.ci95 else no_interval, no_p_value]
    return Difference(
        value=found.value,
        ci95=found.ci95,
        p_value=None if no_p_value else swap_p_value(one, two, gap, seed=seed),
        num_episodes=num_episodes,
        shared=(first.value, other.value),
        reason="; ".join(filter(None, reasons)),
    )


def difference_of_left_out(
    values: tuple[float, float],
    first: Float[np.ndarray, " n"],
    other: Float[np.ndarray, " n"],
    sides: Sequence[str],
    units: Sequence[str],
) -> Difference:
    """Of a distance between two samples, known with each episode left out in turn.

    Args:
        values: With all episodes, of both runs.
        first: Without the episode of each row.
        other: The same of the other run.
        sides: Which of the two samples the episode of each row is in.
        units: The episode of each row.
    """
    rows = {unit: row for row, unit in enumerate(units)}
    left = {side: [] for side in dict.fromkeys(sides)}
    for row in rows.values():
        left[sides[row]].append(other[row] - first[row])
    value = values[1] - values[0]
    is_enough = min(map(len, left.values())) >= MIN_EPISODES_FOR_INTERVAL
    return Difference(
        value=value,
        ci95=normal_interval(value, [np.array(side) for side in left.values()])
        if is_enough
        else None,
        num_episodes=len(rows),
        shared=values,
        reason="a distance of distributions has no value for an episode: no p-value"
        if is_enough
        else FEW,
    )
