"""`genie-robo datasets`: what data=NAME can be, and a search in it."""

import re

import pytest
from rich.console import Console

from genie_robo import cli
from genie_robo.commands.datasets import list_datasets
from genie_robo.config_file import known_datasets

NO_SIZE = {"droid_ee_delta", "tabletop"}
NO_RATE = {
    "droid_ee_delta",
    "cmu_playing_with_food",
    "stanford_mask_vit_converted_externally_to_rlds",
}


def lines_of(page):
    """Rows by the name that they begin with, without the summary."""
    rows = page.split("\n\n")[0].splitlines()
    return {row.split()[0]: " ".join(row.split()[1:]) for row in rows}


def test_every_dataset_has_one_line_in_a_pipe(run_cli):
    outcome = run_cli("datasets")
    assert outcome.status == cli.OK
    lines = lines_of(outcome.out)
    assert sorted(lines) == known_datasets()
    assert lines["droid"] == (
        "DROID (Franka): 15 Hz, 95,658 episodes, end-effector changes, cameras main, secondary, "
        "wrist"
    )
    assert lines["fmb"].startswith("FMB (Franka assembling pegs): 10 Hz, 8,611 episodes, 1.17 TiB,")
    assert "end-effector changes, not in metres, cameras" in lines["fmb"]
    assert "276 episodes, joint positions" in lines["aloha_mobile"]
    assert lines["berkeley_gnm_recon"].endswith(
        "11,834 episodes, refused, as it is a driving robot without an end effector"
    )
    assert outcome.out.splitlines()[-1].startswith(f"{len(lines)} of {len(lines)} datasets. Train")


def test_sizes_and_rates_are_found_in_every_file_that_has_them():
    for dataset in list_datasets():
        assert dataset.about[0].isupper() or dataset.about.startswith("xArm")
        assert (dataset.size == "") == (dataset.name in NO_SIZE), dataset.name
        assert (dataset.source.control_hz == 0) == (dataset.name in NO_RATE), dataset.name
        assert not re.search(r"\d Hz|episodes \(", dataset.about)


def test_all_words_have_to_fit(run_cli):
    found = lines_of(run_cli("datasets", "FRANKA", "wrist", "20 hz").out)
    assert {"viola", "austin_buds_dataset_converted_externally_to_rlds"} <= found.keys()
    everything = lines_of(run_cli("datasets").out)
    fitting = {
        name
        for name, line in everything.items()
        if all(word in f"{name} {line}".lower() for word in ("franka", "wrist", "20 hz"))
    }
    assert found.keys() == fitting


def test_nothing_found_is_a_failure(run_cli):
    outcome = run_cli("datasets", "franka", "submarine")
    assert (outcome.status, outcome.out) == (cli.FAILED, "")
    assert "has franka and submarine in its name or line" in outcome.err


@pytest.mark.parametrize("width", [40, 80])
def test_narrow_terminals(run_cli, monkeypatch, width):
    monkeypatch.setattr("genie_robo.commands.datasets.open_console", narrow(width))
    lines = run_cli("datasets").out.splitlines()
    assert max(len(line) for line in lines if len(line.split()) > 1) <= width


def narrow(width):
    return lambda: Console(highlight=False, width=width)


def test_datasets_of_ones_own_come_first(run_cli, tmp_path):
    (tmp_path / "data").mkdir()
    mine = "defaults: [bridge_dataset]\nsource: {control_hz: 7, action: {in_metres: false}}\n"
    (tmp_path / "data" / "my_robot.yaml").write_text(mine)
    (tmp_path / "data" / "empty_one.yaml").write_text("frame_stride: 2\n")
    outcome = run_cli("datasets", "--config-dir", str(tmp_path), "your own")
    assert outcome.status == cli.OK, outcome.err
    assert lines_of(outcome.out) == {
        "empty_one": "your own: end-effector changes",
        "my_robot": "your own: 7 Hz, end-effector changes, not in metres, cameras main, secondary",
    }
    assert "my_robot" not in run_cli("datasets").out
