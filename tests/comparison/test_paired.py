"""Comparisons of runs on disk, with known answers."""

import csv
import json

import numpy as np
import pytest
from matplotlib.image import imread

from genie_robo.comparison.paired import (
    PairedRuns,
    difference_text,
    draw_differences,
    paired_json,
    paired_markdown,
    paired_table,
    write_paired,
)
from genie_robo.eval_suites.base import SuiteResult
from genie_robo.eval_suites.comparing import Compared, Difference, compare
from genie_robo.eval_suites.table import Fixed, Measurement, Table


def suite_result(values, *, ratio):
    table = Table([f"e{i}" for i in range(len(values))])
    table.add("score", values)
    measurements = {
        "score": Measurement(of=table.mean(["score"]), unit="dB", protocol="p"),
        "ratio": Measurement(of=Fixed(table, ratio), unit="share", protocol="p"),
    }
    return SuiteResult.of(measurements, seed=0, headline=tuple(measurements), table=table)


@pytest.fixture(scope="module")
def found():
    """Three seeds of one setting and a run of another, 2 dB better in every episode."""
    base = np.arange(8.0)
    results = {
        f"runs/a-seed{seed}": suite_result(base + shift, ratio=0.5)
        for seed, shift in enumerate((0.0, 1.0, -1.0))
    }
    results["runs/b"] = suite_result(base + 2, ratio=0.75)
    settings = {f"runs/a-seed{seed}": ("a", seed) for seed in range(3)} | {"runs/b": ("b", 0)}
    return PairedRuns(
        suite="fake",
        settings=settings,
        compared=compare(results),
        notes=["a note", "a note"],
        provenance={"seed": 0},
    )


def test_three_seeds_give_mean_and_spread(found):
    assert [row.path.name for row in found.repeated] == ["a-seed0", "a-seed1", "a-seed2"]
    seeds = json.loads(paired_json(found))["seeds"]
    assert seeds == {
        "a": {
            "score (dB)": {"mean": 3.5, "spread": 1.0, "num_seeds": 3},
            "ratio (share)": {"mean": 0.5, "spread": 0.0, "num_seeds": 3},
        }
    }
    assert "| a | 3 | 3.5 ± 1 | 0.5 |" in paired_markdown(found)


def test_one_seed_of_each_setting_has_no_spread(found):
    results = {name: suite_result(np.arange(6.0), ratio=0.5) for name in ("x", "y")}
    two = PairedRuns(
        suite="fake",
        settings={"x": ("x", 0), "y": ("y", 0)},
        compared=compare(results),
        notes=[],
        provenance={},
    )
    assert two.repeated == []
    assert "Seeds of one setting" not in paired_markdown(two)
    assert json.loads(paired_json(two))["seeds"] == {}


def test_json_holds_value_interval_and_reason(found):
    content = json.loads(paired_json(found))

    assert "resamples whole episodes" in content["protocol"]
    assert content["runs"][3] == {"run": "runs/b", "setting": "b", "seed": 0}
    score = content["metrics"]["score"]
    assert score["values"] == {
        "runs/a-seed0": 3.5,
        "runs/a-seed1": 4.5,
        "runs/a-seed2": 2.5,
        "runs/b": 5.5,
    }
    difference = score["minus runs/a-seed0"]["runs/b"]
    assert difference["value"] == pytest.approx(2)
    assert difference["ci95"] == pytest.approx([2, 2])
    assert difference["p_value"] == 2 / 2**8
    assert difference["num_episodes"] == 8
    unpaired = content["metrics"]["ratio"]["minus runs/a-seed0"]["runs/b"]
    assert (unpaired["value"], unpaired["ci95"], unpaired["p_value"]) == (0.25, None, None)
    assert unpaired["reason"].startswith("not paired: it is about all episodes")


def test_csv_has_a_line_for_every_number_and_run(found):
    rows = list(csv.DictReader(paired_table(found).to_csv(index=False).splitlines()))

    assert [(row["name"], row["kind"]) for row in rows[::3]] == [
        ("score", "headline"),
        ("ratio", "headline"),
    ]
    assert rows[2]["run"] == "runs/b"
    assert float(rows[2]["low"]) == pytest.approx(2)
    assert (rows[5]["difference"], rows[5]["low"], rows[5]["episodes"]) == ("0.25", "", "0")


def test_page_says_what_was_done_and_what_is_missing(found):
    page = paired_markdown(found)

    assert page.startswith("# fake: runs/a-seed0 against runs/a-seed1, runs/a-seed2, runs/b\n")
    assert page.count("- a note") == 1
    assert "| +2 [2, 2], p = 0.0078, 8 episodes |" in page
    assert "- ratio. runs/b: not paired: it is about all" in page
    assert "Mean ± standard deviation over training seeds" in page


def test_folder_holds_four_files(found, tmp_path):
    page = write_paired(tmp_path / "x", found)

    assert page == tmp_path / "x" / "paired.md"
    names = {path.name for path in page.parent.iterdir()}
    assert names == {"paired.md", "paired.json", "paired.csv", "paired.png"}
    assert imread(page.parent / "paired.png").std() > 0.01


def test_figure_has_a_panel_per_unit_and_hollow_marks_without_interval(found):
    figure = draw_differences(found.runs, found.compared)

    above, below = figure.axes
    assert (above.get_xlabel(), below.get_xlabel()) == ("dB", "share")
    marks = {
        axes: [line for line in axes.lines if len(line.get_xdata()) == 1] for axes in figure.axes
    }
    assert [line.get_xdata()[0] for line in marks[above]] == pytest.approx([1, -1, 2])
    assert [line.get_markerfacecolor() for line in marks[below]] == ["none"] * 3
    assert len(above.collections) == 3
    assert not below.collections


def test_figure_without_any_difference_says_so():
    (axes,) = draw_differences(["a", "b"], []).axes
    assert [text.get_text() for text in axes.texts] == ["no difference is defined"]


@pytest.mark.parametrize(
    ("difference", "text"),
    [
        (Difference(value=None, reason="x"), "undefined"),
        (Difference(value=-1.5, reason="x"), "-1.5, not paired"),
        (Difference(value=0.25, p_value=0.5, num_episodes=2), "+0.25, p = 0.5, 2 episodes"),
        (
            Difference(value=1.0, ci95=(0.5, 1.5), p_value=0.002, num_episodes=9),
            "+1 [0.5, 1.5], p = 0.002, 9 episodes",
        ),
    ],
)
def test_difference_as_text(difference, text):
    assert difference_text(difference) == text


def test_figure_leaves_out_the_frames_of_a_horizon():
    difference = Difference(value=1.0, ci95=(0.5, 1.5), p_value=0.1, num_episodes=9)
    shared = {"unit": "dB", "values": (1.0, 2.0), "differences": (difference,)}
    compared = [
        Compared(name="delta/t4", is_headline=True, **shared),
        Compared(name="delta/t5", is_headline=False, **shared),
        Compared(name="psnr", is_headline=False, **shared),
    ]

    (axes,) = draw_differences(["a", "b"], compared).axes

    assert [label.get_text() for label in axes.get_yticklabels()] == ["delta/t4", "psnr"]
