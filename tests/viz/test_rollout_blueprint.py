"""Layouts of rollouts depend on their arguments alone, and every view shows a logged entity."""

from dataclasses import replace

import pytest
import rerun.blueprint as rrb

from genie_robo.viz.entities import (
    CHANGED_TOKENS,
    DECODED,
    GEOMS,
    IMAGINED_PATH,
    LATENT_CHANCE,
    POSE_ERROR,
    PSNR,
    ROBOT_ACTION,
    TRUE_CAMERA,
    TRUST,
    UNCERTAINTY,
)
from genie_robo.viz.rollout import rollout_layout, write_rollouts
from genie_robo.viz.rollout_blueprint import (
    MODEL_COLORS,
    ComparisonLayout,
    RolloutLayout,
    rollout_blueprint,
)
from genie_robo.viz.scene import Eye
from genie_robo.viz.series import COLOR_NAMES
from tests.viz.checks import titles_that_are_cut, views_of

EYE = Eye(position=(1.0, 1.0, 1.0), target=(0.0, 0.0, 0.2))

EVERYTHING = frozenset(
    {
        TRUE_CAMERA,
        CHANGED_TOKENS,
        ROBOT_ACTION,
        DECODED,
        LATENT_CHANCE,
        GEOMS,
        IMAGINED_PATH,
        PSNR,
        POSE_ERROR,
        UNCERTAINTY,
        TRUST,
    }
)


def _rollout(root: str = "", **changes) -> RolloutLayout:
    fields = {
        "action_groups": ("translation", "rotation", "gripper"),
        "episode_id": "abc",
        "control_hz": 3.0,
        "eye": EYE,
        "parts": EVERYTHING,
    }
    return RolloutLayout(root=root, **{**fields, **changes})


def _describe(part: rrb.View | rrb.Container) -> tuple:
    """Everything that shows, without the random ids."""
    if isinstance(part, rrb.View):
        return (type(part).__name__, str(part.name), str(part.origin), str(part.contents))
    inner = tuple(_describe(child) for child in part.contents)
    shares = (str(part.row_shares), str(part.column_shares))
    return (type(part).__name__, str(part.name), shares, inner)


def test_blueprints_are_pure():
    layouts = [_rollout("a"), _rollout("b", eye=None)]
    first, second = rollout_blueprint(layouts), rollout_blueprint(layouts)
    assert _describe(first.root_container) == _describe(second.root_container)
    assert layouts == [_rollout("a"), _rollout("b", eye=None)]


def test_one_rollout_fills_the_window_and_several_get_tabs():
    single = rollout_blueprint([_rollout()]).root_container
    assert isinstance(single, rrb.Vertical)
    tabs = rollout_blueprint([_rollout("a"), _rollout("b")]).root_container
    assert isinstance(tabs, rrb.Tabs)
    assert [str(tab.name) for tab in tabs.contents] == ["a", "b"]


def test_scene_is_shown_only_when_there_is_one():
    for eye, count in ((EYE, 1), (None, 0)):
        views = views_of(rollout_blueprint([_rollout(eye=eye)]))
        assert sum(isinstance(view, rrb.Spatial3DView) for view in views) == count


@pytest.mark.parametrize("root", ["", "episode_0"])
def test_every_view_of_a_rollout_finds_what_was_logged(make_view, tmp_path, read, root):
    view = make_view()
    contents = read(write_rollouts(tmp_path / "a.rrd", {root: view}, name="demo"))
    logged = {key.partition(":")[0] for key in contents}
    views = views_of(rollout_blueprint([rollout_layout(view, root=root)]))
    assert len(views) == 11
    for shown in views:
        assert any(path.startswith(str(shown.origin)) for path in logged), shown.origin
    kinds = {type(shown).__name__ for shown in views}
    assert "StateTimelineView" in kinds


def _names(layout: RolloutLayout | ComparisonLayout) -> list[str]:
    return [str(view.name) for view in views_of(rollout_blueprint([layout]))]


def test_what_a_rollout_lacks_has_no_view():
    assert _names(_rollout()) == [
        "true camera",
        "imagined camera",
        "difference (0 to 96)",
        "changed tokens",
        "uncertainty (0 to 7)",
        "latent action of each step",
        "code index",
        "probability of each code",
        "dx dy dz, RGB (m)",
        "droll dpitch dyaw, RGB (rad)",
        "gripper open",
        "PSNR (dB)",
        "tool (mm)",
        "uncertainty",
        "trust",
        "MuJoCo replay",
        "summary",
    ]
    assert _names(_rollout(parts=frozenset(), eye=None)) == [
        "imagined camera",
        "latent action of each step",
        "code index",
        "summary",
    ]
    assert "imagined tool path" in _names(_rollout(parts=frozenset({IMAGINED_PATH})))


def _curves(layout: RolloutLayout | ComparisonLayout) -> dict[str, rrb.TimeSeriesView]:
    views = views_of(rollout_blueprint([layout]))
    return {str(v.name): v for v in views if isinstance(v, rrb.TimeSeriesView)}


def _comparison(*names: str, **changes) -> ComparisonLayout:
    names = names or ("small", "large")
    models = tuple(_rollout(f"episode_0/{name}", **changes) for name in names)
    return ComparisonLayout(root="episode_0", models=models)


@pytest.mark.parametrize("layout", [_rollout(), _comparison()])
def test_no_legend_lies_over_a_curve(layout):
    shown = _curves(layout)
    assert shown
    for view in shown.values():
        legend = view.properties["PlotLegend"]
        assert legend.visible.as_arrow_array().to_pylist() == [False]


@pytest.mark.parametrize("layout", [_rollout(), _comparison(), _comparison("s", "medium", "large")])
@pytest.mark.parametrize("joints", [(), ("joints",)])
def test_titles_are_read_in_a_narrow_window(layout, joints):
    groups = ("translation", "rotation", "gripper", *joints)
    if isinstance(layout, RolloutLayout):
        layout = replace(layout, action_groups=groups)
    else:
        models = tuple(replace(model, action_groups=groups) for model in layout.models)
        layout = replace(layout, models=models)
    # Of several models, and beside joints, plots are too narrow for whole titles with buttons.
    is_plain = isinstance(layout, RolloutLayout) and not joints
    beside = {} if is_plain else {"beside_px": 0}
    assert titles_that_are_cut(rollout_blueprint([layout]), **beside) == []


def test_value_axes_have_the_limits_of_the_layout():
    psnr = _rollout(limits={PSNR: (9.0, 31.0)})
    axis = _curves(psnr)["PSNR (dB)"].properties["ScalarAxis"]
    assert axis.range.as_arrow_array().to_pylist() == [[9.0, 31.0]]
    models = (psnr, _rollout("episode_0/large", limits={PSNR: (-1.0, 11.0)}))
    both = _curves(ComparisonLayout(root="episode_0", models=models))
    axis = both["PSNR (dB), grey: copy"].properties["ScalarAxis"]
    assert axis.range.as_arrow_array().to_pylist() == [[-1.0, 31.0]]
    assert psnr.shape != _rollout().shape, "limits are part of the layout"


def test_models_are_side_by_side_under_one_truth():
    models = tuple(_rollout(f"episode_0/{name}") for name in ("small", "large"))
    layout = ComparisonLayout(root="episode_0", models=models)
    names = _names(layout)
    assert names.count("true camera") == 1
    assert [n for n in names if "imagined camera" in n] == [
        "small: imagined camera",
        "large: imagined camera",
    ]
    views = views_of(rollout_blueprint([layout]))
    psnr = next(view for view in views if str(view.name) == "PSNR (dB), grey: copy")
    assert psnr.contents == [
        "/episode_0/small/psnr/imagined",
        "/episode_0/large/psnr/imagined",
        "/episode_0/small/psnr/copy_last",
    ]
    space = next(view for view in views if isinstance(view, rrb.Spatial3DView))
    assert space.contents == [
        "/episode_0/scene/**",
        "/episode_0/small/scene/**",
        "/episode_0/large/scene/**",
    ]
    assert [n for n in names if n.endswith(": codes")] == [
        "small (orange): codes",
        "large (blue): codes",
    ]
    assert len(set(MODEL_COLORS)) == len(MODEL_COLORS)
    assert set(MODEL_COLORS) <= set(COLOR_NAMES)


def test_comparison_without_truth_shows_what_there_is():
    bare = {"parts": frozenset(), "eye": None}
    models = tuple(_rollout(f"branches/code_{code}", **bare) for code in range(8))
    names = _names(ComparisonLayout(root="branches", models=models))
    assert len(names) == 8 * 3
    assert {name.partition(": ")[2] for name in names} == {"imagined camera", "codes", ""}


def test_every_view_of_a_comparison_finds_what_was_logged(make_view, tmp_path, read):
    views = {f"episode_0/{name}": make_view() for name in ("a", "b")}
    logged = {
        key.partition(":")[0]
        for key in read(write_rollouts(tmp_path / "a.rrd", views, name="demo"))
    }
    layouts = tuple(rollout_layout(view, root=root) for root, view in views.items())
    layout = ComparisonLayout(root="episode_0", models=layouts)
    shown = views_of(rollout_blueprint([layout]))
    for view in shown:
        wanted = [view.origin] if view.contents == "$origin/**" else view.contents
        paths = [str(path).removesuffix("/**") for path in wanted]
        assert any(found.startswith(path) for path in paths for found in logged), view.name


def test_only_groups_that_the_robot_has_are_plotted():
    shown = rollout_blueprint([_rollout(action_groups=("gripper", "joints"))]).root_container
    names = str(_describe(shown))
    assert "joints (stored)" in names
    assert "translation" not in names
