"""A run that was never trained, with its dataset, action map, trust and one evaluation."""

import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

import genie_robo
from genie_robo import cli
from genie_robo.build import build_genie, build_robot_genie
from genie_robo.checkpoint import PARTS_OF_GENIE, save_weights
from genie_robo.config import RecordConfig
from genie_robo.config_file import read_dataset_config, write_config
from genie_robo.eval_suites.table import Metric
from genie_robo.fit_action_map import fetch_action_map
from genie_robo.fit_trust import watch_run
from genie_robo.inference.world import Codes, GenieWorld
from genie_robo.run_folder import RunFolder
from genie_robo.sim.record import record_dataset
from genie_robo.trained_run import open_run
from tests.models.conftest import toy_config

METRIC = Metric(
    value=0.5,
    ci95=(0.4, 0.6),
    n_units=12,
    unit="R2",
    protocol="probe fitted on validation episodes",
    baselines={"mean": 0.0},
    ceiling=0.9,
)


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> RunFolder:
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "toy")
    sizes = {"num_episodes": 10, "num_steps": 5, "image_size": 32, "num_workers": 1}
    record_dataset(RecordConfig(path=str(folder.dataset), **sizes))
    config = toy_config()
    source = read_dataset_config("tabletop", path="").source
    data = replace(config.data, path=str(folder.dataset), source=source)
    config = replace(config, run=str(folder.path), data=data)
    write_config(folder, config)
    torch.manual_seed(0)
    genie = build_genie(config)
    for part in PARTS_OF_GENIE:
        save_weights(folder, part, getattr(genie, part).state_dict())
    trained = open_run(str(folder.path), device="cpu")
    fetch_action_map(trained, num_labels=20)
    watch_run(trained, GenieWorld(trained.genie), kinds=(Codes,), num_labels=20)
    _write_evaluation(folder)
    return folder


def _write_evaluation(folder):
    content = {"headline": ["r2"], "notes": ["Few episodes."], "metrics": {"r2": asdict(METRIC)}}
    suite = folder.suite("latent_probe")
    suite.mkdir(parents=True)
    (suite / "metrics.json").write_text(json.dumps(content))


@pytest.fixture(scope="session")
def controlled(run, tmp_path_factory) -> RunFolder:
    """The same run with a dynamics that robot actions steer."""
    folder = RunFolder(tmp_path_factory.mktemp("controlled") / "toy")
    shutil.copytree(run.path, folder.path)
    genie = open_run(str(folder.path), device="cpu").genie
    torch.manual_seed(1)
    steered = build_robot_genie(genie.config, genie).dynamics
    save_weights(folder, "robot_dynamics", steered.state_dict())
    return folder


@pytest.fixture(scope="session")
def exported(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "toy"
    assert cli.main(["export", f"run={run.path}", f"output={folder}"]) == cli.OK
    return folder


@pytest.fixture(scope="session")
def genie(exported) -> genie_robo.LoadedGenie:
    return genie_robo.load(exported, device="cpu")


@pytest.fixture
def video() -> np.ndarray:
    """Ten frames of another size than the model's."""
    return np.random.default_rng(0).integers(0, 256, (10, 40, 70, 3), np.uint8)
