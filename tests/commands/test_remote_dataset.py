"""inspect, train and eval on a dataset that lies on a web server."""

from dataclasses import replace
from pathlib import Path

import pytest
from http_folder import serving

from genie_robo.build import build_dataset
from genie_robo.config import TrainConfig
from genie_robo.config_file import read_config
from genie_robo.data import remote
from genie_robo.data.folders import find_version_folder
from genie_robo.run_folder import RunFolder
from genie_robo.train.run import train

pytest.importorskip("aiohttp")


@pytest.fixture
def trained_here(runs) -> TrainConfig:
    """A run on a local folder."""
    return read_config(RunFolder.at(runs[0]), TrainConfig)


@pytest.fixture
def folder(trained_here) -> Path:
    return find_version_folder(Path(trained_here.data.path))


def test_inspected(run_cli, folder):
    with serving(folder) as served:
        far = run_cli("inspect", f"path={served.address}?token=secret", "data=tabletop")
        near = run_cli("inspect", f"path={folder}", "data=tabletop")
    assert far.status == near.status == 0
    assert far.out == near.out.replace(str(folder), served.address)
    assert f"data.path={served.address} " in far.out
    assert "secret" not in far.out + far.err


@pytest.mark.slow
def test_trained_and_evaluated(run_cli, trained_here, folder, tmp_path, monkeypatch):
    run = RunFolder.at(tmp_path / "run")
    words = ["eval", f"run={run.path}", "suite=[tokenizer]", "device=cpu"]
    with serving(folder) as served:
        data = replace(trained_here.data, path=f"{served.address}?token=secret")
        train(replace(trained_here, run=str(run.path), data=data))
        assert f"path: {served.address}\n" in run.config.read_text()
        found = run_cli(*words)
        assert found.status == 0, found.err
    local = run_cli(*words, f"data.path={folder}")
    assert local.status == 0, local.err  # a copy of the same episodes, with the same split
    monkeypatch.setattr(remote, "_WAIT_S", 0.0)
    with pytest.raises(ConnectionError, match=f"{served.address}/features.json cannot be read"):
        build_dataset(read_config(run, TrainConfig).data)
    for file in run.path.rglob("*"):
        assert not file.is_file() or b"secret" not in file.read_bytes(), file
