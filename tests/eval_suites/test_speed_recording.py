"""How a recording is measured, and that what is recorded is what the goal is about."""

import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from eval_fakes import FakeEncoder, ToyRobot, make_context

from eval_suites.results import report_markdown
from eval_suites.speed import Speed
from eval_suites.timing import recording as speed_recording
from eval_suites.timing.recording import (
    Recorded,
    RecordingSpeed,
    RecordingTask,
    example,
    record,
)

TOY = RecordingTask(writer="viz.rollout", num_steps=5, image_size=32, num_repeats=2, seed=3)
SUITE = Speed(
    parts=["recording"], recording=RecordingSpeed(num_steps=5, image_size=32, num_repeats=2)
)


@pytest.fixture(scope="module")
def context():
    encoder = FakeEncoder(1, lambda window: np.zeros(len(window.video) - 1))
    return make_context(ToyRobot(4), encoder=encoder)


@pytest.fixture
def in_this_process(monkeypatch):
    monkeypatch.setattr(speed_recording, "run_alone", lambda program, task: program(task))


def writer(monkeypatch, **names):
    """A module of one's own that writes recordings."""
    module = ModuleType("own_writer")
    vars(module).update(names)
    monkeypatch.setitem(sys.modules, "own_writer", module)


def test_the_example_is_a_rollout_with_two_cameras_and_a_scene():
    fields = example(TOY)
    for camera in ("true_video", "imagined_video"):
        assert fields[camera].shape == (5, 32, 32, 3)
    assert fields["robot_actions"].shape == (4, 7)
    assert np.abs(fields["robot_actions"][:, :3]).max() > 0.01, "the robot moves"
    moved = np.abs(np.diff(fields["replay"].end_effector, axis=0)).max()
    assert moved > 0.01
    assert len(fields["replay"].geoms) > 10
    again = example(TOY)
    np.testing.assert_array_equal(again["true_video"], fields["true_video"])


def test_measures_the_recording_of_a_rollout(context, in_this_process):
    result = SUITE.evaluate(context)

    (row,) = result.per_episode
    assert result.metrics["recording/seconds_per_episode"].value == row["wall_s"] > 0
    assert result.metrics["recording/cpu_seconds_per_episode"].value == row["cpu_s"] > 0
    size = result.metrics["recording/megabytes_per_episode"]
    assert size.value == row["num_bytes"] / 1e6
    assert 0.02 < size.value < 1.0
    assert "5 steps of the built-in arm" in size.protocol
    assert "Wanted: 0.15 s and 1 MB" in report_markdown(result, SUITE)


def test_first_recording_is_told_apart_and_the_rest_is_a_median(monkeypatch):
    clock = iter([0.0, 5.0, 10.0, 11.0, 20.0, 23.0, 30.0, 32.0])
    times = SimpleNamespace(perf_counter=lambda: next(clock), process_time=lambda: 0.0)
    monkeypatch.setattr(speed_recording, "time", times)
    writer(
        monkeypatch,
        RolloutView=lambda **fields: fields["episode_id"],
        write_rollouts=lambda path, views, name: path.write_text(f"{views}"),
    )
    found = record(replace(TOY, writer="own_writer", num_repeats=3))
    assert (found.first_s, found.wall_s) == (5.0, 2.0)
    assert found.num_bytes == len("{'': 'speed'}")


def test_the_process_is_fresh_and_fast_repeats_less(context, monkeypatch):
    asked = []

    def run_alone(program, task):
        asked.append((program, task.num_repeats))
        return Recorded(first_s=0.5, wall_s=0.1, cpu_s=0.2, num_bytes=900_000)

    monkeypatch.setattr(speed_recording, "run_alone", run_alone)
    suite = Speed(parts=["recording"])
    metrics = suite.evaluate(context).metrics
    suite.evaluate(replace(context, fast=True))
    assert asked == [(record, 9), (record, 3)]
    assert metrics["recording/seconds_per_episode"].baselines == {"first_in_a_process": 0.5}
    assert metrics["recording/megabytes_per_episode"].value == 0.9


@pytest.mark.parametrize("wrong", [{"num_steps": 1}, {"image_size": 0}, {"num_repeats": 0}])
def test_numbers_too_small_for_recording(context, wrong):
    suite = replace(SUITE, recording=replace(SUITE.recording, **wrong))
    with pytest.raises(ValueError, match=r"wants num_steps=\d of at least 2, and image_size=\d+"):
        suite.evaluate(context)


def test_writers_that_cannot_write_are_named(monkeypatch):
    with pytest.raises(ValueError, match=r"recording.writer=no.such.module cannot be imported"):
        record(replace(TOY, writer="no.such.module"))
    writer(monkeypatch, RolloutView=dict)
    with pytest.raises(ValueError, match=r"writer=own_writer has no write_rollouts; name a module"):
        record(replace(TOY, writer="own_writer"))
