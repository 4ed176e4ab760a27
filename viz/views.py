"""Views and panels that the layouts share."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import rerun as rr
import rerun.blueprint as rrb
from rerun.blueprint.api import VisualizerLike
from rerun.blueprint.components import LinkAxis
from rerun.encodings import EntityPathLike

from viz.entities import (
    DECODED,
    LATENT_ACTION,
    POSE_ERROR,
    PSNR,
    SCENE,
    STEP,
    UNCERTAINTY,
    entity,
)
from viz.scene import Eye
from viz.series import GROUPS

GROUP_SHARES = (4, 4, 3)
"""Widths of the plots of translation, rotation and gripper."""
GRID_COLOR = (255, 255, 255, 24)
ERRORS = {
    PSNR: ("PSNR (dB)", rrb.Corner2D.LeftBottom),
    POSE_ERROR: ("tool error (mm)", rrb.Corner2D.LeftTop),
    UNCERTAINTY: ("uncertainty (nats)", rrb.Corner2D.LeftBottom),
}
"""How good imagined frames are over the horizon: title, and where the legend hides least."""
WIDTH = 2.0
"""Of a curve, in points on the screen."""
UNKNOWN_RATE_FPS = 5.0
"""Frames per second of playback when an episode's rate is unknown."""

Color = tuple[int, int, int]
Looks = dict[EntityPathLike, VisualizerLike | Iterable[VisualizerLike]]
"""How entities look in one view."""


class Curve(NamedTuple):
    """A series of some entity as one plot calls it."""

    path: str
    name: str
    color: Color


def camera(root: str, path: str, name: str) -> rrb.Spatial2DView:
    """Pictures of one camera."""
    return rrb.Spatial2DView(origin=entity(root, path), name=name)


def scene(
    root: str,
    eye: Eye,
    *,
    name: str,
    has_table: bool,
    contents: Sequence[str] = ("$origin/**",),
    overrides: Looks | None = None,
) -> rrb.Spatial3DView:
    """The 3D scene; a grid stands for the table where there is none.

    `contents` are the entities to show, `overrides` how some of them look.
    """
    return rrb.Spatial3DView(
        origin=entity(root, SCENE),
        name=name,
        contents=list(contents),
        overrides=overrides,
        background=rrb.BackgroundKind.GradientDark,
        line_grid=rrb.LineGrid3D(visible=not has_table, spacing=0.1, color=GRID_COLOR),
        eye_controls=rrb.EyeControls3D(
            kind=rrb.Eye3DKind.Orbital,
            position=eye.position,
            look_target=eye.target,
            eye_up=(0, 0, 1),
        ),
    )


def groups(root: str, path: str, *, prefix: str = "", has_decoded: bool = False) -> rrb.Horizontal:
    """A plot for each unit: translation, rotation, gripper.

    With decoded actions beside the true ones a legend would hide the half of them: x y z are red,
    green and blue, as always.
    """
    plots = [
        plot(
            root,
            f"{path}/{group.name}",
            f"{prefix}{group.name} ({group.unit})" + (f", pale: {DECODED}" if has_decoded else ""),
            legend=None if has_decoded or len(group.dimensions) == 1 else rrb.Corner2D.RightTop,
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


def strip(root: str, name: str) -> rrb.StateTimelineView:
    """The latent actions as a strip of named states."""
    return rrb.StateTimelineView(origin=entity(root, LATENT_ACTION), name=name, time_view=axis())


def shared_plot(
    root: str, name: str, curves: Sequence[Curve], *, legend: rrb.Corner2D
) -> rrb.TimeSeriesView:
    """Series of several entities below one root, under names and colours of their own."""
    return rrb.TimeSeriesView(
        origin=f"/{root}",
        contents=[curve.path for curve in curves],
        name=name,
        overrides={
            curve.path: rr.SeriesLines(names=[curve.name], colors=[curve.color], widths=[WIDTH])
            for curve in curves
        },
        axis_x=axis(),
        plot_legend=rrb.PlotLegend(legend),
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
