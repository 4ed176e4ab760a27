"""LeRobot folders of which parts are missing, and what is said about them."""

import logging
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from json_edits import change_json
from lerobot_files import (
    BOTH_CAMERAS,
    CAMERA,
    LEROBOT_SOURCE,
    V3_EPISODES,
    WRIST,
    make_demo,
    v2_table,
    v2_video,
    with_wrist,
    write_table,
    write_v2,
    write_v3,
)

from genie_robo.data.formats import open_dataset
from genie_robo.data.lerobot import LeRobotDataset
from genie_robo.data.metadata import open_folder

DEMOS = [with_wrist(make_demo(8 + i, seed=i)) for i in range(4)]


def warnings_of(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def set_totals(folder, episodes, steps):
    def change(info):
        info.update(total_episodes=episodes, total_frames=steps)

    change_json(folder / "meta/info.json", change)


def test_a_list_that_lacks_episodes(tmp_path, caplog):
    folder = write_v2(tmp_path / "cut", DEMOS)
    set_totals(folder, 4, 38)
    assert open_folder(folder).list_problem == ""
    lines = (folder / "meta/episodes.jsonl").read_text().splitlines()
    (folder / "meta/episodes.jsonl").write_text("\n".join(lines[:3]))
    for _ in range(2):
        assert len(LeRobotDataset(folder, LEROBOT_SOURCE)) == 3
    (message,) = warnings_of(caplog)
    assert "meta/ lists 3 episodes of 27 steps, but meta/info.json says 4 of 38" in message


def test_a_list_of_v3_without_its_second_file(tmp_path, caplog):
    folder = write_v3(tmp_path, DEMOS)
    table = pq.read_table(folder / V3_EPISODES)
    write_table(folder / V3_EPISODES, table.slice(0, 2))
    write_table(folder / V3_EPISODES.replace("file-000", "file-001"), table.slice(2))
    set_totals(folder, 4, 38)
    assert len(LeRobotDataset(folder, LEROBOT_SOURCE)) == 4
    assert warnings_of(caplog) == []
    (folder / V3_EPISODES.replace("file-000", "file-001")).unlink()
    assert len(LeRobotDataset(folder, LEROBOT_SOURCE)) == 2
    (message,) = warnings_of(caplog)
    assert "lists 2 episodes of 17 steps" in message


@pytest.mark.parametrize("totals", [("4", None), (4, 38), (True, 38)])
def test_totals_that_say_nothing_else(tmp_path, caplog, totals):
    folder = write_v2(tmp_path, DEMOS)
    set_totals(folder, *totals)
    assert len(LeRobotDataset(folder, LEROBOT_SOURCE)) == 4
    assert warnings_of(caplog) == []


def test_a_camera_that_the_list_of_episodes_lacks(tmp_path):
    folder = write_v3(tmp_path, DEMOS)
    table = pq.read_table(folder / V3_EPISODES)
    names = [name for name in table.column_names if WRIST in name]
    write_table(folder / V3_EPISODES, table.drop_columns(names))
    dataset = LeRobotDataset(folder, LEROBOT_SOURCE)
    assert (len(dataset), set(dataset[0].images)) == (4, {"primary"})
    with pytest.raises(ValueError, match=f"{WRIST} is missing: meta/episodes does not say where"):
        LeRobotDataset(folder, BOTH_CAMERAS)


def test_whole_seconds_may_be_stored_as_integers(tmp_path):
    folder = write_v3(tmp_path, [with_wrist(make_demo(10, seed=i)) for i in range(2)])
    floats = LeRobotDataset(folder, LEROBOT_SOURCE)
    table = pq.read_table(folder / V3_EPISODES)
    for name, values in (("from_timestamp", [0, 1]), ("to_timestamp", [1, 2])):
        place = table.column_names.index(f"videos/{CAMERA}/{name}")
        table = table.set_column(place, f"videos/{CAMERA}/{name}", pa.array(values))
    write_table(folder / V3_EPISODES, table)
    found = LeRobotDataset(folder, LEROBOT_SOURCE)
    assert found.episode_ids == floats.episode_ids
    times = [image.time_s for image in found[1].images["primary"]]
    assert times == pytest.approx((1 + np.arange(10) / 10).tolist())


@pytest.mark.parametrize("part", ["videos", "data"])
def test_the_advice_without_any_file_is_to_complete_the_download(tmp_path, part):
    folder = write_v2(tmp_path, DEMOS)
    shutil.rmtree(folder / part)
    with pytest.raises(
        ValueError, match=r"4 of 4 episodes .* is missing.*; complete the download$"
    ):
        LeRobotDataset(folder, LEROBOT_SOURCE)


def test_the_advice_about_other_damage_is_another(tmp_path):
    folder = write_v2(tmp_path, DEMOS)
    shutil.rmtree(folder / "videos")
    v2_table(folder, 0).write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"4 of 4 episodes .*; no episode fits meta/info.json"):
        LeRobotDataset(folder, LEROBOT_SOURCE)


def test_a_codec_without_a_decoder(tmp_path):
    """A depth camera may have one; it matters only where it is used."""
    folder = write_v2(tmp_path, DEMOS)
    for number in range(len(DEMOS)):
        file = v2_video(folder, number, WRIST)
        data = file.read_bytes()
        assert b"avc1" in data
        file.write_bytes(data.replace(b"avc1", b"zzzz").replace(b"avcC", b"zzzz"))
    assert len(LeRobotDataset(folder, LEROBOT_SOURCE)) == 4
    with pytest.raises(ValueError, match=r"wrist cannot be read: .* a video of the codec unknown"):
        LeRobotDataset(folder, BOTH_CAMERAS)


@pytest.mark.parametrize("with_index", [True, False])
@pytest.mark.parametrize("write", [write_v2, write_v3])
def test_a_task_that_is_null_is_no_instruction(tmp_path, write, with_index):
    folder = write(tmp_path, DEMOS)
    if write is write_v2:
        for name in ("tasks", "episodes"):
            file = folder / f"meta/{name}.jsonl"
            file.write_text(file.read_text().replace('"task 0"', "null"))
    else:
        tasks = pa.table({"task_index": [0, 1], "task": [None, "task 1"]})
        write_table(folder / "meta/tasks.parquet", tasks)
        table = pq.read_table(folder / V3_EPISODES)
        place = table.column_names.index("tasks")
        listed = pa.array([[None], ["task 1"], [None], ["task 1"]])
        write_table(folder / V3_EPISODES, table.set_column(place, "tasks", listed))
    if not with_index:
        for file in folder.glob("data/*/*.parquet"):
            write_table(file, pq.read_table(file).drop_columns(["task_index"]))
    found = [episode.instruction for episode in LeRobotDataset(folder, LEROBOT_SOURCE)]
    assert found == ["", "task 1", "", "task 1"]


def test_shards_are_refused(tmp_path):
    folder = write_v2(tmp_path, DEMOS)
    with pytest.raises(ValueError, match=r"data.shards=0-3 numbers the shards of RLDS, but .*out$"):
        open_dataset(folder, LEROBOT_SOURCE, shards="0-3")
