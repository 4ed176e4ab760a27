"""Probes of joint commands: the toy robot whose three coordinates are joints of unknown unit."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from eval_fakes import FakeEncoder, ToyEpisodes, ToyRobot, draw, make_context
from undrawn import without_flow

from genie_robo.eval_suites.action_following import ActionFollowing
from genie_robo.eval_suites.base import Transitions
from genie_robo.eval_suites.encoders import OracleEncoder
from genie_robo.eval_suites.few_label import FewLabel
from genie_robo.eval_suites.latent_probe import LatentProbe
from genie_robo.eval_suites.latent_structure import LatentStructure
from genie_robo.eval_suites.latent_transfer import LatentTransfer
from genie_robo.eval_suites.probes.data import collect
from genie_robo.eval_suites.probes.scores import Motion, main_motion
from genie_robo.inference.world import RobotActions, Step

JOINTS_ONLY = np.array([False] * 7 + [True] * 3)
LIMITS = {"min_move": 1e-3, "min_share": 0.1}


def wide(actions, *, end_effector):
    """Ten numbers: the seven where the robot has them, then the three joints."""
    return np.concatenate([actions * end_effector, actions[:, :3]], axis=1)


@dataclass
class JointRobot(ToyRobot):
    """Its actions are changes of three joints; the end effector is given too, if wanted."""

    end_effector: bool = False
    measured: bool = True
    names: tuple[str, ...] = ()

    def __getitem__(self, e):
        episode = super().__getitem__(e)
        has_pose = self.end_effector and self.proprioception
        return replace(
            episode,
            robot_actions=wide(episode.robot_actions, end_effector=self.end_effector),
            action_mask=self.mask,
            end_effector_pose=episode.end_effector_pose if has_pose else None,
            pose_mask=episode.pose_mask & has_pose,
            joints=self.poses[e][:, :3] if self.measured else None,
            joint_starts=np.zeros((self.num_frames, 3)),
            joint_names=self.names,
            joint_units=("rad",) if self.names else (),
        )

    @property
    def mask(self):
        tool = [self.end_effector] * 3 + [False] * 3 + [self.end_effector]
        return np.array(tool + [True] * 3)


@dataclass
class JointEpisodes(ToyEpisodes):
    def whole_episode(self, e):
        window = super().whole_episode(e)
        actions = wide(window.robot_actions, end_effector=self.robot.end_effector)
        return replace(window, robot_actions=actions, action_mask=self.robot.mask)


class Holding:
    """Latents that are the true motion; codes are its eight octants."""

    num_codes = 8

    def encode(self, window):
        motion = window.robot_actions[:, 7:]
        codes = (motion > 0) @ np.array([1, 2, 4])
        return Transitions(codes.astype(np.int64), motion)


def context_of(robot, encoder=None, **changes):
    half = len(robot) // 2
    sides = {
        "fit": JointEpisodes(robot, range(half)),
        "test": JointEpisodes(robot, range(half, len(robot))),
    }
    return make_context(robot, encoder=encoder or Holding(), **sides, **changes)


def test_joints_are_probed_where_there_is_no_end_effector():
    context = context_of(JointRobot(24, correlation=0.0))
    with without_flow():
        result = LatentProbe(labels=(20,)).evaluate(context)
    metrics = result.metrics
    for target in ("achieved", "commanded"):
        assert metrics[f"{target}/joints/r2_latent"].value == pytest.approx(1.0, abs=1e-6)
        assert metrics[f"{target}/joints/r2"].value > 0.5
        assert {f"{target}/joints/r2/joint{j}" for j in range(3)} <= metrics.keys()
        assert metrics[f"{target}/xyz/r2"].value is None
    assert "achieved/joints/r2" in result.headline
    assert not any(" dx" in note for note in result.notes)


def test_named_joints_are_reported_by_group_with_their_units():
    robot = JointRobot(24, correlation=0.0, names=("left_elbow", "left_wrist", "right_elbow"))
    with without_flow():
        result = LatentProbe(labels=(20,)).evaluate(context_of(robot))
    names, metrics = robot.names, result.metrics
    assert {f"achieved/joints/r2/{name}" for name in names} <= metrics.keys()
    assert not any("joint0" in key for key in metrics)
    alone = [metrics[f"achieved/joints/r2/{name}"].value for name in names[:2]]
    assert metrics["achieved/joints/r2/left_arm"].value == pytest.approx(np.mean(alone))
    assert "achieved/joints/r2/right_arm" not in metrics  # its only joint has its own
    assert "Probed in left_arm: left_elbow (rad), left_wrist (rad)." in result.notes


def test_the_end_effector_stays_the_main_motion_where_it_moves():
    robot = JointRobot(24, end_effector=True)
    fit = collect(context_of(robot), context_of(robot).fit, max_episodes=9, description="")
    assert main_motion(fit, **LIMITS) == Motion("achieved", (0, 1, 2))
    robot = JointRobot(24)
    fit = collect(context_of(robot), context_of(robot).fit, max_episodes=9, description="")
    assert main_motion(fit, **LIMITS) == Motion("achieved", (7, 8, 9))
    assert main_motion(fit, **LIMITS).names == ["joint0", "joint1", "joint2"]
    robot = JointRobot(24, measured=False)
    fit = collect(context_of(robot), context_of(robot).fit, max_episodes=9, description="")
    assert main_motion(fit, **LIMITS) == Motion("commanded", (7, 8, 9))


def test_joints_that_stand_still_are_not_probed():
    robot = JointRobot(12)
    for actions in robot.actions:
        actions[:] = 0
    fit = collect(context_of(robot), context_of(robot).fit, max_episodes=6, description="")
    assert main_motion(fit, **LIMITS) is None


def test_where_the_tool_motion_is_achieved_the_joints_are_still_commands():
    robot = JointRobot(12, end_effector=True)
    context = context_of(robot, action_is_achieved=True)
    data = collect(context, context.fit, max_episodes=6, description="")
    assert data.masks["achieved"].tolist() == [True] * 3 + [False] * 3 + [True] * 4
    assert data.masks["commanded"].tolist() == JOINTS_ONLY.tolist()
    assert main_motion(data, **LIMITS) == Motion("achieved", (0, 1, 2))
    np.testing.assert_allclose(data.targets["commanded"][:, 7:], data.targets["achieved"][:, 7:])


class JointWorld:
    """A perfect world that the three joints steer."""

    takes = (RobotActions,)

    def __init__(self, robot):
        self.robot = robot

    def start(self, prompts, seeds):
        self.poses = np.stack([self.robot.pose_at(prompt)[:3] for prompt in prompts])
        return self.show()

    def step(self, actions):
        self.poses = self.poses + actions.values[:, 7:]
        return self.show()

    def show(self):
        frames = np.stack([draw(pose) for pose in self.poses])
        return Step(frames=frames, uncertainty=np.zeros(len(frames)))


@pytest.mark.parametrize(
    ("suite", "metric"),
    [
        (FewLabel(labels=(50,), num_draws=1), "r2/n50"),
        (LatentStructure(num_clips=5), "endpoint_swap/r2"),
        (LatentTransfer(num_clips=5, horizon=3, num_permutations=10), "eta_squared"),
    ],
)
def test_suites_take_the_joints_as_the_main_motion(suite, metric):
    result = suite.evaluate(context_of(JointRobot(16, correlation=0.0)))
    assert result.metrics[metric].value is not None, sorted(result.metrics)


def test_a_perfect_world_follows_joint_actions():
    robot = JointRobot(24, correlation=0.0)
    result = ActionFollowing(num_clips=8, horizon=3).evaluate(
        context_of(robot, world=JointWorld(robot))
    )
    for dimension in ("", "/joint0", "/joint1", "/joint2"):
        imagined, real = (
            result.metrics[f"r2/{frames}{dimension}"].value for frames in ("robot", "real")
        )
        assert imagined == pytest.approx(real)


def test_the_oracle_knows_the_joints():
    robot = JointRobot(12)
    encoder = OracleEncoder(context_of(robot, FakeEncoder(8, lambda w: np.zeros(len(w.video) - 1))))
    window = JointEpisodes(robot, range(12)).whole_episode(7)
    np.testing.assert_allclose(encoder.encode(window).latents, robot.actions[7][:, :3], atol=1e-9)
