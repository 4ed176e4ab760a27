"""Episodes in turn: where each begins, what ends between them, and a scene that changes."""

from dataclasses import replace

import numpy as np
import pytest
import rerun.blueprint as rrb
import simplejpeg
from PIL import Image

from genie_robo.viz.episodes import (
    EpisodeLayout,
    ShownEpisode,
    dataset_blueprint,
    dataset_layout,
    first_steps,
    write_dataset,
)
from genie_robo.viz.images import SMALLEST_JPEG
from genie_robo.viz.scene import Eye
from tests.data.image_files import encoded
from tests.viz.checks import views_of

NUM_FRAMES = 7
SECOND = NUM_FRAMES + 1
"""First step of the second episode: one step lies between them."""


@pytest.fixture
def shown(make_episode):
    return [
        ShownEpisode(episode=make_episode(episode_id=f"{number:016x}"), stored={}, replay=None)
        for number in range(2)
    ]


def test_episodes_follow_one_another(shown, tmp_path, read):
    contents = read(write_dataset(tmp_path / "a.rrd", shown, name="bridge"))
    both = [*range(NUM_FRAMES), *range(SECOND, SECOND + NUM_FRAMES)]
    assert first_steps([one.episode for one in shown]) == [0, SECOND]
    assert contents["/camera/primary:EncodedImage:blob"].steps == both
    pose = contents["/proprioception/translation:Scalars:scalars"]
    assert pose.steps == both
    positions = [one.episode.end_effector_pose[:, :3] for one in shown]
    np.testing.assert_allclose(pose.values, np.concatenate(positions))
    assert pose.seconds == pytest.approx([step / 3.0 for step in both])
    paths = contents["/scene/end_effector/true/path:LineStrips3D:strips"]
    assert paths.steps == [0, SECOND]
    for (path,), wanted in zip(paths.values, positions, strict=True):
        np.testing.assert_allclose(path, wanted)


def test_boundaries_are_marked_and_curves_end_there(shown, tmp_path, read):
    contents = read(write_dataset(tmp_path / "a.rrd", shown, name="bridge"))
    strip = contents["/episode:StateChange:state"]
    ends = [NUM_FRAMES, SECOND + NUM_FRAMES]
    assert strip.steps == [0, ends[0], SECOND, ends[1]]
    assert strip.values == [["0"], [""], ["1"], [""]]
    assert contents["/episode:StateConfiguration:labels"].values == [
        ["0 pick up the red box", "1 pick up the red box"]
    ]
    actions = contents["/robot_action/translation:Scalars:scalars"]
    last = [NUM_FRAMES - 2, SECOND + NUM_FRAMES - 2]
    assert [s for s in actions.steps if s + 1 not in actions.steps] == last
    for path, steps in (("robot_action", [s + 1 for s in last]), ("proprioception", ends)):
        cleared = contents[f"/{path}:Clear:is_recursive"]
        assert (cleared.steps, cleared.values) == (steps, [[True]] * 2)


def test_instruction_follows_and_a_table_names_all(make_episode, tmp_path, read):
    words = ("push|pull the box\nslowly", "")
    shown = [
        ShownEpisode(episode=make_episode(instruction=text), stored={}, replay=None)
        for text in words
    ]
    contents = read(write_dataset(tmp_path / "a.rrd", shown, name="bridge"))
    said = contents["/instruction:TextDocument:text"]
    assert said.steps == [0, SECOND]
    assert [text.splitlines()[0] for (text,) in said.values] == [
        "## push|pull the box",
        "## (no instruction)",
    ]
    ((table,),) = contents["/episodes:TextDocument:text"].values
    assert table.splitlines()[-2:] == [
        f"| 0 | 0 | {NUM_FRAMES} | push/pull the box slowly | fedcba9876543210 |",
        f"| 1 | {SECOND} | {NUM_FRAMES} |  | fedcba9876543210 |",
    ]


def test_scene_shapes_are_logged_where_they_change(make_episode, replay, tmp_path, read):
    fewer = replace(
        replay,
        geoms=(replace(replay.geoms[0], size=np.array([0.1, 0.2, 0.3])), *replay.geoms[1:-1]),
        positions=replay.positions[:, :-1],
        rotations=replay.rotations[:, :-1],
    )
    shown = [
        ShownEpisode(episode=make_episode(), stored={}, replay=each)
        for each in (replay, fewer, replay)
    ]
    contents = read(write_dataset(tmp_path / "a.rrd", shown, name="tabletop"))
    third = 2 * SECOND
    table = contents["/scene/geoms/table:Boxes3D:half_sizes"]
    assert table.steps == [0, SECOND, third], "its size changes and changes back"
    np.testing.assert_allclose(table.values[1], [[0.1, 0.2, 0.3]])
    assert contents["/scene/geoms/ball:Ellipsoids3D:half_sizes"].steps == [0]
    assert contents["/scene/geoms/gripper_tip:Mesh3D:vertex_positions"].steps == [0, third]
    assert contents["/scene/geoms/gripper_tip:Clear:is_recursive"].steps == [SECOND]
    assert contents["/scene/geoms/ball:Transform3D:translation"].steps == [
        start + step for start in (0, SECOND, third) for step in range(NUM_FRAMES)
    ]
    scenes = [
        view
        for view in views_of(dataset_blueprint(dataset_layout(shown)))
        if isinstance(view, rrb.Spatial3DView)
    ]
    assert [str(view.name) for view in scenes] == ["MuJoCo replay"]


def test_columns_without_a_mapping_are_shown_as_they_are_stored(make_episode, tmp_path, read):
    nothing = np.zeros(7, bool)
    episode = make_episode(action_mask=nothing, pose_mask=nothing, end_effector_pose=None)
    joints = np.arange(2 * NUM_FRAMES).reshape(NUM_FRAMES, 2)
    stored = {"observation/joint positions": joints, "reward": joints[:, :1]}
    shown = [ShownEpisode(episode=episode, stored=stored, replay=None)]
    contents = read(write_dataset(tmp_path / "a.rrd", shown, name="joints"))
    path = "/stored/observation/joint\\ positions"
    np.testing.assert_array_equal(contents[f"{path}:Scalars:scalars"].values, joints)
    assert contents[f"{path}:SeriesLines:names"].values == [
        ["observation/joint positions[0]", "observation/joint positions[1]"]
    ]
    assert contents[f"{path}:Clear:is_recursive"].steps == [NUM_FRAMES]
    assert not any(key.startswith(("/robot_action/", "/scene")) for key in contents)
    views = views_of(dataset_blueprint(dataset_layout(shown)))
    assert [str(view.origin) for view in views] == [
        "/camera/primary",
        "/camera/wrist",
        path,
        "/stored/reward",
        "/episode",
        "/instruction",
        "/episodes",
    ]


def test_every_view_of_a_dataset_finds_what_was_logged(shown, tmp_path, read):
    contents = read(write_dataset(tmp_path / "a.rrd", shown, name="bridge"))
    logged = {key.partition(":")[0] for key in contents}
    views = views_of(dataset_blueprint(dataset_layout(shown)))
    assert len(views) == 12
    for view in views:
        assert any(path.startswith(str(view.origin)) for path in logged), view.origin


def test_only_measured_groups_get_a_plot(make_episode, tmp_path):
    mask = np.array([True] * 3 + [False] * 4)
    shown = [
        ShownEpisode(episode=make_episode(action_mask=mask, pose_mask=mask), stored={}, replay=None)
    ]
    views = views_of(dataset_blueprint(dataset_layout(shown)))
    plots = [str(view.origin) for view in views if isinstance(view, rrb.TimeSeriesView)]
    assert plots == ["/robot_action/translation", "/proprioception/translation"]


def test_no_episode_is_reported(tmp_path):
    with pytest.raises(ValueError, match=r"no episodes to write to .*a\.rrd"):
        write_dataset(tmp_path / "a.rrd", [], name="bridge")


@pytest.mark.parametrize(("eye", "count"), [(Eye((1, 1, 1), (0, 0, 0.2)), 1), (None, 0)])
def test_scene_is_shown_only_when_there_is_one(eye, count):
    layout = EpisodeLayout(
        cameras=("primary", "wrist"),
        control_hz=5.0,
        eye=eye,
        action_groups=("translation",),
        pose_groups=("translation",),
        stored=(),
        limits={},
        has_table=False,
    )
    views, again = (views_of(dataset_blueprint(layout)) for _ in range(2))
    assert sum(isinstance(view, rrb.Spatial3DView) for view in views) == count
    assert [str(view.origin) for view in views] == [str(view.origin) for view in again], "pure"


def _shown(episode) -> ShownEpisode:
    return ShownEpisode(episode=episode, stored={}, replay=None)


def test_episode_is_logged_as_the_dataset_has_it(make_episode, tmp_path, read):
    episode = make_episode()
    contents = read(write_dataset(tmp_path / "a.rrd", [_shown(episode)], name="bridge"))
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
    contents = read(write_dataset(tmp_path / "a.rrd", [_shown(episode)], name="bridge"))
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
    contents = read(write_dataset(tmp_path / "a.rrd", [_shown(episode)], name="bridge"))
    paths = {key.partition(":")[0] for key in contents}
    assert "/robot_action/translation" in paths
    assert not paths & {"/robot_action/rotation", "/robot_action/gripper", "/scene"}
    assert contents.timelines == {"step"}
    (text,) = contents["/instruction:TextDocument:text"].values[0]
    assert "(no instruction)" in text
    assert "rate unknown" in text
    assert dataset_layout([_shown(episode)]).eye is None


def test_frames_that_are_no_images_are_reported(make_episode, tmp_path):
    frames = make_episode().images["primary"]
    episode = make_episode(images={"primary": (*frames[:-1], b"GIF89a")})
    with pytest.raises(ValueError, match=r"frame 6 of /camera/primary is neither.*b'GIF8'"):
        write_dataset(tmp_path / "a.rrd", [_shown(episode)], name="bridge")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("side", [32, 160])
def test_swapped_colours_are_logged_the_right_way_round(make_episode, tmp_path, read, side):
    """Blue is stored first: exact when small, as JPEG frame by frame when large."""
    stored = encoded(Image.fromarray(np.full((side, side, 3), (10, 60, 200), np.uint8)), "PNG")
    images = {"primary": (stored,) * NUM_FRAMES}
    episode = replace(make_episode(), images=images, bgr_cameras=frozenset(images))
    contents = read(write_dataset(tmp_path / "a.rrd", [_shown(episode)], name="bridge"))
    if side < SMALLEST_JPEG:
        pixels = np.array(contents["/camera/primary:Image:buffer"].values[3][0], np.uint8)[:3]
    else:
        blob = contents["/camera/primary:EncodedImage:blob"].values[3][0]
        pixels = simplejpeg.decode_jpeg(bytes(np.array(blob, np.uint8)))[80, 80]
    assert pixels.tolist() == pytest.approx([200, 60, 10], abs=3)
