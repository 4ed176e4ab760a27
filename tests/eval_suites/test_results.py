import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from eval_fakes import FakeEncoder, LosslessTokenizer, ToyRobot, make_context
from hydra.utils import get_class
from matplotlib.image import imread

from genie_robo.eval_suites.base import SuiteResult
from genie_robo.eval_suites.latent_probe import LatentProbe
from genie_robo.eval_suites.results import format_value, metrics_json, report_markdown, write_result
from genie_robo.eval_suites.table import Metric, Table, undefined

SUITES = sorted((Path(__file__).parents[2] / "conf/suite").glob("*.yaml"))
SHARED = {"n_units": 3, "unit": "dB", "protocol": "by hand"}


@pytest.fixture(scope="module")
def result():
    robot = ToyRobot(6)
    encoder = FakeEncoder(4, lambda window: np.arange(len(window.video) - 1) % 4)
    context = make_context(robot, encoder=encoder, tokenizer=LosslessTokenizer())
    return LatentProbe().evaluate(context)


@pytest.fixture
def small():
    metric = Metric(value=1.0, **SHARED)
    return SuiteResult(metrics={"m": metric}, headline=("m",))


@pytest.mark.parametrize(
    "numbers",
    [
        {"value": math.nan},
        {"value": 1.0, "ci95": (0.0, math.inf)},
        {"value": 1.0, "ceiling": math.nan},
        {"value": 1.0, "baselines": {"mean": math.nan}},
    ],
)
def test_metric_refuses_numbers_that_are_not_finite(numbers):
    with pytest.raises(ValueError, match="not finite"):
        Metric(**SHARED, **numbers)


def test_undefined_metric_needs_a_reason():
    with pytest.raises(ValueError, match="needs a reason"):
        Metric(value=None, **SHARED)
    metric = undefined("why", unit="dB", protocol="p").metric(seed=0)
    assert (metric.value, metric.reason) == (None, "why")


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        (Metric(value=0.3141, ci95=(0.251, 0.369), **SHARED), "0.31 [0.25, 0.37]"),
        (Metric(value=0.00423, **SHARED), "0.0042"),
        (Metric(value=20.0, **SHARED), "20"),
        (Metric(value=0.0, ci95=(-7e-17, 7e-17), **SHARED), "0 [0, 0]"),
        (Metric(value=None, reason="too short", **SHARED), "undefined: too short"),
    ],
)
def test_format_value(metric, text):
    assert format_value(metric) == text


def test_folder_holds_everything(tmp_path, result):
    folder = tmp_path / "eval" / "latent_probe"
    write_result(folder, result, suite=LatentProbe(), provenance={"seed": 0, "fast": False})
    assert {path.name for path in folder.parent.iterdir()} == {"latent_probe"}
    names = {path.name for path in folder.iterdir()}
    assert names == {"metrics.json", "metrics.csv", "per_episode.csv", "report.md", "figures"}
    assert {path.stem for path in (folder / "figures").iterdir()} == set(result.figures)
    for path in (folder / "figures").iterdir():
        assert imread(path).std() > 0.01, path


def test_json_has_no_nan_and_keeps_every_field(result):
    def refuse(constant):
        raise AssertionError(constant)

    text = metrics_json(result, "latent_probe", {"seed": 0})
    content = json.loads(text, parse_constant=refuse)
    assert content["provenance"] == {"seed": 0}
    assert tuple(content["metrics"]) == result.headline
    assert len(result.headline) <= 8
    fields = {"value", "ci95", "n_units", "unit", "baselines", "ceiling", "protocol"}
    for metric in content["metrics"].values():
        assert fields <= set(metric)
        assert (metric["value"] is None) == ("reason" in metric)


def test_every_metric_is_a_row_of_the_table(tmp_path, result):
    write_result(tmp_path / "p", result, suite=LatentProbe())
    with (tmp_path / "p" / "metrics.csv").open() as file:
        rows = {row["metric"]: row for row in csv.DictReader(file)}
    assert set(rows) == set(result.metrics)
    for name, metric in result.metrics.items():
        assert rows[name]["value"] == ("" if metric.value is None else repr(metric.value)), name
        assert (rows[name]["reason"] == "") == (metric.value is not None)


def test_csv_has_empty_cells_for_what_is_undefined(tmp_path, small):
    table = Table(["a", "b"], start=[0, 3])
    table.add("x", np.array([np.nan, 1.5]))
    write_result(tmp_path / "p", replace(small, table=table), suite=LatentProbe())
    with (tmp_path / "p" / "per_episode.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows == [["episode_id", "start", "x"], ["a", "0", ""], ["b", "3", "1.5"]]


def test_report_shows_headline_notes_figures_and_protocols(result):
    report = report_markdown(result, LatentProbe())
    for name in result.metrics:
        assert f"| {name} |" in report
    for note in result.notes:
        assert note in report
    assert "](figures/lag.png)" in report
    assert "least squares on one-hot codes" in report


def test_new_result_replaces_the_old_one(tmp_path, small):
    folder = tmp_path / "p"
    write_result(folder, small, suite=LatentProbe())
    (folder / "stale.txt").write_text("old")
    write_result(folder, small, suite=LatentProbe())
    assert not (folder / "stale.txt").exists()


def test_failure_keeps_the_old_result(tmp_path, small):
    folder = tmp_path / "p"
    write_result(folder, small, suite=LatentProbe())
    before = (folder / "metrics.json").read_bytes()
    broken = SuiteResult(metrics={}, headline=("missing",))
    with pytest.raises(KeyError, match="missing"):
        write_result(folder, broken, suite=LatentProbe())
    assert (folder / "metrics.json").read_bytes() == before


@pytest.mark.parametrize("file", SUITES, ids=lambda file: file.stem)
def test_a_suite_has_at_most_eight_headline_metrics(file):
    suite = get_class(yaml.safe_load(file.read_text())["_target_"])
    assert 1 <= len(suite.headline) <= 8
