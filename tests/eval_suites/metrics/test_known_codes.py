"""Known answers of how codes are used, turn round, add up and keep their meaning."""

from collections.abc import Sequence

import numpy as np
import pytest
from jaxtyping import Float

from genie_robo.eval_suites.metrics.information import joint_counts, mutual_information
from genie_robo.eval_suites.probes.code_meaning import (
    code_sums,
    eta_p_value,
    eta_squared,
    other_episode_errors,
    sign_agreement,
)
from genie_robo.eval_suites.probes.latent_algebra import (
    backward_measurements,
    best_permutation,
    sums_over_time,
)
from genie_robo.eval_suites.selfcheck import Known
from genie_robo.eval_suites.statistics import mean_r2
from genie_robo.eval_suites.table import Table

_CYCLE = np.arange(1201) % 4
_ALONE = np.zeros(1200, np.int64)
_EPISODE = np.repeat(np.arange(3), 4)
_PLACES = np.array([0.0, 6.0, 12.0])[_EPISODE][:, None]
_FOUR = np.array([[0.0], [2.0], [3.0], [5.0]])


def _next_code() -> float:
    counts = joint_counts(_CYCLE[:-1], _CYCLE[1:], _ALONE, shape=(1, 4, 4))[0]
    return float(mutual_information(counts))


def _backward(name: str, fit: Sequence[Sequence[float]], test: Sequence[Sequence[float]]) -> float:
    counts = [np.array(table, float)[None] for table in (fit, test)]
    found = backward_measurements(Table(["alone"]), *counts)[f"forward_backward/{name}"]
    value = found.metric(seed=0).value
    return np.nan if value is None else value


def _sums(codes: Sequence[int]) -> Float[np.ndarray, "e k 3"]:
    alone = np.zeros(len(codes), np.int64)
    return code_sums(np.array(codes), _FOUR, alone, num_episodes=1, num_codes=2)


def _eta(codes: Sequence[int]) -> float:
    return float(eta_squared(_sums(codes).sum(axis=0)))


def _eta_chance() -> float:
    """Codes that are the motion: of 200 rotations none but the identity is as good."""
    codes = np.random.default_rng(0).integers(4, size=(8, 40))
    episode = np.repeat(np.arange(8), 40)
    values = codes.reshape(-1, 1).astype(float)
    return eta_p_value(codes.ravel(), values, episode, num_codes=4, num_permutations=199)


def _elsewhere(codes: np.ndarray, motions: np.ndarray) -> float:
    sums = code_sums(codes, motions, _EPISODE, num_episodes=3, num_codes=3)
    errors = other_episode_errors(sums, codes, motions, _EPISODE)
    return float(mean_r2(errors.sum(axis=0)))


def _signs() -> float:
    """One code in four episodes: it moves +, +, + and -, and means +."""
    sums = np.array([2.0, 1.0, 3.0, -1.0])[:, None, None] * [[[1.0, 0.0, 0.0]]] + [0.0, 0.0, 1.0]
    return float(np.nanmean(sign_agreement(sums, np.array([[1.0]]), min_move=0.1)))


KNOWN = (
    Known(
        "latent_structure/agreement",
        "3 + 4 of 10 pairs are swapped codes, as in the validation episodes",
        0.7,
        lambda: _backward("agreement", [[0, 5], [5, 0]], [[2, 3], [4, 1]]),
    ),
    Known(
        "latent_structure/involution",
        "two codes that change places come back",
        1.0,
        lambda: _backward("involution", [[0, 5], [5, 0]], [[1, 3], [4, 2]]),
    ),
    Known(
        "latent_structure/involution",
        "three codes in a circle do not",
        0.0,
        lambda: _backward("involution", np.eye(3)[[1, 2, 0]].tolist(), np.ones((3, 3)).tolist()),
    ),
    Known(
        "latent_structure/information",
        "two codes that change places: 1 bit and the correction 1 / (2 n ln 2)",
        1.0 + 1 / (2 * 200 * np.log(2)),
        lambda: _backward("information", [[0, 5], [5, 0]], [[0, 100], [100, 0]]),
    ),
    Known(
        "best_permutation",
        "8 + 7 pairs agree, not 9 + 0",
        1.0,
        lambda: best_permutation(np.array([[9.0, 8.0], [7.0, 0.0]]))[0],
    ),
    Known(
        "sums_over_time",
        "2 + 3 within the first of two episodes",
        5.0,
        lambda: sums_over_time(np.arange(8.0)[:, None], np.repeat([0, 1], 4), 2)[1][2, 0],
    ),
    Known("eta_squared", "0 2 | 3 5: between 9 of 13", 9 / 13, lambda: _eta([0, 0, 1, 1])),
    Known("eta_squared", "0 5 | 2 3: equal means", 0.0, lambda: _eta([0, 1, 1, 0])),
    Known("code_sums", "3 + 5 of the second code", 8.0, lambda: _sums([0, 0, 1, 1])[0, 1, 0]),
    Known("eta_p_value", "codes that are the motion, 199 permutations", 1 / 200, _eta_chance),
    Known(
        "other_episode_errors",
        "codes that name the episode are unknown elsewhere",
        0.0,
        lambda: _elsewhere(_EPISODE, _PLACES),
    ),
    Known(
        "other_episode_errors",
        "codes that name the motion are known elsewhere",
        1.0,
        lambda: _elsewhere(np.arange(12) % 3, (np.arange(12) % 3)[:, None] * 2.0),
    ),
    Known("sign_agreement", "the meant way in 3 of 4 episodes", 0.75, _signs),
)


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: f"{known.name}: {known.why}")
def test_known_answer(known):
    assert float(known.compute()) == pytest.approx(known.expected, abs=known.tolerance)
