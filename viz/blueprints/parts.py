"""What the layouts share: views of an entity, the time panel, closed side panels."""

import rerun.blueprint as rrb
from rerun.blueprint.components import LinkAxis

from viz.entities import SCENE, STEP, entity
from viz.scene import Eye
from viz.series import GROUPS

GROUP_SHARES = (4, 4, 3)
"""Widths of the plots of translation, rotation and gripper."""
GRID_COLOR = (255, 255, 255, 24)
UNKNOWN_RATE_FPS = 5.0
"""Frames per second of playback when an episode's rate is unknown."""


def camera(root: str, path: str, name: str) -> rrb.Spatial2DView:
    """Pictures of one camera."""
    return rrb.Spatial2DView(origin=entity(root, path), name=name)


def scene(root: str, eye: Eye, *, name: str, has_table: bool) -> rrb.Spatial3DView:
    """The 3D scene; a grid stands for the table where there is none."""
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


def groups(root: str, path: str, *, prefix: str = "") -> rrb.Horizontal:
    """A plot for each unit: translation, rotation, gripper."""
    plots = [
        plot(
            root,
            f"{path}/{group.name}",
            f"{prefix}{group.name} ({group.unit})",
            legend=rrb.Corner2D.RightTop if len(group.dimensions) > 1 else None,
            limits=group.limits,
        )
        for group in GROUPS
    ]
    return rrb.Horizontal(*plots, column_shares=GROUP_SHARES)


def plot(
    root: str,
    path: str,
    name: str,
    *,
    legend: rrb.Corner2D | None = None,
    limits: tuple[float, float] | None = None,
) -> rrb.TimeSeriesView:
    """The series below one path; without a legend when it would say nothing."""
    return rrb.TimeSeriesView(
        origin=entity(root, path),
        name=name,
        axis_x=axis(),
        axis_y=None if limits is None else rrb.ScalarAxis(range=limits),
        plot_legend=rrb.PlotLegend(legend, visible=legend is not None),
    )


def axis() -> rrb.archetypes.TimeAxis:
    """All plots move together."""
    return rrb.archetypes.TimeAxis(link=LinkAxis.LinkToGlobal)


def time_panel(control_hz: float) -> rrb.TimePanel:
    """Playing from the beginning, at the episode's rate."""
    return rrb.TimePanel(
        state=rrb.PanelState.Collapsed,
        timeline=STEP,
        fps=control_hz or UNKNOWN_RATE_FPS,
        play_state="playing",
        loop_mode="all",
    )


def side_panels() -> tuple[rrb.BlueprintPanel, rrb.SelectionPanel]:
    """Out of the way."""
    return rrb.BlueprintPanel(state="hidden"), rrb.SelectionPanel(state="hidden")
