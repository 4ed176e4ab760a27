import argparse

import pytest
import reading
from dataset import choose_records, write_copies
from reading import (
    CACHED,
    LARGER,
    NAIVE,
    OURS,
    TF_READERS,
    TOGETHER,
    read_all,
    readings_table,
)
from tf_readers import TfTask, has_tensorflow, read_naively, read_overlapping, read_skipping

from genie_robo.config import DataConfig, Source
from genie_robo.data.rlds import RldsDataset
from genie_robo.eval_suites.timing import Lap, Reading, run_alone

TINY = argparse.Namespace(
    num_frames=4,
    num_episodes=5,
    num_batches=2,
    batch_size=3,
    shuffle_buffer=4,
    growth=3,
    num_processes=2,
    cache_mb=512,
)


def test_copies_are_more_episodes_with_the_same_content(toy_rlds, tmp_path):
    records = choose_records(toy_rlds, num_episodes=3, min_steps=5)
    assert [record.num_steps for record in records] == [5, 6, 7]
    copies = RldsDataset(write_copies(tmp_path, toy_rlds, records, num_copies=3), toy_rlds.source)
    assert (len(copies), copies.num_duplicates) == (9, 0)
    assert copies.lengths.tolist() == [5, 6, 7] * 3
    assert copies[0].images == copies[3].images == toy_rlds[2].images


def test_without_tensorflow_our_own_readers_remain(toy_rlds, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "has_tensorflow", lambda: False)
    monkeypatch.setattr(reading, "run_alone", lambda program, *a, **k: program(*a, **k))
    data = DataConfig(
        path=str(toy_rlds.folder),
        source=Source(camera="observation/image"),
        image_height=8,
        image_width=8,
    )
    readings = read_all(data, TINY, tmp_path)
    assert list(readings) == [OURS, CACHED, LARGER, TOGETHER]
    for name, found in readings.items():
        assert found.num_frames == (2 if name == TOGETHER else 1) * 2 * 3 * 4
        assert found.frames_per_cpu_s > 0
        assert found.peak_memory_mb > 20
        assert 1 <= found.episodes_per_batch <= 3


def test_known_readings():
    """Readers of 2 s, 4 s, ... of processor time and 100 MB, 110 MB, ..."""
    readings = {
        name: Reading(Lap(2.0 * n, 1.0), 240, 90.0 + 10 * n, 3.0)
        for n, name in enumerate((OURS, CACHED, LARGER, *TF_READERS), start=1)
    }
    rows = {row["reader"]: row for row in readings_table(readings)}
    assert [row["frames per CPU-second"] for row in rows.values()] == [120, 60, 40, 30, 24, 20]
    assert [row["genie_robo over it"] for row in rows.values()] == [1, 2, 3, 4, 5, 6]
    assert rows[NAIVE]["genie_robo over it"] == 4
    assert rows[OURS]["peak memory (MB)"] == 100
    assert rows[LARGER]["more than genie_robo (%)"] == pytest.approx(20)


def read_in_every_way(task):
    """All tf.data readers in one process: TensorFlow takes longer to load than to read."""
    return [reader(task) for reader in (read_naively, read_skipping, read_overlapping)]


@pytest.mark.slow
def test_readers_of_tf_data(toy_rlds, tmp_path):
    if not has_tensorflow():
        pytest.skip("the extra `tf` is not installed")
    records = choose_records(toy_rlds, num_episodes=5, min_steps=4)
    task = TfTask(
        folder=write_copies(tmp_path, toy_rlds, records, num_copies=1),
        source=toy_rlds.source,
        camera="primary",
        image_size=(8, 8),
        num_frames=4,
        max_steps=8,
        batch_size=3,
        num_batches=2,
        shuffle_buffer=4,
    )
    for found in run_alone(read_in_every_way, task):
        assert found.num_frames == 2 * 3 * 4
        assert found.frames_per_cpu_s > 0
        assert found.peak_memory_mb > 300
        assert 1 <= found.episodes_per_batch <= 3
