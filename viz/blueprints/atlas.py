"""The layout of an atlas of latent actions."""

from dataclasses import dataclass
from math import ceil, sqrt

import rerun.blueprint as rrb

from viz.blueprints.parts import GRID_COLOR, camera, side_panels, time_panel
from viz.entities import ATLAS_CODE, ATLAS_MOTION, SUMMARY, entity

_EYE = (1.9, 1.7, 1.3)
"""Where the eye is, in lengths of the longest arrow."""
_GRID_M = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class AtlasLayout:
    """What the layout of one atlas depends on."""

    root: str
    names: tuple[str, ...]
    """Of the codes, from 0."""
    control_hz: float
    reach: float | None
    """Length of the longest arrow (m); None without arrows."""


def atlas_blueprint(layout: AtlasLayout) -> rrb.Blueprint:
    """A picture per code in a grid about as wide as high; beside it the arrows and the numbers."""
    root = layout.root
    pictures = [
        camera(root, f"{ATLAS_CODE}/{code}", name) for code, name in enumerate(layout.names)
    ]
    grid = rrb.Grid(*pictures, grid_columns=ceil(sqrt(len(pictures))), name="imagined")
    aside: list[rrb.View] = [rrb.TextDocumentView(origin=entity(root, SUMMARY), name="summary")]
    if layout.reach is not None:
        aside.insert(0, _arrows(root, layout.reach))
    content = rrb.Horizontal(
        grid, rrb.Vertical(*aside, row_shares=[52, 48][-len(aside) :]), column_shares=[60, 40]
    )
    return rrb.Blueprint(content, time_panel(layout.control_hz), *side_panels(), auto_views=False)


def _arrows(root: str, reach: float) -> rrb.Spatial3DView:
    x, y, z = (reach * share for share in _EYE)
    return rrb.Spatial3DView(
        origin=entity(root, ATLAS_MOTION),
        name=f"mean motion of each code, one sigma around it (grid {1000 * _GRID_M:g} mm)",
        background=rrb.BackgroundKind.GradientDark,
        line_grid=rrb.LineGrid3D(visible=True, spacing=_GRID_M, color=GRID_COLOR),
        eye_controls=rrb.EyeControls3D(
            kind=rrb.Eye3DKind.Orbital,
            position=(x, y, z),
            look_target=(0, 0, 0),
            eye_up=(0, 0, 1),
        ),
    )
