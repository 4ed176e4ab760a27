from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from eval_fakes import FakeEncoder, ToyRobot, make_context

from genie_robo.eval_suites import behaviour_cloning
from genie_robo.eval_suites.base import SuiteResult, Transitions, run_suite
from genie_robo.eval_suites.behaviour_cloning import (
    FIRST_DEMONSTRATION,
    FIRST_TRIAL,
    BehaviourCloning,
)
from genie_robo.eval_suites.comparing import compare
from genie_robo.eval_suites.simulated.cloned_policy import clone_actions, clone_codes
from genie_robo.eval_suites.simulated.cloning_task import CloningTask, goal_of, privileged
from genie_robo.eval_suites.table import Table
from genie_robo.inference.action_map import ActionDictionary
from genie_robo.sim.policies import make_policy
from genie_robo.sim.scene import COLORS, sample_scene

TASK = CloningTask(
    name="reach",
    robot="arm",
    image_size=(32, 32),
    control_hz=3.0,
    max_steps=20,
    renderer="raycast",
)


def ignore(*_):
    return None


@dataclass
class Recorded:
    """A dataset that says how its simulated episodes were recorded."""

    robot: ToyRobot
    scene: str = sample_scene(np.random.default_rng(0), task="reach").to_json()

    def __len__(self):
        return len(self.robot)

    def __getitem__(self, e):
        return replace(self.robot[e], scene=self.scene)


@dataclass
class KnowsActions:
    """A perfect latent action model: the nearest of some true actions, by looking them up."""

    demonstrations: list
    num_codes: int = 8
    codes_of: dict = field(default_factory=dict)

    def __post_init__(self):
        every = np.concatenate([shown.robot_actions for shown in self.demonstrations])
        chosen = np.random.default_rng(0).choice(len(every), self.num_codes, replace=False)
        for shown in self.demonstrations:
            distances = np.linalg.norm(shown.robot_actions[:, None] - every[chosen], axis=-1)
            self.codes_of[shown.frames.tobytes()] = distances.argmin(1)

    def encode(self, window):
        assert not window.robot_actions.any()
        codes = self.codes_of[window.video.tobytes()]
        return Transitions(codes, np.eye(self.num_codes)[codes])


@pytest.fixture(scope="module")
def demonstrations():
    return TASK.demonstrate(range(FIRST_DEMONSTRATION, FIRST_DEMONSTRATION + 12), ignore)


@pytest.fixture(scope="module")
def context():
    robot = ToyRobot(6, simulated=True)
    encoder = FakeEncoder(1, lambda window: np.zeros(len(window.video) - 1))
    return replace(make_context(robot, encoder=encoder), dataset=Recorded(robot), fast=True)


def test_demonstrations_end_with_success_and_hide_their_actions(demonstrations):
    assert len(demonstrations) >= 11
    for shown in demonstrations:
        assert len(shown.frames) == len(shown.robot_actions) + 1
        assert len(shown.robot_actions) < TASK.max_steps
        assert np.abs(shown.robot_actions[:, :3]).max() > 0.02
        assert not shown.window.robot_actions.any()
        assert not shown.window.action_mask.any()


def test_the_goal_is_the_colour_of_the_target_and_the_task():
    env = TASK.new_env()
    env.reset(seed=3)

    goal = goal_of(env.scene.instruction)

    box = env.scene.boxes[env.scene.target]
    np.testing.assert_array_equal(goal[:3], COLORS[box.color])
    assert not goal[3:5].any()
    assert goal[5:].tolist() == [0, 0, 1, 0]
    env.close()


def test_the_expert_solves_and_an_idle_policy_does_not():
    def expert(seed):
        return privileged(make_policy("reach", seed=seed, noise=0.0))

    solved = [TASK.try_policy(expert(seed), [seed], ignore)[0] for seed in range(5)]
    idle = TASK.try_policy(lambda *_: np.array([0, 0, 0, 0, 0, 0, 1.0]), range(5), ignore)

    assert sum(solved) >= 4
    assert not idle.any()


def test_clones_learn_what_can_be_seen():
    """A red square left or right of a blue one, and a goal that is one of them."""
    rng = np.random.default_rng(0)
    frames = np.zeros((64, 32, 32, 3), np.uint8)
    is_right, is_blue = rng.integers(2, size=(2, 64))
    for frame, right in zip(frames, is_right, strict=True):
        frame[10:20, 4 + 16 * right : 12 + 16 * right, 0] = 255
        frame[10:20, 20 - 16 * right : 28 - 16 * right, 2] = 255
    goals = np.array([COLORS["red"], COLORS["blue"]])[is_blue]
    codes = (is_right + is_blue) % 2
    actions = np.zeros((64, 7))
    actions[:, 1] = 0.04 * codes
    common = {"num_steps": 120, "seed": 0, "advance": ignore}

    choose = clone_codes(frames, goals, codes, num_codes=2, **common)
    act = clone_actions(frames, goals, actions, **common)

    assert [choose(f, g) for f, g in zip(frames, goals, strict=True)] == codes.tolist()
    found = np.stack([act(f, g) for f, g in zip(frames, goals, strict=True)])
    np.testing.assert_allclose(found, actions, atol=0.008)


def test_a_perfect_choice_among_enough_codes_solves_every_scene(demonstrations):
    """The choice is the expert's; codes and dictionary are those of a latent policy."""
    actions = np.concatenate([shown.robot_actions for shown in demonstrations])

    def solved(num_codes):
        centers = actions[np.random.default_rng(0).choice(len(actions), num_codes, replace=False)]

        def nearest(action):
            return int(np.linalg.norm(centers - action, axis=-1).argmin())

        codes = np.array([nearest(action) for action in actions])
        dictionary = ActionDictionary.fit(codes, actions, num_codes=num_codes)

        def policy(seed):
            expert = make_policy("reach", seed=seed, noise=0.0)
            return lambda env, frame: behaviour_cloning._through(
                dictionary, lambda *_: nearest(expert.act(env)), seed=seed
            )(env, frame)

        return [TASK.try_policy(policy(seed), [seed], ignore)[0] for seed in range(8)]

    assert all(solved(16))
    assert sum(solved(2)) <= 2


@pytest.mark.slow
def test_with_perfect_codes_the_whole_way_runs(context):
    suite = BehaviourCloning(task="reach", max_steps=10)
    knows = KnowsActions(suite._demonstrate(replace(TASK, renderer="auto"), 12, seed=context.seed))
    first = suite.evaluate(replace(context, encoder=knows))
    again = suite.evaluate(replace(context, encoder=knows))

    metric = first.metrics["success/20"]
    assert metric.ceiling >= 0.75
    assert metric.ceiling >= metric.value >= 0
    assert metric.ci95[0] <= metric.value <= metric.ci95[1]
    assert set(metric.baselines) == {"random", "labels only", "all labels"}
    assert metric.n_units == 4
    assert set(first.table.keys["policy"]) == {
        "latent/20",
        "labels_only/20",
        "oracle",
        "random",
        "expert",
    }
    assert list(first.table.rows()) == list(again.table.rows())


def test_no_scene_is_demonstrated_and_tried():
    assert FIRST_TRIAL - FIRST_DEMONSTRATION > 100_000


def test_without_a_simulator_there_is_nothing_to_try(context):
    real = replace(context, dataset=ToyRobot(6))

    metric = run_suite(BehaviourCloning(), real).metrics["success"]

    assert metric.value is None
    assert "no simulated scene" in metric.reason


def test_success_is_paired_by_scene():
    def tried(solved):
        policies = ["latent/20", "labels_only/20", "oracle", "random", "expert"]
        table = Table(
            [str(n) for n in range(8)] * 5, unit="trial", policy=np.repeat(policies, 8).tolist()
        )
        table.add("solved", np.concatenate([solved, np.zeros(24), np.ones(8)]))
        found = behaviour_cloning._measurements(table, [20], "protocol")
        return SuiteResult.of(found, seed=0, headline=tuple(found), table=table)

    first, other = tried(np.zeros(8)), tried(np.arange(8) < 6)
    (metric,) = compare({"a": first, "b": other})
    assert metric.values == (0.0, 0.75)
    assert other.metrics["success/20"].ci95 == pytest.approx((0.409, 0.929), abs=1e-3)
    assert metric.differences[0].value == 0.75
    assert metric.differences[0].p_value == 2 / 2**6
