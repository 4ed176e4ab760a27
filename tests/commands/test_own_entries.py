"""--config-dir FOLDER: YAML files of one's own as choices, and what they must not do."""

import shlex
from pathlib import Path

import pytest
import yaml
from hydra.core.config_store import ConfigStore

from genie_robo import cli
from genie_robo import config as cfg
from genie_robo.commands.command import UsageError
from genie_robo.commands.own_entries import read_entries
from genie_robo.config_file import read_config, write_config
from genie_robo.run_folder import RunFolder
from genie_robo.sim.record import record_dataset
from genie_robo.train.settings import TrainConfig

DATA = (
    "path: /datasets/mine\nframe_stride: 6\nsource: {camera: observation/image, control_hz: 30}\n"
)


@pytest.fixture
def folder(tmp_path):
    """FOLDER of the help page, with a dataset."""
    return put(tmp_path / "mine", "data/my_robot", DATA)


def put(folder, name, text):
    path = folder / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return folder


def composed(run_cli, *words):
    outcome = run_cli(*words, "--cfg")
    assert outcome.status == cli.OK, outcome.err
    return yaml.safe_load(outcome.out)


@pytest.mark.parametrize("form", ["--config-dir {}", "--config-dir={}"])
def test_a_dataset_by_name(run_cli, folder, form):
    option = form.format(folder).split()
    for words in (["train", *option, "data=my_robot"], ["train", "data=my_robot", *option]):
        data = composed(run_cli, *words, "run=r", "data.image_height=32")["data"]
        assert (data["path"], data["frame_stride"]) == ("/datasets/mine", 6)
        assert data["source"]["camera"] == "observation/image"
        assert data["image_height"] == 32
    for command, words in (("eval", ["run=r"]), ("inspect", []), ("demo", [])):
        data = composed(run_cli, command, *option, "data=my_robot", *words)["data"]
        assert (data["path"], data["source"]["control_hz"]) == ("/datasets/mine", 30.0)


def test_entries_are_forgotten_afterwards(run_cli, folder):
    composed(run_cli, "train", "--config-dir", str(folder), "data=my_robot", "run=r")
    outcome = run_cli("train", "data=my_robot", "run=r", "--cfg")
    assert (outcome.status, "there is no data 'my_robot'" in outcome.err) == (cli.USAGE, True)
    assert "my_robot.yaml" not in ConfigStore.instance().repo["data"]


def test_all_kinds_of_entries(run_cli, folder):
    put(folder, "model/small", "defaults: [tiny]\ntokenizer: {patch_size: 16}\n")
    put(folder, "optim/slow", "learning_rate: 1e-5\n")
    put(
        folder,
        "experiment/long_night",
        "# @package _global_\n"
        "defaults:\n  - override /model: small\n  - override /suite: [tokenizer]\n"
        "seed: 7\nrun: runs/night-${seed}\nsuite: {tokenizer: {max_episodes: 3}}\n",
    )
    put(folder, "variant/wide", "comparison: {variant: wide}\n")
    option = ("--config-dir", str(folder))
    demo = composed(run_cli, "demo", *option, "experiment=[smoke,long_night]", "variant=wide")
    assert demo["model"]["tokenizer"]["patch_size"] == 16
    assert (demo["seed"], demo["run"]) == (7, "runs/night-${seed}")
    assert demo["suite"]["tokenizer"]["max_episodes"] == 3
    assert demo["comparison"]["variant"] == "wide"
    assert demo["data"]["path"] == "${run}/dataset"
    words = ("optim@tokenizer.optim=slow", "data.path=x", "run=r")
    assert (
        composed(run_cli, "train", *option, *words)["tokenizer"]["optim"]["learning_rate"] == 1e-5
    )
    page = " ".join(run_cli("demo", *option, "--help").out.split())
    assert "long_night" in page
    assert "my_robot" in page
    assert "--config-dir FOLDER" in page


def test_a_sweep_takes_them(run_cli, folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr("genie_robo.commands.checks.check_train", lambda config: None)
    monkeypatch.setattr(
        "genie_robo.commands.train.train", lambda config, viewer: seen.append(config)
    )
    outcome = run_cli(
        "train", "-m", "--config-dir", str(folder), "data=my_robot", "run=r", "seed=1,2"
    )
    assert outcome.status == cli.OK, outcome.err
    assert [(config.seed, config.data.frame_stride) for config in seen] == [(1, 6), (2, 6)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config-dir"], "--config-dir needs a folder behind it"),
        (["--config-dir", "run=r"], "--config-dir needs a folder behind it"),
        (["--config-dir", "{}", "--config-dir={}"], "is given 2 times"),
        (["--config-dir", "{}/none"], "none is no folder"),
        (["--config-dir", "{}/data"], "holds no choices: name the folder above them"),
        (["--config-directory", "{}"], "Options: --cfg --config-dir --debug"),
    ],
)
def test_wrong_folders(run_cli, folder, words, message):
    outcome = run_cli("train", "data=my_robot", *(word.format(folder) for word in words))
    assert outcome.status == cli.USAGE
    assert message in outcome.err


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("data/bridge_dataset", DATA, "data=bridge_dataset is a choice of genie_robo"),
        ("data/own", DATA, "'own' is no name"),
        ("data/my robot", DATA, "'my robot' is no name"),
        ("data/a", "source: {camra: x}\n", "source.camra: Key 'camra' not in 'Source'"),
        ("data/a", "frame_stride: six\n", "frame_stride: Value 'six'"),
        ("data/a", "a: [\n", "did not find expected node content"),
        ("data/a", "path: a\npath: b\n", "duplicate key path"),
        ("data/a", "- path\n", "it is no mapping of settings"),
        ("data/a", "path: &x a\n", "YAML anchor or alias"),
        (
            "data/a",
            "path: !!python/object/apply:os.getcwd []\n",
            "could not determine a constructor",
        ),
        ("data/a", "path: ${oc.env:HOME}\n", "path: '${oc.env:HOME}' calls a function"),
        ("data/a", "path: ${${x}:HOME}\n", "calls a function"),
        ("data/a", "source: {cameras: {'${oc.env:HOME}': x}}\n", "calls a function"),
        ("data/a", "path: ${\n", "cannot be taken"),
        ("data/a", "_target_: os.getcwd\n", "the key _target_ is not allowed: it would run code"),
        ("data/a", "mix: {b: {_target_: os.getcwd}}\n", "the key mix.b._target_ is not allowed"),
        ("data/a", "# @package _global_\nrun: x\n", "`@package _global_` would set other settings"),
        ("variant/a", "#@package: hydra\nrun: x\n", "`@package hydra` would set other settings"),
        ("variant/a", "hydra: {run: {dir: x}}\n", "the key hydra is not allowed: it configures"),
        ("variant/a", "hydra/launcher: x\n", "the key hydra/launcher is not allowed"),
        ("variant/a", "suite: {a: {_target_: os.getcwd}}\n", "suite.a._target_ is not allowed"),
        ("variant/a", "imagine: {world_model: 'evil:World'}\n", "names code to run"),
        (
            "variant/a",
            "suite: {s: {policies: ['evil:p']}}\n",
            "suite.s.policies[0]: 'evil:p' names",
        ),
        ("variant/a", "defaults: [override /hydra/launcher: x]\n", "defaults: {'override /hydra"),
        ("variant/a", "defaults: [../../evil]\n", "defaults: ../../evil is not allowed"),
        ("variant/a", "defaults: [/model: //evil]\n", "is not allowed; take names"),
        ("suite/a", "_target_: os.getcwd\n", "a suite is code"),
    ],
)
def test_files_that_are_refused_with_their_name(folder, name, text, message):
    put(folder, name, text)
    with pytest.raises(UsageError) as refused:
        read_entries(folder)
    assert str(folder / f"{name}.yaml") in str(refused.value)
    assert message in str(refused.value)


def test_other_files_of_the_folder_are_not_read(folder):
    put(folder, "hydra/launcher/evil", "_target_: os.getcwd\n")
    put(folder, "train", "_target_: os.getcwd\n")
    assert [(entry.group, entry.name) for entry in read_entries(folder)] == [("data", "my_robot")]


def test_a_run_remembers_its_settings(run_cli, folder, monkeypatch, tmp_path):
    run = RunFolder.at(tmp_path / "run")
    monkeypatch.setattr("genie_robo.commands.checks.check_train", lambda config: None)
    monkeypatch.setattr("genie_robo.commands.train.train", lambda config, _: write(run, config))
    words = ("data=my_robot", f"run={run.path}")
    assert run_cli("train", "--config-dir", str(folder), *words).status == cli.OK
    (folder / "data" / "my_robot.yaml").unlink()
    data = read_config(run, TrainConfig).data
    assert (data.path, data.frame_stride) == ("/datasets/mine", 6)
    assert data.source.camera == "observation/image"


def write(run, config):
    run.path.mkdir()
    write_config(run, config)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    sizes = {"num_episodes": 12, "num_steps": 6, "image_size": 32, "num_workers": 1}
    return record_dataset(cfg.RecordConfig(path=str(folder), **sizes))


@pytest.fixture
def inspected(run_cli, recorded, tmp_path, monkeypatch):
    """Inspect the recorded dataset, with the file that it writes."""
    monkeypatch.setenv("GENIE_ROBO_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "mine" / "data" / "my_robot.yaml"
    return file, lambda *words: run_cli("inspect", f"path={recorded}", f"write={file}", *words)


def proposed(outcome):
    line = next(line for line in outcome.out.splitlines() if line.startswith("genie-robo train"))
    return shlex.split(line)[1:]


def test_inspect_writes_an_entry_and_proposes_it(inspected):
    file, inspect = inspected
    outcome = inspect()
    assert outcome.status == cli.OK, outcome.err
    assert f"written: {file}" in outcome.out
    entry = yaml.safe_load(file.read_text())
    assert Path(entry["path"]).is_dir()
    assert entry["source"]["sim_state"] == "observation/sim_state"
    chosen = ["--config-dir", str(file.parents[1]), "data=my_robot"]
    assert proposed(outcome) == ["train", *chosen, "run=runs/NAME"]

    file.write_text("mine")
    outcome = inspect()
    assert (outcome.status, file.read_text()) == (cli.FAILED, "mine")
    assert "is there already: give overwrite=true" in outcome.err
    assert inspect("overwrite=true").status == cli.OK
    assert yaml.safe_load(file.read_text()) == entry


@pytest.mark.slow
def test_what_inspect_proposes_trains_and_is_evaluated_without_the_folder(
    run_cli, inspected, tmp_path, monkeypatch
):
    file, inspect = inspected
    words = proposed(inspect())[:-1]
    monkeypatch.chdir(tmp_path)
    small = [f"{stage}.num_steps=1" for stage in ("tokenizer", "world_model")]
    outcome = run_cli(*words, "run=run", "engine=cpu", "data.test_fraction=0.6", *small)
    assert outcome.status == cli.OK, outcome.err
    file.unlink()
    outcome = run_cli("eval", "run=run", "suite=tokenizer", "fast=true")
    assert outcome.status == cli.OK, outcome.err


@pytest.mark.parametrize(
    ("write", "message"),
    [
        ("my_robot.yaml", "give FOLDER/data/NAME.yaml"),
        ("data/my_robot.yml", "give FOLDER/data/NAME.yaml"),
        ("data/bridge_dataset.yaml", "is a choice of genie_robo"),
    ],
)
def test_places_that_could_not_be_chosen(run_cli, tmp_path, write, message):
    outcome = run_cli("inspect", f"path={tmp_path}", f"write={tmp_path / write}")
    assert outcome.status == cli.USAGE
    assert message in outcome.err


def test_inspect_needs_a_folder(run_cli):
    outcome = run_cli("inspect")
    assert (outcome.status, "give its folder as path=FOLDER" in outcome.err) == (cli.USAGE, True)
