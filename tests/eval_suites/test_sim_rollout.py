import numpy as np
import pytest
from eval_fakes import (
    PIXEL_M,
    ExactReader,
    FakeEncoder,
    ToyEpisodes,
    ToyRobot,
    ToyRobotWorld,
    TransitionCodes,
    TruePhysics,
    draw,
    join,
    make_context,
)

from genie_robo.eval_suites import sim_rollout
from genie_robo.eval_suites.base import Transitions, run_suite
from genie_robo.eval_suites.captions import CAPTIONS
from genie_robo.eval_suites.controllability import Controllability
from genie_robo.eval_suites.metrics.image_metrics import frame_psnr
from genie_robo.eval_suites.plugs import fit_motion_centroids
from genie_robo.eval_suites.sim_rollout import SimRollout
from genie_robo.eval_suites.simulated.pose_reading import PoseReaders
from genie_robo.eval_suites.simulated.truth import Moment
from genie_robo.eval_suites.uninformed import UNINFORMED
from genie_robo.inference.world import HeldFrame


class ToyMujoco:
    """The toy's physics in the place of MuJoCo's: it executes the recorded robot actions."""

    def __init__(self, *, renderer, feedback=None):
        assert renderer == "auto"
        self.feedback, self.envs = feedback, [self]

    def start(self, prompts, seeds):
        (prompt,) = prompts
        recording, first = prompt.recording, prompt.last_step
        assert prompt.frames.shape[1:] == (32, 32, 3)
        motions = join(recording.robot_actions[first:-1], prompt.stride)[:, :3]
        if self.feedback:
            motions = self.feedback.centroids[self.feedback.encode_sequence(motions)]
        self.motions, self.pose = iter(motions), recording.sim_state[first][:3]

    def step(self, actions):
        self.pose = self.pose + next(self.motions)

    def close(self):
        self.envs = []


def look(env):
    """Where the square is, and which pixels it covers."""
    frame = draw(env.pose)
    ((x, y, _),) = ExactReader().read(frame[None]).tool
    rows, columns = np.mgrid[:32, :32] * PIXEL_M
    is_robot = (abs(columns - x - 0.02) < 0.021) & (abs(rows - y - 0.02) < 0.021)
    pose, boxes = np.array([*env.pose, 0.0, 0.0, 0.0, 1.0]), np.full((5, 3), np.nan)
    return Moment(frame, pose, boxes, np.zeros(5, bool), is_robot.astype(np.uint8))


class OneCode(TransitionCodes):
    """Says the same of every transition."""

    num_codes = 1

    def encode(self, window):
        codes = np.zeros(len(window.video) - 1, int)
        return Transitions(codes, codes[:, None].astype(float))


class FeedbackCodes(TransitionCodes):
    """Knows the code of a whole sequence, but names a neighbour of each transition alone."""

    def encode(self, window):
        codes = super().encode(window).codes - 1
        return Transitions(codes, codes[:, None].astype(float))

    def encode_sequence(self, window, start):
        return super().encode(window).codes[start:]


@pytest.fixture
def robot(monkeypatch):
    monkeypatch.setattr(sim_rollout, "MujocoWorld", ToyMujoco)
    monkeypatch.setattr(sim_rollout, "look", look)
    readers = PoseReaders(ExactReader(), ExactReader())
    monkeypatch.setattr(sim_rollout, "fit_pose_readers", lambda *_, **__: readers)
    return ToyRobot(12, simulated=True)


def compare(robot, world=None, *, context=None, **settings):
    codes = TransitionCodes(robot)
    world = world or TruePhysics(robot, codes.table)
    context = make_context(robot, encoder=codes, world=world, **(context or {}))
    return run_suite(SimRollout(**{"num_clips": 6, "horizon": 5} | settings), context)


def test_the_world_itself_reaches_the_cap(robot):
    result = compare(robot)
    for name in ("psnr", "changed_psnr", "robot_psnr"):
        assert result.metrics[name].value == 100.0
        assert result.metrics[name].ceiling == 100.0
        assert result.metrics[f"{name}/gain_over_copy_last"].ci95[0] > 0
    assert result.metrics["replay_psnr"].value == 100.0
    assert result.metrics["psnr"].n_units == 6
    assert not any("bit for bit" in note for note in result.notes)


def test_a_world_that_stands_still_gains_nothing(robot):
    metrics = compare(robot, HeldFrame()).metrics
    for name in ("psnr", "changed_psnr"):
        gain = metrics[f"{name}/gain_over_copy_last"]
        assert (gain.value, gain.ci95) == (0.0, (0.0, 0.0))
        assert metrics[name].value == metrics[name].baselines["copy_last"]


def test_imagination_is_compared_with_videos_that_know_nothing(robot):
    """The mean frame, the blurred prompt and another clip are next to the held prompt."""
    result = compare(robot)
    for name in ("psnr", "changed_psnr", "robot_psnr"):
        known = result.metrics[name].baselines
        assert {"copy_last", *UNINFORMED} <= known.keys()
        for other in UNINFORMED:
            gain = result.metrics[f"{name}/gain_over_{other}"]
            assert gain.value == pytest.approx(100.0 - known[other])
            assert gain.ci95[0] > 0
    still = compare(robot, HeldFrame()).metrics["changed_psnr"]
    # Where holding the prompt is wrong by construction, a grey picture is less wrong.
    assert still.baselines["mean_frame"] > still.baselines["copy_last"]
    assert still.baselines["blurred_prompt"] > still.baselines["copy_last"]


def test_errors_are_next_to_those_of_the_held_prompt(robot):
    result = compare(robot)
    assert {"tool_error", "box_error"} < set(result.headline)
    error = result.metrics["tool_error"]
    over = result.metrics["tool_error/over_copy_last"]
    assert over.value == pytest.approx(error.value - error.baselines["copy_last"])
    assert over.ci95[1] < 0
    held = compare(robot, HeldFrame()).metrics["tool_error/over_copy_last"]
    assert (held.value, held.ci95) == (0.0, (0.0, 0.0))


@pytest.mark.parametrize("num_prompt_frames", [1, 3])
def test_codes_of_the_sequence_steer_and_codes_alone_are_next_to_them(robot, num_prompt_frames):
    settings = {"num_clips": 6, "horizon": 5, "num_prompt_frames": num_prompt_frames}
    world = TruePhysics(robot, TransitionCodes(robot).table)
    context = make_context(robot, encoder=FeedbackCodes(robot), world=world)
    sequence = SimRollout(**settings).evaluate(context)
    assert sequence.metrics["psnr"].value == 100.0
    assert sequence.metrics["psnr/codes_alone"].value < 40
    assert sequence.metrics["tool_error/codes_alone"].value > 10
    context = make_context(robot, encoder=TransitionCodes(robot), world=world)
    alone = SimRollout(**settings).evaluate(context)
    assert alone.metrics["psnr/codes_alone"].value == alone.metrics["psnr"].value == 100.0
    noted = [any("codes_alone are equal" in n for n in x.notes) for x in (sequence, alone)]
    assert noted == [False, True]


@pytest.mark.parametrize("num_prompt_frames", [1, 3])
def test_copy_last_holds_the_last_prompt_frame(robot, num_prompt_frames):
    result = compare(robot, num_prompt_frames=num_prompt_frames)
    for row in result.per_episode:
        e = int(row["episode_id"][4:], 16)
        last = row["start"] + num_prompt_frames - 1
        video = robot.video(e)
        for t in (1, 5):
            (expected,) = frame_psnr(video[[last + t]], video[[last]])
            assert row[f"psnr_copy_last_t{t}"] == pytest.approx(expected)
            assert row[f"psnr_recorded_t{t}"] == 100.0


def test_three_paths_of_control(robot):
    codes = TransitionCodes(robot)
    world = ToyRobotWorld(robot, table=codes.table)
    # The gain of random codes is noise about 0: six clips would not tell.
    metrics = compare(robot, world, num_clips=36).metrics
    assert metrics["psnr/robot_actions"].value == 100.0
    assert metrics["psnr/random_codes"].value < 40
    assert metrics["gain/robot_actions"].value == pytest.approx(1.0)
    assert metrics["gain/random_codes"].value < 0.5
    free = metrics["gain"].baselines["random_codes"]
    assert free == metrics["gain/random_codes"].value
    assert metrics["tool_error/random_codes"].value > 10
    assert codes.num_codes > 1


def test_codes_for_every_motion_are_as_good_as_the_actions(robot):
    metrics = compare(robot, context={"fit": ToyEpisodes(robot, range(12))}).metrics
    for name in ("psnr", "changed_psnr", "robot_psnr"):
        assert metrics[f"{name}/greedy_codes"].value == 100.0
    assert metrics["gain/greedy_codes"].value == pytest.approx(1.0)
    assert metrics["tool_error/above_floor/greedy_codes"].value == pytest.approx(0.0, abs=1e-9)


def test_a_single_centroid_is_the_mean_motion(robot):
    context = make_context(robot, encoder=OneCode(robot), world=HeldFrame())
    metrics = SimRollout(num_clips=6, horizon=5).evaluate(context).metrics
    assert metrics["psnr/greedy_codes"].value < 40
    assert metrics["gain/greedy_codes"].value < 0.5
    assert metrics["tool_error/greedy_codes"].value > 10


def quantised(context, robot_actions):
    """The centroids of the motions of a rollout, with error feedback."""
    feedback = fit_motion_centroids(context, name="test")
    return feedback.centroids[feedback.encode_sequence(robot_actions[:, :3])]


def test_centroids_are_the_cluster_centres_of_motions(robot):
    fit, test = range(6), range(6, 12)
    for e in fit:  # two motions, three times as much of the one as of the other
        robot.actions[e][:, :3] = [0.01, 0.0, 0.0]
        robot.actions[e][::4, :3] = [-0.03, 0.02, 0.0]
    for e in test:
        robot.actions[e][:, :3] = [0.05, 0.0, -0.01]
    context = make_context(robot, encoder=FakeEncoder(2, lambda _: None))
    motions = quantised(context, robot.actions[6])
    np.testing.assert_allclose(motions, np.broadcast_to([0.01, 0, 0], (19, 3)), atol=1e-9)


def test_quantised_motions_keep_up_with_the_true_ones(robot):
    for e in range(6):  # still, or a centimetre along x
        robot.actions[e][:, :3] = 0.0
        robot.actions[e][::2, 0] = 0.01
    robot.actions[6][:, :3] = [0.004, 0.0, 0.0]
    context = make_context(robot, encoder=FakeEncoder(2, lambda _: None))
    motions = quantised(context, robot.actions[6])[:, 0]
    moved = motions.cumsum()
    assert set(motions.round(9)) == {0.0, 0.01}
    assert abs(moved - 0.004 * np.arange(1, 20)).max() < 0.04  # alone they would all stay still
    assert moved[-1] > 0.04


def test_without_episodes_to_fit_on_greedy_codes_are_undefined_with_a_reason(robot):
    result = compare(robot, context={"num_fit": 0})
    metrics = result.metrics
    assert set(result.headline) <= metrics.keys()
    for name in ("psnr", "changed_psnr", "tool_error", "gain"):
        assert metrics[f"{name}/greedy_codes"].value is None
        assert "no episode to fit on" in metrics[f"{name}/greedy_codes"].reason


def test_without_a_map_the_robot_path_is_undefined_with_a_reason(robot):
    metrics = compare(robot).metrics
    for name in ("psnr", "robot_psnr", "tool_error", "tool_error/drift", "gain", "lag"):
        assert metrics[f"{name}/robot_actions"].value is None
        assert "nothing maps robot actions" in metrics[f"{name}/robot_actions"].reason


def test_the_world_itself_has_gain_one_and_lag_zero(robot):
    metrics = compare(robot).metrics
    for name, expected in (
        ("tool_error/above_floor", 0.0),
        ("tool_error/drift", 0.0),
        ("gain", 1.0),
        ("lag", 0.0),
    ):
        assert metrics[name].value == pytest.approx(expected, abs=1e-12)
    assert metrics["tool_error"].value == metrics["tool_error"].ceiling
    assert metrics["box_error"].value is None


@pytest.mark.parametrize(
    ("changes", "gain", "lag"), [({"scale": 0.5}, 0.5, 0), ({"delay": 1}, None, 1)]
)
def test_weak_and_late_worlds_are_detected(robot, changes, gain, lag):
    metrics = compare(robot, ToyRobotWorld(robot, **changes)).metrics
    if gain is not None:
        # Positions are whole pixels, 1 cm, and motions are 2 cm.
        assert metrics["gain/robot_actions"].value == pytest.approx(gain, abs=0.08)
    assert metrics["lag/robot_actions"].value == lag
    assert metrics["tool_error/above_floor/robot_actions"].value > 0


def test_a_world_that_stands_still_has_no_gain_and_no_lag(robot):
    metrics = compare(robot, HeldFrame()).metrics
    assert metrics["gain"].value == 0.0
    assert metrics["lag"].value is None
    assert metrics["tool_error"].value == metrics["tool_error"].baselines["copy_last"]


def test_frames_and_steps_stay_aligned_under_a_stride(robot):
    context = make_context(
        robot,
        encoder=OneCode(robot),
        world=HeldFrame(),
        test=ToyEpisodes(robot, range(6, 12), frame_stride=2),
    )
    result = SimRollout(num_clips=6, horizon=5).evaluate(context)
    assert result.metrics["replay_psnr"].value == 100.0
    row = result.per_episode[0]
    video = robot.video(int(row["episode_id"][4:], 16))
    (expected,) = frame_psnr(video[[row["start"] + 6]], video[[row["start"]]])
    assert row["psnr_copy_last_t3"] == pytest.approx(expected)


def test_a_replay_that_differs_from_the_recording_is_named(robot, monkeypatch):
    def brighter(env):
        moment = look(env)
        return moment._replace(frame=np.minimum(moment.frame, 235) + 20)

    monkeypatch.setattr(sim_rollout, "look", brighter)
    result = compare(robot)
    assert result.metrics["replay_psnr"].value < 30
    assert any("not the recording bit for bit" in note for note in result.notes)


def test_real_episodes_are_undefined_with_a_reason():
    result = compare(ToyRobot(4))
    for name in result.headline:
        assert result.metrics[name].value is None
        assert "no simulator state" in result.metrics[name].reason


def test_short_episodes_are_undefined_with_a_reason(robot):
    result = compare(robot, horizon=15, num_prompt_frames=9, context={"num_frames": 40})
    assert result.metrics["tool_error"].value is None
    assert "lower suite.sim_rollout.horizon" in result.metrics["tool_error"].reason


@pytest.mark.parametrize(
    "sizes", [{"num_prompt_frames": 16}, {"num_prompt_frames": 18}, {"horizon": 0}]
)
@pytest.mark.parametrize("suite", [SimRollout, Controllability])
def test_no_room_to_imagine_is_refused_with_the_settings(robot, suite, sizes):
    context = make_context(robot, encoder=TransitionCodes(robot), world=HeldFrame())
    with pytest.raises(ValueError, match=rf"change suite.{suite.name}.num_prompt_frames"):
        suite(**sizes).evaluate(context)


def test_fast_takes_fewer_prompts(robot):
    result = compare(robot, num_clips=36, context={"num_fit": 2, "fast": True})
    assert len(result.per_episode) == 6


def test_figures(robot):
    figures = compare(robot).figures
    assert set(figures) == {"horizon", "strip"} == set(CAPTIONS["sim_rollout"])
    (legend,) = figures["horizon"].legends
    names = [text.get_text() for text in legend.get_texts()]
    paths = ["codes", "random codes", "MuJoCo coded"]
    assert names == [*paths, "copy last", "tokenizer"]
    assert [axes.get_legend() for axes in figures["horizon"].axes] == [None] * 3
    *_, below = np.reshape(figures["strip"].axes, (len(names), -1))
    assert [len(axes.images) for axes in below] == [0, *[1] * (len(below) - 1)], "no raw prompt"
