import logging
from pathlib import Path
from unittest.mock import Mock

import pytest

from genie_robo import cli
from genie_robo.commands import checks
from genie_robo.commands import eval as evaluate
from genie_robo.commands.compose import compose_config, to_config
from genie_robo.commands.table import load_command
from genie_robo.trained_run import TrainedRun


def settings(*words):
    command = load_command("eval")
    return to_config(command, compose_config(command, ["run=runs/x", *words]))


@pytest.mark.parametrize(
    ("setting", "known"),
    [
        ("world_model", "mujoco_delayed, mujoco_coded, copy_first"),
        ("encoder", "genie, oracle, random, shuffled"),
    ],
)
def test_unknown_plugs_are_refused_before_the_run_is_opened(capsys, monkeypatch, setting, known):
    monkeypatch.setattr(logging.root, "handlers", logging.root.handlers[:])
    monkeypatch.setattr(checks, "check_eval", lambda config: None)  # that it is no run
    assert cli.main(["eval", "run=no/such/run", "suite=tokenizer", f"{setting}=best"]) == 1
    error = " ".join(capsys.readouterr().err.split())
    assert f"{setting}=best is not known" in error
    assert known in error


def test_results_of_plugs_lie_beside_the_runs_own():
    trained = Mock(spec=TrainedRun, is_own_data=True)
    plain = settings()
    assert (plain.world_model, plain.encoder) == ("genie", "genie")
    assert evaluate._suffix(plain, trained) == ""
    plugged = settings("world_model=my.package:Model", "encoder=oracle")
    assert evaluate._suffix(plugged, trained) == "+my.package.Model+oracle"
    assert evaluate._suffix(settings("fit_on=train"), trained) == "+fit_on_train"


def test_results_on_another_dataset_name_it():
    dataset = Mock(folder=Path("data/bridge/1.0.0"))
    trained = Mock(spec=TrainedRun, is_own_data=False, dataset=dataset)
    assert evaluate._suffix(settings(), trained) == "@bridge"
