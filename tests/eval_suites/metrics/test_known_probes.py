"""Known answers of probes, of labels and of motion read off frames, on made-up transitions."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from jaxtyping import Float, Int

from genie_robo.eval_suites.few_label import mean_distance
from genie_robo.eval_suites.metrics.regression import predict_from_codes
from genie_robo.eval_suites.probes.data import ACHIEVED, ProbeData
from genie_robo.eval_suites.probes.gripper_events import event_sums
from genie_robo.eval_suites.probes.label_efficiency import CODES, label_errors
from genie_robo.eval_suites.probes.latent_algebra import composition_measurements, swap_measurement
from genie_robo.eval_suites.probes.metrics import best_lag
from genie_robo.eval_suites.probes.scores import Errors, Motion, Probe, lag_errors, score
from genie_robo.eval_suites.selfcheck import Known
from genie_robo.eval_suites.statistics import Statistic, balanced_accuracy, mean_r2, r2_fraction
from genie_robo.eval_suites.table import Table
from genie_robo.types import GRIPPER

_EPISODES, _LENGTH = 20, 100
_DX = Motion(ACHIEVED, (0,))
_BORDERS = np.array([-1.748, -1.050, -0.5006, 0.0, 0.5006, 1.050, 1.748])
"""Of the quantiser of a Gaussian with eight levels and the least error (Max 1960)."""


class _Sample(NamedTuple):
    motion: Float[np.ndarray, "n d"]
    codes: Int[np.ndarray, " n"]
    frames: Float[np.ndarray, "n f"] | None = None


def _data(sample: _Sample) -> ProbeData:
    num = len(sample.motion)
    targets = np.zeros((num, 7))
    targets[:, : sample.motion.shape[1]] = sample.motion
    length = num // _EPISODES
    empty = np.zeros((num, 1))
    return ProbeData(
        episode_ids=tuple(f"{e:02d}" for e in range(_EPISODES)),
        episode=np.repeat(np.arange(_EPISODES), length),
        codes=sample.codes,
        latents=empty,
        untrained_latents=None,
        frames=empty if sample.frames is None else sample.frames,
        differences=sample.motion,
        flow=empty,
        targets={ACHIEVED: targets},
        masks={ACHIEVED: np.ones(7, bool)},
    )


def _probe(fit: ProbeData, test: ProbeData, num_codes: int) -> Probe:
    return Probe(fit=fit, test=test, motion=_DX, num_codes=num_codes)


def _rng(side: int) -> np.random.Generator:
    return np.random.default_rng(side)


def _bins(side: int, wrong: float = 0.0) -> _Sample:
    """Eight equal bins of a uniform motion, some of them replaced at random."""
    rng = _rng(side)
    motion = rng.random((_EPISODES * _LENGTH * 5, 1))
    bins = (motion[:, 0] * 8).astype(int)
    is_wrong = rng.random(len(bins)) < wrong
    return _Sample(motion, np.where(is_wrong, rng.integers(8, size=len(bins)), bins))


def _late(side: int) -> _Sample:
    """AR(0.95) motion whose codes are those of the transition before."""
    values = _rng(side).normal(size=(_EPISODES, 4 * _LENGTH + 1))
    for t in range(1, values.shape[1]):
        values[:, t] = 0.95 * values[:, t - 1] + np.sqrt(1 - 0.95**2) * values[:, t]
    return _Sample(values[:, 1:].reshape(-1, 1), np.digitize(values[:, :-1].ravel(), _BORDERS))


def _places(side: int) -> _Sample:
    """Motion towards the middle; codes and frames name the place only."""
    place = _rng(side).uniform(-1, 1, size=(_EPISODES * _LENGTH, 1))
    motion = 0.3 * _rng(side + 2).normal(size=place.shape) - place
    return _Sample(motion, np.digitize(place[:, 0], np.linspace(-1, 1, 9)[1:-1]), place)


def _steps(side: int) -> _Sample:
    """Motion of -1, 0 or 1, and the code that says so."""
    codes = _rng(side).permutation(np.arange(_EPISODES * _LENGTH - 2) % 3)
    codes = np.append(codes, [0, 2])
    return _Sample(codes[:, None] - 1.0, codes)


_PATH = np.array([[0.0, 0.0, 0.0], [0.03, 0.0, 0.04], [0.0, 0.01, 0.0]])
_STEPS = _probe(_data(_steps(0)), _data(_steps(1)), 3)


def _value(number: float | None) -> float:
    return np.nan if number is None else number


def _r2(fit: _Sample, test: _Sample) -> float:
    guess = predict_from_codes(fit.codes, fit.motion, test.codes, num_codes=8)
    error = ((guess - test.motion) ** 2).sum(axis=0)
    deviation = ((test.motion - fit.motion.mean(axis=0)) ** 2).sum(axis=0)
    return float(mean_r2(np.stack([error, deviation])))


def _gaussian(num_dimensions: int, *, bits: bool) -> float:
    """R2 of the best eight levels of one dimension, or of the signs of the first three."""

    def sample(side: int) -> _Sample:
        motion = _rng(side).normal(size=(40_000, num_dimensions))
        codes = (motion[:, :3] > 0) @ [1, 2, 4] if bits else np.digitize(motion[:, 0], _BORDERS)
        return _Sample(motion, codes)

    return _r2(sample(0), sample(1))


def _score(errors: Errors, *predictors: str, statistic: Statistic) -> float:
    return float(statistic(np.stack([errors[name].sum(axis=0) for name in predictors])))


def _partial(known: str, fit: _Sample, test: _Sample) -> float:
    errors = score(_probe(_data(fit), _data(test), 8))
    return _score(errors, f"{known}_and_codes", known, statistic=mean_r2)


def _fraction() -> float:
    return _score(score(_STEPS), "codes", "oracle", "mean", statistic=r2_fraction)


def _lag() -> float:
    sums = lag_errors(_probe(_data(_late(0)), _data(_late(1)), 8), max_lag=2)
    return float(best_lag(sums.sum(axis=0)))


def _swap(*, turned: bool) -> float:
    """Codes of swapped frames: those of the opposite motion, or unchanged."""
    test = _STEPS.test
    codes = 2 - test.codes if turned else test.codes
    found = swap_measurement(_STEPS, Table(test.episode_ids), np.arange(len(codes)), codes)
    return _value(found.metric(seed=0).value)


def _composition() -> float:
    found = composition_measurements(_STEPS, Table(_STEPS.test.episode_ids), (4,))
    return _value(found["composition/h4"].metric(seed=0).value)


def _labels(num_labels: int) -> float:
    return float(mean_r2(label_errors(_STEPS, num_labels)[CODES].sum(axis=0)))


def _gripper(*, seen: bool) -> float:
    """Codes that are the event of the gripper, or always the same one."""

    def side(number: int) -> ProbeData:
        opening = _rng(number).integers(2, size=_EPISODES * _LENGTH).astype(float)
        change = np.diff(opening, prepend=opening[0]).astype(int) + 1
        data = _data(_Sample(np.zeros((len(opening), 7)), change if seen else 0 * change))
        data.targets[ACHIEVED][:, GRIPPER] = opening
        return data

    sums = event_sums(side(0), side(1), ACHIEVED, num_codes=3)
    return np.nan if sums is None else float(balanced_accuracy(sums.sum(axis=0)))


def _half_the_motion() -> float:
    truth = np.array([1.0, -1.0, 2.0, -2.0])
    errors = [((guess - truth) ** 2).sum() for guess in (truth / 2, truth, 0 * truth)]
    return float(r2_fraction(np.array(errors)[:, None]))


KNOWN = (
    Known(
        "latent_probe/r2",
        "best eight levels of a Gaussian (Max 1960)",
        0.9655,
        lambda: _gaussian(1, bits=False),
        3e-3,
    ),
    Known("latent_probe/best_lag", "the same codes are one late", -1.0, _lag),
    Known("latent_probe/fraction_of_ceiling", "codes as good as the oracle's", 1.0, _fraction),
    Known("latent_probe/gripper_events", "codes that are events", 1.0, lambda: _gripper(seen=True)),
    Known(
        "latent_probe/gripper_events",
        "one code: one of three events",
        1 / 3,
        lambda: _gripper(seen=False),
    ),
    Known("latent_structure/endpoint_swap", "codes that turn", 1.0, lambda: _swap(turned=True)),
    Known(
        "latent_structure/endpoint_swap",
        "codes that stay: errors of 2 x motion, 1 - 4",
        -3.0,
        lambda: _swap(turned=False),
    ),
    Known("latent_structure/composition", "codes that are motions", 1.0, _composition),
    Known("few_label/r2", "codes that are motions, all labelled", 1.0, lambda: _labels(2000)),
    Known(
        "few_label/replay_error",
        "0.05 m and 0.01 m apart after the start",
        0.03,
        lambda: mean_distance(_PATH, np.zeros((3, 3))),
    ),
    Known(
        "action_following/ratio",
        "half of the motion: 1 - (1/2)^2",
        0.75,
        _half_the_motion,
    ),
)


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: f"{known.name}: {known.why}")
def test_known_answer(known):
    assert float(known.compute()) == pytest.approx(known.expected, abs=known.tolerance)


def test_a_motion_that_is_constant_up_to_rounding_has_no_r2():
    """0.1 + 0.2 and 0.3 differ in the last bit: their R2 would be a ratio of rounding errors."""
    data = _data(_late(0))
    rows = np.zeros_like(data.targets[ACHIEVED])
    rows[:, 0], rows[::3, 0] = 0.3, 0.1 + 0.2
    still = replace(data, targets={ACHIEVED: rows})
    probe = Probe(fit=still, test=still, motion=_DX, num_codes=8)
    assert not score(probe)["mean"].any()
    assert not probe.varies.any()


def test_equal_lags_are_no_lag():
    """Codes that predict equally well at every lag, up to rounding."""
    totals = np.array([[0.3], [0.1 + 0.2], [0.3], [0.30000000000000004], [0.3], [1.0]])
    assert best_lag(totals) == 0
    totals[1] = 0.2
    assert best_lag(totals) == -1
