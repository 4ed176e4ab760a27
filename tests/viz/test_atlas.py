"""An atlas shows what is imagined under every code, and where the robot goes with it."""

import numpy as np
import pytest
import rerun.blueprint as rrb

from genie_robo.inference.code_names import code_colors
from genie_robo.viz.atlas import (
    AtlasView,
    atlas_blueprint,
    describe,
    reach,
    spread,
    write_atlas,
)
from tests.viz.checks import assert_same_recordings, views_of

NUM_CODES, NUM_FRAMES = 5, 4


@pytest.fixture(scope="module")
def make_atlas():
    def make(**changes) -> AtlasView:
        rng = np.random.default_rng(0)
        right = np.array([[0.02, 0.0, 0.0], [0.04, 0.0, 0.0]])
        fields = {
            "title": "Episode abc",
            "control_hz": 2.0,
            "names": ("0 +x", "1", "2", "3", "4"),
            "videos": rng.integers(256, size=(NUM_CODES, NUM_FRAMES, 8, 12, 3), dtype=np.uint8),
            "num_prompt_frames": 1,
            "displacements": (
                right,
                np.zeros((0, 3)),
                np.array([[0.0, 0.0, -0.01]]),
                rng.normal(scale=0.005, size=(9, 3)),
                rng.normal(scale=0.005, size=(9, 3)),
            ),
        }
        return AtlasView(**{**fields, **changes})

    return make


@pytest.fixture(scope="module")
def view(make_atlas):
    return make_atlas()


@pytest.fixture(scope="module")
def path(tmp_path_factory, view):
    return write_atlas(tmp_path_factory.mktemp("run") / "a.rrd", view)


@pytest.fixture(scope="module")
def contents(path, read):
    return read(path)


def test_recording_is_verified_and_deterministic(path, view, tmp_path):
    again = write_atlas(tmp_path / "a.rrd", view)
    assert_same_recordings(path, again)


def test_every_code_has_its_video(contents, view):
    for code, video in enumerate(view.videos):
        column = contents[f"/atlas/code/{code}:Image:buffer"]
        assert column.steps == list(range(NUM_FRAMES))
        assert column.seconds == [0.0, 0.5, 1.0, 1.5]
        stored = np.array(column.values, dtype=np.uint8).reshape(video.shape)
        np.testing.assert_array_equal(stored, video)


def test_arrows_are_mean_displacements_in_the_colours_of_the_codes(contents, view):
    colors = code_colors(NUM_CODES)
    seen = {0: (0.03, 0.0, 0.0), 2: (0.0, 0.0, -0.01), 3: view.displacements[3].mean(0)}
    for code, mean in seen.items():
        arrow = f"/atlas/motion/{code}/mean:Arrows3D"
        np.testing.assert_allclose(contents[f"{arrow}:vectors"].values[0][0], mean, atol=1e-7)
        assert contents[f"{arrow}:origins"].values == [[[0.0, 0.0, 0.0]]]
        assert contents[f"{arrow}:labels"].values == [[view.names[code]]]
        red, green, blue = colors[code]
        packed = red << 24 | green << 16 | blue << 8 | 255
        assert contents[f"{arrow}:colors"].values == [[packed]]
    assert not any(key.startswith("/atlas/motion/1/") for key in contents), "no labelled step"


def test_spread_is_an_ellipsoid_around_the_tip(contents):
    ellipsoid = "/atlas/motion/0/spread:Ellipsoids3D"
    sizes = contents[f"{ellipsoid}:half_sizes"].values[0][0]
    np.testing.assert_allclose(sorted(sizes), [0.0, 0.0, 0.01], atol=1e-7)
    tip = contents[f"{ellipsoid}:centers"].values[0][0]
    np.testing.assert_allclose(tip, (0.03, 0.0, 0.0), atol=1e-7)
    lonely = "/atlas/motion/2/spread:Ellipsoids3D:half_sizes"
    assert lonely not in contents, "one step has no spread"


def test_spread_known_answer():
    rng = np.random.default_rng(1)
    turned = np.array([[0.6, -0.8, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 1.0]])
    points = rng.normal(size=(4000, 3)) * (3.0, 1.0, 2.0) @ turned.T

    half_sizes, quaternion = spread(points)

    np.testing.assert_allclose(half_sizes, (1.0, 2.0, 3.0), rtol=0.05)
    x, y, z, w = quaternion
    longest = (2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y))
    np.testing.assert_allclose(np.abs(longest @ turned[:, 0]), 1.0, atol=0.01)
    assert np.linalg.norm(quaternion) == pytest.approx(1.0)


def test_reach_is_the_longest_mean_and_never_zero(view):
    assert reach(view.displacements) == pytest.approx(0.03)
    assert reach([np.zeros((0, 3)), np.zeros((2, 3))]) == 1e-3


def test_summary_says_millimetres_and_counts(contents, view):
    (text,) = contents["/summary:TextDocument:text"].values[0]
    assert text == describe(view)
    assert "Each of the 5 latent actions is held for 3 frames" in text
    assert "| 0 +x | 2 | +30 ± 10 | +0 ± 0 | +0 ± 0 |" in text
    assert "| 1 | 0 | no labelled step |  |  |" in text


def test_without_an_action_map_there_are_videos_only(make_atlas, tmp_path, read):
    bare = make_atlas(displacements=None)
    contents = read(write_atlas(tmp_path / "a.rrd", bare))
    assert not any(key.startswith("/atlas/motion") for key in contents)
    assert "No arrows" in describe(bare)
    kinds = {type(shown) for shown in views_of(atlas_blueprint(bare))}
    assert kinds == {rrb.Spatial2DView, rrb.TextDocumentView}


def test_every_view_finds_what_was_logged(contents, view):
    logged = {key.partition(":")[0] for key in contents}
    views = views_of(atlas_blueprint(view))
    assert [str(shown.name) for shown in views[:NUM_CODES]] == list(view.names)
    assert len(views) == NUM_CODES + 2
    for shown in views:
        assert any(path.startswith(str(shown.origin)) for path in logged), shown.origin


@pytest.mark.parametrize(("num_codes", "num_columns"), [(1, 1), (4, 2), (5, 3), (8, 3), (16, 4)])
def test_videos_form_a_grid_about_as_wide_as_high(make_atlas, num_codes, num_columns):
    view = make_atlas(
        names=("",) * num_codes,
        videos=np.zeros((num_codes, 2, 8, 12, 3), np.uint8),
        displacements=(np.ones((2, 3)),) * num_codes,
    )
    grid, aside = atlas_blueprint(view).root_container.contents
    assert (len(grid.contents), grid.grid_columns) == (num_codes, num_columns)
    again = atlas_blueprint(view).root_container.contents[1]
    assert [str(a.origin) for a in aside.contents] == [str(a.origin) for a in again.contents]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ("0", "1")}, "names are of 2 codes, but there are videos of 5"),
        ({"displacements": ()}, "displacements are of 0 codes, but there are videos of 5"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(make_atlas, changes, message):
    with pytest.raises(ValueError, match=message):
        make_atlas(**changes)
