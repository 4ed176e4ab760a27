import numpy as np
import pytest

from genie_robo.sim.actions import ACTION_HIGH, ACTION_LOW
from genie_robo.sim.contact import box_centres, moves_a_box
from genie_robo.sim.policies import POLICIES, make_policy, roll_policy
from genie_robo.sim.robots import MENAGERIE
from genie_robo.sim.tabletop import Tabletop

BAD = ("idle", "jitter", "wrong_way", "empty_handed")


def roll(env: Tabletop, name: str, seed: int, *, noise: float, num_steps: int = 30):
    """Whether it ever succeeded, and the actions until then."""
    env.reset(seed=seed)
    policy = make_policy(name, seed=seed, noise=noise)
    solved, actions = roll_policy(
        env,
        lambda env, _: policy.act(env),
        lambda env: env.is_success,
        num_actions=num_steps,
        until=lambda env: env.is_success,
    )
    return any(solved), np.array(actions)


@pytest.mark.parametrize("task", ["pick", "push", "reach"])
def test_experts_succeed_without_noise(task):
    env = Tabletop(task=task, image_size=(8, 8))
    successes = [roll(env, task, seed, noise=0.0)[0] for seed in range(10)]
    assert sum(successes) >= 9


@pytest.mark.parametrize("task", ["pick", "push", "reach"])
@pytest.mark.parametrize("robot", MENAGERIE)
def test_experts_succeed_with_menagerie_robots(menagerie, robot, task):
    env = Tabletop(task=task, robot=robot, image_size=(8, 8))
    successes = [roll(env, task, seed, noise=1.0, num_steps=40)[0] for seed in range(5)]
    assert sum(successes) >= 4


def test_reaching_leaves_the_box_where_it_is():
    env = Tabletop(task="reach", image_size=(8, 8))
    env.reset(seed=0)
    before = env.box_position(env.scene.target)
    policy = make_policy("reach", seed=0, noise=0.0)
    while not env.is_success:
        env.advance(policy.act(env))
    assert np.allclose(env.box_position(env.scene.target), before, atol=0.001)


@pytest.mark.parametrize("name", BAD)
def test_bad_policies_fail(name):
    env = Tabletop(task="pick", image_size=(8, 8))
    assert not any(roll(env, name, seed, noise=1.0)[0] for seed in range(2))


@pytest.mark.parametrize("name", POLICIES)
def test_actions_are_in_bounds_and_seeded(name):
    env = Tabletop(task="explore", image_size=(8, 8))
    _, first = roll(env, name, 4, noise=1.0, num_steps=15)
    _, again = roll(env, name, 4, noise=1.0, num_steps=15)
    assert np.array_equal(first, again)
    assert (first >= ACTION_LOW).all()
    assert (first <= ACTION_HIGH).all()


def test_random_policy_is_isotropic_and_forgets():
    env = Tabletop(task="explore", image_size=(8, 8))
    actions = np.concatenate(
        [roll(env, "random", seed, noise=1.0, num_steps=40)[1][:, :3] for seed in range(4)]
    )
    lengths = np.linalg.norm(actions, axis=1)
    assert 0.03 < np.median(lengths) < 0.05
    assert (np.abs(actions.std(axis=0) / actions.std() - 1) < 0.25).all()
    before, after = actions[:-1].ravel(), actions[1:].ravel()
    assert abs(np.corrcoef(before, after)[0, 1]) < 0.45


def test_play_moves_lifts_and_drops_boxes_and_turns_the_wrist():
    env = Tabletop(task="explore", image_size=(8, 8))
    moved, fallen, turned = [], [], []
    for seed in range(6):
        env.reset(seed=seed)
        policy = make_policy("play", seed=seed)
        moments, actions = roll_policy(
            env, lambda env, _, p=policy: p.act(env), box_centres, num_actions=60
        )
        heights = np.stack(moments)[:, :, 2]
        moved.append(moves_a_box(np.stack(moments)).mean())
        fallen.append((heights[:-1] - heights[1:]).max() > 0.03)
        turned.append((np.abs(np.stack(actions)[:, 5]) > 0.05).mean())
    assert min(moved) > 0.3
    assert sum(fallen) >= 2
    assert np.mean(turned) > 0.05


def test_unknown_policy_is_refused():
    with pytest.raises(ValueError, match="policy=dance is not known; choose one of pick, push"):
        make_policy("dance", seed=0)


def test_a_rolled_policy_gives_what_is_seen_before_and_after_every_action():
    env = Tabletop(image_size=(8, 8))
    env.reset(seed=0)
    still = np.array([0, 0, 0, 0, 0, 0, 1.0])
    up = still + [0, 0, 0.02, 0, 0, 0, 0]  # noqa: RUF005 (a sum, not a list)
    start = env.pose[2]
    seen, actions = roll_policy(
        env,
        lambda env, height: up if height < start + 0.05 else still,
        lambda env: env.pose[2],
        num_actions=6,
    )
    assert (len(seen), len(actions)) == (7, 6)
    assert [action[2] > 0 for action in actions] == [height < start + 0.05 for height in seen[:-1]]
    heights, none = roll_policy(
        env, lambda env, _: up, lambda env: env.pose[2], num_actions=9, until=lambda env: True
    )
    assert (heights, none) == ([seen[-1]], [])
