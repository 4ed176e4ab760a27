"""Which dataset a demo records, and which is the user's, however their paths are written."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from genie_robo.commands.compose import compose_config, to_config
from genie_robo.commands.demo import copy_tokenizer, demo_stages
from genie_robo.commands.table import load_command
from genie_robo.config import RecordConfig, TrainConfig
from genie_robo.config_file import read_config
from genie_robo.pipeline import run_stages, stamps_of
from genie_robo.run_folder import RunFolder
from genie_robo.sim.record import record_dataset


def stages(*words):
    command = load_command("demo")
    return demo_stages(to_config(command, compose_config(command, ["experiment=smoke", *words])))


@pytest.fixture
def dataset(tmp_path) -> Path:
    sizes = {"num_episodes": 6, "num_steps": 10, "image_size": 64, "num_workers": 1}
    return record_dataset(RecordConfig(path=str(tmp_path / "recorded"), **sizes))


@pytest.fixture
def run(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    return tmp_path / "run"


SPELLINGS = ("run/dataset", "./run//dataset/", "link/dataset", "run/../run/dataset")


@pytest.mark.parametrize("path", [*SPELLINGS, "ABSOLUTE"])
def test_the_recorded_dataset_is_known_by_any_spelling(run, path):
    path = path.replace("ABSOLUTE", f"{run}/dataset")
    found = stages("run=run", f"data.path={path}")
    assert [stage.name for stage in found][:2] == ["record", "tokenizer"]
    assert not found[0].is_long


@pytest.mark.parametrize("path", SPELLINGS)
def test_an_own_dataset_in_the_place_of_recordings_is_not_recorded(run, dataset, path):
    own = run / "dataset" / "mine"
    shutil.copytree(dataset, own)
    (own / "recording.json").unlink()
    found = stages("run=run", f"data.path={path}")
    assert [stage.name for stage in found][:2] == ["tokenizer", "world_model"]
    assert (
        found[0].settings["dataset"] == stages("run=run", f"data.path={own}")[0].settings["dataset"]
    )


def test_a_tokenizer_is_known_by_any_spelling(run, dataset):
    shared = "run/shared"
    words = ("run=run", f"data.path={dataset}")
    (first, *_) = stages(*words, f"tokenizer_from={shared}")
    finished = replace(first, outputs=(), run=lambda: first.folder.mkdir())
    run_stages([finished], stamps_of(RunFolder(run)))
    for other in (f"{run}/shared", "link/shared", "./run/shared/"):
        (again, *_) = stages(*words, f"tokenizer_from={other}")
        assert again.settings == first.settings


def test_a_tokenizer_is_taken_from_the_same_data_at_any_path(runs, tmp_path):
    trained = read_config(RunFolder.at(runs[0]), TrainConfig)
    (tmp_path / "link").symlink_to(trained.data.path)
    config = replace(
        trained, run=str(tmp_path / "new"), data=replace(trained.data, path=str(tmp_path / "link"))
    )
    copy_tokenizer(config, str(runs[0]))
    assert (tmp_path / "new" / "tokenizer" / "tokenizer.safetensors").exists()


def test_a_tokenizer_of_other_data_is_not_taken(runs, tmp_path, dataset):
    trained = read_config(RunFolder.at(runs[0]), TrainConfig)
    config = replace(
        trained, run=str(tmp_path / "new"), data=replace(trained.data, path=str(dataset))
    )
    with pytest.raises(ValueError, match=r"is not the dataset that .* was trained on"):
        copy_tokenizer(config, str(runs[0]))
    assert not (tmp_path / "new").exists()
