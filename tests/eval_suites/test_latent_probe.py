from dataclasses import replace

import numpy as np
import pytest
from eval_fakes import FakeEncoder, ToyEpisodes, ToyRobot, make_context
from sklearn.cluster import KMeans
from undrawn import undrawn, without_flow

from genie_robo.eval_suites.base import run_suite
from genie_robo.eval_suites.captions import CAPTIONS
from genie_robo.eval_suites.few_label import FewLabel
from genie_robo.eval_suites.latent_probe import LatentProbe, _lag_notes
from genie_robo.eval_suites.probes.data import collect
from genie_robo.eval_suites.probes.figures import SHOWN, baseline_name, name_codes
from genie_robo.eval_suites.probes.metrics import ProbeTable, best_lag, lag_bounds, lag_measurements
from genie_robo.eval_suites.probes.pixel_features import coarse_grey
from genie_robo.eval_suites.probes.scores import BASELINES, Motion
from genie_robo.eval_suites.table import Metric, Table
from genie_robo.inference.code_names import code_names
from genie_robo.types import Split

NUM_CODES = 8


def random_codes(window):
    seed = [1, *window.episode_id.encode()]
    return np.random.default_rng(seed).integers(NUM_CODES, size=len(window.video) - 1)


@pytest.fixture(scope="module")
def robot():
    return ToyRobot(48, correlation=0.0)


@pytest.fixture(scope="module")
def oracle(robot):
    """k-means of the true motions of the episodes that probes are fitted on."""
    moves = np.concatenate(robot.actions[:24])[:, :3]
    spread = moves.std(axis=0)
    kmeans = KMeans(NUM_CODES, n_init=10, random_state=0).fit(moves / spread)
    return lambda window: kmeans.predict(window.robot_actions[:, :3] / spread)


QUICK = LatentProbe(labels=(20,))


def probe(robot, assign, *, num_codes=NUM_CODES, **changes):
    context = make_context(robot, encoder=FakeEncoder(num_codes, assign), **changes)
    with without_flow():
        return QUICK.evaluate(context)


def probe_achieved(robot, assign, **changes):
    """The same where the stored actions are the motion, so that there is one target."""
    with undrawn():
        return probe(robot, assign, action_is_achieved=True, **changes)


@pytest.fixture(scope="module")
def perfect(robot, oracle):
    untrained = FakeEncoder(NUM_CODES, random_codes)
    encoder = FakeEncoder(NUM_CODES, oracle)
    return LatentProbe().evaluate(make_context(robot, encoder=encoder, untrained_encoder=untrained))


@pytest.fixture(scope="module")
def random(robot):
    return probe(robot, random_codes)


def test_rows_are_transitions_of_their_episode(robot):
    context = make_context(robot, encoder=FakeEncoder(99, lambda w: np.arange(len(w.video) - 1)))
    data = collect(context, context.test, max_episodes=2, description="")
    assert data.episode_ids == (robot.name(24), robot.name(25))
    assert data.episode.tolist() == [0] * 19 + [1] * 19
    assert data.codes.tolist() == [*range(19), *range(19)]
    np.testing.assert_allclose(data.targets["commanded"][19], robot.actions[25][0])
    np.testing.assert_allclose(data.targets["achieved"], data.targets["commanded"], atol=1e-12)
    change = np.diff(coarse_grey(robot.video(25)), axis=0)
    np.testing.assert_array_equal(data.differences[19:], change)


def test_previous_row_never_crosses_episodes(robot):
    context = make_context(robot, encoder=FakeEncoder(NUM_CODES, random_codes))
    data = collect(context, context.test, max_episodes=2, description="")
    previous = data.previous(data.targets["commanded"])
    np.testing.assert_array_equal(previous[[0, 19]], 0.0)
    np.testing.assert_allclose(previous[20, :7], robot.actions[25][0])
    assert previous[20, 7] == 1.0


def test_padding_is_dropped(robot):
    padded = ToyEpisodes(robot, range(24, 48), num_pad=5)
    context = make_context(robot, encoder=FakeEncoder(NUM_CODES, random_codes), test=padded)
    data = collect(context, context.test, max_episodes=3, description="")
    assert len(data.codes) == 3 * 19


def test_episodes_of_a_single_frame_are_refused():
    robot = ToyRobot(4, num_frames=1)
    context = make_context(robot, encoder=FakeEncoder(NUM_CODES, random_codes))
    with pytest.raises(ValueError, match=r"none of the 2 episodes .* has two frames"):
        LatentProbe().evaluate(context)


def test_perfect_codes_reach_the_ceiling(perfect):
    fraction = perfect.metrics["achieved/xyz/fraction_of_ceiling"]
    assert fraction.value == pytest.approx(1.0, abs=0.03)
    r2 = perfect.metrics["achieved/xyz/r2"]
    assert r2.value == pytest.approx(r2.ceiling, abs=0.02)
    assert r2.n_units == 24


def test_perfect_codes_beat_every_baseline(perfect):
    for name in BASELINES:
        gain = perfect.metrics[f"achieved/xyz/gain_over/{name}"]
        assert gain.ci95[0] > 0, name


def test_perfect_codes_are_no_accident_of_time_or_episode(perfect):
    assert perfect.metrics["achieved/xyz/p_value/circular_shift"].value < 0.001
    assert perfect.metrics["achieved/xyz/p_value/reassignment"].value < 0.001


def test_random_codes_are_worth_nothing(random):
    r2 = random.metrics["achieved/xyz/r2"]
    low, high = r2.ci95
    assert low - 0.02 <= 0.0 <= high + 0.02
    low, high = random.metrics["achieved/xyz/gain_over/random_codes"].ci95
    assert low <= 0.0 <= high
    assert random.metrics["achieved/xyz/p_value/circular_shift"].value > 0.01


def test_mean_predictor_is_exactly_zero(perfect, random):
    for result in (perfect, random):
        for name, metric in result.metrics.items():
            if "mean" in metric.baselines:
                assert metric.baselines["mean"] == 0.0, name


def test_untrained_encoder_that_was_not_given_is_undefined(perfect, random):
    name = "achieved/xyz/gain_over/untrained_encoder"
    assert perfect.metrics[name].value is not None
    assert random.metrics[name].value is None
    assert "no untrained encoder" in random.metrics[name].reason


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_lag_curve_peaks_where_the_codes_are(robot, oracle, shift):
    # Code i names the motion of transition i + shift.
    result = probe_achieved(robot, lambda window: np.roll(oracle(window), -shift))
    best = result.metrics["achieved/xyz/best_lag"]
    assert (best.value, best.ci95) == (shift, (shift, shift))
    assert result.metrics[f"achieved/xyz/lag/{shift:+d}"].value > 0.5


@pytest.mark.parametrize("shift", [-3, 3, 5])
def test_a_peak_at_the_end_of_the_lags_or_beyond_is_no_lag(robot, oracle, shift):
    result = probe_achieved(robot, lambda window: np.roll(oracle(window), -shift))
    best = result.metrics["achieved/xyz/best_lag"]
    assert best.value is None
    tried = abs(shift) == 3
    assert ("best at the last lag that was tried" in best.reason) is tried
    assert ("at no lag: the highest R2 is" in best.reason) is not tried


def test_codes_of_another_transition_are_said_in_a_note(robot, oracle):
    late = probe_achieved(robot, lambda window: np.roll(oracle(window), 1))
    assert "predict achieved/xyz best at lag -1 [-1, -1], that of a previous" in late.notes[0]
    assert "data.source.action.lag=1 reads stored actions with the motion" in late.notes[0]
    aligned = probe_achieved(robot, oracle, action_lag=1)
    assert aligned.notes[0] == "Commands are read 1 steps late (data.source.action.lag=1)."
    assert not any("lag" in note for note in probe_achieved(robot, oracle).notes)


def lags_of(robot, *, stride=1, action_lag=0, changes=None, **bounds):
    """The notes on best lags, given as (value, low, high) by target."""
    metrics = {
        f"{target}/xyz/best_lag": Metric(
            value=value, ci95=(low, high), n_units=9, unit="transitions", protocol=""
        )
        for target, (value, low, high) in bounds.items()
    }
    motions = {f"{target}/xyz": Motion(target, (0, 1, 2)) for target in bounds}
    test = ToyEpisodes(robot, range(2), frame_stride=stride)
    encoder = FakeEncoder(NUM_CODES, random_codes)
    changes = {"action_lag": action_lag} | (changes or {})
    context = make_context(robot, encoder=encoder, test=test, **changes)
    return _lag_notes(metrics, motions, context)


def test_a_lag_that_is_surely_not_zero_is_said_with_what_mends_it(robot):
    assert lags_of(robot, achieved=(-1, -1, 0), commanded=(0, 0, 0)) == ()
    (note,) = lags_of(robot, achieved=(0, 0, 0), commanded=(-1, -2, -1))
    assert "predict commanded/xyz best at lag -1 [-2, -1], that of a previous transition" in note
    assert note.endswith("action.lag=1 reads stored actions with the motion that they cause.")
    (note,) = lags_of(robot, achieved=(1, 1, 1), commanded=(0, 0, 0))
    assert "at lag +1 [1, 1], that of a next transition" in note
    assert note.endswith("which no setting changes: look at the times at which both were taken.")
    strided = lags_of(robot, stride=6, action_lag=-2, commanded=(1, 1, 2))
    assert "data.source.action.lag=-8 reads" in strided[0]
    assert "a transition is 6 steps, so its neighbours may fit better" in strided[0]
    assert strided[1] == "Commands are read 2 steps early (data.source.action.lag=-2)."


def test_changes_of_measured_poses_have_no_lag_to_set(robot):
    achieved = {"action_is_achieved": True}
    (note,) = lags_of(robot, achieved=(1, 1, 1), changes=achieved)
    assert "data.source.action.lag=-1 reads" in note
    changes = achieved | {"action_is_pose_change": True}
    (note,) = lags_of(robot, achieved=(1, 1, 1), changes=changes)
    assert "which no setting changes" in note
    assert "action.lag" not in note
    (note,) = lags_of(robot, commanded=(1, 1, 1), changes=changes)  # joints, which are commands
    assert "data.source.action.lag=-1 reads" in note


def lag_totals(*r2):
    """Errors at lags -n .. n of one dimension, and a deviation of 1."""
    return np.array([[1 - value] for value in r2] + [[1.0]])


@pytest.mark.parametrize(
    ("r2", "best", "low", "high"),
    [
        # Clearly apart.
        ([0.1, 0.2, 0.5, 0.3, 0.2], 0, 0, 0),
        # Lag 0 is 0.015 worse than lag -1: the two cannot be told apart.
        ([0.1, 0.5, 0.485, 0.3, 0.2], -1, -1, 0),
        # 0.02 and a little: they can.
        ([0.1, 0.5, 0.479, 0.3, 0.2], -1, -1, -1),
        # Below the floor: any lag.
        ([0.0, 0.002, 0.001, 0.0, 0.0], np.nan, -2, 2),
        # The peak may lie beyond the last lag.
        ([0.1, 0.2, 0.3, 0.4, 0.5], np.nan, -2, 2),
    ],
)
def test_best_lag_and_what_it_cannot_be_told_from(r2, best, low, high):
    totals = lag_totals(*r2)
    np.testing.assert_equal(float(best_lag(totals)), best)
    assert lag_bounds(totals).tolist() == [low, high]


def lag_metric(*episodes):
    """The best lag of episodes whose errors are given by their R2 at lags -2 .. 2."""
    table = Table([str(e) for e in range(len(episodes))])
    scored = ProbeTable(table, ["dx"])
    sums = np.stack([lag_totals(*r2) for r2 in episodes])
    return lag_measurements(scored, sums, max_lag=2)["best_lag"].metric(seed=0)


def test_the_interval_of_a_lag_reflects_the_resamples():
    late, aligned = [0, 0.6, 0.3, 0, 0], [0, 0.3, 0.6, 0, 0]
    assert lag_metric(*[late] * 10).ci95 == (-1, -1)
    # Seven of ten episodes are late: about 17 % of the resamples find the codes aligned.
    mixed = lag_metric(*[late] * 7, *[aligned] * 3)
    assert (mixed.value, mixed.ci95) == (-1, (-1, 0))
    # Equal within 0.02 in every episode, though lag -1 is the best in every resample.
    near = lag_metric(*[[0, 0.5, 0.49, 0, 0]] * 10)
    assert (near.value, near.ci95) == (-1, (-1, 0))
    # Some resamples have no best lag at all: then it may be any.
    weak = lag_metric([0, 0.3, 0.0, 0, 0], *[[0, 0.0, 0.0, 0, 0]] * 9)
    assert (weak.value, weak.ci95) == (-1, (-2, 2))


def test_a_lag_below_the_floor_is_undefined_with_the_reason():
    metric = lag_metric(*[[0.002, 0.001, 0, 0, 0]] * 10)
    assert (metric.value, metric.ci95) == (None, None)
    assert metric.reason == "the codes predict the motion at no lag: the highest R2 is 0.002"


def test_off_by_one_codes_on_slow_motion_fool_r2_but_not_partial_r2():
    robot = ToyRobot(48, num_frames=30, correlation=0.95, seed=1)
    moves = np.concatenate(robot.actions[:24])[:, :3]
    spread = moves.std(axis=0)
    kmeans = KMeans(32, n_init=1, random_state=0).fit(moves / spread)

    def late(window):
        return np.roll(kmeans.predict(window.robot_actions[:, :3] / spread), 1)

    metrics = probe_achieved(robot, late, num_codes=32).metrics
    assert metrics["achieved/xyz/r2"].value > 0.6
    assert metrics["achieved/xyz/partial_r2_previous_action"].value < 0.05
    assert metrics["achieved/xyz/best_lag"].value == -1


def test_dimensions_that_never_move_are_left_out(perfect):
    names = {name.rsplit("/", 1)[1] for name in perfect.metrics if "/r2/" in name}
    assert names == {"dx", "dy", "dz"}
    assert "achieved/all/r2" not in perfect.metrics


def test_dimensions_that_hardly_ever_move_are_left_out_and_named():
    robot = ToyRobot(20)
    for actions, poses in zip(robot.actions, robot.poses, strict=True):
        actions[1:, 2] = 0.0
        poses[1:, 2] = poses[0, 2] + np.cumsum(actions[:, 2])
    result = probe(robot, random_codes)
    assert "achieved/xyz/r2/dz" not in result.metrics
    assert any("hardly ever move: dz, droll" in note for note in result.notes)


@pytest.mark.parametrize("name", ["r2", "r2_latent"])
def test_per_dimension_values_average_to_the_mean(perfect, name):
    values = [perfect.metrics[f"achieved/xyz/{name}/{d}"] for d in ("dx", "dy", "dz")]
    mean = np.mean([metric.value for metric in values])
    assert mean == pytest.approx(perfect.metrics[f"achieved/xyz/{name}"].value)
    assert all(metric.ci95 for metric in values)


def test_the_headline_has_both_gains_beside_the_share_of_the_ceiling(perfect):
    assert perfect.headline == (
        "achieved/xyz/r2",
        "achieved/xyz/fraction_of_ceiling",
        "achieved/xyz/r2_latent",
        "achieved/xyz/gain_over/untrained_encoder",
        "achieved/xyz/partial_r2_previous_action",
        "achieved/xyz/gain_over/dense_flow_clusters",
        "achieved/xyz/best_lag",
        "achieved/gripper_events",
    )
    for name in perfect.headline[3:5]:
        assert perfect.metrics[name].ci95 is not None, name


def test_a_fit_on_training_episodes_says_so_everywhere(robot):
    context = make_context(
        robot, encoder=FakeEncoder(NUM_CODES, random_codes), fit_split=Split.train
    )
    with undrawn(), without_flow():
        result = run_suite(QUICK, context)
    metrics = result.metrics.values()
    texts = [*result.notes, *(m.protocol for m in metrics), *(m.reason for m in metrics)]
    texts += [found.protocol for found in result.measurements.values()]
    assert any("probe fitted on training episodes, scored on test episodes" in t for t in texts)
    said = [text for text in texts if "validation" in text.replace("cross-validation", "")]
    assert said == []
    assert any("by cross-validation inside the training split" in text for text in texts)


def test_per_episode_rows_give_back_the_r2(perfect):
    rows = [row for row in perfect.per_episode if row["motion"] == "achieved/xyz"]
    error, deviation = (
        sum(row[f"squared_{what}_dx"] for row in rows) for what in ("error", "deviation")
    )
    assert 1 - error / deviation == pytest.approx(perfect.metrics["achieved/xyz/r2/dx"].value)


def test_gripper_codes_tell_gripper_events(robot):
    def events(window):
        opening = window.robot_actions[:, 6]
        return 1 + np.sign(np.diff(opening, prepend=opening[0])).astype(int)

    metric = probe_achieved(robot, events).metrics["achieved/gripper_events"]
    assert metric.value == 1.0
    assert metric.baselines["chance"] == pytest.approx(1 / 3)
    assert metric.baselines["permuted_codes"] == pytest.approx(1 / 3, abs=0.12)


def test_gripper_that_never_moves_is_undefined():
    robot = ToyRobot(4)
    for actions, poses in zip(robot.actions, robot.poses, strict=True):
        actions[:, 6] = poses[:, 6] = 1.0
    metric = probe(robot, random_codes).metrics["commanded/gripper_events"]
    assert metric.value is None
    assert "gripper does not move" in metric.reason


def test_robot_that_never_moves_has_null_and_a_reason():
    robot = ToyRobot(4)
    for actions, poses in zip(robot.actions, robot.poses, strict=True):
        actions[:] = poses[:] = 0.0
    result = probe(robot, random_codes)
    assert result.metrics["achieved/xyz/r2"].value is None
    assert result.headline[0] == "achieved/xyz/r2"
    assert "no dimension of the achieved action" in result.metrics["achieved/xyz/r2"].reason
    assert any("dx, dy, dz, droll, dpitch, dyaw" in note for note in result.notes)


def test_without_proprioception_the_commanded_action_is_the_headline():
    result = probe(ToyRobot(20, proprioception=False), random_codes)
    assert result.headline[0] == "commanded/xyz/r2"
    assert not any(name.startswith("achieved") for name in result.metrics)
    assert any("no proprioception" in note for note in result.notes)


def test_actions_that_are_achieved_motion_are_called_so():
    result = probe(ToyRobot(20, proprioception=False), random_codes, action_is_achieved=True)
    assert result.headline[0] == "achieved/xyz/r2"
    assert not any(name.startswith("commanded") for name in result.metrics)


def test_one_validation_and_two_test_episodes_still_run():
    result = probe(ToyRobot(3), random_codes, num_fit=1)
    metric = result.metrics["achieved/xyz/r2"]
    assert (metric.n_units, metric.value is None, metric.ci95) == (2, False, None)
    assert any("only 1 validation episodes" in note for note in result.notes)
    assert any("Only 2 test episodes" in note for note in result.notes)


def test_one_test_episode_cannot_be_exchanged():
    metrics = probe_achieved(ToyRobot(6), random_codes, num_fit=5).metrics
    assert metrics["achieved/xyz/p_value/circular_shift"].value is not None
    reassigned = metrics["achieved/xyz/p_value/reassignment"]
    assert reassigned.value is None
    assert "nothing to exchange" in reassigned.reason


def test_a_motion_that_is_exactly_the_mean_has_no_p_value():
    """0 of 0: once the smallest p-value of all."""
    robot = ToyRobot(12)
    there_and_back = np.append(np.tile([2.0**-7, -(2.0**-7)], 9), 0.0)
    for actions in robot.actions[:6]:
        actions[:, :3] = there_and_back[:, None]
    for actions in robot.actions[6:]:
        actions[:, :3] = 0.0
    metrics = probe_achieved(robot, random_codes).metrics
    for name in ("r2", "p_value/circular_shift", "p_value/reassignment"):
        assert metrics[f"achieved/xyz/{name}"].value is None, name


class Holes(ToyRobot):
    """Two episodes, one on each side, have a pose that is not a number."""

    def __getitem__(self, e):
        episode = super().__getitem__(e)
        if e in (1, 8):
            episode.end_effector_pose[4, 0] = np.nan
        return episode


def test_episodes_with_actions_that_are_no_numbers_are_left_out(caplog):
    robot = Holes(12)
    videos = [robot.video(e) for e in range(12)]
    robot.video = videos.__getitem__
    metric = probe(robot, random_codes).metrics["achieved/xyz/r2"]
    assert metric.n_units == 5
    assert caplog.text.count("an action that is not finite") == 2


@pytest.mark.parametrize("suite", [LatentProbe, FewLabel])
def test_single_labels_are_refused_before_anything_slow(suite):
    with pytest.raises(ValueError, match=r"labels=\[10, 1\] must be 2 or more each"):
        suite(labels=[10, 1])


def test_collapsed_codebook_is_named(robot):
    result = probe(robot, lambda window: np.zeros(len(window.video) - 1, int))
    assert result.metrics["achieved/xyz/r2"].value == pytest.approx(0.0, abs=1e-9)
    assert result.metrics["codes/perplexity"].value == pytest.approx(1.0)
    assert any("collapsed" in note for note in result.notes)
    assert result.metrics["achieved/xyz/best_lag"].value is None
    assert "short or too still" not in result.metrics["achieved/xyz/best_lag"].reason
    assert "at no lag" in result.metrics["achieved/xyz/best_lag"].reason


def test_figures(perfect):
    expected = {"r2", "gain_over_baselines", "lag", "labels", "code_usage", "displacement_rose"}
    assert set(perfect.figures) == expected == set(CAPTIONS["latent_probe"])


def test_baselines_are_named_as_in_tables(perfect):
    legend = perfect.figures["r2"].axes[0].get_legend()
    names = [text.get_text() for text in legend.get_texts()]
    assert {baseline_name(name, num_codes=NUM_CODES) for name in ("ceiling", *SHOWN)} < set(names)
    assert "ridge on dense optical flow, all labels" in names
    assert not any("_" in name for name in names)


def test_codes_are_named_by_the_action_map_or_else_by_their_motions(robot, oracle):
    context = make_context(robot, encoder=FakeEncoder(NUM_CODES, oracle))
    data = collect(context, context.fit, max_episodes=24, description="")
    means = [data.targets["achieved"][data.codes == code].mean(0) for code in range(NUM_CODES)]
    assert name_codes(context, data) == code_names(np.array(means))
    named = replace(context, code_names=lambda: ("0 up", "1 down"))
    assert name_codes(named, data) == ("0 up", "1 down")
