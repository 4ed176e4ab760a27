"""Numbers that the probe must give where the truth is known in closed form."""

import numpy as np
import pytest

from genie_robo.eval_suites.metrics.information import entropy, joint_counts, mutual_information
from genie_robo.eval_suites.metrics.regression import predict_from_codes, ridge_of_both
from genie_robo.eval_suites.probes.data import ACHIEVED, ProbeData
from genie_robo.eval_suites.probes.label_efficiency import draw_labels, label_measurements
from genie_robo.eval_suites.probes.pixel_features import BLOCK, FLOW_SIZE, block_flow, coarse_grey
from genie_robo.eval_suites.probes.scores import Motion, Probe, score
from genie_robo.eval_suites.statistics import mean_r2
from genie_robo.eval_suites.table import Table

NUM_EPISODES, NUM_FRAMES = 40, 200


def make_data(motion, codes, frames=None):
    """Transitions of equally long episodes; `motion` fills the first dimensions of the action."""
    targets = np.zeros((len(motion), 7))
    targets[:, : motion.shape[1]] = motion
    empty = np.zeros((len(motion), 1))
    return ProbeData(
        episode_ids=tuple(f"{e:03d}" for e in range(NUM_EPISODES)),
        episode=np.repeat(np.arange(NUM_EPISODES), NUM_FRAMES),
        codes=codes,
        latents=motion,
        untrained_latents=None,
        frames=empty if frames is None else frames,
        differences=motion,
        flow=empty,
        targets={ACHIEVED: targets},
        masks={ACHIEVED: np.ones(7, bool)},
    )


def scores_of(sample, num_codes, dimensions):
    """Score what `sample(rng)` draws once for fitting and once for testing."""
    rng = np.random.default_rng(0)
    fit, test = make_data(*sample(rng)), make_data(*sample(rng))
    motion = Motion(ACHIEVED, tuple(range(dimensions)))
    return score(Probe(fit=fit, test=test, motion=motion, num_codes=num_codes))


def r2(errors, error="codes", reference="mean"):
    """The share of the squared error of `reference` that another predictor removes."""
    rows = [errors[name].sum(axis=0) for name in (error, reference)]
    return float(mean_r2(np.stack(rows)))


def partial_r2(errors, known):
    """What the codes add to what is predicted from `known`."""
    return r2(errors, f"{known}_and_codes", known)


@pytest.mark.parametrize("error_rate", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("num_codes", [4, 8])
def test_equal_bins_of_a_uniform_action_replaced_at_random(num_codes, error_rate):
    def sample(rng):
        motion = rng.random((NUM_EPISODES * NUM_FRAMES, 1))
        bins = (motion[:, 0] * num_codes).astype(int)
        wrong = rng.random(len(bins)) < error_rate
        return motion, np.where(wrong, rng.integers(num_codes, size=len(bins)), bins)

    expected = (1 - error_rate) ** 2 * (1 - 1 / num_codes**2)
    assert r2(scores_of(sample, num_codes, 1)) == pytest.approx(expected, abs=0.03)


def test_three_sign_bits_of_seven_gaussian_dimensions():
    rng = np.random.default_rng(0)
    fit, test = rng.normal(size=(2, 40_000, 7))
    codes = [(values[:, :3] > 0) @ [1, 2, 4] for values in (fit, test)]
    guesses = predict_from_codes(codes[0], fit, codes[1], num_codes=8)
    share = ((test - guesses) ** 2).sum(axis=0) / ((test - fit.mean(axis=0)) ** 2).sum(axis=0)
    assert 1 - share.mean() == pytest.approx(6 / (7 * np.pi), abs=3e-3)


@pytest.fixture(scope="module")
def slow_motion():
    """AR(0.95) actions whose codes are those of the transition before."""

    def sample(rng):
        noise = rng.normal(size=(NUM_EPISODES, NUM_FRAMES + 1))
        for t in range(1, NUM_FRAMES + 1):
            noise[:, t] = 0.95 * noise[:, t - 1] + np.sqrt(1 - 0.95**2) * noise[:, t]
        # The borders of the Lloyd-Max quantiser of a Gaussian with eight levels (Max 1960).
        borders = np.array([-1.748, -1.050, -0.5006, 0.0, 0.5006, 1.050, 1.748])
        return noise[:, 1:].reshape(-1, 1), np.digitize(noise[:, :-1].ravel(), borders)

    return scores_of(sample, 8, 1)


def test_off_by_one_codes_of_slow_motion_look_fine_in_plain_r2(slow_motion):
    assert r2(slow_motion) == pytest.approx(0.95**2 * 0.9655, abs=0.02)


def test_off_by_one_codes_of_slow_motion_add_nothing_to_the_previous_action(slow_motion):
    assert partial_r2(slow_motion, "previous_action") == pytest.approx(0.0, abs=0.03)


def test_codes_that_only_name_the_place_add_nothing_to_the_frame():
    mixing = np.random.default_rng(5).normal(size=(1, 20))

    def sample(rng):
        place = rng.uniform(-1, 1, size=(NUM_EPISODES * NUM_FRAMES, 1))
        motion = -place + 0.3 * rng.normal(size=place.shape)
        codes = np.digitize(place[:, 0], np.linspace(-1, 1, 9)[1:-1])
        return motion, codes, place @ mixing

    scores = scores_of(sample, 8, 1)
    assert r2(scores) > 0.6
    assert partial_r2(scores, "current_frame") == pytest.approx(0.0, abs=0.02)


def test_codes_of_the_motion_keep_their_worth_beside_a_frame_of_many_numbers():
    def sample(rng):
        motion = rng.random((NUM_EPISODES * NUM_FRAMES, 1))
        return motion, (motion[:, 0] * 8).astype(int), rng.normal(size=(len(motion), 200))

    partial = partial_r2(scores_of(sample, 8, 1), "current_frame")
    assert partial == pytest.approx(1 - 1 / 64, abs=0.01)


def test_episode_id_codes_are_great_by_frame_and_worth_nothing_by_episode():
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(2 * NUM_EPISODES), NUM_FRAMES)
    motion = rng.normal(size=(2 * NUM_EPISODES, 1))[codes] + 0.3 * rng.normal(size=(len(codes), 1))

    def r2_of(fit, test):
        fitted = codes[fit], motion[fit]
        guesses = predict_from_codes(*fitted, codes[test], num_codes=2 * NUM_EPISODES)
        deviation = ((motion[test] - motion[fit].mean(axis=0)) ** 2).sum()
        return 1 - ((guesses - motion[test]) ** 2).sum() / deviation

    even = np.arange(len(codes)) % 2 == 0
    first = codes < NUM_EPISODES
    assert r2_of(even, ~even) > 0.85
    assert r2_of(first, ~first) == pytest.approx(0.0, abs=1e-12)


def test_out_of_fold_predictions_are_as_far_off_as_new_ones():
    rng = np.random.default_rng(0)
    features, new = rng.normal(size=(2, 400, 100))
    weights = rng.normal(size=(100, 1)) / 10
    targets, new_targets = (x @ weights + rng.normal(size=(400, 1)) for x in (features, new))
    groups = np.repeat(np.arange(20), 20)
    inside, outside = ridge_of_both(features, targets, new, groups=groups)
    errors = ((inside - targets) ** 2).mean(), ((outside - new_targets) ** 2).mean()
    assert errors[0] == pytest.approx(errors[1], rel=0.2)


def test_ridge_with_fewer_rows_than_features_equals_the_normal_equations():
    rng = np.random.default_rng(0)
    features, new = rng.normal(size=(30, 50)), rng.normal(size=(5, 50))
    targets = features[:, :1] * 2
    few = ridge_of_both(features, targets, new, groups=np.arange(30))[1]
    centre, scale = features.mean(axis=0), features.std(axis=0)
    x, x_new = ((values - centre) / scale for values in (features, new))
    guesses = [
        x_new @ np.linalg.solve(x.T @ x + alpha * np.eye(50), x.T @ (targets - targets.mean()))
        for alpha in np.logspace(-3, 5, 17)
    ]
    gaps = [np.abs(guess + targets.mean() - few).max() for guess in guesses]
    assert min(gaps) < 1e-8


def test_information_of_equal_labels_is_their_entropy():
    labels = np.repeat(np.arange(4), 250)
    counts = joint_counts(labels, labels, np.zeros(1000, int), shape=(1, 4, 4))[0]
    assert entropy(counts.sum(axis=0)) == pytest.approx(2.0)
    assert mutual_information(counts) == pytest.approx(2.0 + 3 / (2000 * np.log(2)))


def test_information_of_unrelated_labels_is_zero_on_average():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        first, second = rng.integers(8, size=(2, 300))
        counts = joint_counts(first, second, np.zeros(300, int), shape=(1, 8, 8))[0]
        found.append(mutual_information(counts))
    assert np.mean(found) == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (2, 0), (0, -3), (-1, 3)])
def test_flow_of_a_shifted_picture_is_the_shift(rows, columns):
    rng = np.random.default_rng(0)
    picture = rng.integers(256, size=(FLOW_SIZE, FLOW_SIZE, 1), dtype=np.uint8)
    picture = np.repeat(picture, 3, axis=-1)
    video = np.stack([picture, np.roll(picture, (rows, columns), axis=(0, 1))])
    blocks = FLOW_SIZE // BLOCK
    flow = block_flow(video).reshape(2, blocks, blocks)[:, 1:-1, 1:-1]
    np.testing.assert_allclose(flow[0], rows, atol=1e-6)
    np.testing.assert_allclose(flow[1], columns, atol=1e-6)


@pytest.mark.parametrize(("rows", "columns"), [(0.3, 0.0), (0.0, -0.4), (1.25, -0.25)])
def test_flow_knows_parts_of_a_pixel(rows, columns):
    y, x = np.mgrid[:FLOW_SIZE, :FLOW_SIZE].astype(float)

    def picture(down, right):
        wave = np.sin((y - down) / 1.6) + np.sin((x - right) / 1.4)
        return np.repeat((127 + 60 * wave)[..., None], 3, axis=-1).astype(np.uint8)

    video = np.stack([picture(0, 0), picture(rows, columns)])
    flow = block_flow(video).reshape(2, FLOW_SIZE // BLOCK, FLOW_SIZE // BLOCK)[:, 1:-1, 1:-1]
    np.testing.assert_allclose(np.median(flow[0]), rows, atol=0.05)
    np.testing.assert_allclose(np.median(flow[1]), columns, atol=0.05)


def test_flow_of_a_blank_picture_stands_still():
    assert not block_flow(np.full((3, 64, 48, 3), 7, np.uint8)).any()


def test_coarse_grey_is_the_mean_of_the_pixels():
    video = np.zeros((1, 32, 32, 3), np.uint8)
    video[0, 0, 0] = 255
    grey = coarse_grey(video)
    assert grey.shape == (1, 256)
    assert grey[0, 0] == pytest.approx(0.25)
    assert not grey[0, 1:].any()


def test_more_labels_contain_the_fewer_ones():
    few, many = (draw_labels(100, n, draw=2, seed=1) for n in (10, 50))
    assert few.tolist() == many[:10].tolist()
    assert len(set(many)) == 50


def test_label_curve_of_perfect_codes():
    rng = np.random.default_rng(0)
    motions = rng.random((2, NUM_EPISODES * NUM_FRAMES, 1))
    fit, test = (make_data(m, (m[:, 0] * 8).astype(int)) for m in motions)
    motion = Motion(ACHIEVED, (0,))
    probe = Probe(fit=fit, test=test, motion=motion, num_codes=8, num_random_draws=5)
    measurements = label_measurements(probe, Table(test.episode_ids), (10, 1000, 10**6))
    curve = {name: measurement.metric(seed=0) for name, measurement in measurements.items()}
    assert curve["labels/n10"].value < 0.95
    assert curve["labels/n1000"].value == pytest.approx(1 - 1 / 64, abs=0.01)
    assert curve["labels/n1000"].ceiling == pytest.approx(1 - 1 / 64, abs=0.01)
    # The differences are the motion itself here.
    assert curve["labels/n10"].baselines["inverse_dynamics"] > 0.99
    assert curve["labels/n1000000"].value is None
    assert "only 8000 transitions" in curve["labels/n1000000"].reason
