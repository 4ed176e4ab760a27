"""The layouts of dataset episodes: one alone, or several one after another."""

from collections.abc import Sequence
from dataclasses import dataclass

import rerun.blueprint as rrb

from viz.blueprints.parts import axis, camera, groups, plot, scene, side_panels, time_panel
from viz.entities import (
    CAMERA,
    EPISODE,
    EPISODE_TABLE,
    INSTRUCTION,
    PROPRIOCEPTION,
    ROBOT_ACTION,
    STORED,
    entity,
)
from viz.scene import Eye
from viz.series import GROUPS

ALL_GROUPS = tuple(group.name for group in GROUPS)
_CAMERAS_IN_A_ROW = 4
_COLUMNS_IN_A_ROW = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeLayout:
    """What the layout of dataset episodes depends on."""

    root: str
    cameras: tuple[str, ...]
    control_hz: float
    eye: Eye | None
    """None without an end-effector pose."""
    action_groups: tuple[str, ...] = ALL_GROUPS
    """Names of the groups of an action that the dataset has."""
    pose_groups: tuple[str, ...] = ALL_GROUPS
    stored: tuple[str, ...] = ()
    """Columns of numbers that are shown as they are stored."""
    has_table: bool = False
    """Whether the scene has a table and all else that a simulator knows."""


def episode_blueprint(layout: EpisodeLayout) -> rrb.Blueprint:
    """Cameras above actions above poses; beside them the path in 3D and the instruction."""
    words = rrb.TextDocumentView(origin=entity(layout.root, INSTRUCTION), name="instruction")
    return _blueprint(layout, _rows(layout), words)


def dataset_blueprint(layout: EpisodeLayout) -> rrb.Blueprint:
    """The same for all episodes in turn, with a strip that tells them apart and a table of them."""
    root = layout.root
    strip = rrb.StateTimelineView(
        origin=entity(root, EPISODE), name="episodes, one after another", time_view=axis()
    )
    table = rrb.TextDocumentView(origin=entity(root, EPISODE_TABLE), name="all episodes")
    words = rrb.TextDocumentView(origin=entity(root, INSTRUCTION), name="instruction")
    rows = [*_rows(layout), (strip, 14)]
    return _blueprint(layout, rows, rrb.Vertical(words, table, row_shares=[40, 60]))


def _rows(layout: EpisodeLayout) -> list[tuple[rrb.View | rrb.Container, int]]:
    """What moves with time, from top to bottom, each with its share of the height."""
    root = layout.root
    cameras = [camera(root, f"{CAMERA}/{name}", name) for name in layout.cameras]
    found: list[tuple[rrb.View | rrb.Container, int]] = [
        (rrb.Grid(*cameras, grid_columns=min(len(cameras), _CAMERAS_IN_A_ROW)), 50)
    ]
    if layout.action_groups:
        found.append((_groups(layout, ROBOT_ACTION, layout.action_groups), 25))
    if layout.eye is not None and layout.pose_groups:
        found.append((_groups(layout, PROPRIOCEPTION, layout.pose_groups, prefix="pose: "), 25))
    if layout.stored:
        plots = [plot(root, f"{STORED}/{name}", f"{name} (as stored)") for name in layout.stored]
        found.append((rrb.Grid(*plots, grid_columns=min(len(plots), _COLUMNS_IN_A_ROW)), 50))
    return found


def _groups(
    layout: EpisodeLayout, path: str, names: Sequence[str], *, prefix: str = ""
) -> rrb.Horizontal:
    """A plot for each unit that the dataset has."""
    every = zip(GROUPS, groups(layout.root, path, prefix=prefix).contents, strict=True)
    return rrb.Horizontal(*(view for group, view in every if group.name in names))


def _blueprint(
    layout: EpisodeLayout,
    rows: Sequence[tuple[rrb.View | rrb.Container, int]],
    words: rrb.View | rrb.Container,
) -> rrb.Blueprint:
    aside: list[rrb.View | rrb.Container] = [words]
    if layout.eye is not None:
        name = "what MuJoCo says" if layout.has_table else "end-effector path"
        aside.insert(0, scene(layout.root, layout.eye, name=name, has_table=layout.has_table))
    content = rrb.Horizontal(
        rrb.Vertical(*(row for row, _ in rows), row_shares=[share for _, share in rows]),
        rrb.Vertical(*aside, row_shares=[60, 40][-len(aside) :]),
        column_shares=[64, 36],
    )
    return rrb.Blueprint(content, time_panel(layout.control_hz), *side_panels(), auto_views=False)
