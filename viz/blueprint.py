"""Layouts of the viewer as pure functions: made for 1600x950, in shares that fit a laptop too."""

from collections.abc import Sequence
from dataclasses import dataclass

import rerun.blueprint as rrb
from rerun.blueprint.components import LinkAxis

from viz.entities import (
    CAMERA,
    DIFFERENCE,
    IMAGINED_CAMERA,
    INSTRUCTION,
    LATENT_ACTION,
    LATENT_INDEX,
    PROPRIOCEPTION,
    PSNR,
    ROBOT_ACTION,
    SCENE,
    STEP,
    SUMMARY,
    TRUE_CAMERA,
    entity,
)
from viz.images import FULL_DIFFERENCE
from viz.scene import Eye
from viz.series import GROUPS

GROUP_SHARES = (4, 4, 3)
"""Widths of the plots of translation, rotation and gripper."""
GRID_COLOR = (255, 255, 255, 24)
UNKNOWN_RATE_FPS = 5.0
"""Frames per second of playback when an episode's rate is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutLayout:
    """What the layout of one rollout depends on."""

    root: str
    episode_id: str
    control_hz: float
    eye: Eye | None
    """None without a 3D scene."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeLayout:
    """What the layout of one dataset episode depends on."""

    root: str
    cameras: tuple[str, ...]
    control_hz: float
    eye: Eye | None
    """None without an end-effector pose."""


def rollout_blueprint(layouts: Sequence[RolloutLayout]) -> rrb.Blueprint:
    """One tab per rollout; a single one fills the window."""
    tabs = [_rollout(layout) for layout in layouts]
    content = tabs[0] if len(tabs) == 1 else rrb.Tabs(*tabs, active_tab=0)
    return rrb.Blueprint(
        content, _time_panel(layouts[0].control_hz), *_side_panels(), auto_views=False
    )


def episode_blueprint(layout: EpisodeLayout) -> rrb.Blueprint:
    """Cameras above actions above poses; beside them the path in 3D and the instruction."""
    root = layout.root
    cameras = rrb.Horizontal(*(_camera(root, f"{CAMERA}/{name}", name) for name in layout.cameras))
    rows: list[rrb.Container] = [cameras, _groups(root, ROBOT_ACTION)]
    words = rrb.TextDocumentView(origin=entity(root, INSTRUCTION), name="instruction")
    aside: list[rrb.View] = [words]
    if layout.eye is not None:
        rows.append(_groups(root, PROPRIOCEPTION, prefix="pose: "))
        aside.insert(0, _scene(root, layout.eye, name="end-effector path", has_table=False))
    content = rrb.Horizontal(
        rrb.Vertical(*rows, row_shares=[50, 25, 25][: len(rows)]),
        rrb.Vertical(*aside, row_shares=[75, 25][-len(aside) :]),
        column_shares=[64, 36],
    )
    return rrb.Blueprint(content, _time_panel(layout.control_hz), *_side_panels(), auto_views=False)


def _rollout(layout: RolloutLayout) -> rrb.Horizontal:
    root = layout.root
    cameras = rrb.Horizontal(
        _camera(root, TRUE_CAMERA, "true camera"),
        _camera(root, IMAGINED_CAMERA, "imagined camera"),
        _camera(root, DIFFERENCE, f"difference (0 to {FULL_DIFFERENCE:g})"),
    )
    codes = rrb.Tabs(
        _codes(root), _plot(root, LATENT_INDEX, "latent action as a number"), active_tab=0
    )
    actions = _groups(root, ROBOT_ACTION)
    psnr = _plot(root, PSNR, "PSNR of imagined frames (dB)", legend=rrb.Corner2D.LeftBottom)
    time = rrb.Vertical(cameras, codes, actions, psnr, row_shares=[38, 15, 23, 24])
    aside: list[rrb.View] = [rrb.TextDocumentView(origin=entity(root, SUMMARY), name="summary")]
    if layout.eye is not None:
        aside.insert(0, _scene(root, layout.eye, name="what MuJoCo says happens", has_table=True))
    return rrb.Horizontal(
        time,
        rrb.Vertical(*aside, row_shares=[60, 40][-len(aside) :]),
        column_shares=[62, 38],
        name=root or f"episode {layout.episode_id}",
    )


def _camera(root: str, path: str, name: str) -> rrb.Spatial2DView:
    return rrb.Spatial2DView(origin=entity(root, path), name=name)


def _scene(root: str, eye: Eye, *, name: str, has_table: bool) -> rrb.Spatial3DView:
    return rrb.Spatial3DView(
        origin=entity(root, SCENE),
        name=name,
        background=rrb.BackgroundKind.GradientDark,
        line_grid=rrb.LineGrid3D(visible=not has_table, spacing=0.1, color=GRID_COLOR),
        eye_controls=rrb.EyeControls3D(
            kind=rrb.Eye3DKind.Orbital,
            position=eye.position,
            look_target=eye.target,
            eye_up=(0, 0, 1),
        ),
    )


def _codes(root: str) -> rrb.StateTimelineView:
    return rrb.StateTimelineView(
        origin=entity(root, LATENT_ACTION),
        name="latent action of each step",
        time_view=_axis(),
    )


def _groups(root: str, path: str, *, prefix: str = "") -> rrb.Horizontal:
    """A plot for each unit: translation, rotation, gripper."""
    plots = [
        _plot(
            root,
            f"{path}/{group.name}",
            f"{prefix}{group.name} ({group.unit})",
            legend=rrb.Corner2D.RightTop if len(group.dimensions) > 1 else None,
            limits=group.limits,
        )
        for group in GROUPS
    ]
    return rrb.Horizontal(*plots, column_shares=GROUP_SHARES)


def _plot(
    root: str,
    path: str,
    name: str,
    *,
    legend: rrb.Corner2D | None = None,
    limits: tuple[float, float] | None = None,
) -> rrb.TimeSeriesView:
    return rrb.TimeSeriesView(
        origin=entity(root, path),
        name=name,
        axis_x=_axis(),
        axis_y=None if limits is None else rrb.ScalarAxis(range=limits),
        plot_legend=rrb.PlotLegend(legend, visible=legend is not None),
    )


def _axis() -> rrb.archetypes.TimeAxis:
    """All plots move together."""
    return rrb.archetypes.TimeAxis(link=LinkAxis.LinkToGlobal)


def _time_panel(control_hz: float) -> rrb.TimePanel:
    return rrb.TimePanel(
        state=rrb.PanelState.Collapsed,
        timeline=STEP,
        fps=control_hz or UNKNOWN_RATE_FPS,
        play_state="playing",
        loop_mode="all",
    )


def _side_panels() -> tuple[rrb.BlueprintPanel, rrb.SelectionPanel]:
    return rrb.BlueprintPanel(state="hidden"), rrb.SelectionPanel(state="hidden")
