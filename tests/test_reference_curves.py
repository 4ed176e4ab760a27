"""docs/results/curves_*.csv and their figures, from logs of runs."""

import json
from pathlib import Path

import pandas as pd
import pytest

from genie_robo.train.settings import robot_control_stage, tokenizer_stage, world_model_stage
from tests.benchmarks.reference_curves import DOCS, SHOWN, collect, draw, starts_of


@pytest.fixture
def runs(tmp_path):
    for seed in range(3):
        folder = tmp_path / f"seed{seed}" / "tokenizer"
        folder.mkdir(parents=True)
        rows = [{"step": 20, "psnr": 20.0 + seed, "perplexity": None}]
        rows.append({"step": 40, "psnr": 24.0 + seed, "val_psnr": 22.0 + seed, "perplexity": 9.0})
        (folder / "log.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return sorted(tmp_path.iterdir())


def test_lowest_mean_and_highest_of_the_runs_at_each_step(runs):
    found = collect(runs).set_index(["quantity", "val", "step"])
    assert found.loc[("psnr", False, 20), ["min", "mean", "max"]].tolist() == [20, 21, 22]
    assert found.loc[("psnr", True, 40), ["min", "mean", "max"]].tolist() == [22, 23, 24]
    assert found.loc[("perplexity", False, 40), "mean"] == 9
    assert len(found) == 4


@pytest.mark.parametrize("stage", SHOWN)
def test_a_panel_for_each_quantity_even_where_it_was_not_logged(runs, stage):
    figure = draw(collect(runs), stage)
    assert [panel.get_title() for panel in figure.axes] == list(SHOWN[stage])
    assert figure.get_figwidth() <= 12


def table_of(**quantities):
    """A table of one run: a number for every 20th step."""
    return pd.DataFrame(
        {"stage": "tokenizer", "quantity": name, "val": False, "step": 20 * (n + 1)}
        | dict.fromkeys(("min", "mean", "max"), value)
        for name, values in quantities.items()
        for n, value in enumerate(values)
    )


def test_a_jump_where_codes_start_stays_one():
    figure = draw(table_of(psnr=[20.0] * 10 + [15.0] * 10), "tokenizer", quantised_from=210)
    panel = figure.axes[list(SHOWN["tokenizer"]).index("psnr")]
    before, after, line = panel.lines
    assert (list(before.get_xdata()), list(before.get_ydata())) == (
        list(range(20, 220, 20)),
        [20.0] * 10,
    )
    assert list(after.get_ydata()) == [15.0] * 10
    assert set(line.get_xdata()) == {210}


def test_lines_are_smooth_without_a_start_of_codes():
    figure = draw(table_of(loss=[1.0, 1.0, 1.0, 6.0, 1.0, 1.0, 1.0]), "tokenizer")
    (line,) = figure.axes[0].lines
    assert list(line.get_ydata()) == pytest.approx([1, 9 / 4, 2, 2, 2, 9 / 4, 1])


def test_what_is_0_throughout_has_no_panel():
    figure = draw(table_of(loss=[1.0, 2.0], vq_loss=[0.0, 0.0]), "tokenizer")
    shown = [panel.get_title() for panel in figure.axes if panel.get_visible()]
    assert shown == [name for name in SHOWN["tokenizer"] if name != "vq_loss"]


@pytest.mark.parametrize("experiment", ["default", "long"])
def test_codes_start_where_the_settings_of_the_experiment_say(experiment):
    starts = starts_of(experiment)
    assert starts == {"tokenizer": 350, "world_model": 300}
    stored = pd.read_csv(DOCS / "results" / f"curves_{experiment}.csv")
    in_use = stored[stored["quantity"].str.endswith("perplexity")]
    assert in_use.groupby("stage")["step"].min().to_dict() == {
        stage: 20 * (start // 20 + 1) for stage, start in starts.items()
    }


@pytest.mark.parametrize("stage", ["tokenizer", "world_model"])
def test_every_loss_and_accuracy_that_training_logs_has_a_panel(stage):
    golden = json.loads((Path(__file__).parent / "golden" / "training.json").read_text())
    lines = golden["expected"][stage]
    logged = {name.removeprefix("val_") for line in lines for name in line}
    measured = {name for name in logged if name.endswith(("loss", "accuracy", "change", "psnr"))}
    assert "loss" in measured
    assert measured <= set(SHOWN[stage])


def test_runs_without_logs_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no stage was trained in"):
        collect([tmp_path])


@pytest.mark.parametrize("path", sorted((DOCS / "results").glob("curves_*.csv")), ids=str)
def test_stored_curves_have_every_stage_and_a_figure_for_each(path):
    stored = pd.read_csv(path)
    assert set(stored["stage"]) == set(SHOWN)
    assert (stored["min"] <= stored["mean"]).all()
    assert (stored["mean"] <= stored["max"]).all()
    for stage in SHOWN:
        assert (DOCS / "images" / f"{path.stem}_{stage}.png").exists()


def test_the_default_curves_end_with_the_default_training():
    stored = pd.read_csv(DOCS / "results" / "curves_default.csv")
    assert stored.groupby("stage")["step"].max().to_dict() == {
        "tokenizer": tokenizer_stage().num_steps,
        "world_model": world_model_stage().num_steps,
        "robot_control": robot_control_stage().num_steps,
    }
