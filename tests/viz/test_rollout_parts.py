"""Tokens, uncertainty, poses, decoded actions and chances in a recording, and what is left out."""

import numpy as np
import pytest

from genie_robo.inference.code_names import code_colors
from genie_robo.viz.images import FULL_ENTROPY, heat_map
from genie_robo.viz.rollout import (
    BOTH,
    IMAGINED_ONLY,
    KEPT,
    TRUE_ONLY,
    changes,
    rollout_layout,
    write_rollouts,
)
from genie_robo.viz.rollout_view import ReadPath, RolloutView, TokenMaps
from genie_robo.viz.series import axis_limits
from tests.viz.checks import assert_same_recordings

RERUN_FIELD_OF_VIEW = 55.0
"""Degrees, from top to bottom of a 3D view."""
NAMES = ("0 +y", "1", "2 -z", "3 +x")
GRID = (2, 3)


@pytest.fixture(scope="module")
def view(make_view) -> RolloutView:
    """Everything that a rollout can show."""
    rng = np.random.default_rng(4)
    chances = rng.dirichlet(np.ones(4), size=6)
    chances[:, 1] = 0.001
    path = ReadPath(
        positions=rng.normal(size=(7, 3)),
        error_mm={"imagined": np.arange(7.0), "copy_last": 2 * np.arange(7.0)},
    )
    return make_view(
        code_names=NAMES,
        code_chances=chances,
        tokens=TokenMaps(
            grid=GRID,
            tokens=rng.integers(3, size=(7, 6)),
            entropy=rng.uniform(0, 6, size=(7, 6)).astype(np.float32),
            true_tokens=rng.integers(3, size=(7, 6)),
        ),
        uncertainty=np.linspace(0, 3, 7).astype(np.float32),
        trust=np.array([np.nan, np.nan, 1.0, 0.8, 0.5, 0.3, 0.1]),
        decoded_actions=rng.normal(size=(6, 7)),
        read_path=path,
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory, view):
    return write_rollouts(tmp_path_factory.mktemp("run") / "a.rrd", {"": view}, name="demo")


@pytest.fixture(scope="module")
def contents(path, read):
    return read(path)


def entities(contents) -> set[str]:
    return {key.partition(":")[0] for key in contents}


def test_changes_known_answer():
    imagined = np.array([[1, 1, 1, 1], [1, 2, 1, 2], [1, 2, 1, 2]])
    true = np.array([[1, 1, 1, 1], [1, 1, 5, 5], [1, 1, 5, 5]])
    assert changes(imagined, true).tolist() == [
        [KEPT] * 4,
        [KEPT, IMAGINED_ONLY, TRUE_ONLY, BOTH],
        [KEPT] * 4,
    ]
    assert changes(imagined, None)[1].tolist() == [KEPT, IMAGINED_ONLY, KEPT, IMAGINED_ONLY]


def test_token_changes_are_classes_with_names(contents, view):
    column = contents["/tokens/change:SegmentationImage:buffer"]
    assert column.steps == list(range(7))
    stored = np.array(column.values, dtype=np.uint8).reshape(7, 6)
    np.testing.assert_array_equal(stored, changes(view.tokens.tokens, view.tokens.true_tokens))
    (size,) = contents["/tokens/change:SegmentationImage:format"].values
    assert (size[0]["width"], size[0]["height"]) == (3, 2)
    (context,) = contents["/tokens/change:AnnotationContext:context"].values
    labels = [entry["class_description"]["info"]["label"] for entry in context[0]]
    assert labels[BOTH] == "changes in both"
    assert len(set(labels)) == 4


def test_uncertainty_is_a_map_and_a_curve(contents, view):
    column = contents["/tokens/entropy:Image:buffer"]
    expected = heat_map(view.tokens.entropy.reshape(7, *GRID), full=FULL_ENTROPY)
    stored = np.array(column.values, dtype=np.uint8).reshape(expected.shape)
    np.testing.assert_array_equal(stored, expected)
    curve = contents["/uncertainty/imagined:Scalars:scalars"]
    assert curve.steps == [2, 3, 4, 5, 6]
    np.testing.assert_array_equal(np.ravel(curve.values), view.uncertainty[2:].astype(np.float64))


def test_trust_is_a_curve_over_the_imagined_frames(contents):
    curve = contents["/trust/imagined:Scalars:scalars"]
    assert curve.steps == [2, 3, 4, 5, 6]
    assert np.ravel(curve.values).tolist() == [1.0, 0.8, 0.5, 0.3, 0.1]


def test_imagined_path_and_its_error(contents, view):
    strips = contents["/scene/end_effector/imagined/path:LineStrips3D:strips"]
    assert [len(row[0]) for row in strips.values] == [1, 2, 3, 4, 5, 6, 7]
    np.testing.assert_allclose(strips.values[-1][0], view.read_path.positions, atol=1e-6)
    points = contents["/scene/end_effector/imagined/point:Points3D:positions"]
    np.testing.assert_allclose(np.array(points.values)[:, 0], view.read_path.positions, atol=1e-6)
    for name, values in view.read_path.error_mm.items():
        curve = contents[f"/pose_error/{name}:Scalars:scalars"]
        assert curve.steps == [2, 3, 4, 5, 6]
        np.testing.assert_array_equal(np.ravel(curve.values), values[2:])


def test_decoded_actions_are_paler_than_the_true_ones(contents, view):
    values, names = [], []
    for group in ("translation", "rotation", "gripper"):
        column = contents[f"/robot_action/{group}/decoded:Scalars:scalars"]
        assert column.steps == list(range(6))
        values.append(np.array(column.values))
        names += contents[f"/robot_action/{group}/decoded:SeriesLines:names"].values[0]
    np.testing.assert_array_equal(np.concatenate(values, axis=1), view.decoded_actions)
    assert names[0] == "dx decoded (m)"
    true = contents["/robot_action/translation:SeriesLines:colors"].values[0]
    pale = contents["/robot_action/translation/decoded:SeriesLines:colors"].values[0]
    assert set(true).isdisjoint(pale)


def test_codes_have_names_and_chances(contents, view):
    (labels,) = contents["/latent_action/code:StateConfiguration:labels"].values
    assert tuple(labels) == NAMES
    assert contents["/latent_action/code:StateChange:state"].values[0] == ["3"]
    chances = contents["/latent_action/chance:Scalars:scalars"]
    assert chances.steps == list(range(6))
    np.testing.assert_array_equal(np.array(chances.values), view.code_chances[:, [0, 2, 3]])
    (names,) = contents["/latent_action/chance:SeriesLines:names"].values
    assert names == ["0 +y", "2 -z", "3 +x"], "a code that is never likely has no curve"
    (colors,) = contents["/latent_action/chance:SeriesLines:colors"].values
    red, green, blue = code_colors(4)[3]
    assert colors[2] == (red << 24) + (green << 16) + (blue << 8) + 255


def test_full_recording_is_verified_and_deterministic(path, view, tmp_path):
    again = write_rollouts(tmp_path / "b.rrd", {"": view}, name="demo")
    assert_same_recordings(path, again)


def test_without_truth_it_is_the_same_recording_with_parts_left_out(
    make_view, view, contents, tmp_path, read
):
    nothing = {"true_video": None, "robot_actions": None, "replay": None, "psnr": {}}
    tokens = TokenMaps(grid=GRID, tokens=view.tokens.tokens, entropy=view.tokens.entropy)
    bare = make_view(**nothing, tokens=tokens, uncertainty=view.uncertainty)
    found = read(write_rollouts(tmp_path / "a.rrd", {"": bare}, name="demo"))
    assert entities(found) == {
        "/__properties",
        "/camera/imagined",
        "/tokens/change",
        "/tokens/entropy",
        "/uncertainty/imagined",
        "/latent_action/code",
        "/latent_action/index",
        "/summary",
    }
    assert entities(found) < entities(contents)
    for key in ("/camera/imagined:Image:buffer", "/latent_action/code:StateChange:state"):
        assert found[key] == contents[key]
    changed = np.array(found["/tokens/change:SegmentationImage:buffer"].values)
    assert set(np.unique(changed)) == {KEPT, IMAGINED_ONLY}


def test_imagined_path_alone_makes_a_scene(make_view, view, tmp_path, read):
    path = ReadPath(positions=view.read_path.positions)
    bare = make_view(true_video=None, robot_actions=None, replay=None, psnr={}, read_path=path)
    found = entities(read(write_rollouts(tmp_path / "a.rrd", {"": bare}, name="demo")))
    assert {e for e in found if e.startswith("/scene")} == {
        "/scene",
        "/scene/end_effector/imagined/path",
        "/scene/end_effector/imagined/point",
    }
    assert rollout_layout(bare).eye is not None


def test_eye_has_the_whole_robot_in_view(make_view):
    replay = make_view().replay
    eye = rollout_layout(make_view()).eye
    assert eye is not None
    position = np.array(eye.position)
    forward = np.subtract(eye.target, position)
    bodies = [n for n, geom in enumerate(replay.geoms) if geom.kind != "plane"]
    assert len(bodies) > 5
    rays = replay.positions[:, bodies].reshape(-1, 3) - position
    cosines = rays @ forward / np.linalg.norm(rays, axis=1) / np.linalg.norm(forward)
    assert np.degrees(np.arccos(cosines.min())) < RERUN_FIELD_OF_VIEW / 2


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((-0.08, 0.09), (-0.11, 0.11)),
        ((12.0, 27.0), (9.0, 31.0)),
        ((14.0, 23.0), (9.0, 31.0)),
        ((-0.3, 0.3), (-1.1, 1.1)),
        ((0.25, 0.8), (-0.05, 1.05)),
        ((0.25, 0.6), (0.18, 0.62)),
        ((0.0, 0.0), (-1.1, 1.1)),
        ((25.0, 25.0), (19.5, 30.5)),
        ((np.nan, 3.0, 7.5), (-0.5, 10.5)),
        ((3.2, 6.5), (2.8, 7.2)),
        ((np.nan,), (-0.05, 1.05)),
    ],
)
def test_a_value_axis_has_two_to_five_ticks(values, expected):
    """More would have no numbers in a plot of 130 pixels, in which each needs 25."""
    assert axis_limits(np.array(values)) == pytest.approx(expected)


def test_an_application_id_fits_the_list_of_recordings(make_view, tmp_path, read):
    found = read(write_rollouts(tmp_path / "a.rrd", {"episode_000": make_view()}, name="a"))
    assert len(found.application_id) <= 20


def test_recordings_that_look_alike_share_their_layout_and_others_do_not(
    make_view, view, tmp_path, read
):
    def application(shown, name):
        return read(write_rollouts(tmp_path / name, {"": shown}, name=name)).application_id

    other_values = make_view(episode_id="another", num_prompt_frames=1)
    assert application(make_view(), "a.rrd") == application(other_values, "b.rrd")
    assert application(make_view(), "a.rrd") != application(view, "c.rrd")
