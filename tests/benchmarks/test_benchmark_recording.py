import numpy as np
from recording import example


def test_the_example_is_a_rollout_with_two_cameras_and_a_scene():
    fields = example(5, 32, seed=3)
    for camera in ("true_video", "imagined_video"):
        assert fields[camera].shape == (5, 32, 32, 3)
    assert fields["robot_actions"].shape == (4, 7)
    assert np.abs(fields["robot_actions"][:, :3]).max() > 0.01, "the robot moves"
    moved = np.abs(np.diff(fields["replay"].end_effector, axis=0)).max()
    assert moved > 0.01
    assert len(fields["replay"].geoms) > 10
    again = example(5, 32, seed=3)
    np.testing.assert_array_equal(again["true_video"], fields["true_video"])
