import pickle
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import TimeLimit

from genie_robo import types
from genie_robo.sim.actions import ACTION_NAMES
from genie_robo.sim.robots import MENAGERIE
from genie_robo.sim.scene import SceneSpec
from genie_robo.sim.tabletop import Tabletop

STILL = np.array([0, 0, 0, 0, 0, 0, 1.0])


def roll(env: Tabletop, seed: int, num_actions: int = 6) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    frames = [env.reset(seed=seed)[0]["pixels"]]
    for _ in range(num_actions):
        action = np.array([*rng.uniform(-0.05, 0.05, 3), 0, 0, 0, float(rng.integers(2))])
        frames.append(env.step(action)[0]["pixels"])
    return frames


@pytest.mark.parametrize("task", ["reach", "push", "pick"])
def test_gymnasium_makes_it_and_accepts_it(task):
    env = gymnasium.make("genie_robo.sim:Genie/Tabletop-v0", task=task, image_size=(32, 24))
    check_env(env.unwrapped)  # raises or warns, and warnings are errors
    assert env.reset(seed=0)[0]["pixels"].shape == (32, 24, 3)
    assert env.observation_space.contains(env.reset(seed=0)[0])
    assert env.observation_space.contains(env.step(env.action_space.sample())[0])


def test_action_names_are_those_of_the_datasets():
    assert ACTION_NAMES == types.ACTION_NAMES


def test_same_seed_same_frames_and_other_seed_other_frames():
    first, again, other = roll(Tabletop(), 5), roll(Tabletop(), 5), roll(Tabletop(), 6)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_restored_state_continues_exactly():
    env = Tabletop()
    roll(env, 7)
    scene, state, padded = env.scene, env.state(), env.padded_state()
    assert np.array_equal(state, state.astype(np.float32))
    assert len(padded) == env.padded_state_size
    action = np.array([0.03, -0.02, -0.04, 0, 0, 0.1, 0.0])
    expected = [env.render()] + [env.step(action)[0]["pixels"] for _ in range(4)]
    end = env.state()
    other = Tabletop()
    other.restore(scene, padded)
    frames = [other.render()] + [other.step(action)[0]["pixels"] for _ in range(4)]
    assert np.array_equal(frames, expected)
    assert np.array_equal(other.state(), end)


def test_a_saved_state_gives_the_same_steps_again_also_after_pickling():
    env, actions = Tabletop(), [[0.03, -0.02, -0.04, 0, 0, 0.1, 0.0]] * 5
    roll(env, 7)
    saved = env.get_state()
    first = [env.step(np.array(action)) for action in actions]
    roll(env, 8)
    other = Tabletop()
    for again, state in ((env, saved), (other, pickle.loads(pickle.dumps(saved)))):
        again.set_state(state)
        for action, expected in zip(actions, first, strict=True):
            result = again.step(np.array(action))
            assert np.array_equal(result[0]["pixels"], expected[0]["pixels"])
            assert np.array_equal(result[0]["agent_pos"], expected[0]["agent_pos"])
            assert result[1:] == expected[1:]


def test_reached_is_within_three_centimetres_of_the_top_of_the_box(env):
    box = env.scene.boxes[env.scene.target]
    x, y = box.position
    scenes = [
        replace(env.scene, task="reach", start=(x, y, 2 * box.half_size[2] + height))
        for height in (0.024, 0.036)
    ]
    assert [reset_reward(scene) for scene in scenes] == [(True, 1.0), (False, 0.0)]


def reset_reward(scene: SceneSpec) -> tuple[bool, float]:
    """Whether the start is a success, and the reward of standing still."""
    env = Tabletop(scene=scene, image_size=(8, 8))
    info = env.reset(seed=0)[1]
    return info["is_success"], env.step(STILL)[1]


def test_observation_is_the_tool_pose_and_ends_in_time(env):
    short = TimeLimit(Tabletop(scene=env.scene), 3)
    obs, _ = short.reset(seed=0)
    assert np.allclose(obs["agent_pos"], short.unwrapped.pose, atol=1e-6)
    assert np.allclose(obs["agent_pos"][:3], env.scene.start, atol=0.003)
    ends = [short.step(STILL)[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]


def test_videos_have_the_control_rate(env):
    assert Tabletop(control_hz=5.0).metadata["render_fps"] == 5.0
    given = Tabletop(scene=replace(env.scene, control_hz=2.0), control_hz=5.0)
    assert given.metadata["render_fps"] == 2.0
    assert Tabletop.metadata["render_fps"] == 3.0


def test_a_vector_of_tabletops_obeys_the_time_limit():
    envs = gymnasium.make_vec(
        "genie_robo.sim:Genie/Tabletop-v0", num_envs=2, max_episode_steps=3, image_size=(8, 8)
    )
    envs.reset(seed=0)
    ends = [envs.step(np.stack([STILL, STILL]))[3].tolist() for _ in range(3)]
    assert ends == [[False, False], [False, False], [True, True]]
    envs.close()


def test_given_scene_stays(env):
    again = Tabletop(scene=env.scene)
    first = again.reset(seed=11)[0]["pixels"]
    assert again.scene == env.scene
    assert np.array_equal(first, again.reset(seed=12)[0]["pixels"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: np.nan}, "7 finite numbers, dx dy dz droll dpitch dyaw gripper"),
        ({1: 0.3}, r"action dy=0.3 is outside \[-0.06, 0.06\]; clip"),
        ({6: -1.0}, r"action gripper=-1 is outside \[0, 1\]"),
    ],
)
def test_bad_actions_are_refused(env, change, message):
    action, before = STILL.copy(), env.state()
    for index, value in change.items():
        action[index] = value
    with pytest.raises(ValueError, match=message):
        env.step(action)
    assert np.array_equal(env.state(), before)


def test_actions_of_another_length_are_refused(env):
    with pytest.raises(ValueError, match="an action is 7 finite numbers"):
        env.step(np.zeros(6))


def test_state_of_another_scene_is_refused(env):
    with pytest.raises(ValueError, match=r"boxes has a state of .* but 10 were given"):
        env.restore(env.scene, np.zeros(10))


@pytest.mark.parametrize("robot", MENAGERIE)
def test_menagerie_robot_moves_as_told(menagerie, robot):
    env = Tabletop(robot=robot, image_size=(16, 16))
    env.reset(seed=1)
    for action in ([0.03, 0, 0], [0, 0.03, 0], [0, 0, -0.03]):
        before = env.pose
        env.advance(np.array([*action, 0, 0, 0, 1.0]))
        assert np.allclose(env.pose[:3] - before[:3], action, atol=0.003)
    env.advance(np.array([0, 0, 0, 0, 0, 0, 0.0]))
    assert env.pose[6] < 0.1
