"""What must not change any number: batch size, order of episodes, running again, copies."""

import dataclasses

import numpy as np
import pytest
from eval_fakes import ToyEpisodes, episode_mean, make_context
from seen_robot import SeeingEncoder, SeenPhysics, SeenRobot
from undrawn import undrawn

from genie_robo.eval_suites.action_following import ActionFollowing
from genie_robo.eval_suites.controllability import Controllability
from genie_robo.eval_suites.few_label import FewLabel
from genie_robo.eval_suites.latent_probe import LatentProbe
from genie_robo.eval_suites.latent_structure import LatentStructure
from genie_robo.eval_suites.latent_transfer import LatentTransfer
from genie_robo.eval_suites.metrics.image_metrics import (
    changed_pixels,
    changed_psnr,
    frame_psnr,
    motion,
    to_unit,
)
from genie_robo.eval_suites.results import metrics_json
from genie_robo.eval_suites.statistics import number_episodes
from genie_robo.eval_suites.tokenizer import TokenizerSuite
from genie_robo.eval_suites.video import VideoSuite

NUM_EPISODES, NUM_FIT = 14, 7

IMAGINING = {
    "controllability": Controllability(num_clips=7, horizon=3, num_draws=2),
    "latent_structure": LatentStructure(num_clips=7, max_episodes=24),
    "latent_transfer": LatentTransfer(num_clips=7, horizon=3, num_permutations=20),
    "action_following": ActionFollowing(num_clips=7, horizon=3),
    "video": VideoSuite(num_clips=7, horizon=4),
}
READING = {
    "tokenizer": TokenizerSuite(max_episodes=24),
    "latent_probe": LatentProbe(
        max_episodes=24, max_lag=1, num_random_draws=2, labels=(20,), num_clips=7
    ),
    "few_label": FewLabel(labels=(20,), num_draws=2, max_episodes=24),
}
SUITES = READING | IMAGINING
OF_EPISODE_ROWS = ("latent_probe", "few_label")
"""Everything in them comes from rows that are sorted by episode id."""


@pytest.fixture(scope="module")
def context():
    return make_context(
        SeenRobot(NUM_EPISODES, num_frames=14),
        encoder=SeeingEncoder(),
        world=SeenPhysics(),
        num_fit=NUM_FIT,
    )


@pytest.fixture(scope="module", autouse=True)
def _undrawn():
    with undrawn():
        yield


@pytest.fixture(scope="module")
def results(context):
    return {name: suite.evaluate(context) for name, suite in SUITES.items()}


def other_episodes(context, numbers):
    """The same models on test episodes by these numbers; validation episodes in reverse."""
    robot = context.dataset
    fit = ToyEpisodes(robot, list(range(NUM_FIT))[::-1])
    return dataclasses.replace(context, fit=fit, test=ToyEpisodes(robot, numbers))


def assert_same_values(metrics, others):
    assert set(metrics) == set(others)
    for name, metric in metrics.items():
        values = [0.0 if m.value is None else m.value for m in (metric, others[name])]
        assert values[1] == pytest.approx(values[0], rel=1e-9, abs=1e-9), name
        assert others[name].reason == metric.reason, name
        assert others[name].n_units == metric.n_units, name


@pytest.mark.parametrize("name", IMAGINING)
def test_batch_size_changes_no_metric(context, results, name):
    one_by_one = dataclasses.replace(IMAGINING[name], batch_size=3)
    uncached = dataclasses.replace(context)
    assert one_by_one.evaluate(uncached).metrics == results[name].metrics


@pytest.mark.parametrize("name", SUITES)
def test_running_again_writes_an_identical_file(context, results, name):
    again = SUITES[name].evaluate(dataclasses.replace(context))
    files = [metrics_json(result, name, {"seed": 0}) for result in (results[name], again)]
    assert files[0] == files[1]


@pytest.mark.parametrize("name", SUITES)
def test_order_of_episodes_changes_no_value(context, results, name):
    turned = other_episodes(context, list(range(NUM_FIT, NUM_EPISODES))[::-1])
    metrics = SUITES[name].evaluate(turned).metrics
    assert_same_values(results[name].metrics, metrics)
    if name in OF_EPISODE_ROWS:
        assert metrics == results[name].metrics


@pytest.mark.parametrize("name", SUITES)
def test_copies_of_every_test_episode_change_nothing(context, results, name):
    numbers = list(range(NUM_FIT, NUM_EPISODES))
    doubled = SUITES[name].evaluate(other_episodes(context, [n for n in numbers for _ in (0, 1)]))
    assert_same_values(results[name].metrics, doubled.metrics)
    for key, metric in results[name].metrics.items():
        if metric.ci95 is not None:
            low, high = doubled.metrics[key].ci95
            width = metric.ci95[1] - metric.ci95[0]
            assert high - low >= 0.95 * width - 1e-9, key


def test_bytes_and_floats_have_the_same_psnr():
    rng = np.random.default_rng(0)
    first, second = rng.integers(256, size=(2, 4, 16, 16, 3), dtype=np.uint8)
    changed = changed_pixels(np.concatenate([first[:1], first]))
    floats = to_unit(first), to_unit(second)
    np.testing.assert_allclose(frame_psnr(*floats), frame_psnr(first, second), rtol=1e-12)
    np.testing.assert_allclose(
        changed_psnr(*floats, changed), changed_psnr(first, second, changed), rtol=1e-12
    )
    np.testing.assert_allclose(motion(floats[0]), motion(first), rtol=1e-12)


def test_episodes_are_numbered_as_they_first_appear():
    assert number_episodes(np.array([7, 3, 7, 9, 3])).tolist() == [0, 1, 0, 2, 1]
    assert number_episodes(np.array(["b", "a", "b"])).tolist() == [0, 1, 0]


def test_other_numbers_of_the_same_episodes_give_the_same_interval():
    values = np.random.default_rng(0).random((12, 5))
    one = episode_mean(values, np.arange(12), seed=1)
    assert episode_mean(values, np.arange(12)[::-1], seed=1) == one
