"""Paired differences with known answers."""

import itertools

import numpy as np
import pytest

from genie_robo.eval_suites.base import SuiteResult
from genie_robo.eval_suites.comparing import compare, pair_rows, swap_p_value
from genie_robo.eval_suites.statistics import mean_r2, perplexity, ratio_of_sums
from genie_robo.eval_suites.table import (
    OTHER_CODES,
    Fixed,
    Interval,
    Measurement,
    Sums,
    Table,
    undefined,
)


def table_of(episodes, *, start=None, given=(), **columns):
    """A row for each episode; `given` columns do not depend on the model."""
    table = Table(episodes, start=start or [0] * len(episodes))
    for name, values in columns.items():
        table.add(name, np.array(values, dtype=float), given=name in given)
    return table


def result_of(**numbers):
    """What a suite found, all of it headline."""
    measurements = {
        name: Measurement(of=of, unit="dB", protocol="p") for name, of in numbers.items()
    }
    return SuiteResult.of(measurements, seed=0, headline=tuple(measurements))


def scores(values, *, episodes=None, start=None, **held):
    """Rows with a column `score` and its mean; `held` columns are given."""
    episodes = episodes or [f"e{number}" for number in range(len(values))]
    table = table_of(episodes, start=start, given=tuple(held), score=values, **held)
    return result_of(score=table.mean(["score"]))


def only(results, *, name="score"):
    (found,) = [one for one in compare(results) if one.name == name]
    assert found.is_headline
    (difference,) = found.differences
    return difference


def test_a_constant_difference_is_found_exactly():
    base = np.random.default_rng(0).normal(20, 5, size=12)

    found = only({"a": scores(base), "b": scores(base + 1)})

    assert found.value == pytest.approx(1, abs=1e-12)
    assert found.ci95 == pytest.approx((1, 1), abs=1e-12)
    assert found.p_value == 2 / 2**12
    assert found.num_episodes == 12
    assert found.shared == pytest.approx((base.mean(), base.mean() + 1))


@pytest.mark.parametrize("num_episodes", [7, 40])
def test_equal_runs_do_not_differ(num_episodes):
    base = np.random.default_rng(1).normal(20, 5, size=num_episodes)

    found = only({"a": scores(base), "b": scores(base)})

    assert (found.value, found.ci95, found.p_value) == (0, (0, 0), 1)


def test_pairing_sees_what_two_intervals_hide():
    rng = np.random.default_rng(2)
    hardness = rng.normal(20, 10, size=40)
    runs = {
        "a": scores(hardness),
        "b": scores(hardness + 0.5 + rng.normal(0, 0.3, size=40)),
    }

    found = only(runs)

    low, high = found.ci95
    assert 0.3 < low < 0.5 < high < 0.7
    # Of two independent means this far apart the interval would be about 20 times as wide.
    assert high - low < 0.1 * 2 * 1.96 * 10 * np.sqrt(2 / 40)
    assert found.p_value < 0.001


def test_interval_covers_the_truth_and_p_is_uniform_without_a_difference():
    covered, small = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        base = rng.normal(0, 10, size=24)
        runs = {"a": scores(base), "b": scores(base + rng.normal(0, 1, size=24))}
        found = only(runs)
        covered.append(found.ci95[0] <= 0 <= found.ci95[1])
        small.append(found.p_value <= 0.05)
    assert 0.88 <= np.mean(covered) <= 0.98
    assert 0.01 <= np.mean(small) <= 0.10


def test_only_shared_episodes_count():
    names = [f"e{number}" for number in range(10)]
    runs = {
        "a": scores([5.0] * 8 + [100.0] * 2, episodes=names),
        "b": scores([7.0] * 8 + [-50.0] * 2, episodes=[*names[:8], "x", "y"]),
    }

    (headline,) = compare(runs)
    (found,) = headline.differences

    assert (found.value, found.num_episodes, found.shared) == (2, 8, (5, 7))
    assert headline.values == (24.0, -4.4)


def test_nothing_shared_has_no_interval():
    runs = {"a": scores([1.0] * 6), "b": scores([3.0] * 6, episodes=list("uvwxyz"))}

    found = only(runs)

    assert (found.value, found.ci95, found.p_value, found.num_episodes) == (2, None, None, 0)
    assert "no row about the same episode and prompt" in found.reason


def test_frames_of_one_episode_are_one_unit():
    episodes, start = [f"e{number // 20}" for number in range(120)], list(range(120))
    shift = np.repeat([1.0, -1.0, 1.0, -1.0, 1.0, -1.0], 20)
    sides = {"a": np.zeros(120), "b": 0.5 + shift}

    found = only({run: scores(side, episodes=episodes, start=start) for run, side in sides.items()})

    assert found.num_episodes == 6
    assert found.ci95[0] < 0 < found.ci95[1]
    signs = itertools.product((1, -1), repeat=6)
    totals = np.array([np.dot(sign, [1.5, -0.5] * 3) for sign in signs])
    assert found.p_value == np.mean(np.abs(totals) >= 3)


def test_few_episodes_give_no_interval():
    found = only({"a": scores([1.0, 2.0]), "b": scores([2.0, 3.0])})

    assert (found.value, found.ci95, found.p_value) == (1, None, 0.5)
    assert found.reason == "fewer than 5 shared episodes: no interval"


def test_a_number_that_is_not_made_of_episodes_gets_no_interval():
    table = table_of([f"e{number}" for number in range(8)])
    runs = {run: result_of(score=Fixed(table, value)) for run, value in (("a", 3.5), ("b", 9.0))}

    found = only(runs)

    assert (found.value, found.ci95, found.p_value) == (9.0 - 3.5, None, None)
    assert found.reason == "not paired: it is about all episodes together"


def test_rows_of_other_frames_are_not_paired():
    base = np.arange(8.0)
    held = [10.0] * 8
    runs = {
        "a": scores(base, psnr_copy_last=held),
        "b": scores(base + 1, psnr_copy_last=[11.0, *held[1:]]),
    }
    assert only(runs).num_episodes == 7

    runs["b"] = scores(base + 1, psnr_copy_last=[11.0] * 8)
    assert "measured on other frames" in only(runs).reason


def test_a_row_that_is_there_twice_is_refused():
    runs = {name: scores([1.0] * 6, episodes=["e"] * 6) for name in ("a", "b")}
    assert "two rows of a are about the same episode" in only(runs).reason


def test_other_columns_are_not_paired():
    """A longer horizon is another metric of the same name."""
    runs = {}
    for run, frames in (("a", (1, 2)), ("b", (1, 2, 3))):
        columns = {f"psnr_imagined_t{t}": [1.0] for t in frames}
        runs[run] = result_of(psnr=table_of(["e0"], **columns).mean(list(columns)))

    found = only(runs, name="psnr")

    assert (found.value, found.num_episodes) == (0, 0)
    assert "another horizon" in found.reason


def test_the_reason_for_a_missing_number_is_given():
    both = scores(np.arange(6.0))
    missing = {"score": undefined("too short", unit="dB", protocol="p")}
    none = SuiteResult.of(missing, seed=0, headline=("score",))
    assert only({"a": both, "b": none}).reason == "undefined in b: too short"
    other = SuiteResult(metrics={}, headline=())
    assert only({"a": both, "b": other}).reason == "b has no such metric"


def test_metrics_without_rows_are_not_paired():
    (one,) = scores([1.0]).metrics.values()
    found = only(dict.fromkeys("ab", SuiteResult(metrics={"score": one}, headline=("score",))))
    assert found.reason == "not paired: the suite has no rows about episodes"


def test_r2_is_recomputed_in_every_resample():
    rng = np.random.default_rng(3)
    deviation = rng.uniform(1, 3, size=(10, 2))
    episodes, runs = [f"e{e}" for e in range(10)], {}
    for run, share in (("a", 0.5), ("b", 0.25)):
        table = table_of(episodes)
        deviation_columns = table.add_squares("deviation", deviation, "xy", given=True)
        errors = table.add_squares("error", share * deviation, "xy")
        runs[run] = result_of(r2=table.total([errors, deviation_columns], mean_r2))
        assert runs[run].metrics["r2"].value == pytest.approx(1 - share)

    found = only(runs, name="r2")

    assert found.value == pytest.approx(0.25)
    assert found.ci95 == pytest.approx((0.25, 0.25))
    assert found.p_value == 2 / 2**10


@pytest.mark.parametrize("interval", [Interval.bootstrap, Interval.jackknife])
def test_perplexity_has_an_interval_but_no_p_value(interval):
    """Code 1 of one run is another code than code 1 of the other, and there may be more."""
    table = table_of([f"e{e}" for e in range(6)])
    runs = {
        run: result_of(
            perplexity=Sums(table, np.full((6, n), 4.0), perplexity, interval, OTHER_CODES)
        )
        for run, n in (("a", 2), ("b", 8))
    }

    found = only(runs, name="perplexity")

    assert (found.value, found.p_value) == (pytest.approx(6), None)
    assert found.ci95 == pytest.approx((6, 6))
    assert "no p-value" in found.reason


def test_rows_are_matched_by_name_not_by_place():
    names, values = list("abc"), [0.0, 1.0, 2.0]
    tables = [table_of(names, x=values), table_of(names[::-1], x=values[::-1])]

    pairs = pair_rows(*tables, ["a", "b"])

    assert pairs.first == [0, 1, 2]
    assert pairs.other == [2, 1, 0]


def test_p_value_of_a_hand_made_case():
    """Differences 1, 2, -1: of 8 sign patterns four have a sum of at least 2 in size."""
    first = np.array([[0.0, 1.0]] * 3)
    other = np.array([[1.0, 1.0], [2.0, 1.0], [-1.0, 1.0]])

    def gap(totals):
        return ratio_of_sums(totals[:, 1]) - ratio_of_sums(totals[:, 0])

    sums = [abs(a + b + c) for a in (1, -1) for b in (2, -2) for c in (1, -1)]
    expected = np.mean([s >= 2 for s in sums])
    assert swap_p_value(first, other, gap) == expected
