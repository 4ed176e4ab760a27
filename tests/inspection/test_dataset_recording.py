"""Episodes of a dataset that `genie-robo inspect` and the importer put into a recording."""

import json

import numpy as np
import pytest
import rerun as rr
from inspect_files import SOURCE, make_dataset, make_episode, make_features
from rlds_files import F

from genie_robo import cli
from genie_robo.data.index import build_index
from genie_robo.inspection.facts import record_first
from genie_robo.inspection.recording import record_dataset
from genie_robo.viz.recording import check_recording

READ = ("data=rlds", "data.source.camera=observation/front")


def contents(recording) -> dict[str, int]:
    """Rows that are not static, by entity."""
    reader = rr.chunk.RrdReader(recording)
    rows: dict[str, int] = {}
    for chunk in reader.stream():
        if "step" in chunk.timeline_names:
            rows[str(chunk.entity_path)] = rows.get(str(chunk.entity_path), 0) + chunk.num_rows
    return rows


@pytest.fixture
def folder(tmp_path):
    return make_dataset(tmp_path, map(make_episode, range(4)))


def test_output_gets_a_recording_and_says_how_to_watch_it(run_cli, folder, tmp_path):
    output = tmp_path / "report"
    words = (f"path={folder}", f"output={output}", "num_episodes=3", *READ)
    outcome = run_cli("inspect", *words)
    assert outcome.status == cli.OK, outcome.err
    recording = output / "episodes.rrd"
    assert f"3 episodes to watch: genie-robo view path={recording}" in outcome.out.replace("\n", "")
    check_recording(recording)
    rows = contents(recording)
    assert rows["/camera/primary"] == rows["/camera/observation/wrist"] == 3 * 20
    assert rows["/instruction"] == 3
    assert json.loads((output / "inspect.json").read_text())["num_seen"] == 4


def test_no_recording_when_none_is_wanted(run_cli, folder, tmp_path):
    output = tmp_path / "report"
    outcome = run_cli("inspect", f"path={folder}", f"output={output}", "num_episodes=0", *READ)
    assert outcome.status == cli.OK, outcome.err
    assert not (output / "episodes.rrd").exists()
    assert "to watch" not in outcome.out


def test_negative_number_is_refused(run_cli, folder):
    outcome = run_cli("inspect", f"path={folder}", "num_episodes=-1")
    assert (outcome.status, outcome.err.strip()) == (
        cli.USAGE,
        "error: num_episodes=-1 must be 0 or more",
    )


def test_all_episodes_when_fewer_are_there(folder, tmp_path):
    recording = tmp_path / "a.rrd"
    assert record_dataset(recording, build_index(folder), SOURCE, num_episodes=99) == 4
    assert contents(recording)["/robot_action/translation"] == 4 * 19 + 0


def test_unmapped_dataset_is_shown_as_stored(tmp_path):
    features = make_features(action=F.Tensor(shape=(7,), dtype=np.float32))
    folder = make_dataset(tmp_path, map(make_episode, range(2)), features=features)
    recording = tmp_path / "a.rrd"
    assert record_dataset(recording, build_index(folder), None, num_episodes=5) == 2
    rows = contents(recording)
    assert rows["/stored/action"] == rows["/stored/observation/state"] == 2 * 20 + 2
    assert rows["/camera/primary"] == 2 * 20
    assert "/robot_action/translation" not in rows


def test_dataset_without_a_camera_cannot_be_shown(tmp_path):
    observation = {"state": F.Tensor(shape=(7,), dtype=np.float32)}
    features = make_features(observation=observation)
    episodes = [make_episode(0)]
    for step in episodes[0]["steps"]:
        step["observation"] = {"state": step["observation"]["state"]}
    folder = make_dataset(tmp_path, episodes, features=features)
    with pytest.raises(ValueError, match="has no episode that can be shown"):
        record_dataset(tmp_path / "a.rrd", build_index(folder), None, num_episodes=5)


def test_importer_reads_an_unknown_dataset_as_proposed(folder, tmp_path):
    recording = tmp_path / "a.rrd"
    assert record_first(folder, recording, num_episodes=1) == 1
    rows = contents(recording)
    assert rows["/camera/primary"] == 20
    assert rows["/proprioception/translation"] == 20
    assert rows["/robot_action/gripper"] == 19
