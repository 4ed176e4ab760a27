"""Every suite with itself, and with other codes: what its rows say of the difference."""

import dataclasses

import numpy as np
import pytest
from eval_fakes import make_context
from seen_robot import NUM_CODES, SeeingEncoder, SeenPhysics, SeenRobot
from undrawn import undrawn

from genie_robo.eval_suites.action_following import ActionFollowing
from genie_robo.eval_suites.base import SuiteResult
from genie_robo.eval_suites.comparing import compare
from genie_robo.eval_suites.controllability import Controllability
from genie_robo.eval_suites.few_label import FewLabel
from genie_robo.eval_suites.latent_probe import LatentProbe
from genie_robo.eval_suites.latent_structure import LatentStructure
from genie_robo.eval_suites.latent_transfer import LatentTransfer
from genie_robo.eval_suites.table import LeftOut, Measurement, Table
from genie_robo.eval_suites.video import VideoSuite

SUITES = {
    "controllability": Controllability(num_clips=7, horizon=2, num_draws=2),
    "latent_structure": LatentStructure(num_clips=7),
    "latent_transfer": LatentTransfer(num_clips=7, horizon=3, num_permutations=20),
    "action_following": ActionFollowing(num_clips=7, horizon=3),
    "video": VideoSuite(num_clips=14, horizon=2),
    "latent_probe": LatentProbe(max_lag=1, num_random_draws=2, labels=(20,)),
    "few_label": FewLabel(labels=(20,), num_draws=2),
}
NEVER = {
    "codes/used": "resamples of episodes hold fewer codes",
    "codes/dead": "resamples of episodes hold fewer codes",
    "p_value": "about all episodes together",
    "sign_consistency/code": "is not code 3 of the other",
}
"""Metrics without an interval, by a part of their name, and the reason."""


class OftenWrong(SeeingEncoder):
    """Says some other code in four of ten transitions."""

    def encode(self, window):
        seen = super().encode(window)
        rng = np.random.default_rng([*window.episode_id.encode()])
        is_wrong = rng.random(len(seen.codes)) < 0.4
        other = rng.integers(NUM_CODES, size=len(seen.codes))
        codes = np.where(is_wrong, other, seen.codes)
        return seen._replace(codes=codes, latents=np.eye(NUM_CODES)[codes])


@pytest.fixture(scope="module")
def contexts():
    context = make_context(
        SeenRobot(20, num_frames=14),
        encoder=SeeingEncoder(),
        world=SeenPhysics(),
        num_fit=8,
    )
    return context, dataclasses.replace(context, encoder=OftenWrong())


@pytest.fixture(scope="module", params=SUITES)
def results(request, contexts):
    with undrawn():
        return [SUITES[request.param].evaluate(context) for context in contexts]


def differences(first, other):
    return {one.name: one.differences[0] for one in compare({"a": first, "b": other})}


def reasons(name):
    return [reason for part, reason in NEVER.items() if part in name]


def test_every_metric_has_a_paired_interval_or_says_why(results):
    for name, found in differences(*results).items():
        defined = [result.metrics[name].value is not None for result in results]
        if all(defined) and not reasons(name):
            assert found.ci95 is not None, (name, found.reason)
            assert found.ci95[0] - 1e-12 <= found.value <= found.ci95[1] + 1e-12, name
        elif all(defined):
            assert reasons(name)[0] in found.reason, name


def test_a_run_does_not_differ_from_itself(results):
    for name, found in differences(results[1], results[1]).items():
        assert found.value in (0.0, None), name
        assert found.ci95 in ((0.0, 0.0), None), name
        assert found.p_value in (1.0, None), name


def test_swapping_the_runs_turns_the_difference_round(results):
    ahead, back = differences(*results), differences(*results[::-1])
    for name, found in ahead.items():
        if found.value is not None:
            assert back[name].value == pytest.approx(-found.value, abs=1e-9), name
            assert back[name].p_value == found.p_value, name
        if found.ci95 is not None:
            turned = (-back[name].ci95[1], -back[name].ci95[0])
            assert turned == pytest.approx(found.ci95, abs=1e-9), name


def test_differences_are_those_of_the_reported_values(results):
    for name, found in differences(*results).items():
        if found.value is not None:
            values = [result.metrics[name].value for result in results]
            assert found.value == pytest.approx(values[1] - values[0], abs=1e-6), name


def distances(shift, episodes=12):
    """A distance of two samples, and what it would be without each episode."""
    number = np.arange(episodes)
    table = Table([f"e{e:02d}" for e in number])
    without = table.columns[table.add("frechet/x/without", 5.0 + number + shift * (number + 1))]
    side = [("imagined", "real")[e % 2] for e in number]
    measurement = Measurement(
        of=LeftOut(table, 5.0 + shift, without, side), unit="distance", protocol="p"
    )
    return SuiteResult.of({"frechet/x": measurement}, seed=0, headline=["frechet/x"], table=table)


def test_distances_of_distributions_are_paired_by_leaving_out():
    found = differences(distances(0.0), distances(1.0))["frechet/x"]

    assert (found.value, found.num_episodes, found.p_value) == (1.0, 12, None)
    # Without each episode of a side the difference is 1 3 5 7 9 11, or 2 4 6 8 10 12.
    reach = 1.96 * np.sqrt(2 * 5 * np.var([1, 3, 5, 7, 9, 11]))
    assert found.ci95 == pytest.approx((1.0 - reach, 1.0 + reach))


def test_distributions_of_other_episodes_are_not_paired():
    found = differences(distances(0.0), distances(1.0, episodes=10))["frechet/x"]
    assert (found.value, found.ci95) == (1.0, None)
    assert "a distribution is of all episodes" in found.reason
    few = differences(distances(0.0, episodes=6), distances(1.0, episodes=6))["frechet/x"]
    assert (few.ci95, few.reason) == (None, "fewer than 5 shared episodes: no interval")
