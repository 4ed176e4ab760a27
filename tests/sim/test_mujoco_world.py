import copy
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from genie_robo.data.actions import compose_actions
from genie_robo.inference.error_feedback import ErrorFeedback
from genie_robo.inference.world import Codes, Prompt, World, code_steps, robot_steps, roll_out
from genie_robo.sim.mujoco_world import MujocoWorld
from genie_robo.sim.replay import replay
from genie_robo.sim.restore import execute, restore, split_actions


def frames_of(episode):
    return np.stack([np.asarray(Image.open(io.BytesIO(b))) for b in episode.images["primary"]])


def prompt_of(episode, *, start=0, stride=1, num_frames=1):
    frames = frames_of(episode)[start::stride][:num_frames]
    return Prompt(frames=frames, start=start, stride=stride, recording=episode)


def test_mujoco_is_a_world():
    assert isinstance(MujocoWorld(), World)


@pytest.mark.parametrize("stride", [1, 2])
def test_codes_execute_the_recording_bit_for_bit(episodes, stride):
    prompts = [prompt_of(e, start=2, stride=stride, num_frames=2) for e in episodes[:2]]
    world = MujocoWorld()
    shown = world.start(prompts, [0, 0])
    video = roll_out(world, prompts, code_steps(np.zeros((2, 4), int)), seeds=[0, 0])
    for episode, prompt, first, later in zip(episodes, prompts, shown.frames, video, strict=False):
        true = frames_of(episode)[prompt.last_step :: stride]
        assert (first == true[0]).all()
        assert (later == true[1:5]).all()
    world.close()


def test_behind_the_recording_the_robot_holds_still(episodes):
    prompt = prompt_of(episodes[0], start=episodes[0].num_steps - 2)
    video = roll_out(MujocoWorld(), [prompt], code_steps(np.zeros((1, 4), int)), seeds=[0])[0]
    assert (video[0] == frames_of(episodes[0])[-1]).all()
    assert np.abs(video[3].astype(int) - video[2]).max() < 20


def test_robot_actions_of_a_frame_are_executed_in_equal_parts(episodes):
    episode, stride = episodes[0], 3
    motions = compose_actions(episode.robot_actions[:6].astype(np.float64), stride)
    prompt = prompt_of(episode, stride=stride)
    video = roll_out(MujocoWorld(), [prompt], robot_steps(motions[None]), seeds=[0])[0]
    size = video.shape[1:3]
    steps = split_actions(motions, stride)
    expected = replay(episode, start=0, robot_actions=steps, image_size=size, stride=stride)
    assert (video == expected.video[1:]).all()


def test_a_late_world_shows_every_frame_one_later(episodes):
    prompt, steps = prompt_of(episodes[0]), code_steps(np.zeros((1, 6), int))
    on_time = roll_out(MujocoWorld(), [prompt], steps, seeds=[0])[0]
    late = roll_out(MujocoWorld(delay=1), [prompt], steps, seeds=[0])[0]
    assert np.abs(late[1:].astype(int) - on_time[:-1]).mean() < 1.0
    assert np.abs(late[1:].astype(int) - on_time[1:]).mean() > 1.0


def test_scaled_motions_bring_the_tool_less_far(episodes):
    motions = np.tile([0.0, 0.0, 0.03, 0, 0, 0, 1.0], (1, 4, 1))
    rises = []
    for scale in (1.0, 0.5):
        world = MujocoWorld(scale=scale)
        world.start([prompt_of(episodes[0])], [0])
        before = world.envs[0].pose[2]
        for step in robot_steps(motions):
            world.step(step)
        rises.append(world.envs[0].pose[2] - before)
        world.close()
    assert rises[1] == pytest.approx(rises[0] / 2, abs=0.005)


def test_quantised_motions_are_centroids_with_error_feedback(episodes):
    centroids = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.03]])
    feedback = ErrorFeedback.to_nearest(centroids)
    motions = np.tile([0.0, 0.0, 0.012, 0, 0, 0, 1.0], (5, 1))
    prompt = prompt_of(episodes[0])
    video = roll_out(
        MujocoWorld(feedback=feedback), [prompt], robot_steps(motions[None]), seeds=[0]
    )
    executed = motions.copy()
    executed[:, :3] = centroids[feedback.encode_sequence(motions[:, :3])]
    assert 0 < executed[:, 2].sum() < 0.15
    size = video.shape[2:4]
    expected = replay(episodes[0], start=0, robot_actions=executed, image_size=size)
    assert (video[0] == expected.video[1:]).all()


def test_a_shallow_copy_is_an_independent_world(episodes):
    world = MujocoWorld()
    first = world.start([prompt_of(episodes[0])], [0])
    other = copy.copy(world)
    other.start([prompt_of(episodes[1])], [0])
    other.close()
    again = world.step(Codes(np.zeros(1, int)))
    assert (first.frames == frames_of(episodes[0])[:1]).all()
    assert (again.frames == frames_of(episodes[0])[1:2]).all()


def test_mujoco_goes_back_to_a_state_as_often_as_wanted(episodes):
    feedback = ErrorFeedback.to_nearest(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.03]]))
    world = MujocoWorld(delay=1, feedback=feedback)
    prompt = prompt_of(episodes[0])
    world.start([prompt], [0])
    up = robot_steps(np.tile([0.0, 0.0, 0.02, 0, 0, 0, 1.0], (1, 5, 1)))
    world.step(up[0])
    state = world.get_state()
    first = np.stack([world.step(action).frames for action in up])
    assert (first[0] != first[-1]).any()
    for _ in range(2):
        world.set_state(state)
        assert (np.stack([world.step(action).frames for action in up]) == first).all()
    world.close()


def test_an_image_without_a_recording_is_refused(episodes):
    prompt = replace(prompt_of(episodes[0]), recording=None, name="sketch.png")
    with pytest.raises(ValueError, match=r"prompt sketch.png has none"):
        MujocoWorld().start([prompt], [0])


def test_a_restored_task_changes_what_counts_as_success_only(episodes):
    episode = episodes[0]
    env = restore(episode, 3, task="reach")
    poses = execute(env, episode.robot_actions[3:7], lambda env: env.pose, stride=2)
    assert env.scene.task == "reach"
    assert np.allclose(poses, episode.end_effector_pose[3:8:2], atol=1e-6)
    env.close()


def test_a_motion_is_cut_into_equal_steps_and_the_gripper_is_not():
    actions = np.array([[0.06, -0.02, 0.0, 0.0, 0.0, 0.3, 1.0], [0.0] * 7])
    steps = split_actions(actions, 2)
    assert steps.shape == (4, 7)
    assert steps[1].tolist() == pytest.approx([0.03, -0.01, 0.0, 0.0, 0.0, 0.15, 1.0])
    assert steps[0].tolist() == steps[1].tolist()
