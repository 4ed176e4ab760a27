"""The command `compare`, and what sweeps hand to it."""

from dataclasses import replace

import pytest

from genie_robo import cli
from genie_robo import config as cfg
from genie_robo.commands.checks import find_runs
from genie_robo.commands.command import SweptRun
from genie_robo.commands.compare import check_columns, compare_sweep


@pytest.fixture
def folders(tmp_path):
    for name in ("b", "a-seed1", "a-seed0"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").touch()
    (tmp_path / "dataset").mkdir()
    return tmp_path


def test_runs_are_found_by_name_and_by_star(folders):
    found = find_runs([f"{folders}/b", f"{folders}/*"])

    assert [path.name for path in found] == ["b", "a-seed0", "a-seed1"]


@pytest.mark.parametrize("name", ["x[1]-seed0", "x?-seed0", "[ab]-seed0"])
def test_brackets_are_part_of_a_name(folders, name):
    (folders / name).mkdir()
    (folders / name / "config.yaml").touch()
    stem = name.removesuffix("0")

    assert [path.name for path in find_runs([f"{folders}/{stem}*"])] == [name]
    assert [path.name for path in find_runs([f"{folders}/{name}"])] == [name]


def test_a_run_named_twice_is_one_run(folders):
    (folders / "link").symlink_to(folders / "b")

    found = find_runs([f"{folders}/b", f"{folders}/a-seed0/../b", f"{folders}/link"])

    assert [path.name for path in found] == ["b"]


def test_relative_stars(folders, monkeypatch):
    monkeypatch.chdir(folders)

    assert [path.name for path in find_runs(["a-*"])] == ["a-seed0", "a-seed1"]


@pytest.mark.parametrize("name", ["dataset", "nothing", "x*"])
def test_folder_that_is_no_run(folders, name):
    with pytest.raises(FileNotFoundError, match="is no run folder: there is no"):
        find_runs([f"{folders}/{name}"])


def test_compare_of_nothing_says_what_to_give(run_cli):
    outcome = run_cli("compare")
    assert outcome.status == cli.USAGE
    assert "give runs=[FOLDER,FOLDER]" in outcome.err


def test_comparison_of_what_no_run_has_is_refused_before_any_work():
    comparison = cfg.ComparisonConfig(columns={"PSNR": "psnr"})
    check_columns(comparison)
    with pytest.raises(ValueError, match="'psnr' is not the address of a number"):
        check_columns(replace(comparison, folder="runs/x"))


def test_sweep_is_compared_with_what_failed(tmp_path, capsys):
    comparison = cfg.ComparisonConfig(folder=str(tmp_path), columns={"s": "seconds/world_model"})
    configs = [
        cfg.DemoConfig(run=str(tmp_path / f"{name}-seed0"), comparison=comparison)
        for name in ("good", "bad")
    ]
    compare_sweep(
        [
            SweptRun(name="x=0", config=None, error=ValueError("x is too\nsmall")),
            SweptRun(name="x=1", config=configs[0], error=None),
            SweptRun(name="x=2", config=configs[1], error=RuntimeError()),
        ]
    )

    lines = (tmp_path / "comparison.md").read_text().splitlines()
    assert "| good | 1 | missing |" in lines
    assert f"- good, seed 0 ({tmp_path}/good-seed0). s: not started" in lines
    assert any("bad-seed0). failed: RuntimeError; s: not started" in line for line in lines)
    assert "- x=0: x is too small" in lines
    assert str(tmp_path / "comparison.md") in capsys.readouterr().out


def test_sweep_without_a_comparison_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    compare_sweep([SweptRun(name="seed=0", config=cfg.DemoConfig(), error=None)])
    assert list(tmp_path.iterdir()) == []
