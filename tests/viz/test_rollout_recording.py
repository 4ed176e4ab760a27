"""What a rollout recording holds equals what was logged, and the layout shows all of it."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from genie_robo.viz.images import FULL_DIFFERENCE, JPEG_QUALITY, difference, heat_map
from genie_robo.viz.rollout import by_episode, rollout_layout, write_rollouts
from genie_robo.viz.rollout_view import ReadPath
from tests.viz.checks import assert_same_recordings

SECONDS = [step / 3 for step in range(7)]


@pytest.fixture(scope="module")
def view(make_view):
    return make_view()


@pytest.fixture(scope="module")
def path(tmp_path_factory, view):
    return write_rollouts(tmp_path_factory.mktemp("run") / "a.rrd", {"": view}, name="demo")


@pytest.fixture(scope="module")
def contents(path, read):
    return read(path)


def test_entities(contents):
    assert {key.partition(":")[0] for key in contents} == {
        "/__properties",
        "/camera/true",
        "/camera/imagined",
        "/camera/difference",
        "/robot_action/translation",
        "/robot_action/rotation",
        "/robot_action/gripper",
        "/latent_action/code",
        "/latent_action/index",
        "/psnr/imagined",
        "/psnr/copy_last",
        "/summary",
        "/scene",
        "/scene/geoms/table",
        "/scene/geoms/capsule_1",
        "/scene/geoms/cylinder_2",
        "/scene/geoms/ball",
        "/scene/geoms/egg",
        "/scene/geoms/floor",
        "/scene/geoms/gripper_tip",
        "/scene/end_effector/true/path",
        "/scene/end_effector/true/point",
        "/scene/objects/true/paths",
    }


def test_recording_is_verified_and_deterministic(path, view, tmp_path):
    again = write_rollouts(tmp_path / "b.rrd", {"": view}, name="demo")
    assert_same_recordings(path, again)


@pytest.mark.parametrize("camera", ["true", "imagined"])
def test_small_frames_are_exact(contents, view, camera):
    column = contents[f"/camera/{camera}:Image:buffer"]
    video = {"true": view.true_video, "imagined": view.imagined_video}[camera]
    assert column.steps == list(range(7))
    assert column.seconds == pytest.approx(SECONDS)
    stored = np.array(column.values, dtype=np.uint8).reshape(video.shape)
    np.testing.assert_array_equal(stored, video)
    (size,) = contents[f"/camera/{camera}:Image:format"].values
    assert (size[0]["width"], size[0]["height"]) == (24, 16)


def test_difference_is_black_where_equal_and_bright_where_not(contents, view):
    stored = np.array(contents["/camera/difference:Image:buffer"].values, dtype=np.uint8)
    expected = heat_map(difference(view.true_video, view.imagined_video), full=FULL_DIFFERENCE)
    np.testing.assert_array_equal(stored.reshape(expected.shape), expected)
    true = np.zeros((1, 1, 3, 3), dtype=np.uint8)
    imagined = true.copy()
    imagined[0, 0, 1], imagined[0, 0, 2] = (30, 60, 90), 255
    changed = difference(true, imagined)
    np.testing.assert_allclose(changed, [[[0, 60, 255]]])
    luminance = heat_map(changed, full=FULL_DIFFERENCE)[0, 0].astype(int).sum(axis=1)
    assert luminance[0] < 10 < 200 < luminance[1] < luminance[2]


def test_large_frames_are_jpeg(make_view, tmp_path, read):
    smooth = np.linspace(0, 255, 144).astype(np.uint8)
    video = np.broadcast_to(smooth[None, None, :, None], (7, 128, 144, 3)).copy()
    view = make_view(true_video=video, imagined_video=video)
    contents = read(write_rollouts(tmp_path / "a.rrd", {"": view}, name="demo"))
    blobs = contents["/camera/true:EncodedImage:blob"]
    assert len(blobs.values) == 7
    assert all(bytes(np.array(blob[0], np.uint8)[:2]) == b"\xff\xd8" for blob in blobs.values)
    assert JPEG_QUALITY == 90
    assert "/camera/true:Image:buffer" not in contents


def test_robot_actions_are_seven_series_with_names_and_units(contents, view):
    names, values = [], []
    for group in ("translation", "rotation", "gripper"):
        path = f"/robot_action/{group}"
        names += contents[f"{path}:SeriesLines:names"].values[0]
        column = contents[f"{path}:Scalars:scalars"]
        assert column.steps == list(range(6)), "the last frame has no action"
        values.append(np.array(column.values))
    assert names == [
        "dx (m)",
        "dy (m)",
        "dz (m)",
        "droll (rad)",
        "dpitch (rad)",
        "dyaw (rad)",
        "gripper (1 = open)",
    ]
    np.testing.assert_allclose(np.concatenate(values, axis=1), view.robot_actions)


def test_latent_actions_are_a_strip_that_ends_and_a_number(contents):
    strip = contents["/latent_action/code:StateChange:state"]
    assert strip.steps == list(range(7))
    assert strip.values == [["3"], ["3"], ["0"], ["1"], ["3"], ["2"], [""]]
    (labels,) = contents["/latent_action/code:StateConfiguration:labels"].values
    assert labels == ["0", "1", "2", "3"]
    (colors,) = contents["/latent_action/code:StateConfiguration:colors"].values
    assert len(set(colors)) == 4
    index = contents["/latent_action/index:Scalars:scalars"]
    assert [value for (value,) in index.values] == [3, 3, 0, 1, 3, 2, 2]


def test_psnr_starts_at_the_first_imagined_frame_and_skips_what_is_not_finite(contents):
    imagined = contents["/psnr/imagined:Scalars:scalars"]
    assert imagined.steps == [2, 3, 4, 5, 6]
    np.testing.assert_allclose(np.ravel(imagined.values), np.linspace(30, 20, 7)[2:])
    copied = contents["/psnr/copy_last:Scalars:scalars"]
    assert copied.steps == [2, 3, 4, 6]
    assert np.ravel(copied.values).tolist() == [20.0, 19.0, 18.0, 16.0]


def test_summary(contents):
    assert contents["/summary:TextDocument:text"].values == [["# pick up the *red* box"]]
    assert contents["/summary:TextDocument:media_type"].values == [["text/markdown"]]


def test_geoms_are_posed_per_step(contents, replay):
    for index, name in ((0, "table"), (6, "gripper_tip")):
        path = f"/scene/geoms/{name}:Transform3D"
        translation = contents[f"{path}:translation"]
        assert translation.steps == list(range(7))
        stored = np.array(translation.values)[:, 0]
        np.testing.assert_allclose(stored, replay.positions[:, index], atol=1e-6)
        quaternions = np.array(contents[f"{path}:quaternion"].values)[:, 0]
        matrices = Rotation.from_quat(quaternions).as_matrix()
        np.testing.assert_allclose(matrices, replay.rotations[:, index], atol=1e-6)


def test_geom_shapes_follow_mujoco_sizes(contents):
    scene = "/scene/geoms"

    def static(key: str) -> list:
        return contents[f"{scene}/{key}"].values[0][0]

    assert static("table:Boxes3D:half_sizes") == pytest.approx([0.5, 0.4, 0.02])
    assert static("capsule_1:Capsules3D:lengths") == pytest.approx(0.2)
    assert static("capsule_1:Capsules3D:radii") == pytest.approx(0.03)
    centred = static("capsule_1:Capsules3D:translations")
    assert centred == pytest.approx([0, 0, -0.1]), "Rerun starts a capsule at its end"
    assert static("cylinder_2:Cylinders3D:lengths") == pytest.approx(0.4)
    assert static("cylinder_2:Cylinders3D:radii") == pytest.approx(0.05)
    assert static("ball:Ellipsoids3D:half_sizes") == pytest.approx([0.04] * 3)
    assert static("egg:Ellipsoids3D:half_sizes") == pytest.approx([0.1, 0.2, 0.3])
    unbounded = static("floor:Boxes3D:half_sizes")
    assert unbounded == pytest.approx([1.0, 0.7, 0.001]), "zero is an infinite side"
    assert static("table:Boxes3D:colors") == 0xFF8000FF
    assert static("table:Boxes3D:fill_mode") == 3, "solid"
    assert len(contents[f"{scene}/gripper_tip:Mesh3D:triangle_indices"].values[0]) == 4


def test_paths_grow(contents, replay):
    strips = contents["/scene/end_effector/true/path:LineStrips3D:strips"]
    assert [len(row) for row in strips.values] == [1] * 7
    assert [len(row[0]) for row in strips.values] == [1, 2, 3, 4, 5, 6, 7]
    np.testing.assert_allclose(strips.values[-1][0], replay.end_effector, atol=1e-6)
    objects = contents["/scene/objects/true/paths:LineStrips3D:strips"]
    assert [[len(strip) for strip in row] for row in objects.values] == [
        [n, n] for n in range(1, 8)
    ]
    np.testing.assert_allclose(objects.values[-1][1], replay.object_positions[:, 1], atol=1e-6)
    points = contents["/scene/end_effector/true/point:Points3D:positions"]
    np.testing.assert_allclose(np.array(points.values)[:, 0], replay.end_effector, atol=1e-6)


def test_several_rollouts_share_a_recording_below_their_roots(make_view, tmp_path, read):
    views = {"episode_0": make_view(), "episode_1/model-a": make_view(replay=None)}
    contents = read(write_rollouts(tmp_path / "a.rrd", views, name="demo"))
    paths = {key.partition(":")[0] for key in contents}
    assert "/episode_0/camera/true" in paths
    assert "/episode_0/scene/geoms/table" in paths
    assert "/episode_1/model-a/camera/true" in paths
    assert not any(path.startswith("/episode_1/model-a/scene") for path in paths)
    assert rollout_layout(views["episode_1/model-a"], root="x").eye is None


def test_rate_unknown_leaves_seconds_out(make_view, tmp_path, read):
    path = write_rollouts(tmp_path / "a.rrd", {"": make_view(control_hz=0.0)}, name="demo")
    assert read(path).timelines == {"step"}


def test_no_rollouts_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"no rollouts to write to .*a\.rrd"):
        write_rollouts(tmp_path / "a.rrd", {}, name="demo")


@pytest.mark.parametrize("root", ["episode 0", "/episode", "a//b", "é"])
def test_root_that_is_no_path_is_an_error(make_view, tmp_path, root):
    with pytest.raises(ValueError, match="cannot begin an entity path"):
        write_rollouts(tmp_path / "a.rrd", {root: make_view()}, name="demo")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"robot_actions": np.zeros((7, 7))}, "robot_actions has 7 steps.*need 6"),
        ({"latent_actions": np.zeros(5, int)}, "latent_actions has 5 steps.*need 6"),
        ({"true_video": np.zeros((6, 16, 24, 3), np.uint8)}, "true_video has 6 steps.*need 7"),
        ({"decoded_actions": np.zeros((7, 7))}, "decoded_actions has 7 steps.*need 6"),
        ({"imagined_actions": np.zeros((7, 7))}, "imagined_actions has 7 steps.*need 6"),
        ({"code_chances": np.zeros((7, 4))}, "code_chances has 7 steps.*need 6"),
        ({"code_names": ("0", "1")}, "code_names has 2 names for 4 codes"),
        ({"uncertainty": np.zeros(6)}, "uncertainty has 6 steps.*need 7"),
        ({"trust": np.zeros(6)}, "trust has 6 steps.*need 7"),
        ({"read_path": ReadPath(positions=np.zeros((6, 3)))}, "read_path has 6 steps.*need 7"),
        ({"psnr": {"imagined": np.zeros(6)}}, r"psnr\['imagined'\] has 6 steps.*need 7"),
        ({"num_prompt_frames": 7}, "num_prompt_frames=7 must be at least 1 and below 7"),
        ({"num_prompt_frames": 0}, "num_prompt_frames=0"),
        ({"num_codes": 3}, r"latent actions span 0\.\.3, outside the 3 codes"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(make_view, changes, message):
    with pytest.raises(ValueError, match=message):
        make_view(**changes)


def test_replay_of_another_length_is_refused(make_view):
    longer = np.zeros((8, 16, 24, 3), np.uint8)
    with pytest.raises(ValueError, match=r"replay has 7 steps.*need 8"):
        make_view(
            true_video=longer,
            imagined_video=longer,
            robot_actions=np.zeros((7, 7)),
            latent_actions=np.zeros(7, int),
            psnr={},
        )


@pytest.fixture
def models(make_view):
    rng = np.random.default_rng(5)

    def path():
        errors = {name: rng.uniform(size=7) for name in ("imagined", "copy_last")}
        return ReadPath(positions=rng.normal(size=(7, 3)), error_mm=errors)

    other = rng.integers(0, 256, (7, 16, 24, 3), dtype=np.uint8)
    return {
        "episode_0/small": make_view(read_path=path()),
        "episode_0/large": make_view(imagined_video=other, read_path=path()),
        "episode_1": make_view(replay=None),
    }


def test_truth_is_logged_once(models, tmp_path, read):
    contents = read(write_rollouts(tmp_path / "a.rrd", models, name="demo"))
    logged = {key.partition(":")[0] for key in contents}
    for name in ("camera/true", "robot_action/translation", "scene/geoms/table"):
        assert [e for e in logged if e.endswith(name)].count(f"/episode_0/{name}") == 1
        assert f"/episode_0/small/{name}" not in logged
    for model in ("small", "large"):
        stored = contents[f"/episode_0/{model}/camera/imagined:Image:buffer"].values
        wanted = models[f"episode_0/{model}"].imagined_video
        np.testing.assert_array_equal(
            np.array(stored, dtype=np.uint8).reshape(wanted.shape), wanted
        )
        assert f"/episode_0/{model}/camera/difference" in logged
        assert f"/episode_0/{model}/scene/end_effector/imagined/path" in logged
    assert "/episode_1/camera/true" in logged


def test_comparison_is_verified_and_deterministic(models, tmp_path):
    made = [write_rollouts(tmp_path / name, models, name="demo") for name in ("a.rrd", "b.rrd")]
    assert_same_recordings(*made)


def test_only_siblings_are_compared(make_view):
    view = make_view()
    roots = ["", "episode_0/a", "episode_0/b", "episode_1/a", "episode_2"]
    found = by_episode(dict.fromkeys(roots, view))
    assert {root: list(models) for root, models in found.items()} == {
        "": [""],
        "episode_0": ["episode_0/a", "episode_0/b"],
        "episode_1/a": ["episode_1/a"],
        "episode_2": ["episode_2"],
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"true_video": np.zeros((7, 16, 24, 3), np.uint8)},
        {"true_video": None},
        {"num_prompt_frames": 1},
        {"control_hz": 5.0},
    ],
)
def test_models_with_different_truths_are_refused(make_view, tmp_path, changes):
    models = {"episode_0/a": make_view(), "episode_0/b": make_view(**changes)}
    with pytest.raises(ValueError, match="models of episode episode_0 have different truths"):
        write_rollouts(tmp_path / "a.rrd", models, name="demo")
    assert list(tmp_path.iterdir()) == []


def test_models_without_a_truth_share_none(make_view, tmp_path, read):
    nothing = {"true_video": None, "robot_actions": None, "replay": None, "psnr": {}}
    models = {f"branches/code_{code}": make_view(**nothing) for code in range(3)}
    contents = read(write_rollouts(tmp_path / "a.rrd", models, name="demo"))
    cameras = {key.partition(":")[0] for key in contents if "/camera/" in key}
    assert cameras == {f"/branches/code_{code}/camera/imagined" for code in range(3)}
    assert contents.num_blueprints == 1
