"""Run folders made by hand, with known answers."""

import csv
import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from genie_robo import config as cfg
from genie_robo.build import build_genie
from genie_robo.comparison.addresses import check_address
from genie_robo.comparison.figure import column_against, columns_by_variant
from genie_robo.comparison.numbers import kept_bytes, read_number
from genie_robo.comparison.table import (
    Cell,
    cell_text,
    check_comparison,
    missing_lines,
    read_row,
    run_table,
    summarise,
    table_lines,
    variant_and_seed,
    write_comparison,
)
from genie_robo.config_file import write_config
from genie_robo.run_folder import RunFolder
from tests.models.conftest import changed

COLUMNS = {
    "PSNR": "eval/tokenizer/psnr",
    "loss": "log/world_model/val_dynamics_loss",
    "windows": "windows/world_model",
}


def training(run: RunFolder) -> cfg.TrainConfig:
    source = cfg.Source(camera="observation/image")
    return cfg.TrainConfig(run=str(run.path), data=cfg.DataConfig(path="d", source=source))


@pytest.fixture
def make_run(tmp_path):
    """A run folder with one metric, a log to `step` of 20, and a finished stage."""

    def make(name: str, *, psnr: float | None = 30.0, loss: float = 2.0, step: int = 20):
        run = RunFolder(tmp_path / name)
        config = changed(
            training(run),
            {
                "world_model.num_steps": 20,
                "world_model.batch_size": 3,
                "model.tokenizer.encoder.dim": 32,
            },
        )
        write_config(run, config)
        if psnr is not None:
            _write_metrics(run, "tokenizer", {"psnr": {"value": psnr}}, headline=["psnr"])
        lines = [
            {"step": 10, "val_dynamics_loss": 2 * loss, "loss": 1.0},
            {"step": step, "loss": 1.0} | ({"val_dynamics_loss": loss} if step == 20 else {}),
        ]
        run.log("world_model").parent.mkdir()
        run.log("world_model").write_text("".join(json.dumps(line) + "\n" for line in lines))
        stamp = {"settings": {}, "inputs": {}, "finished": step == 20, "seconds": 7.5}
        (run.path / "stages").mkdir()
        (run.path / "stages" / "world_model.json").write_text(json.dumps(stamp))
        return run

    return make


def _write_metrics(run, suite, metrics, *, headline):
    folder = run.suite(suite)
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps({"metrics": metrics, "headline": headline}))
    table = pd.DataFrame.from_dict(metrics, orient="index", columns=["value", "reason"])
    table.to_csv(folder / "metrics.csv", index_label="metric")


@pytest.mark.parametrize(
    ("address", "value"),
    [
        ("eval/tokenizer/psnr", 30.0),
        ("log/world_model/val_dynamics_loss", 2.0),
        ("windows/world_model", 60.0),
        ("seconds/world_model", 7.5),
    ],
)
def test_numbers_of_a_finished_run(make_run, address, value):
    assert read_number(make_run("a"), address) == (value, "")


def test_metric_is_found_by_the_end_of_a_headline(make_run):
    run = make_run("a")
    metrics = {
        "achieved/xyz/r2": {"value": 0.4},
        "commanded/xyz/r2": {"value": 0.3},
        "codes/perplexity": {"value": None, "reason": "no codes"},
    }
    _write_metrics(run, "latent_probe", metrics, headline=["achieved/xyz/r2"])

    assert read_number(run, "eval/latent_probe/r2").value == 0.4
    assert read_number(run, "eval/latent_probe/commanded/xyz/r2").value == 0.3
    assert read_number(run, "eval/latent_probe/codes/perplexity") == (None, "no codes")
    assert read_number(run, "eval/latent_probe/xyz") == (
        None,
        "suite latent_probe has no metric xyz",
    )


def test_damaged_metrics_are_named(make_run):
    run = make_run("a")
    (run.suite("tokenizer") / "metrics.json").write_text("{")
    with pytest.raises(ValueError, match="does not hold the result of a suite"):
        read_number(run, "eval/tokenizer/psnr")


def test_half_trained_numbers_do_not_count(make_run):
    run = make_run("a", step=15)

    reason = "world_model is trained to step 15 of 20"
    assert read_number(run, "log/world_model/val_dynamics_loss") == (None, reason)
    assert read_number(run, "seconds/world_model").value is None


def test_what_is_not_logged_is_missing(make_run):
    found = read_number(make_run("a"), "log/world_model/val_colour")

    assert found == (None, "world_model did not log val_colour")


def test_run_that_is_not_there(tmp_path):
    assert read_number(RunFolder(tmp_path / "x"), "parameters/dynamics") == (None, "not started")
    (tmp_path / "y").mkdir()
    for address in ("parameters/dynamics", "windows/tokenizer", "activations/tokenizer"):
        found = read_number(RunFolder(tmp_path / "y"), address)
        assert found == (None, "training has not begun")


@pytest.mark.parametrize("part", ["tokenizer", "latent_action", "dynamics"])
def test_parameters_are_those_of_the_run(make_run, part):
    config = changed(cfg.TrainConfig(), {"model.tokenizer.encoder.dim": 32})
    expected = sum(p.numel() for p in getattr(build_genie(config), part).parameters())

    assert read_number(make_run("a"), f"parameters/{part}").value == expected


@pytest.mark.parametrize(
    "address",
    [
        "psnr",
        "eval/tokenizer",
        "log/dynamics/loss",
        "parameters/head",
        "windows/world_model/x",
        "activations/dynamics",
        "",
    ],
)
def test_wrong_addresses_are_refused(address):
    with pytest.raises(ValueError, match="is not the address of a number"):
        check_address(address)


def test_bytes_that_a_forward_pass_keeps():
    """Two rows of four inputs for the weights, two rows of eight outputs for the ReLU."""
    module = nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU())

    assert kept_bytes(module, torch.ones(2, 4)) == 4 * (2 * 4 + 2 * 8)


def test_full_attention_keeps_more_than_none_over_time(make_run):
    run = make_run("a")
    config = changed(training(run), {"tokenizer.num_frames": 8})
    sizes = {}
    for kind in type(config.model.tokenizer.kind):
        write_config(run, changed(config, {"model.tokenizer.kind": kind}))
        sizes[kind] = read_number(run, "activations/tokenizer").value
    assert sizes["vit"] < sizes["st_vivit"]
    assert sizes["vit"] < sizes["c_vivit"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tokens-seed2", ("tokens", 2)),
        ("a-seed1-seed10", ("a-seed1", 10)),
        ("demo", ("demo", None)),
    ],
)
def test_variant_and_seed_are_read_from_the_name(name, expected):
    assert variant_and_seed(Path("runs") / name) == expected


def test_mean_and_spread_over_seeds(make_run):
    runs = [make_run("a-seed0", psnr=30.0), make_run("a-seed1", psnr=33.0)]
    rows = [read_row(run.path, COLUMNS) for run in runs]

    mean, spread, count = summarise(rows, "PSNR")

    assert (mean, count) == (31.5, 2)
    assert spread == pytest.approx(4.5**0.5)
    assert summarise(rows[:1], "PSNR") == (30.0, None, 1)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (Cell(31.5, 2.1213, 2), "31.5 ± 2.1"),
        (Cell(31.5, None, 1), "31.5 (1 of 2)"),
        (Cell(1077344.0, 0.0, 2), "1,077,344"),
        (Cell(0.000123456, None, 2), "0.0001235"),
        (Cell(None, None, 0), "missing"),
    ],
)
def test_cells_as_text(cell, text):
    assert cell_text(cell, 2) == text


def test_table_has_a_line_for_every_variant(make_run):
    make_run("a-seed0", psnr=30.0, loss=2.0)
    make_run("a-seed1", psnr=33.0, loss=4.0)
    make_run("b-seed0", psnr=None, step=15)
    names = ("a-seed0", "a-seed1", "b-seed0")
    folder = make_run("c").path.parent
    rows = [read_row(folder / name, COLUMNS) for name in names]
    rows.append(read_row(folder / "b-seed1", COLUMNS, failure="it broke"))

    assert table_lines(rows) == [
        "| variant | seeds | PSNR | loss | windows |",
        "|---|---|---|---|---|",
        "| a | 2 | 31.5 ± 2.1 | 3 ± 1.4 | 60 |",
        "| b | 2 | missing | missing | 60 (1 of 2) |",
    ]
    assert missing_lines(rows) == [
        f"- b, seed 0 ({folder}/b-seed0). PSNR: suite tokenizer has not been evaluated; "
        "loss: world_model is trained to step 15 of 20",
        f"- b, seed 1 ({folder}/b-seed1). failed: it broke; PSNR, loss, windows: not started",
    ]


def test_csv_has_a_line_for_every_run(make_run):
    runs = [make_run("a-seed0"), make_run("demo", psnr=None)]
    folder = runs[0].path.parent
    write_comparison(folder, {run.path: "" for run in runs}, columns=COLUMNS)

    lines = list(csv.DictReader((folder / "comparison.csv").read_text().splitlines()))

    assert [(line["variant"], line["seed"], line["PSNR"]) for line in lines] == [
        ("a", "0", "30.0"),
        ("demo", "", ""),
    ]
    assert lines[1]["loss"] == "2.0"


def test_figure_by_variant_has_a_panel_for_every_column(make_run):
    runs = [make_run("a-seed0"), make_run("a-seed1", psnr=32.0), make_run("b-seed0", psnr=None)]
    figure = columns_by_variant(run_table([read_row(run.path, COLUMNS) for run in runs]))

    panels = figure.axes
    assert [panel.get_title(loc="left") for panel in panels] == list(COLUMNS)
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["a", "b"]
    rings, mean = panels[0].lines
    assert list(rings.get_xdata()) == [30.0, 32.0]
    assert list(mean.get_xdata()) == [31.0]
    assert [text.get_text() for text in panels[0].texts] == ["missing"]


def test_figure_against_a_column_is_logarithmic_and_beside_the_curves(make_run):
    runs = [make_run("a-seed0", loss=2.0), make_run("a-seed1", loss=4.0), make_run("b", loss=1.0)]
    columns = {"loss": COLUMNS["loss"], "PSNR": COLUMNS["PSNR"]}
    values = run_table([read_row(run.path, columns) for run in runs])

    left, right = column_against(values, "PSNR", curve=COLUMNS["loss"]).axes

    assert (right.get_xscale(), right.get_xlabel(), right.get_ylabel()) == ("log", "PSNR", "loss")
    assert [list(line.get_ydata()) for line in left.lines] == [[4.0, 2.0], [8.0, 4.0], [2.0, 1.0]]
    assert [list(line.get_ydata()) for line in right.lines[:3]] == [[2.0], [4.0], [1.0]]
    assert sorted(right.lines[3].get_ydata()) == [1.0, 3.0]


def test_ticks_of_a_logarithmic_axis_are_the_values_as_they_are_read():
    names = pd.MultiIndex.from_tuples(
        [("a", 0, "a"), ("a", 1, "b"), ("b", 0, "c"), ("c", 0, "d")],
        names=["variant", "seed", "run"],
    )
    numbers = {"loss": [1.0, 2.0, 3.0, None], "windows": [200.0, 300.0, 12000.0, 7.0]}
    axes = column_against(pd.DataFrame(numbers, index=names), "windows").axes[0]
    axes.figure.draw_without_rendering()
    assert list(axes.get_xticks()) == [250.0, 12000.0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["250", "12,000"]
    assert len(axes.get_xticks(minor=True)) == 0


def test_comparison_is_written_and_links_its_files(make_run):
    runs = [make_run("a-seed0"), make_run("a-seed1", psnr=33.0)]
    folder = runs[0].path.parent / "all"

    page = write_comparison(
        folder,
        {run.path: "" for run in runs},
        columns=COLUMNS,
        remarks=["kind=foo: there is no such kind"],
    )

    text = page.read_text()
    assert text.startswith("# all\n")
    assert "| a | 2 | 31.5 ± 2.1 | 2 | 60 |" in text
    assert "standard deviation over seeds" in text
    assert "- kind=foo: there is no such kind" in text
    assert (folder / "comparison.csv").read_text().count("\n") == 3
    with Image.open(folder / "comparison.png") as picture:
        assert picture.width > 1000


def test_without_columns_whatever_is_there_is_compared(make_run):
    run = make_run("a")
    text = write_comparison(run.path, {run.path: ""}, columns={}).read_text()

    header = text.splitlines()[2]
    assert "tokenizer PSNR (dB) | validation cross-entropy (nat)" in header
    assert "R2 of codes" not in header
    assert "Missing" not in text


@pytest.mark.parametrize("names", [[], ["x"]])
def test_nothing_to_compare(tmp_path, names):
    with pytest.raises(ValueError, match="no run folder has any number yet"):
        write_comparison(tmp_path, {tmp_path / name: "" for name in names}, columns={})


@pytest.mark.parametrize(
    ("columns", "horizontal", "curve", "message"),
    [
        ({"PSNR": "psnr"}, "", "", "'psnr' is not the address"),
        (COLUMNS, "size", "", "horizontal='size' must be the title .* PSNR, loss, windows"),
        ({"PSNR": COLUMNS["PSNR"]}, "PSNR", "", "one of at least two columns"),
        (COLUMNS, "PSNR", "eval/tokenizer/psnr", "must be logged"),
    ],
)
def test_comparison_that_cannot_be_is_refused(columns, horizontal, curve, message):
    with pytest.raises(ValueError, match=message):
        check_comparison(columns, horizontal, curve)
