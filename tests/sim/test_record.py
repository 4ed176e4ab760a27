import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sim_episodes import SPEC, read_raw, to_episode

from genie_robo.config import RecordConfig
from genie_robo.data.rlds_writer import ShardWriter
from genie_robo.sim import record
from genie_robo.sim.record import record_dataset
from genie_robo.sim.replay import replay
from genie_robo.sim.robots import MENAGERIE

SCRIPT = """
import signal
import sys
from pathlib import Path
from genie_robo.config import RecordConfig
from genie_robo.sim.record import record_dataset
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    path, num_episodes, num_workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    config = RecordConfig(
        path=path, num_episodes=num_episodes, num_steps=10, num_workers=num_workers
    )
    record_dataset(config)
    print({"tensorflow", "torch"} & set(sys.modules))
"""


def test_a_recording_that_cannot_be_made_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="robot=panda is not known"):
        record_dataset(replace(SPEC, path=str(tmp_path / "new"), robot="panda"))
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_recording_left_is_removed(tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    left = tmp_path / "tabletop" / f".1.0.0.{ended.pid}.tmp"
    left.mkdir(parents=True)
    (left / "tabletop-train.array_record-00000-of-00001").touch()
    folder = record_dataset(replace(SPEC, path=str(tmp_path)))
    assert list((tmp_path / "tabletop").iterdir()) == [folder]


def test_tfds_opens_it_and_the_steps_are_rlds(raw_episodes):
    assert len(raw_episodes) == 4
    for raw in raw_episodes:
        steps = raw["steps"]
        assert [step["is_first"] for step in steps] == [True] + 13 * [False]
        assert [step["is_last"] for step in steps] == 13 * [False] + [True]
        assert not any(step["is_terminal"] for step in steps)
        assert steps[-1]["action"][:6].tolist() == 6 * [0.0]
        image = Image.open(io.BytesIO(steps[0]["observation"]["image"]))
        assert (image.format, image.size) == ("PNG", (64, 64))
        lengths = {len(step["observation"]["sim_state"]) for step in steps}
        assert len(lengths) == 1


def test_every_policy_is_recorded_for_its_task(raw_episodes):
    metadata = [raw["episode_metadata"] for raw in raw_episodes]
    pairs = sorted((data["policy"].decode(), data["task"].decode()) for data in metadata)
    assert pairs == [
        ("pick", "pick"),
        ("play", "explore"),
        ("push", "push"),
        ("random", "explore"),
    ]
    for raw, data in zip(raw_episodes, metadata, strict=True):
        assert data["success"] == any(step["reward"] for step in raw["steps"])
        assert json.loads(data["scene"])["task"] == data["task"].decode()


def test_actions_are_the_motion_of_their_own_step(episodes):
    commanded = np.concatenate([episode.robot_actions[:-1, :3] for episode in episodes])
    achieved = np.concatenate(
        [np.diff(episode.end_effector_pose[:, :3], axis=0) for episode in episodes]
    )
    for axis in range(3):
        assert np.corrcoef(commanded[:, axis], achieved[:, axis])[0, 1] > 0.95


def test_recording_tells_what_made_it(recording, raw_episodes):
    made_by = json.loads((recording / record.RECORDING_FILE).read_text())
    assert made_by["num_episodes"] == 4
    assert made_by["rendered_by"] == "raycast"
    assert "num_workers" not in made_by
    assert made_by["policies"]["random"] == {"episodes": 1, "successes": 0}
    successes = sum(int(raw["episode_metadata"]["success"]) for raw in raw_episodes)
    assert sum(counts["successes"] for counts in made_by["policies"].values()) == successes


def test_dataset_does_not_depend_on_the_workers(recording, tmp_path):
    again = record_dataset(replace(SPEC, path=str(tmp_path), num_workers=1))
    assert [path.name for path in sorted(again.iterdir())] == [
        path.name for path in sorted(recording.iterdir())
    ]
    for one, other in zip(sorted(recording.iterdir()), sorted(again.iterdir()), strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_same_settings_keep_and_others_are_refused(recording, caplog):
    path = recording.parents[1]
    before = recording.stat().st_mtime_ns
    caplog.set_level("INFO")
    assert record_dataset(replace(SPEC, path=str(path), num_workers=5)) == recording
    assert "the same settings made it" in caplog.text
    assert recording.stat().st_mtime_ns == before
    with pytest.raises(FileExistsError, match="other settings: seed 3 instead of 4; give another"):
        record_dataset(replace(SPEC, path=str(path), seed=4))


def test_a_foreign_folder_is_never_overwritten(tmp_path):
    folder = tmp_path / "tabletop" / "1.0.0"
    folder.mkdir(parents=True)
    (folder / "precious").touch()
    with pytest.raises(FileExistsError, match="num_episodes None instead of 4"):
        record_dataset(replace(SPEC, path=str(tmp_path)))
    assert [path.name for path in folder.iterdir()] == ["precious"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pick": -1.0}, "shares must not be negative, one must be positive"),
        ({"pick": 0.0, "push": 0.0, "random": 0.0, "play": 0.0}, "shares must not be negative"),
        ({"num_episodes": 0}, "record.num_episodes=0 must be at least 1"),
    ],
)
def test_senseless_settings_are_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        record_dataset(replace(SPEC, path=str(tmp_path), **change))
    assert list(tmp_path.iterdir()) == []


def test_shares_are_exact(tmp_path):
    shares = {"pick": 3.0, "push": 0.0, "random": 2.0, "play": 0.0}
    spec = RecordConfig(num_episodes=5, num_steps=2, image_size=8, **shares)
    folder = record_dataset(replace(spec, path=str(tmp_path), num_workers=1))
    policies = sorted(raw["episode_metadata"]["policy"] for raw in read_raw(folder))
    assert policies == 3 * [b"pick"] + 2 * [b"random"]


@pytest.mark.parametrize("robot", MENAGERIE)
def test_menagerie_robot_is_recorded_and_replayed(menagerie, tmp_path, robot, caplog):
    spec = RecordConfig(num_episodes=1, num_steps=6, robot=robot, image_size=24)
    caplog.set_level("INFO")
    folder = record_dataset(replace(spec, path=str(tmp_path), num_workers=1))
    assert f"robot={robot}, frames drawn by raycast" in caplog.text
    episode = to_episode(read_raw(folder)[0], robot)
    result = replay(episode, start=2, robot_actions=episode.robot_actions[2:-1])
    frames = [np.asarray(Image.open(io.BytesIO(png))) for png in episode.images["primary"]]
    assert np.array_equal(result.video, frames[2:])


def test_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(ShardWriter, "write", fail)
    with pytest.raises(OSError, match="disk full"):
        record_dataset(replace(SPEC, path=str(tmp_path), num_steps=2, num_workers=1))
    assert list((tmp_path / "tabletop").iterdir()) == []


def start_script(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    return subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "data"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


def test_neither_tensorflow_nor_torch_is_needed(tmp_path):
    process = start_script(tmp_path, "1", "1")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.strip() == "set()"


@pytest.mark.slow
def test_interrupt_leaves_no_half_dataset_and_no_worker(tmp_path):
    process = start_script(tmp_path, "500", "2")
    shard = "data/tabletop/.*.tmp/*.array_record*"
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(shard)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert process.poll() is None
    # As a terminal does: to the whole group, workers included.
    os.killpg(process.pid, signal.SIGINT)
    # Returns when all processes have closed the pipes, so no worker is left.
    _, err = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    assert err.count("Traceback") == 1
    assert list((tmp_path / "data" / "tabletop").iterdir()) == []
