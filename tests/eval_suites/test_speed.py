import io
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import tensorflow_datasets as tfds
from eval_fakes import FakeEncoder, ToyRobot, make_context
from PIL import Image

from eval_suites.results import report_markdown
from eval_suites.speed import Speed
from eval_suites.timing import reading as speed_reading
from eval_suites.timing.data import choose_records, write_copies
from eval_suites.timing.process import peak_memory_mb, run_alone
from eval_suites.timing.readers import (
    Reading,
    ReadingTask,
    has_tensorflow,
    read_naively,
    read_overlapping,
    read_skipping,
)
from eval_suites.timing.reading import ReadingSpeed
from eval_suites.timing.reading_metrics import NAIVE, OVERLAPPING, SKIPPING, TF_DATA
from genie_robo.build import build_source
from genie_robo.config import SourceConfig
from genie_robo.data.rlds import RldsDataset
from genie_robo.data.windows import WindowDataset
from genie_robo.sim.rlds_writer import RldsWriter

F = tfds.features
NO_ENCODER = FakeEncoder(1, lambda window: np.zeros(len(window.video) - 1))
TINY = Speed(
    parts=["reading"],
    reading=ReadingSpeed(
        num_frames=4, num_episodes=5, num_batches=2, batch_size=3, shuffle_buffer=4, growth=3
    ),
)


def encode(frame):
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "PNG")
    file.seek(0)
    return file


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Six episodes of 3 to 8 steps with images of 16 x 16."""
    folder = tmp_path_factory.mktemp("toy")
    step = {
        "observation": {"image": F.Image(shape=(16, 16, 3), encoding_format="png")},
        "action": F.Tensor(shape=(7,), dtype=np.float32),
        "language_instruction": F.Text(),
    }
    features = F.FeaturesDict({"steps": F.Dataset(step)})
    rng = np.random.default_rng(0)
    with RldsWriter(
        folder, name="toy", version="1.0.0", num_episodes=6, features=features
    ) as writer:
        for length in range(3, 9):
            frames = rng.integers(0, 256, (length, 16, 16, 3), np.uint8)
            steps = [
                {
                    "observation": {"image": encode(frame)},
                    "action": np.zeros(7, np.float32),
                    "language_instruction": "",
                }
                for frame in frames
            ]
            writer.write({"steps": steps})
    return RldsDataset(folder, build_source(SourceConfig(camera="observation/image")))


@pytest.fixture(scope="module")
def context(dataset):
    windows = WindowDataset(dataset, range(4, 6), num_frames=4, image_size=(8, 8))
    return make_context(ToyRobot(4), encoder=NO_ENCODER, dataset=dataset, test=windows)


@pytest.fixture
def no_tensorflow(monkeypatch):
    monkeypatch.setattr(speed_reading, "has_tensorflow", lambda: False)


def test_copies_are_more_episodes_with_the_same_content(dataset, tmp_path):
    records = choose_records(dataset, num_episodes=3, min_steps=5)
    assert [record.num_steps for record in records] == [5, 6, 7]
    copies = RldsDataset(write_copies(tmp_path, dataset, records, num_copies=3), dataset.source)
    assert (len(copies), copies.num_duplicates) == (9, 0)
    assert copies.lengths.tolist() == [5, 6, 7] * 3
    assert copies[0].images == copies[3].images == dataset[2].images


@pytest.fixture
def in_this_process(monkeypatch):
    monkeypatch.setattr(speed_reading, "run_alone", lambda reader, task: reader(task))


def test_without_tensorflow_our_own_numbers_remain(context, no_tensorflow, in_this_process):
    result = TINY.evaluate(context)
    for name in result.headline:
        metric = result.metrics[name]
        assert not metric.baselines
        if name.startswith("reading/times/"):
            assert metric.value is None
            assert "TensorFlow is not installed; it is the extra `tf`" in metric.reason
        else:
            assert metric.n_units == 5
    assert result.metrics["reading/frames_per_cpu_second"].value > 0
    assert result.metrics["reading/frames_per_cpu_second/cached"].value > 0
    assert result.metrics["reading/peak_memory"].value > 20
    assert 0 <= result.metrics["reading/memory_growth"].value < 20
    assert 1 <= result.metrics["reading/episodes_per_batch"].value <= 3
    assert [row["num_frames"] for row in result.per_episode] == [2 * 3 * 4] * 3
    assert set(result.figures) == {"reading"}
    assert "4 frames of 8 x 8 in 2 batches of 3" in report_markdown(result, TINY)


@pytest.fixture
def known_readings(monkeypatch):
    """Readers that need no process: 2 s, 4 s, ... of processor time, 100 MB, 110 MB, ..."""
    names = iter(range(1, 7))

    def run_alone(_reader, _task):
        n = next(names)
        return Reading(
            cpu_s=2.0 * n,
            wall_s=1.0,
            num_frames=240,
            peak_memory_mb=90.0 + 10 * n,
            episodes_per_batch=3.0,
        )

    monkeypatch.setattr(speed_reading, "run_alone", run_alone)
    monkeypatch.setattr(speed_reading, "has_tensorflow", lambda: True)


def test_known_readings(context, known_readings):
    metrics = TINY.evaluate(context).metrics
    assert metrics["reading/frames_per_cpu_second"].value == 120
    assert metrics["reading/frames_per_cpu_second/cached"].value == 60
    assert metrics["reading/frames_per_cpu_second"].baselines == {
        NAIVE: 30.0,
        SKIPPING: 24.0,
        OVERLAPPING: 20.0,
    }
    times = [metrics[f"reading/times/{name}"].value for name in TF_DATA]
    assert times == [4, 5, 6]
    assert metrics["reading/peak_memory"].value == 100
    assert metrics["reading/memory_growth"].value == pytest.approx(20)


def test_fast_leaves_out_what_is_no_headline(context, known_readings):
    metrics = TINY.evaluate(replace(context, fast=True)).metrics
    for name in ("frames_per_cpu_second/cached", f"times/{OVERLAPPING}"):
        assert metrics[f"reading/{name}"].reason == "left out by fast=true"
    assert metrics[f"reading/times/{NAIVE}"].value == 3


def read_in_every_way(task):
    """All tf.data readers in one process: TensorFlow takes longer to load than to read."""
    return [reader(task) for reader in (read_naively, read_skipping, read_overlapping)]


@pytest.mark.slow
def test_readers_of_tf_data(dataset, tmp_path):
    if not has_tensorflow():
        pytest.skip("the extra `tf` is not installed")
    records = choose_records(dataset, num_episodes=5, min_steps=4)
    task = ReadingTask(
        folder=write_copies(tmp_path, dataset, records, num_copies=1),
        source=dataset.source,
        camera="primary",
        image_size=(8, 8),
        num_frames=4,
        max_steps=8,
        batch_size=3,
        num_batches=2,
        shuffle_buffer=4,
    )
    naive, skipping, overlapping = run_alone(read_in_every_way, task)
    for reading in (naive, skipping, overlapping):
        assert reading.num_frames == 2 * 3 * 4
        assert reading.frames_per_cpu_s > 0
        assert reading.peak_memory_mb > 300
        assert 1 <= reading.episodes_per_batch <= 3


def test_a_program_runs_and_is_measured_alone():
    ballast = np.ones(40_000_000)
    assert peak_memory_mb() > ballast.nbytes / 1e6
    program = "__import__('eval_suites.timing.process', fromlist=['_']).peak_memory_mb()"
    assert 5 < run_alone(eval, program) < 200
    assert run_alone(eval, "__import__('os').getpid()") != os.getpid()


def test_only_a_called_reader_loads_tensorflow():
    program = "import sys, eval_suites.speed; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_episodes_that_lie_in_no_folder():
    result = TINY.evaluate(make_context(ToyRobot(4), encoder=NO_ENCODER))
    assert all(metric.value is None for metric in result.metrics.values())
    assert "do not come from an RLDS folder" in result.metrics["reading/peak_memory"].reason


def test_numbers_below_one(context):
    with pytest.raises(ValueError, match=r"every number of suite.speed.reading must be at least 1"):
        replace(TINY, reading=ReadingSpeed(growth=0)).evaluate(context)


@pytest.mark.parametrize("parts", [["writing"], [], ["reading", "cooking"]])
def test_unknown_parts(context, parts):
    with pytest.raises(ValueError, match=r"suite.speed.parts must name some of reading, training"):
        replace(TINY, parts=parts).evaluate(context)
