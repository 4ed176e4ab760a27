"""Episodes in turn: where each begins, what ends between them, and a scene that changes."""

from dataclasses import replace

import numpy as np
import pytest
import rerun.blueprint as rrb

from viz.episodes import ShownEpisode, dataset_blueprint, dataset_layout, first_steps, write_dataset

NUM_FRAMES = 7
SECOND = NUM_FRAMES + 1
"""First step of the second episode: one step lies between them."""


@pytest.fixture
def shown(make_episode):
    return [
        ShownEpisode(episode=make_episode(episode_id=f"{number:016x}"), stored={}, replay=None)
        for number in range(2)
    ]


def _views(part) -> list[rrb.View]:
    return [part] if isinstance(part, rrb.View) else [v for p in part.contents for v in _views(p)]


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
        for view in _views(dataset_blueprint(dataset_layout(shown)).root_container)
        if isinstance(view, rrb.Spatial3DView)
    ]
    assert [str(view.name) for view in scenes] == ["what MuJoCo says"]


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
    views = _views(dataset_blueprint(dataset_layout(shown)).root_container)
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
    views = _views(dataset_blueprint(dataset_layout(shown)).root_container)
    assert len(views) == 12
    for view in views:
        assert any(path.startswith(str(view.origin)) for path in logged), view.origin


def test_only_measured_groups_get_a_plot(make_episode, tmp_path):
    mask = np.array([True] * 3 + [False] * 4)
    shown = [
        ShownEpisode(episode=make_episode(action_mask=mask, pose_mask=mask), stored={}, replay=None)
    ]
    views = _views(dataset_blueprint(dataset_layout(shown)).root_container)
    plots = [str(view.origin) for view in views if isinstance(view, rrb.TimeSeriesView)]
    assert plots == ["/robot_action/translation", "/proprioception/translation"]


def test_no_episode_is_reported(tmp_path):
    with pytest.raises(ValueError, match=r"no episodes to write to .*a\.rrd"):
        write_dataset(tmp_path / "a.rrd", [], name="bridge")
