"""What the probe must give where the truth is known."""

import numpy as np
import pytest
import torch

import genie_robo

NUM_EPISODES, NUM_STEPS = 40, 25


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def actions(rng):
    return rng.normal(size=(NUM_EPISODES * NUM_STEPS, 3)) * [0.02, 0.1, 1.0]


@pytest.fixture
def episodes():
    return np.repeat(np.arange(NUM_EPISODES), NUM_STEPS)


def test_a_linear_map_of_the_actions_is_read_perfectly(rng, actions, episodes):
    latents = actions @ rng.normal(size=(3, 5)) + 2.0
    found = genie_robo.probe(latents, actions, episodes)
    assert found.r2.value == pytest.approx(1.0, abs=1e-4)
    assert found.r2.ci95[0] > 0.999
    assert {name: round(r2.value, 3) for name, r2 in found.r2_by_dimension.items()} == {
        "dx": 1.0,
        "dy": 1.0,
        "dz": 1.0,
    }
    assert found.baselines["mean"].value == 0
    assert abs(found.baselines["previous_action"].value) < 0.02
    assert (found.num_episodes, found.num_steps) == (NUM_EPISODES, len(actions))
    assert (found.codes_r2, found.codes_ceiling, found.codes_share) == (None, None, None)


def test_independent_latents_tell_nothing(rng, actions, episodes):
    latents = rng.normal(size=(len(actions), 5))
    found = genie_robo.probe(latents, actions, episodes, codes=rng.integers(8, size=len(actions)))
    for estimate in (found.r2, found.codes_r2):
        assert estimate.value == pytest.approx(0.0, abs=0.02)
    low, high = found.r2.ci95
    assert low <= 0
    assert high > -0.005  # a fit to noise costs something, so it may end just below 0


def test_noise_explains_as_much_as_it_should(rng, actions, episodes):
    scaled = actions / actions.std(axis=0)
    found = genie_robo.probe(scaled + rng.normal(size=scaled.shape), scaled, episodes)
    assert found.r2.value == pytest.approx(0.5, abs=0.03)
    assert found.r2.ci95[0] < 0.5 < found.r2.ci95[1]


def test_codes_that_are_the_clusters_of_the_actions_reach_the_ceiling(rng, episodes):
    codes = rng.integers(4, size=len(episodes))
    centres = np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    actions = centres[codes] + 0.05 * rng.normal(size=(len(codes), 2))
    found = genie_robo.probe(actions[:, :1], actions, episodes, codes=codes, names=["x", "y"])
    assert found.codes_r2.value == pytest.approx(found.codes_ceiling.value, abs=1e-3)
    assert found.codes_share.value == pytest.approx(1.0, abs=1e-3)
    assert found.r2_by_dimension["x"].value > 0.99
    assert found.r2_by_dimension["y"].value < 0.02


def test_what_is_constant_inside_episodes_is_not_learned_from_them(rng, actions, episodes):
    """Latents that name the episode predict its mean action, but not that of other episodes."""
    offset = rng.normal(size=(NUM_EPISODES, 3)) * 5
    latents = np.eye(NUM_EPISODES)[episodes] + 1e-3 * rng.normal(size=(len(episodes), NUM_EPISODES))
    found = genie_robo.probe(latents, actions + offset[episodes], episodes)
    assert found.r2.value < 0.05


def test_a_given_split_tests_on_its_episodes_only(actions, episodes):
    names = np.array([f"episode {e:02d}" for e in episodes])
    wanted = [f"episode {e:02d}" for e in range(30, 40)]
    wrong = actions.copy()
    wrong[episodes >= 30] *= -1
    found = genie_robo.probe(actions, wrong, names, test_episodes=wanted)
    assert found.r2.value == pytest.approx(-3.0, abs=0.1)
    assert (found.num_episodes, found.num_steps) == (10, 10 * NUM_STEPS)
    assert "given test episodes" in found.protocol


def test_the_order_of_episodes_and_kinds_of_arrays_do_not_matter(rng, actions, episodes):
    latents = actions + 0.3 * actions.std(axis=0) * rng.normal(size=actions.shape)
    wanted = genie_robo.probe(latents, actions, episodes)
    turned = np.argsort(-episodes, kind="stable")
    found = genie_robo.probe(
        torch.from_numpy(latents[turned]), actions[turned], list(episodes[turned])
    )
    assert found.r2.value == pytest.approx(wanted.r2.value, abs=1e-9)


def test_a_constant_dimension_is_undefined_and_left_out_of_the_mean(actions, episodes):
    still = actions * [1, 0, 1] + [0, 0.3, 0]
    found = genie_robo.probe(actions, still, episodes)
    assert found.r2_by_dimension["dy"].value is None
    assert found.r2.value == pytest.approx(1.0, abs=1e-4)
    nothing = genie_robo.probe(actions, still[:, 1:2], episodes)
    assert nothing.r2.value is None


def test_few_episodes_have_no_interval(actions, episodes):
    few = episodes < 3
    found = genie_robo.probe(actions[few], actions[few], episodes[few], num_folds=3)
    assert found.r2.ci95 is None
    assert found.r2.value > 0.9


def test_episodes_that_repeat_each_other_are_named(rng, actions, episodes):
    latents = rng.normal(size=(len(actions), 4))
    twice = [np.concatenate([a, a]) for a in (latents, actions)]
    with pytest.raises(ValueError, match="100% of the steps have the same latent and action in"):
        genie_robo.probe(*twice, np.concatenate([episodes, episodes + NUM_EPISODES]))
    overlapping = episodes < 6
    some = [np.concatenate([a, a[overlapping]]) for a in (latents, actions)]
    names = np.concatenate([episodes, np.full(overlapping.sum(), 99)])
    with pytest.raises(ValueError, match=r"episodes 0 and 99: a test on them would have been fit"):
        genie_robo.probe(*some, names)
    codes = rng.integers(3, size=(len(actions), 1)).astype(float)
    with pytest.raises(ValueError, match="allow_repeats=True where latents and actions are disc"):
        genie_robo.probe(codes, codes, episodes)
    assert genie_robo.probe(codes, codes, episodes, allow_repeats=True).r2.value > 0.99


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"episodes": np.zeros(1000, int)}, "1 episodes are too few for num_folds=5"),
        ({"num_folds": 41}, "40 episodes are too few for num_folds=41"),
        ({"num_folds": 1}, "num_folds from 2"),
        ({"test_episodes": [7, 77]}, "there is no episode 77"),
        ({"test_episodes": []}, "one side is empty"),
        ({"test_episodes": range(40)}, "one side is empty"),
        ({"episodes": np.arange(999)}, "latents 1000, actions 1000, episodes 999"),
        ({"latents": np.zeros((999, 2))}, "latents 999, actions 1000"),
        ({"latents": np.zeros(1000)}, r"latents have the shape \(n d\).*\(1000,\)"),
        ({"latents": np.full((1000, 2), np.nan)}, "latents must be finite, but row 0 is"),
        ({"latents": np.full((1000, 2), "a")}, "latents are numbers"),
        ({"codes": np.zeros(1000)}, "codes are integers"),
        ({"codes": np.full(1000, 8), "num_codes": 8}, "codes are 0 to 7, but these are 8 to 8"),
        ({"codes": np.zeros((1000, 1), int)}, r"codes have the shape \(n\)"),
        ({"codes": np.zeros(3, int)}, "codes 3"),
        ({"num_codes": 8}, "give codes= too"),
        ({"names": ["x"]}, "actions have 3 dimensions, but there are 1 names"),
    ],
)
def test_wrong_input_is_named(rng, actions, episodes, change, reason):
    given = {"latents": rng.normal(size=(1000, 2)), "actions": actions, "episodes": episodes}
    with pytest.raises((ValueError, TypeError), match=reason):
        genie_robo.probe(**given | change)
