"""Views and panels that the layouts share, made for 1600x950, in shares that fit a laptop too."""

from collections.abc import Iterable, Mapping, Sequence

import rerun.blueprint as rrb
from rerun.blueprint.api import VisualizerLike
from rerun.blueprint.components import LinkAxis
from rerun.encodings import EntityPathLike

from genie_robo.viz.entities import ROBOT_ACTION, STEP, entity
from genie_robo.viz.scene import Eye
from genie_robo.viz.series import GROUPS, JOINT_GROUP, JOINT_UNIT

UNKNOWN_RATE_FPS = 5.0
"""Frames per second of playback when an episode's rate is unknown."""
_GRID_COLOR = (255, 255, 255, 24)

Limits = Mapping[str, tuple[float, float]]
"""Ends of value axes, by entity."""
Part = rrb.View | rrb.Container
Looks = dict[EntityPathLike, VisualizerLike | Iterable[VisualizerLike]]
"""How entities look in one view."""


def playing(content: rrb.Container, *, control_hz: float) -> rrb.Blueprint:
    """A blueprint that plays from the beginning at the episode's rate, side panels hidden."""
    time_panel = rrb.TimePanel(
        state=rrb.PanelState.Collapsed,
        timeline=STEP,
        fps=control_hz or UNKNOWN_RATE_FPS,
        play_state="playing",
        loop_mode="all",
    )
    hidden = rrb.BlueprintPanel(state="hidden"), rrb.SelectionPanel(state="hidden")
    return rrb.Blueprint(content, time_panel, *hidden, auto_views=False)


def image(root: str, path: str, name: str) -> rrb.Spatial2DView:
    """Images of one entity."""
    return rrb.Spatial2DView(origin=entity(root, path), name=name)


def text(root: str, path: str, name: str) -> rrb.TextDocumentView:
    """A text in Markdown."""
    return rrb.TextDocumentView(origin=entity(root, path), name=name)


def strip(root: str, path: str, name: str) -> rrb.StateTimelineView:
    """A strip of named states over time."""
    return rrb.StateTimelineView(origin=entity(root, path), name=name, time_view=linked_axis())


def space(
    root: str,
    path: str,
    eye: Eye,
    *,
    name: str,
    grid_m: float | None,
    contents: Sequence[str] = ("$origin/**",),
    overrides: Looks | None = None,
) -> rrb.Spatial3DView:
    """A 3D view of `contents`, with a grid of that spacing on the ground unless None."""
    return rrb.Spatial3DView(
        origin=entity(root, path),
        name=name,
        contents=list(contents),
        overrides=overrides,
        background=rrb.BackgroundKind.GradientDark,
        line_grid=rrb.LineGrid3D(
            visible=grid_m is not None, spacing=grid_m or 0.1, color=_GRID_COLOR
        ),
        eye_controls=rrb.EyeControls3D(
            kind=rrb.Eye3DKind.Orbital,
            position=eye.position,
            look_target=eye.target,
            eye_up=(0, 0, 1),
        ),
    )


def group_plots(
    root: str, path: str, *, limits: Limits, prefix: str = ""
) -> dict[str, rrb.TimeSeriesView]:
    """A plot for each unit, by group: translation, rotation, gripper, joints.

    Colours are named in the titles, because a legend would cover half of the curves. The gripper's
    curve is 1 where it is open.
    """
    is_change = path == ROBOT_ACTION
    titles = {
        group.name: f"{prefix}{group.colored.format('d' * is_change)} ({group.unit})"
        for group in GROUPS
        if group.colored
    }
    titles["gripper"] = f"{prefix}gripper open"
    titles[JOINT_GROUP] = f"{prefix}{JOINT_GROUP} ({JOINT_UNIT})"
    return {
        name: plot(root, f"{path}/{name}", title, limits=limits.get(f"{path}/{name}"))
        for name, title in titles.items()
    }


def plot(
    root: str,
    path: str,
    name: str,
    *,
    limits: tuple[float, float] | None = None,
    contents: str | list[str] = "$origin/**",
    overrides: Looks | None = None,
) -> rrb.TimeSeriesView:
    """The series below one path; `limits` are the ends of the value axis, None to fit the data.

    Without a legend, which would cover curves: a title or the summary has the colours.
    """
    return rrb.TimeSeriesView(
        origin=entity(root, path),
        name=name,
        contents=contents,
        overrides=overrides,
        axis_x=linked_axis(),
        axis_y=None if limits is None else rrb.ScalarAxis(range=limits),
        plot_legend=rrb.PlotLegend(visible=False),
    )


def linked_axis() -> rrb.archetypes.TimeAxis:
    """A time axis that scrolls and zooms with all others."""
    return rrb.archetypes.TimeAxis(link=LinkAxis.LinkToGlobal)
