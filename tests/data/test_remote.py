"""Datasets at an address: fetched into the cache, with the same episodes as a local copy."""

import numpy as np
import pytest
from rlds_files import make_source, table_episode, write_rlds

from genie_robo.data.formats import open_dataset

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def folder(tmp_path):
    """Four shards of two episodes each, and a val split of one."""
    train = [[table_episode(2 + 2 * i + j, tag=2 * i + j) for j in range(2)] for i in range(4)]
    return write_rlds(tmp_path, {"train": train, "val": [[table_episode(9, tag=9)]]})


@pytest.fixture
def memory(folder):
    """The folder in a file system of fsspec that lies in memory."""
    system = fsspec.filesystem("memory")
    system.put(str(folder), "/robots/table/1.0.0", recursive=True)
    yield "memory://robots/table/1.0.0"
    system.rm("/robots", recursive=True)


def same_episodes(one, other):
    assert one.fingerprint == other.fingerprint
    assert one.episode_ids == other.episode_ids
    for ours, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(ours.robot_actions, theirs.robot_actions)
        assert ours.images == theirs.images


def test_a_remote_folder_has_the_episodes_of_the_local_one(folder, memory):
    remote = open_dataset(memory, make_source())
    same_episodes(remote, open_dataset(folder, make_source()))
    assert remote.place == memory
    same_episodes(open_dataset(memory, make_source()), remote)  # from the cache
