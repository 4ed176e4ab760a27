from contextlib import closing

import mujoco
import numpy as np
import pytest
from eval_fakes import ToyRobot
from mujoco_fakes import record_context

from genie_robo.eval_suites.simulated.truth import (
    FIRST_BOX,
    PALETTE,
    ROBOT,
    look,
    recorded_poses,
    stack,
    to_pixels,
    visible_things,
)
from genie_robo.sim.render import RaycastRenderer
from genie_robo.sim.restore import execute, restore
from genie_robo.sim.scene import CAMERA, SceneSpec


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    path = tmp_path_factory.mktemp("known")
    return record_context(path, num_episodes=4, num_steps=8, random=0.0)


def test_executing_the_recorded_actions_gives_the_recording(recorded):
    episode, window = recorded.dataset[2], recorded.test.whole_episode(0)
    with closing(restore(episode, 2, image_size=(32, 32))) as env:
        truth = stack(execute(env, episode.robot_actions[2:7].astype(np.float64), look))
    assert (truth.video == window.video[2:8]).all()
    poses = recorded_poses(episode, range(2, 8))
    assert (truth.poses.tool == poses.tool).all()
    assert np.array_equal(truth.poses.boxes, poses.boxes, equal_nan=True)
    assert poses.tool == pytest.approx(episode.end_effector_pose[2:8, :3], abs=1e-6)
    there = np.isfinite(poses.boxes).all(axis=(0, 2))
    boxes = SceneSpec.from_json(episode.scene).boxes
    assert {PALETTE[k] for k in np.flatnonzero(there)} == {box.color for box in boxes}


def test_the_mask_is_what_vanishes_with_the_robot(recorded):
    with closing(restore(recorded.dataset[0], 4, image_size=(32, 32))) as env:
        mask = visible_things(env, image_size=(32, 32)) == ROBOT
        before = env.render().astype(int)
        model = env.model
        names = [model.body(int(body)).name for body in model.geom_bodyid]
        robot = [not n.startswith("box_") and n != "world" for n in names]
        model.geom_group[np.flatnonzero(robot)] = 5
        mujoco.mj_kinematics(model, env.data)
        without = RaycastRenderer(model, camera=CAMERA, image_size=(32, 32)).render(env.data)
    changed = np.abs(before - without).max(axis=-1) > 0
    assert 20 < mask.sum() < 500
    # What changes besides is its shadow.
    assert changed[mask].mean() > 0.97


def test_what_pixels_show_is_where_the_camera_projects_it(recorded):
    """The centre of every box that is not hidden lies within its own pixels."""
    with closing(restore(recorded.dataset[0], 0, image_size=(64, 64))) as env:
        shows = visible_things(env, image_size=(64, 64))
        centres = [env.box_position(k) for k in range(len(env.scene.boxes))]
        places = to_pixels(np.stack(centres), env.scene.camera, image_size=(64, 64))
        seen = 0
        for box, place in zip(env.scene.boxes, places, strict=True):
            rows, columns = np.nonzero(shows == FIRST_BOX + PALETTE.index(box.color))
            if len(rows) > 12:
                seen += 1
                assert rows.min() <= place[0] <= rows.max() + 1
                assert columns.min() <= place[1] <= columns.max() + 1
        assert seen
        ((row, column),) = to_pixels(env.pose[None, :3], env.scene.camera, image_size=(64, 64))
        near = shows[int(row) - 3 : int(row) + 4, int(column) - 3 : int(column) + 4]
        assert (near == ROBOT).any()


def test_a_task_is_only_what_counts_as_solved(recorded):
    episode = recorded.dataset[0]
    with closing(restore(episode, 0, task="reach")) as env:
        assert env.scene.task == "reach"
        assert env.state() == pytest.approx(episode.sim_state[0][: len(env.state())])


def test_real_episodes_are_refused():
    with pytest.raises(ValueError, match="no simulator state"):
        recorded_poses(ToyRobot(1)[0], [0])
