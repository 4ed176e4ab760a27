"""Any dataset episode as a recording, with its frames untouched."""

import numpy as np
import pytest

from viz.episodes import episode_layout, write_episode


def test_episode_is_logged_as_the_dataset_has_it(make_episode, tmp_path, read):
    episode = make_episode()
    contents = read(write_episode(tmp_path / "a.rrd", episode))
    for camera in ("primary", "wrist"):
        blobs = contents[f"/camera/{camera}:EncodedImage:blob"]
        assert blobs.steps == list(range(7))
        stored = tuple(bytes(np.array(blob[0], np.uint8)) for blob in blobs.values)
        assert stored == episode.images[camera]
    pose = [
        np.array(contents[f"/proprioception/{group}:Scalars:scalars"].values)
        for group in ("translation", "rotation", "gripper")
    ]
    np.testing.assert_allclose(np.concatenate(pose, axis=1), episode.end_effector_pose)
    assert contents["/proprioception/rotation:SeriesLines:names"].values == [
        ["roll (rad)", "pitch (rad)", "yaw (rad)"]
    ]
    ((path,),) = contents["/scene/end_effector/true/path:LineStrips3D:strips"].values
    np.testing.assert_allclose(path, episode.end_effector_pose[:, :3])
    (text,) = contents["/instruction:TextDocument:text"].values[0]
    assert text.startswith("## pick up the red box")
    assert "7 steps, 3 Hz" in text


def test_invalid_actions_stay_out(make_episode, tmp_path, read):
    episode = make_episode()
    contents = read(write_episode(tmp_path / "a.rrd", episode))
    rotation = contents["/robot_action/rotation:Scalars:scalars"]
    assert rotation.steps == list(range(6)), "the last step's action is invalid"
    np.testing.assert_allclose(rotation.values, episode.robot_actions[:6, 5:6])
    assert contents["/robot_action/rotation:SeriesLines:names"].values == [["dyaw (rad)"]]


def test_episode_without_action_group_pose_rate_or_words(make_episode, tmp_path, read):
    episode = make_episode(
        action_mask=np.array([True] * 3 + [False] * 4),
        end_effector_pose=None,
        instruction="",
        control_hz=0.0,
    )
    contents = read(write_episode(tmp_path / "a.rrd", episode))
    paths = {key.partition(":")[0] for key in contents}
    assert "/robot_action/translation" in paths
    assert not paths & {"/robot_action/rotation", "/robot_action/gripper", "/scene"}
    assert contents.timelines == {"step"}
    (text,) = contents["/instruction:TextDocument:text"].values[0]
    assert "(no instruction)" in text
    assert "rate unknown" in text
    assert episode_layout(episode).eye is None


def test_frames_that_are_no_images_are_reported(make_episode, tmp_path):
    frames = make_episode().images["primary"]
    episode = make_episode(images={"primary": (*frames[:-1], b"GIF89a")})
    with pytest.raises(ValueError, match=r"frame 6 of /camera/primary is neither.*b'GIF8'"):
        write_episode(tmp_path / "a.rrd", episode)
    assert list(tmp_path.iterdir()) == []
