"""Datasets and windows in the worker processes of a DataLoader, after the parent has read them."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rlds_files import open_table, table_episode, write_rlds

from genie_robo.data.windows import MixedWindows, WindowDataset

# A process of its own, as the tests' process has read ArrayRecord files already.
PROGRAM = """
import sys
from pathlib import Path
from torch.utils.data import DataLoader
from genie_robo.data.loader import collate
from genie_robo.data.windows import MixedWindows, WindowDataset
from rlds_files import open_table

if __name__ == "__main__":
    folder, method, has_read = sys.argv[1:]
    dataset = open_table(Path(folder))
    if has_read == "read":
        [dataset[i] for i in range(len(dataset))]
    part = WindowDataset(dataset, range(len(dataset)), num_frames=3, image_size=(8, 8))
    windows = MixedWindows([part], [0.0])
    loader = DataLoader(
        windows, batch_size=4, num_workers=1, multiprocessing_context=method, collate_fn=collate
    )
    batches = list(loader)
    levels = [int(level) for batch in batches for level in batch.video[:, 0, 0, 0, 0]]
    print(len(windows), sum(levels), sum(int(batch.is_pad.sum()) for batch in batches))
"""


def read_in_workers(tmp_path: Path, folder: Path, method: str, has_read: str):
    script = tmp_path / "workers.py"
    script.write_text(PROGRAM)
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.run(
        [sys.executable, str(script), str(folder), method, has_read],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}
    for file_format in ("tfrecord", "array_record"):
        episodes = [table_episode(3 + i, tag=10 * i) for i in range(6)]
        shards = {"train": [episodes[:3], episodes[3:]]}
        folder = tmp_path_factory.mktemp(file_format)
        made[file_format] = write_rlds(folder, shards, file_format=file_format)
    return made


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file_format", "method", "has_read"),
    [
        ("tfrecord", "fork", "read"),
        ("tfrecord", "spawn", "read"),
        ("tfrecord", "forkserver", "read"),
        ("array_record", "spawn", "read"),
        ("array_record", "forkserver", "read"),
    ],
)
def test_workers_read_what_their_parent_reads(tmp_path, folders, file_format, method, has_read):
    done = read_in_workers(tmp_path, folders[file_format], method, has_read)
    windows = WindowDataset(
        open_table(folders[file_format]), range(6), num_frames=3, image_size=(8, 8)
    )
    levels = sum(int(windows[k].video[0, 0, 0, 0]) for k in range(len(windows)))
    assert done.stdout == f"{len(windows)} {levels} 0\n", done.stderr


@pytest.mark.slow
def test_forked_workers_read_array_records_that_their_parent_has_not_opened(tmp_path, folders):
    # The first process makes the index, so that opening the dataset reads no record in the second.
    read_in_workers(tmp_path, folders["array_record"], "spawn", "unread")
    done = read_in_workers(tmp_path, folders["array_record"], "fork", "unread")
    assert done.stdout.count("\n") == 1, done.stderr


def test_forked_workers_of_a_process_that_has_read_array_records_are_refused(tmp_path, folders):
    done = read_in_workers(tmp_path, folders["array_record"], "fork", "read")
    assert "forked after its parent had opened one" in done.stderr
    assert "DataLoader(..., multiprocessing_context='spawn')" in done.stderr
    assert "Segmentation" not in done.stderr


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_a_pickled_dataset_reads_the_same_and_carries_no_frames(folders, file_format):
    dataset = open_table(folders[file_format])
    part = WindowDataset(dataset, range(6), num_frames=3, image_size=(8, 8))
    windows = MixedWindows([part], [0.0])
    num_bytes = len(pickle.dumps(windows))
    before = [windows[k].video for k in range(len(windows))]
    stored = pickle.dumps(windows)
    again = pickle.loads(stored)
    assert len(stored) == num_bytes, "decoded frames are in the pickle"
    assert all(np.array_equal(again[k].video, video) for k, video in enumerate(before))
    assert again.fingerprint == windows.fingerprint


def test_unreadable_episodes_are_remembered_by_a_pickled_dataset(folders):
    dataset = open_table(folders["tfrecord"], bad_episode_limit=0.5)
    dataset.skip(0, "broken")
    assert dataset.name(0) in pickle.loads(pickle.dumps(dataset)).bad_episodes
