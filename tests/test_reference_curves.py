"""docs/results/curves_*.csv and their figures, from logs of runs."""

import json
from pathlib import Path

import pandas as pd
import pytest

from genie_robo.config import DataConfig, Source
from genie_robo.config_file import write_config
from genie_robo.run_folder import RunFolder
from genie_robo.train.settings import (
    TrainConfig,
    robot_control_stage,
    tokenizer_stage,
    world_model_stage,
)
from tests.benchmarks.reference_curves import CODES_START, DOCS, SHOWN, collect, draw


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


def table_of(start=0, **quantities):
    """A table of one run: a number for every 20th step, and where codes start."""
    numbers = [
        (name, 20 * (n + 1), value)
        for name, values in quantities.items()
        for n, value in enumerate(values)
    ]
    return pd.DataFrame(
        {"stage": "tokenizer", "quantity": name, "val": False, "step": step}
        | dict.fromkeys(("min", "mean", "max"), value)
        for name, step, value in [*numbers, *([(CODES_START, start, start)] if start else [])]
    )


def test_a_jump_where_codes_start_stays_one():
    figure = draw(table_of(start=210, psnr=[20.0] * 10 + [15.0] * 10), "tokenizer")
    panel = figure.axes[list(SHOWN["tokenizer"]).index("psnr")]
    before, after, line = panel.lines
    assert list(before.get_xdata()) == list(range(20, 220, 20))
    assert list(before.get_ydata()) == [20.0] * 10
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


def test_codes_start_where_the_settings_of_the_runs_say(runs):
    data = DataConfig(path="dataset", source=Source(camera="image"))
    write_config(RunFolder.at(runs[0]), TrainConfig(run=str(runs[0]), data=data))
    table = collect(runs)
    starts = table[table["quantity"] == CODES_START].set_index("stage")["step"].to_dict()
    model = TrainConfig().model
    assert starts == {
        "tokenizer": model.tokenizer.quantizer.warmup_steps,
        "world_model": model.latent_action.quantizer.warmup_steps,
    }


@pytest.mark.parametrize("path", sorted((DOCS / "results").glob("curves_*.csv")), ids=str)
def test_the_first_step_with_codes_is_the_one_after_they_start(path):
    stored = pd.read_csv(path)
    in_use = stored[stored["quantity"].str.endswith("perplexity")].groupby("stage")["step"].min()
    starts = stored[stored["quantity"] == CODES_START].set_index("stage")["step"]
    assert ((starts < in_use) & (in_use <= starts + 20)).all()
    assert set(starts.index) == {"tokenizer", "world_model"}


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
