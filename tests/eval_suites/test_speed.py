from dataclasses import replace

import numpy as np
import pytest
from eval_fakes import FakeEncoder, ToyRobot, make_context
from mujoco_fakes import record_context
from small_genie import CPU, build_small_genie

from genie_robo.data.windows import WindowDataset
from genie_robo.eval_suites import speed
from genie_robo.eval_suites.adapters import GenieTokenizer
from genie_robo.eval_suites.bounds import check_settings
from genie_robo.eval_suites.results import report_markdown
from genie_robo.eval_suites.speed import HEADLINE, PARTS, Speed, rollout_to_record
from genie_robo.eval_suites.timing import (
    Lap,
    Reading,
    Recorded,
    decode_frames,
    memory_growth_mb,
    record,
)
from genie_robo.inference.settings import Sampler
from genie_robo.inference.world import GenieWorld

NO_ENCODER = FakeEncoder(1, lambda window: np.zeros(len(window.video) - 1))
TINY = Speed(
    batch_size=3, num_batches=2, num_steps=1, num_decoded=1, num_imagined=20, num_repeats=2
)


@pytest.fixture(scope="module")
def plugged():
    """Nothing that comes from a run."""
    return make_context(ToyRobot(4), encoder=NO_ENCODER)


@pytest.fixture(scope="module")
def context(toy_rlds):
    genie = build_small_genie()
    return make_context(
        ToyRobot(6, num_frames=8),
        encoder=NO_ENCODER,
        dataset=toy_rlds,
        test=WindowDataset(toy_rlds, range(4, 6), num_frames=4, image_size=(32, 32)),
        tokenizer=GenieTokenizer(genie=genie, device=CPU),
        world=GenieWorld(genie, sampler=Sampler(num_steps=2)),
        num_frames=4,
    )


@pytest.fixture
def in_this_process(monkeypatch):
    monkeypatch.setattr(speed, "run_alone", lambda program, *a, **k: program(*a, **k))


@pytest.mark.slow
def test_a_run_is_measured(context, in_this_process):
    result = TINY.evaluate(context)
    assert result.headline == tuple(HEADLINE)
    assert len(HEADLINE) == 8
    values = {name: metric.value for name, metric in result.metrics.items()}
    assert all(value > 0 for name, value in values.items() if name != "imagining/memory_growth")
    assert values["imagining/memory_growth"] >= 0
    assert 1 <= values["reading/episodes_per_batch"] <= 3
    assert 0.02 < values["recording/megabytes_per_episode"] < 1.0
    report = report_markdown(result, TINY)
    assert "4 frames of 32 x 32 in 2 batches of 3" in report
    assert "3 windows of 4 frames of 4 tokens" in report
    assert "after 20 frames of one rollout" in report
    assert "a rollout of 7 steps of a test episode" in report
    assert "Wanted: 15 frames per second" in report


def known(program, *args, **settings):
    """Costs that need no process."""
    if program is decode_frames:
        return Lap(1.0, 5.0) if settings["is_cached"] else Lap(10.0, 5.0)
    if program is memory_growth_mb:
        return 5.0
    if program is record:
        return Recorded(0.5, Lap(0.2, 0.1), 900_000)
    if program is speed.read_windows:
        return Reading(Lap(2.0, 1.0), 240, 100.0, 3.0)
    return Lap(4.0, 2.0)


@pytest.mark.slow
def test_known_costs(context, monkeypatch):
    monkeypatch.setattr(speed, "run_alone", known)
    metrics = TINY.evaluate(context).metrics
    values = {name: metric.value for name, metric in metrics.items()}
    assert values["reading/frames_per_cpu_second"] == 120
    assert values["reading/peak_memory"] == 100
    assert values["training/tokens_per_second"] == 3 * 4 * 4 / 2
    assert values["training/tokens_per_cpu_second"] == 3 * 4 * 4 / 4
    assert values["imagining/times_recomputed"] == 10
    assert values["imagining/memory_growth"] == 5
    assert values["recording/seconds_per_episode"] == 0.1
    assert metrics["recording/seconds_per_episode"].baselines == {"first_in_a_process": 0.5}
    assert values["recording/cpu_seconds_per_episode"] == 0.2
    assert values["recording/megabytes_per_episode"] == 0.9


def test_fast_measures_less(context, monkeypatch):
    asked = {}

    def remember(program, *args, **settings):
        asked.update(settings)
        return known(program, *args, **settings)

    monkeypatch.setattr(speed, "run_alone", remember)
    Speed().evaluate(replace(context, fast=True))
    assert (asked["num_batches"], asked["num_steps"], asked["num_repeats"]) == (2, 2, 3)
    assert asked["num_imagined"] == 100


def test_a_model_that_is_no_genie_is_timed_and_the_rest_has_a_reason(plugged, in_this_process):
    metrics = replace(TINY, parts=("reading", "training", "imagining")).evaluate(plugged).metrics
    assert metrics["imagining/frames_per_second"].value > 0
    for name in ("imagining/memory_growth", "training/tokens_per_second"):
        assert metrics[name].value is None
        assert "do not come from a run" in metrics[name].reason
    assert "do not come from an RLDS folder" in metrics["reading/peak_memory"].reason


def test_a_simulated_episode_is_recorded_with_its_scene(tmp_path):
    context = record_context(tmp_path, num_episodes=3, num_steps=6)
    view = rollout_to_record(context, num_frames=5)
    assert view["true_video"].shape == view["replay"].video.shape == (5, 32, 32, 3)
    assert np.array_equal(view["imagined_video"][1:], view["true_video"][:-1])
    assert len(view["replay"].geoms) > 10
    metrics = replace(TINY, parts=["recording"]).evaluate(context).metrics
    assert "and the 3D scene" in metrics["recording/megabytes_per_episode"].protocol


@pytest.mark.parametrize("wrong", [{"num_steps": 0}, {"batch_size": -1}, {"num_recorded": 1}])
def test_numbers_that_are_too_small(wrong):
    with pytest.raises(
        ValueError, match=rf"suite.speed.{next(iter(wrong))}=.* must be at least [12]"
    ):
        check_settings(replace(TINY, **wrong))


@pytest.mark.parametrize("parts", [["writing"], [], ["reading", "cooking"]])
def test_unknown_parts(plugged, parts):
    with pytest.raises(ValueError, match=r"suite.speed.parts must name some of reading, training"):
        replace(TINY, parts=parts).evaluate(plugged)


def test_every_headline_belongs_to_a_part():
    assert {name.split("/")[0] for name in HEADLINE} == set(PARTS)
