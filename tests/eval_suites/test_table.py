"""Numbers from the columns of a table, with known answers."""

import numpy as np
import pytest

from genie_robo.eval_suites.statistics import mean_r2, r2_fraction
from genie_robo.eval_suites.table import Measurement, Table


def table_of(row, episodes=("e",), **keys):
    """The same row for every episode; None is not measured."""
    table = Table(list(episodes), **keys)
    for name, value in row.items():
        table.add(name, np.full(len(table), np.nan if value is None else value))
    return table


ERRORS = {"error_real": 1.0, "error_inferred": 2.0, "deviation": 4.0}


@pytest.mark.parametrize(
    ("row", "number", "value"),
    [
        ({"psnr_t1": 2.0, "psnr_t2": 4.0}, lambda t: t.mean(["psnr_t1", "psnr_t2"]), 3.0),
        ({"psnr_t1": 2.0, "psnr_t2": None}, lambda t: t.mean(["psnr_t1", "psnr_t2"]), 2.0),
        ({"psnr_t1": 2.0, "psnr_t2": 4.0}, lambda t: t.mean(["psnr_t1"]), 2.0),
        (
            {"imagined": 5.0, "copy_last": 3.0},
            lambda t: t.mean_difference(["imagined"], ["copy_last"]),
            2.0,
        ),
        (
            {"imagined_t1": 5.0, "imagined_t2": 1.0, "uniform_t1": 1.0, "uniform_t2": None},
            lambda t: t.mean_difference(
                ["imagined_t1", "imagined_t2"], ["uniform_t1", "uniform_t2"]
            ),
            4.0,
        ),
        ({"hits": 3.0, "trials": 4.0}, lambda t: t.ratio("hits", "trials"), 0.75),
        (ERRORS, lambda t: t.total([["error_real"], ["deviation"]], mean_r2), 0.75),
        (
            ERRORS,
            lambda t: t.total([["error_inferred"], ["error_real"], ["deviation"]], r2_fraction),
            0.5 / 0.75,
        ),
        ({"code0_dx": 1.0, "code1_dx": 0.0}, lambda t: t.mean(["code0_dx", "code1_dx"]), 0.5),
    ],
)
@pytest.mark.parametrize("episodes", ["e", "efgefg"])
def test_numbers_of_equal_rows(row, number, value, episodes):
    assert number(table_of(row, episodes)).value == pytest.approx(value)


def test_rows_of_another_target_or_policy_are_left_out():
    parts = [
        table_of({"error": error, "deviation": 4.0, "solved": solved}, motion=[motion])
        for motion, error, solved in (("achieved/xyz", 1.0, 1.0), ("commanded/xyz", 3.0, 0.0))
    ]
    table = Table.concatenate(parts).with_key("motion", "achieved/xyz")
    assert table.total([["error"], ["deviation"]], mean_r2).value == 0.75
    assert table.mean(["solved"]).value == 1.0
    assert table.num_episodes == 1


@pytest.mark.parametrize(("weights", "value"), [(None, 20.0), ([1.0, 3.0], 25.0)])
def test_weights_make_a_mean_over_frames(weights, value):
    table = Table(["a", "b"])
    weights = None if weights is None else np.array(weights)
    table.add("tokenizer_psnr", np.array([10.0, 30.0]), weights=weights)
    assert table.mean(["tokenizer_psnr"]).value == value


def test_a_measurement_gives_a_reason_only_when_there_is_no_value():
    for score, reason in ((1.0, ""), (None, "why")):
        table = table_of({"score": score}, "abc")
        shared = {"unit": "dB", "protocol": "p", "reason": "why"}
        metric = Measurement(of=table.mean(["score"]), **shared).metric(seed=0)
        assert (metric.value, metric.reason) == (score, reason)
        assert metric.n_units == 3


def test_rows_are_written_as_they_were_added():
    table = Table(["a", "b"], start=[3, 4])
    table.texts["codes"] = ["0 1", "2"]
    table.add("score", np.array([1.0, np.nan]))
    assert list(table.rows()) == [
        {"episode_id": "a", "start": 3, "codes": "0 1", "score": 1.0},
        {"episode_id": "b", "start": 4, "codes": "2", "score": None},
    ]
