"""What is converted reads like the original, in both directions and both ways at once."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow_datasets as tfds
from http_folder import serving
from lerobot_files import CAMERA, FPS, JOINT_NAMES, LEROBOT_SOURCE, make_demo, write_v2, write_v3

from genie_robo import cli
from genie_robo.commands.convert import describe
from genie_robo.data import conversion, lerobot_writer
from genie_robo.data.conversion import convert_dataset
from genie_robo.data.conversion_plan import plan_conversion
from genie_robo.data.formats import open_dataset
from genie_robo.data.joint_names import clean_names
from genie_robo.data.metadata import open_folder
from genie_robo.data.rlds_writer import write_rlds
from genie_robo.data.settings import (
    DatasetFolder,
    DatasetFormat,
    ImageStorage,
    PoseSource,
    Source,
)
from genie_robo.data.transforms import decode_frames
from genie_robo.data.windows import WindowDataset

RLDS, LEROBOT = DatasetFormat.rlds, DatasetFormat.lerobot
TABLE = Source(
    camera="observation/image",
    pose=PoseSource(position="observation/state[0:3]", gripper="observation/state[-1]"),
    instruction=("language_instruction",),
    control_hz=3.0,
)


@pytest.fixture(scope="module")
def rlds(tmp_path_factory):
    """Five RLDS episodes of noise."""
    folder = tmp_path_factory.mktemp("source") / "table" / "1.0.0"
    rng = np.random.default_rng(0)
    with write_rlds(folder) as writer:
        for n in range(5):
            count = 3 + n
            writer.add_episode(
                rng.integers(0, 256, (count, 8, 12, 3), np.uint8),
                rng.normal(size=(count - 1, 7)),
                rng.normal(size=(count, 4)),
                instruction=f"lift it {n % 2}",
            )
    return DatasetFolder(path=str(folder), source=TABLE)


@pytest.fixture(scope="module", params=[write_v2, write_v3])
def lerobot(request, tmp_path_factory):
    demos = [make_demo(4 + n, seed=n) for n in range(4)]
    folder = request.param(tmp_path_factory.mktemp("demos") / "demos", demos)
    return DatasetFolder(path=str(folder), source=LEROBOT_SOURCE)


def assert_equal_windows(one, other, *, size=(7, 5), pixels=0):
    """All windows and poses of two datasets, whose episodes are in one order."""
    assert one.lengths.tolist() == other.lengths.tolist()
    settings = {"num_frames": 3, "image_size": size, "cache_mb": 0}
    ours, theirs = (WindowDataset(d, range(len(d)), **settings) for d in (one, other))
    assert len(ours) == len(theirs) > 0
    for mine, wanted in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.robot_actions, wanted.robot_actions, atol=1e-6)
        np.testing.assert_array_equal(mine.action_mask, wanted.action_mask)
        np.testing.assert_array_equal(mine.is_pad, wanted.is_pad)
        distance = np.abs(mine.video.astype(int) - wanted.video)
        assert distance.mean() <= pixels
    for mine, wanted in zip(one, other, strict=True):
        assert (mine.instruction, mine.control_hz) == (wanted.instruction, wanted.control_hz)
        for name in ("end_effector_pose", "pose_mask", "joints", "joint_starts"):
            np.testing.assert_equal(getattr(mine, name), getattr(wanted, name))


def convert(data, folder, to, images=ImageStorage.lossless, **others):
    """Convert, and open the original and the copy."""
    done = convert_dataset(data, folder, to=to, images=images, **others)
    assert done.num_compared == min(5, done.num_episodes)
    return open_dataset(folder, done.source), done


@pytest.mark.parametrize("images", ["lossless", "lossless_video"])
def test_rlds_to_lerobot(tmp_path, rlds, images):
    copy, done = convert(rlds, tmp_path / "copy", LEROBOT, ImageStorage(images))
    assert (done.num_episodes, done.num_steps, done.loss) == (5, 25, 0)
    assert done.source.camera == "observation.images.image"
    assert done.source.pose.gripper == "observation.state[-1]"
    assert_equal_windows(copy, open_dataset(Path(rlds.path), TABLE))


def test_lerobot_to_rlds(tmp_path, lerobot):
    copy, done = convert(lerobot, tmp_path / "copy" / "2.0.0", RLDS)
    assert done.source.camera == "observation/top"
    assert (done.source.control_hz, done.source.action.joint_names) == (
        FPS,
        clean_names(JOINT_NAMES),
    )
    assert_equal_windows(copy, open_dataset(Path(lerobot.path), LEROBOT_SOURCE))
    assert copy.features["timestamp"].dtype == "float32"
    builder = tfds.builder_from_directory(tmp_path / "copy" / "2.0.0")
    assert (builder.name, str(builder.version)) == ("copy", "2.0.0")
    record = builder.as_data_source("train")[2]
    assert record["episode_metadata"]["source_id"].decode() == _ids(lerobot)[2]
    steps = list(record["steps"])
    assert [step["is_last"] for step in steps] == [False] * 5 + [True]
    assert steps[0]["language_instruction"] == b"task 0"


def test_a_dataset_elsewhere(tmp_path, rlds):
    with serving(Path(rlds.path)) as served:
        copy, _ = convert(replace(rlds, path=served.address), tmp_path / "copy", LEROBOT)
    assert_equal_windows(copy, open_dataset(Path(rlds.path), TABLE))


def test_rlds_there_and_back(tmp_path, rlds):
    there, middle = convert(rlds, tmp_path / "there", LEROBOT, ImageStorage.lossless_video)
    data = DatasetFolder(path=str(there.folder), source=middle.source)
    back, done = convert(data, tmp_path / "back", RLDS)
    assert done.source == TABLE
    assert_equal_windows(back, open_dataset(Path(rlds.path), TABLE))


def test_lerobot_there_and_back(tmp_path, lerobot):
    there, middle = convert(lerobot, tmp_path / "there", RLDS)
    data = DatasetFolder(path=str(there.folder), source=middle.source)
    back, done = convert(data, tmp_path / "back", LEROBOT)
    assert done.source.camera == CAMERA
    assert_equal_windows(back, open_dataset(Path(lerobot.path), LEROBOT_SOURCE))


def test_an_older_lerobot_becomes_v3(tmp_path, lerobot):
    copy, done = convert(lerobot, tmp_path / "copy", LEROBOT)
    assert done.source.camera == CAMERA
    assert_equal_windows(copy, open_dataset(Path(lerobot.path), LEROBOT_SOURCE))
    assert copy.features["action"].names == JOINT_NAMES


def _ids(data):
    return open_dataset(Path(data.path), data.source).episode_ids


@pytest.fixture(scope="module")
def smooth(tmp_path_factory):
    """Episodes of pictures that are easy to compress, and of several tasks and widths."""
    folder = tmp_path_factory.mktemp("smooth") / "1.0.0"
    rows, columns = np.mgrid[0:48, 0:64]
    with write_rlds(folder, name="smooth") as writer:
        for n in range(3):
            steps = [rows + 4 * t + 30 * n for t in range(6)]
            frames = [np.stack([step, columns, step + columns], -1) % 200 for step in steps]
            writer.add_episode(
                np.stack(frames).astype(np.uint8),
                np.full((5, 7), float(n)),
                np.full((6, 4), float(n)),
            )
    return DatasetFolder(path=str(folder), source=TABLE)


def test_videos_are_near_the_original(tmp_path, smooth):
    copy, done = convert(smooth, tmp_path / "copy", LEROBOT, ImageStorage.auto)
    assert 0 < done.loss < 4
    assert "frames differ by" in describe(done, base="lerobot")[1]
    assert_equal_windows(copy, open_dataset(Path(smooth.path), TABLE), size=(24, 32), pixels=4)
    stored = copy[0].images["primary"][0]
    assert stored.file.parts[-4:] == (
        "videos",
        "observation.images.image",
        "chunk-000",
        "file-000.mp4",
    )


def test_jpeg_is_kept_as_it_is(tmp_path, smooth):
    first, done = convert(smooth, tmp_path / "first", RLDS, ImageStorage.auto)
    assert first.features["observation/image"].encoding == "jpeg"
    assert 0 < done.loss < 4
    data = DatasetFolder(path=str(first.folder), source=done.source)
    for images in (ImageStorage.jpeg, ImageStorage.lossless):
        second, done = convert(data, tmp_path / images, LEROBOT, images)
        assert done.loss == 0
        assert second[2].images["primary"] == first[2].images["primary"]


def test_the_layout_is_that_of_lerobot(tmp_path, smooth):
    folder = tmp_path / "copy"
    convert(smooth, folder, LEROBOT, ImageStorage.auto)
    info = json.loads((folder / "meta/info.json").read_text())
    wanted = {"total_episodes": 3, "total_frames": 18, "total_tasks": 1, "fps": 3}
    assert wanted.items() <= info.items()
    assert info["codebase_version"] == "v3.0"
    assert info["splits"] == {"train": "0:3"}
    assert info["features"]["action"] == {"dtype": "float32", "shape": [7], "names": None}
    assert info["features"]["observation.images.image"]["shape"] == [48, 64, 3]
    tasks = pd.read_parquet(folder / "meta/tasks.parquet")
    assert (tasks.index.tolist(), tasks.task_index.tolist()) == ([""], [0])
    episodes = pq.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pydict()
    assert episodes["dataset_from_index"] == [0, 6, 12]
    assert episodes["videos/observation.images.image/from_timestamp"] == [0, 2, 4]
    assert episodes["videos/observation.images.image/to_timestamp"] == [2, 4, 6]
    assert episodes["source_id"] == list(_ids(smooth))
    rows = pq.read_table(folder / "data/chunk-000/file-000.parquet")
    assert rows["index"].to_pylist() == list(range(18))
    assert rows["frame_index"].to_pylist() == 3 * list(range(6))
    np.testing.assert_allclose(rows["timestamp"].to_numpy()[:6], np.arange(6) / 3, rtol=1e-6)
    statistics = json.loads((folder / "meta/stats.json").read_text())
    actions = np.repeat([0, 1, 2], 6) * np.tile([1, 1, 1, 1, 1, 0], 3)
    assert statistics["action"]["count"] == [18]
    np.testing.assert_allclose(statistics["action"]["mean"], np.full(7, actions.mean()))
    np.testing.assert_allclose(statistics["action"]["std"], np.full(7, actions.std()))
    pixels = statistics["observation.images.image"]
    assert np.shape(pixels["mean"]) == (3, 1, 1)
    np.testing.assert_allclose(pixels["mean"][1], [[31.5 / 255]], rtol=1e-6)


def test_files_do_not_grow_without_end(tmp_path, rlds, monkeypatch):
    monkeypatch.setattr(lerobot_writer, "_TABLE_MB", 0)
    monkeypatch.setattr(lerobot_writer, "_VIDEO_MB", 0)
    monkeypatch.setattr(lerobot_writer, "_CHUNK_SIZE", 2)
    monkeypatch.setattr(lerobot_writer, "_BUFFERED", 2)
    copy, _ = convert(rlds, tmp_path / "copy", LEROBOT, ImageStorage.lossless_video)
    assert_equal_windows(copy, open_dataset(Path(rlds.path), TABLE))
    names = [f"chunk-00{n // 2}/file-00{n % 2}" for n in range(5)]
    for kind in ("data", "videos/observation.images.image"):
        found = sorted((tmp_path / "copy" / kind).glob("*/*"))
        assert [str(file)[: -len(file.suffix)][-len(names[0]) :] for file in found] == names
    assert len(list((tmp_path / "copy/meta/episodes").glob("*/*.parquet"))) == 3


def test_names_of_rlds_have_no_column_inside_a_column(tmp_path):
    demos = [make_demo(4, seed=n) for n in range(2)]
    folder = write_v3(tmp_path / "demos", demos)
    info = json.loads((folder / "meta/info.json").read_text())
    info["features"]["action.joints"] = info["features"]["action"]
    (folder / "meta/info.json").write_text(json.dumps(info))
    plan = plan_conversion(open_folder(folder), LEROBOT_SOURCE, to=RLDS, columns=["action.joints"])
    assert [column.name for column in plan.numbers] == [
        "action",
        "observation/state",
        "action_joints",
        "timestamp",
    ]


def test_further_columns_are_kept(tmp_path, rlds):
    source = replace(TABLE, pose=PoseSource(), instruction=())
    data = replace(rlds, source=source)
    copy, _ = convert(
        data, tmp_path / "copy", LEROBOT, columns=["observation/state", "language_instruction"]
    )
    assert copy.features["observation.state"].shape == (4,)
    texts = copy.columns(1).steps["language_instruction"]
    assert texts.tolist() == [b"lift it 1"] * 4
    assert copy[1].instruction == ""


def test_blue_and_red_are_put_in_order(tmp_path, rlds):
    data = replace(rlds, source=replace(TABLE, bgr=("observation/image",)))
    copy, done = convert(data, tmp_path / "copy", LEROBOT)
    assert done.source.bgr == ()
    stored = open_dataset(Path(rlds.path), TABLE)[0].images["primary"]
    frames = decode_frames(stored, image_size=None)
    found = decode_frames(copy[0].images["primary"], image_size=None)
    np.testing.assert_array_equal(found, frames[..., ::-1])


def test_numbers_of_64_bits_stay_exact(tmp_path, lerobot):
    demos = [make_demo(4, seed=1)._replace(action=np.random.default_rng(0).normal(size=(4, 3)))]
    folder = write_v3(tmp_path / "demos", demos)
    info = json.loads((folder / "meta/info.json").read_text())
    info["features"]["action"]["dtype"] = "float64"
    (folder / "meta/info.json").write_text(json.dumps(info))
    data = DatasetFolder(path=str(folder), source=LEROBOT_SOURCE)
    before = open_dataset(folder, LEROBOT_SOURCE).columns(0).steps["action"]
    copy, _ = convert(data, tmp_path / "copy", RLDS)
    np.testing.assert_array_equal(copy.columns(0).steps["action"], before)


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({"control_hz": 0.0}, {}, "give data.source.control_hz=HZ"),
        ({}, {"columns": ["nothing"]}, "columns names nothing, which this dataset does not have"),
        ({}, {"to": RLDS, "images": ImageStorage.video}, "images=video is not possible in RLDS"),
        ({"camera": "observation/lens"}, {}, "data.source.camera wants observation/lens"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, rlds, changes, settings, message):
    data = replace(rlds, source=replace(TABLE, **changes))
    with pytest.raises((KeyError, ValueError), match=message):
        convert_dataset(data, tmp_path / "copy", **({"to": LEROBOT} | settings))
    assert list(tmp_path.iterdir()) == []


def test_names_that_belong_to_lerobot(tmp_path):
    folder = write_v3(tmp_path / "demos", [make_demo(4), make_demo(5)])
    schema = open_folder(folder)
    source = replace(LEROBOT_SOURCE, action=replace(LEROBOT_SOURCE.action, gripper="timestamp[0]"))
    with pytest.raises(ValueError, match="belong to lerobot: timestamp as timestamp"):
        plan_conversion(schema, source, to=LEROBOT)


def test_odd_sides_have_no_video(tmp_path):
    with write_rlds(tmp_path / "odd" / "1.0.0") as writer:
        writer.add_episode(np.zeros((3, 7, 8, 3), np.uint8), np.zeros((2, 7)))
    source = Source(camera="observation/image", control_hz=3.0)
    data = DatasetFolder(path=str(tmp_path / "odd"), source=source)
    with pytest.raises(ValueError, match="8 x 7 pixels, but a video has even sides"):
        convert_dataset(data, tmp_path / "copy", to=LEROBOT)
    _, done = convert(data, tmp_path / "copy", LEROBOT, ImageStorage.lossless_video)
    assert done.loss == 0


def test_an_output_that_exists_or_lies_in_the_dataset(tmp_path, rlds):
    with pytest.raises(FileExistsError, match="exists: give another output"):
        convert_dataset(rlds, tmp_path, to=LEROBOT)
    with pytest.raises(ValueError, match="is inside the dataset"):
        convert_dataset(rlds, open_folder(Path(rlds.path)).folder / "copy", to=LEROBOT)


@pytest.mark.parametrize("to", [RLDS, LEROBOT])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_what_is_interrupted_leaves_nothing(tmp_path, rlds, monkeypatch, to, error):
    read = conversion._Original.read

    def stop_at_the_last(self, i):
        if i == 4:
            raise error
        return read(self, i)

    monkeypatch.setattr(conversion._Original, "read", stop_at_the_last)
    with pytest.raises(error):
        convert_dataset(rlds, tmp_path / "copy", to=to)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", [RLDS, LEROBOT])
def test_what_reads_otherwise_is_refused(tmp_path, rlds, monkeypatch, to):
    read = conversion._Original.read

    def other(self, i):
        stored = read(self, i)
        return stored._replace(columns=stored.columns | {changed: stored.columns[changed] + 1})

    changed = "action"
    monkeypatch.setattr(conversion._Original, "read", other)
    with pytest.raises(RuntimeError, match="has other robot_actions in the episode"):
        convert_dataset(rlds, tmp_path / "copy", to=to, images=ImageStorage.lossless)
    assert list(tmp_path.iterdir()) == []


def test_other_frames_are_noticed(tmp_path, rlds, monkeypatch):
    encoded = conversion._Camera.encoded
    monkeypatch.setattr(
        conversion._Camera, "encoded", lambda camera, step, how: encoded(camera, 1 - step % 2, how)
    )
    with pytest.raises(RuntimeError, match=r"frames that are .* of 255 levels away"):
        convert_dataset(rlds, tmp_path / "copy", to=RLDS)


@pytest.mark.parametrize("images", [ImageStorage.lossless, ImageStorage.lossless_video])
def test_unreadable_episodes_are_left_out(tmp_path, images):
    """One image of one episode is cut; the videos of others are not disturbed by it."""
    folder = write_v3(tmp_path / "demos", [make_demo(4, seed=n) for n in range(5)], images="image")
    table = folder / "data/chunk-000/file-000.parquet"
    rows = pq.read_table(table)
    pictures = rows[CAMERA].to_pylist()
    pictures[6]["bytes"] = pictures[6]["bytes"][:100]
    place = rows.column_names.index(CAMERA)
    column = rows[CAMERA].combine_chunks().type
    rows = rows.set_column(place, CAMERA, [pa.array(pictures, column)])
    pq.write_table(rows, table)
    data = DatasetFolder(path=str(folder), source=LEROBOT_SOURCE, bad_episode_limit=0.5)
    copy, done = convert(data, tmp_path / "copy", LEROBOT, images)
    assert done.num_episodes == 4
    original = open_dataset(folder, LEROBOT_SOURCE, bad_episode_limit=0.5)
    for mine, k in enumerate((0, 2, 3, 4)):
        np.testing.assert_array_equal(copy[mine].joints, original[k].joints)
        frames = [
            decode_frames(d.images["primary"], image_size=None) for d in (copy[mine], original[k])
        ]
        np.testing.assert_array_equal(*frames)
    with pytest.raises(ValueError, match=r"above data\.bad_episode_limit=0\.01"):
        convert_dataset(replace(data, bad_episode_limit=0.01), tmp_path / "no", to=LEROBOT)
    assert not (tmp_path / "no").exists()


def test_the_printed_words_open_it(tmp_path, rlds, capfd):
    words = [
        "data=rlds",
        f"data.path={rlds.path}",
        "data.source.camera=observation/image",
        "data.source.pose.position=observation/state[0:3]",
        "data.source.instruction=[language_instruction]",
        "data.source.control_hz=3",
    ]
    copy = tmp_path / "copy"
    status = cli.main(["convert", *words, "to=lerobot", "images=lossless", f"output={copy}"])
    assert status == cli.OK
    shown = capfd.readouterr().out
    assert "5 episodes, 25 steps" in shown
    assert "frames are equal" in shown
    _, _, *again = shlex.split(shown.splitlines()[-1])
    assert f"data.path={copy}" in again
    chosen = [word for word in again if word.startswith(("data=", "data.source"))]
    assert chosen[0] == "data=lerobot"
    status = cli.main(["inspect", f"path={copy}", *chosen])
    assert status == cli.OK
    assert cli.main(["convert", *words, "to=lerobot", f"output={copy}"]) == 1
    assert "exists: give another output" in capfd.readouterr().err
