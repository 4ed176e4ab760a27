import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from genie_robo.sim.replay import replay
from genie_robo.sim.scene import SceneSpec


def frames_of(episode) -> np.ndarray:
    return np.stack([np.asarray(Image.open(io.BytesIO(b))) for b in episode.images["primary"]])


@pytest.mark.parametrize("start", [0, 5, 13])
def test_stored_actions_give_the_stored_frames(episodes, start):
    for episode in episodes:
        result = replay(episode, start=start, robot_actions=episode.robot_actions[start:-1])
        assert np.array_equal(result.video, frames_of(episode)[start:])
        assert np.allclose(result.end_effector, episode.end_effector_pose[start:, :3], atol=1e-6)


def test_geoms_move_and_turn(episodes):
    episode = episodes[0]
    result = replay(episode, start=0, robot_actions=episode.robot_actions[:5], image_size=(20, 30))
    boxes = SceneSpec.from_json(episode.scene).boxes
    assert result.video.shape == (6, 20, 30, 3)
    assert result.positions.shape == (6, len(result.geoms), 3)
    assert np.allclose(result.rotations @ result.rotations.swapaxes(-1, -2), np.eye(3), atol=1e-6)
    assert result.object_positions.shape == (6, len(boxes), 3)
    names = [geom.name for geom in result.geoms]
    first = names.index("box_0")
    assert np.allclose(result.geoms[first].size, boxes[0].half_size)
    assert np.allclose(result.positions[:, first], result.object_positions[:, 0])
    assert np.allclose(result.object_positions[0, 0, :2], boxes[0].position, atol=0.005)
    finger, table = names.index("left_finger"), names.index("table")
    assert np.ptp(result.positions[:, finger], axis=0).max() > 0.02
    assert np.ptp(result.positions[:, table], axis=0).max() == 0
    assert {geom.kind for geom in result.geoms} == {"plane", "box", "capsule"}


def test_other_actions_end_elsewhere(episodes):
    episode = episodes[0]
    still = np.tile([0, 0, 0, 0, 0, 0, 1.0], (4, 1))
    result = replay(episode, start=2, robot_actions=still)
    assert np.ptp(result.end_effector, axis=0).max() < 0.003


def test_real_episodes_and_wrong_steps_are_refused(episodes):
    episode, actions = episodes[0], np.zeros((1, 7))
    with pytest.raises(ValueError, match="episode 0 holds no simulator state"):
        replay(replace(episode, sim_state=None), start=0, robot_actions=actions)
    with pytest.raises(ValueError, match=r"start=14 is not a step of episode 0, .* steps 0 to 13"):
        replay(episode, start=14, robot_actions=actions)


def test_mesh_robot_shows_its_meshes(menagerie, episodes):
    from genie_robo.sim.tabletop import Tabletop

    env = Tabletop(robot="wx250s", image_size=(8, 8))
    env.reset(seed=0)
    episode = replace(
        episodes[0], scene=env.scene.to_json(), sim_state=np.tile(env.padded_state(), (14, 1))
    )
    result = replay(episode, start=3, robot_actions=np.zeros((0, 7)), image_size=(8, 8))
    assert np.array_equal(result.video[0], env.render())
    mesh = next(geom for geom in result.geoms if geom.kind == "mesh")
    assert mesh.vertices is not None
    assert mesh.faces is not None
    assert mesh.faces.max() == len(mesh.vertices) - 1


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_a_hostile_state_is_named_by_its_episode(episodes, value):
    episode = episodes[0]
    state = episode.sim_state.copy()
    state[2, 3] = value
    broken = replace(episode, sim_state=state)
    reason = rf"episode {episode.episode_id}: the simulator state of step 2 cannot be restored"
    with pytest.raises(ValueError, match=reason):
        replay(broken, start=2, robot_actions=np.zeros((1, 7)))


def test_a_huge_state_and_a_hostile_scene_are_named_by_their_episode(episodes):
    episode = episodes[0]
    huge = replace(episode, sim_state=np.zeros((episode.num_steps, 20_000)))
    with pytest.raises(ValueError, match=rf"episode {episode.episode_id}: .*20,000 numbers"):
        replay(huge, start=0, robot_actions=np.zeros((1, 7)))
    scene = episode.scene.replace('"control_hz": ', '"control_hz": 1e-7, "was": ')
    with pytest.raises(ValueError, match=rf"^episode {episode.episode_id}: an episode's scene"):
        replay(replace(episode, scene=scene), start=0, robot_actions=np.zeros((1, 7)))
