"""Paired differences with known answers."""

import itertools

import numpy as np
import pytest

from eval_suites.base import Metric, SuiteResult, undefined
from eval_suites.comparing import Kind, compare
from eval_suites.differences import swap_p_value
from eval_suites.pairing import pair_rows, to_table
from eval_suites.recomputing.find import find_terms
from eval_suites.statistics import ratio_of_sums


def suite_result(values, *, episodes=None, reported=None, **more):
    """Rows with a column `score` and the metric of that name, their mean."""
    episodes = episodes or [f"e{number}" for number in range(len(values))]
    rows = [
        {"episode_id": name, "start": 0, "score": float(value)}
        | {key: column[i] for key, column in more.items()}
        for i, (name, value) in enumerate(zip(episodes, values, strict=True))
    ]
    value = float(np.mean(values)) if reported is None else reported
    metric = Metric(value=value, n_units=len(values), unit="dB", protocol="mean")
    return SuiteResult(metrics={"score": metric}, headline=("score",), per_episode=rows, figures={})


def of_rows(rows, **metrics):
    found = {
        name.replace("__", "/"): Metric(value=value, n_units=8, unit="x", protocol="p")
        for name, value in metrics.items()
    }
    return SuiteResult(metrics=found, headline=tuple(found), per_episode=rows, figures={})


def only(results, *, name="score"):
    (found,) = [one for one in compare(results) if one.name == name and one.kind is Kind.headline]
    (difference,) = found.differences
    return difference


def test_a_constant_difference_is_found_exactly():
    base = np.random.default_rng(0).normal(20, 5, size=12)

    found = only({"a": suite_result(base), "b": suite_result(base + 1)})

    assert found.value == pytest.approx(1, abs=1e-12)
    assert found.ci95 == pytest.approx((1, 1), abs=1e-12)
    assert found.p_value == 2 / 2**12
    assert found.num_episodes == 12
    assert found.shared == pytest.approx((base.mean(), base.mean() + 1))


@pytest.mark.parametrize("num_episodes", [7, 40])
def test_equal_runs_do_not_differ(num_episodes):
    base = np.random.default_rng(1).normal(20, 5, size=num_episodes)

    found = only({"a": suite_result(base), "b": suite_result(base)})

    assert (found.value, found.ci95, found.p_value) == (0, (0, 0), 1)


def test_pairing_sees_what_two_intervals_hide():
    rng = np.random.default_rng(2)
    hardness = rng.normal(20, 10, size=40)
    runs = {
        "a": suite_result(hardness),
        "b": suite_result(hardness + 0.5 + rng.normal(0, 0.3, size=40)),
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
        runs = {"a": suite_result(base), "b": suite_result(base + rng.normal(0, 1, size=24))}
        found = only(runs)
        covered.append(found.ci95[0] <= 0 <= found.ci95[1])
        small.append(found.p_value <= 0.05)
    assert 0.88 <= np.mean(covered) <= 0.98
    assert 0.01 <= np.mean(small) <= 0.10


def test_only_shared_episodes_count():
    names = [f"e{number}" for number in range(10)]
    runs = {
        "a": suite_result([5.0] * 8 + [100.0] * 2, episodes=names),
        "b": suite_result([7.0] * 8 + [-50.0] * 2, episodes=[*names[:8], "x", "y"]),
    }

    (headline, _) = compare(runs)
    (found,) = headline.differences

    assert (found.value, found.num_episodes, found.shared) == (2, 8, (5, 7))
    assert headline.values == (24.0, -4.4)


def test_nothing_shared_has_no_interval():
    runs = {"a": suite_result([1.0] * 6), "b": suite_result([3.0] * 6, episodes=list("uvwxyz"))}

    found = only(runs)

    assert (found.value, found.ci95, found.p_value, found.num_episodes) == (2, None, None, 0)
    assert "no row about the same episode and prompt" in found.reason


def test_frames_of_one_episode_are_one_unit():
    episodes = [f"e{number // 20}" for number in range(120)]
    shift = np.repeat([1.0, -1.0, 1.0, -1.0, 1.0, -1.0], 20)
    rows = [
        [
            {"episode_id": episode, "start": start, "score": value}
            for start, (episode, value) in enumerate(zip(episodes, side, strict=True))
        ]
        for side in (np.zeros(120), 0.5 + shift)
    ]

    found = only({"a": of_rows(rows[0], score=0.0), "b": of_rows(rows[1], score=0.5)})

    assert found.num_episodes == 6
    assert found.ci95[0] < 0 < found.ci95[1]
    signs = itertools.product((1, -1), repeat=6)
    totals = np.array([np.dot(sign, [1.5, -0.5] * 3) for sign in signs])
    assert found.p_value == np.mean(np.abs(totals) >= 3)


def test_few_episodes_give_no_interval():
    found = only({"a": suite_result([1.0, 2.0]), "b": suite_result([2.0, 3.0])})

    assert (found.value, found.ci95, found.p_value) == (1, None, 0.5)
    assert found.reason == "fewer than 5 shared episodes: no interval"


def test_a_metric_that_rows_do_not_give_gets_no_interval():
    base = np.arange(8.0)
    runs = {"a": suite_result(base), "b": suite_result(base + 1, reported=9.0)}

    found = only(runs)

    assert (found.value, found.ci95, found.p_value) == (9.0 - 3.5, None, None)
    assert "do not give the reported value" in found.reason
    (column,) = [one for one in compare(runs) if one.kind is Kind.column]
    assert column.differences[0].ci95 == pytest.approx((1, 1))


def test_rows_of_other_frames_are_not_paired():
    base = np.arange(8.0)
    held = [10.0] * 8
    runs = {
        "a": suite_result(base, psnr_copy_last=held),
        "b": suite_result(base + 1, psnr_copy_last=[11.0, *held[1:]]),
    }
    assert only(runs).num_episodes == 7

    runs["b"] = suite_result(base + 1, psnr_copy_last=[11.0] * 8)
    assert "measured on other frames" in only(runs).reason


def test_a_row_that_is_there_twice_is_refused():
    runs = {name: suite_result([1.0] * 6, episodes=["e"] * 6) for name in ("a", "b")}
    assert "two rows of a are about the same episode" in only(runs).reason


def test_other_columns_are_not_paired():
    """A longer horizon is another metric of the same name."""
    rows = [
        [{"episode_id": f"e{e}", "start": 0} | {f"psnr_imagined_t{t}": 1.0 for t in frames}]
        for frames in ((1, 2), (1, 2, 3))
        for e in range(1)
    ]
    found = only({"a": of_rows(rows[0], psnr=1.0), "b": of_rows(rows[1], psnr=1.0)}, name="psnr")

    assert (found.value, found.num_episodes) == (0, 0)
    assert "another horizon" in found.reason


def test_what_is_missing_is_said():
    both = suite_result(np.arange(6.0))
    none = SuiteResult(
        metrics={"score": undefined("too short", unit="dB", protocol="p")},
        headline=("score",),
        per_episode=[],
        figures={},
    )
    assert only({"a": both, "b": none}).reason == "undefined in b: too short"
    other = SuiteResult(metrics={}, headline=(), per_episode=[], figures={})
    assert only({"a": both, "b": other}).reason == "b has no such metric"


def test_rows_without_episodes_are_not_paired():
    rows = [{"reader": "tfds", "rate": 1.0}]
    found = only({"a": of_rows(rows, rate=1.0), "b": of_rows(rows, rate=1.0)}, name="rate")
    assert found.reason == "not paired: the suite has no rows about episodes"


def test_r2_is_recomputed_in_every_resample():
    rng = np.random.default_rng(3)
    deviation = rng.uniform(1, 3, size=(10, 2))
    share = {"a": 0.5, "b": 0.25}
    runs = {
        name: of_rows(
            [
                {
                    "episode_id": f"e{e}",
                    "motion": "achieved/xyz",
                    **{f"squared_deviation_d{c}": deviation[e, i] for i, c in enumerate("xy")},
                    **{f"squared_error_d{c}": k * deviation[e, i] for i, c in enumerate("xy")},
                }
                for e in range(10)
            ],
            achieved__xyz__r2=1 - k,
        )
        for name, k in share.items()
    }

    found = only(runs, name="achieved/xyz/r2")

    assert found.value == pytest.approx(0.25)
    assert found.ci95 == pytest.approx((0.25, 0.25))
    assert found.p_value == 2 / 2**10


def test_perplexity_has_an_interval_but_no_p_value():
    """Code 1 of one run is another code than code 1 of the other."""
    runs = {
        name: of_rows(
            [{"episode_id": f"e{e}", **{f"code_{k}": 4.0 for k in range(n)}} for e in range(6)],
            codes__perplexity=float(n),
        )
        for name, n in (("a", 2), ("b", 8))
    }

    found = only(runs, name="codes/perplexity")

    assert (found.value, found.p_value) == (pytest.approx(6), None)
    assert found.ci95 == pytest.approx((6, 6))
    assert "no p-value" in found.reason


@pytest.mark.parametrize(
    ("name", "row", "value"),
    [
        ("psnr", {"psnr_imagined_t1": 2.0, "psnr_imagined_t2": 4.0}, 3.0),
        ("psnr", {"psnr_imagined_t1": 2.0, "psnr_imagined_t2": None}, 2.0),
        ("psnr/imagined/t1", {"psnr_imagined_t1": 2.0}, 2.0),
        ("psnr/robot_actions", {"psnr_robot_actions_t1": 2.0}, 2.0),
        ("psnr/best_codes", {"psnr_best_codes_t1": 2.0}, 2.0),
        ("psnr/gain_over_copy_last", {"psnr_imagined": 5.0, "psnr_copy_last": 3.0}, 2.0),
        ("delta_psnr/uniform/t4", {"psnr_inferred_t4": 5.0, "psnr_uniform_t4": 1.0}, 4.0),
        ("gain_over_copy_last/ssim", {"tokenizer_ssim": 0.9, "copy_last_ssim": 0.5}, 0.4),
        ("replay_error/n10", {"codes/n10": 0.1}, 0.1),
        ("r2/real", {"squared_error_real_dx": 1.0, "squared_deviation_dx": 4.0}, 0.75),
        (
            "ratio/inferred",
            {
                "squared_error_real_dx": 1.0,
                "squared_error_inferred_dx": 2.0,
                "squared_deviation_dx": 4.0,
            },
            0.5 / 0.75,
        ),
        ("success/50", {"policy": "latent/50", "solved": 1.0}, 1.0),
        ("sign_consistency", {"sign_code0_dx": 1.0, "sign_code1_dx": 0.0}, 0.5),
    ],
)
def test_metrics_of_the_suites_from_their_rows(name, row, value):
    table = to_table([{"episode_id": "e", **row}])
    found = [terms.value for terms in find_terms(name, table).values()]
    assert any(one == pytest.approx(value) for one in found)


@pytest.mark.parametrize(
    ("name", "is_there"),
    [("achieved/xyz/r2", True), ("commanded/xyz/r2", False), ("achieved/all/r2/dx", False)],
)
def test_rows_of_one_target_say_nothing_about_another(name, is_there):
    row = {"motion": "achieved/xyz", "squared_error_dx": 1.0, "squared_deviation_dx": 1.0}
    found = find_terms(name, to_table([{"episode_id": "e", **row}]))
    assert [terms.value for terms in found.values()] == [0.0] * is_there


def test_weights_make_a_mean_over_frames():
    rows = [
        {"episode_id": "a", "num_frames": 1, "tokenizer_psnr": 10.0},
        {"episode_id": "b", "num_frames": 3, "tokenizer_psnr": 30.0},
    ]
    found = sorted(terms.value for terms in find_terms("psnr", to_table(rows)).values())
    assert found == [20.0, 25.0]


def test_rows_are_matched_by_name_not_by_place():
    rows = [{"episode_id": name, "start": 0, "x": float(i)} for i, name in enumerate("abc")]
    tables = [to_table(rows), to_table(rows[::-1])]

    pairs = pair_rows(tables[0], tables[1], ("a", "b"))

    assert pairs.first.units == pairs.other.units
    np.testing.assert_array_equal(pairs.first.numbers["x"], pairs.other.numbers["x"])
    assert pairs.num_left_out == 0


def test_p_value_of_a_hand_made_case():
    """Differences 1, 2, -1: of 8 sign patterns four have a sum of at least 2 in size."""
    first = np.array([[0.0, 1.0]] * 3)
    other = np.array([[1.0, 1.0], [2.0, 1.0], [-1.0, 1.0]])

    def gap(totals):
        return ratio_of_sums(totals[..., 2:]) - ratio_of_sums(totals[..., :2])

    sums = [abs(a + b + c) for a in (1, -1) for b in (2, -2) for c in (1, -1)]
    expected = np.mean([s >= 2 for s in sums])
    assert swap_p_value(first, other, gap) == expected
