import json

import numpy as np
import pytest

from genie_robo.inference.action_map import (
    ARRAYS,
    REPORT,
    ActionDictionary,
    ActionMap,
    ActionMapReport,
    CodeRegressor,
    LatentRegressor,
    Measured,
)


def dictionary():
    codes = np.array([0, 0, 2])
    actions = np.array([[1.0, 0.0], [3.0, 0.0], [-4.0, 6.0]])
    return ActionDictionary.fit(codes, actions, num_codes=3)


def test_mean_per_code_and_overall_mean_where_nothing_was_seen():
    assert dictionary().mean(np.array([0, 2, 1])).tolist() == [[2.0, 0.0], [-4.0, 6.0], [0.0, 2.0]]


def test_samples_come_from_the_list_of_the_code():
    drawn = dictionary().sample(np.zeros(200, dtype=int), np.random.default_rng(0))

    assert set(drawn[:, 0]) == {1.0, 3.0}


def test_counts():
    assert dictionary().counts.tolist() == [2, 0, 1]


def test_refuses_no_labels_and_foreign_codes():
    with pytest.raises(ValueError, match="at least one labelled transition, got 0"):
        ActionDictionary.fit(np.zeros(0, dtype=int), np.zeros((0, 7)), num_codes=8)
    with pytest.raises(ValueError, match=r"must be 0\.\.7, got 3 to 8"):
        ActionDictionary.fit(np.array([3, 8]), np.zeros((2, 7)), num_codes=8)


def labelled(count, seed=0):
    """Three codes by direction along x, a fourth for large steps along z either way."""
    rng = np.random.default_rng(seed)
    actions = rng.normal(size=(count, 7)) * [0.03, 0.03, 0.01, 0.1, 0.1, 0.0, 0.5]
    codes = np.digitize(actions[:, 0], [-0.015, 0.015])
    codes[np.abs(actions[:, 2]) > 0.015] = 4
    return actions, codes


def test_regressor_finds_a_rule_of_directions_and_sizes():
    regressor = CodeRegressor.fit(*labelled(2000), num_codes=8)
    actions, codes = labelled(1000, seed=1)

    assert (regressor.predict(actions) == codes).mean() > 0.95
    assert set(regressor.predict(actions * 100)) <= {0, 1, 2, 4}


@pytest.mark.parametrize("names", [[3], [2, 6]])
def test_regressor_of_one_or_two_codes(names):
    actions = np.linspace(-1, 1, 20)[:, None].repeat(7, 1)
    codes = np.array(names)[(actions[:, 0] > 0).astype(int) % len(names)]

    regressor = CodeRegressor.fit(actions, codes, num_codes=8)

    assert regressor.predict(actions).tolist() == codes.tolist()


def test_regressor_agrees_with_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    actions, codes = labelled(300)
    regressor = CodeRegressor.fit(actions, codes, num_codes=8)
    scaled = (actions - actions.mean(0)) / np.where(actions.std(0) > 0, actions.std(0), 1)
    features = np.concatenate([scaled, scaled**2], 1)

    wanted = LogisticRegression(max_iter=1000).fit(features, codes).predict(features)
    assert np.array_equal(regressor.predict(actions), wanted)


def test_regressor_refuses_what_is_no_action():
    actions, codes = labelled(50)
    with pytest.raises(ValueError, match=r"must be 0\.\.3, got 0 to 4"):
        CodeRegressor.fit(actions, codes, num_codes=4)
    with pytest.raises(ValueError, match="at least one labelled transition, got 0"):
        CodeRegressor.fit(actions[:0], codes[:0], num_codes=8)
    regressor = CodeRegressor.fit(actions, codes, num_codes=8)
    actions[7, 2] = np.nan
    for act in (regressor.predict, lambda a: CodeRegressor.fit(a, codes, num_codes=8)):
        with pytest.raises(ValueError, match=r"finite numbers, but number 7 of 50 is \[.*nan"):
            act(actions)


def test_latents_that_are_quadratic_in_the_action_are_found():
    rng = np.random.default_rng(0)
    actions = rng.uniform(-0.05, 0.05, size=(300, 7))
    actions[:, 4] = 0.0  # a dimension that the robot does not have

    def true(a):
        return np.stack([10 * a[:, 0] - 90 * a[:, 0] * a[:, 1], 0.2 + 80 * a[:, 2] ** 2], axis=1)

    regressor = LatentRegressor.fit(actions, true(actions))
    new = rng.uniform(-0.05, 0.05, size=(100, 7)) * [1, 1, 1, 1, 0, 1, 1]
    np.testing.assert_allclose(regressor.predict(new), true(new), atol=0.01)


def test_actions_beyond_the_labels_are_mapped_as_the_nearest_known_one():
    actions = np.linspace(-0.05, 0.05, 21)[:, None] * np.eye(7)[0]
    regressor = LatentRegressor.fit(actions, 10 * actions[:, :1])
    far = np.array([[0.05], [0.5], [-3.0]]) * np.eye(7)[0]
    np.testing.assert_allclose(regressor.predict(far), [[0.5], [0.5], [-0.5]], atol=0.01)


def test_latents_need_labels_and_finite_actions():
    with pytest.raises(ValueError, match="at least one labelled transition, got 0"):
        LatentRegressor.fit(np.zeros((0, 7)), np.zeros((0, 2)))
    actions, _ = labelled(50)
    regressor = LatentRegressor.fit(actions, actions[:, :2])
    actions[7, 2] = np.nan
    with pytest.raises(ValueError, match=r"finite numbers, but number 7 of 50"):
        regressor.predict(actions)


def test_one_label_maps_every_action_to_its_latent():
    regressor = LatentRegressor.fit(np.full((1, 7), 0.02), np.array([[0.3, -0.2]]))
    np.testing.assert_allclose(regressor.predict(np.zeros((3, 7))), [[0.3, -0.2]] * 3)


@pytest.fixture
def action_map():
    actions, codes = labelled(60)
    report = ActionMapReport(
        num_labels=60,
        num_fit_episodes=2,
        num_test_steps=100,
        num_test_episodes=3,
        r2={"dx": Measured(0.5, (0.4, 0.6)), "dyaw": Measured(None, None)},
        accuracy=Measured(0.75, None),
        majority=0.25,
        latent_r2=(Measured(0.9, (0.8, 1.0)), Measured(None, None)),
    )
    return ActionMap(
        dictionary=ActionDictionary.fit(codes, actions, num_codes=6),
        regressor=CodeRegressor.fit(actions, codes, num_codes=6),
        latents=LatentRegressor.fit(actions, actions[:, :2]),
        report=report,
        origin={"weights": "abc", "num_labels": 60},
    )


def test_corrected_motions_are_clipped_to_the_range_of_the_labels(action_map):
    """Beyond it the squares dominate: a residual must not become a wrong direction."""
    feedback = action_map.feedback
    far, at_most = np.zeros((1, 7)), action_map.dictionary.robot_actions
    far[0, 0] = 10.0
    edge = np.clip(far, *(f(np.concatenate(at_most), axis=0) for f in (np.min, np.max)))
    assert feedback.quantise(far).tolist() == action_map.regressor.predict(edge).tolist() == [2]
    codes, residual = feedback.step(far, np.zeros((1, 7)))
    np.testing.assert_allclose(
        residual[0, :3], 0.8 * (far - action_map.dictionary.mean(codes))[0, :3]
    )
    assert (residual[0, 3:] == 0).all()


def test_saved_map_comes_back(action_map, tmp_path):
    action_map.save(tmp_path / "map")
    loaded = ActionMap.load(tmp_path / "map")

    assert loaded.report == action_map.report
    assert loaded.origin == action_map.origin
    assert loaded.dictionary.counts.tolist() == action_map.dictionary.counts.tolist()
    actions, codes = labelled(40, seed=3)
    assert np.array_equal(loaded.regressor.predict(actions), action_map.regressor.predict(actions))
    assert np.array_equal(loaded.dictionary.mean(codes), action_map.dictionary.mean(codes))
    assert np.array_equal(loaded.latents.predict(actions), action_map.latents.predict(actions))
    described = json.loads((tmp_path / "map" / REPORT).read_text())
    (tmp_path / "map" / REPORT).write_text(json.dumps(described | {"format_version": 1}))
    with pytest.raises(FileNotFoundError, match="of an earlier version"):
        ActionMap.load(tmp_path / "map")


def test_missing_and_damaged_maps_are_refused(action_map, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"action_map\.json is missing"):
        ActionMap.load(tmp_path)
    action_map.save(tmp_path)
    content = (tmp_path / ARRAYS).read_bytes()
    (tmp_path / ARRAYS).write_bytes(content[:-10])
    with pytest.raises(ValueError, match=r"npz is not the file that action_map\.json describes"):
        ActionMap.load(tmp_path)
    (tmp_path / ARRAYS).unlink()
    with pytest.raises(ValueError, match=r"cannot be read: .*Delete the folder"):
        ActionMap.load(tmp_path)
    (tmp_path / ARRAYS).write_bytes(content)
    described = json.loads((tmp_path / REPORT).read_text())
    (tmp_path / REPORT).write_text(json.dumps(described | {"format_version": 3}))
    with pytest.raises(ValueError, match="its format is 3"):
        ActionMap.load(tmp_path)
    (tmp_path / REPORT).write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        ActionMap.load(tmp_path)
