"""The layout of dataset episodes."""

from dataclasses import dataclass

import rerun.blueprint as rrb

from viz.blueprints.parts import camera, groups, scene, side_panels, time_panel
from viz.entities import CAMERA, INSTRUCTION, PROPRIOCEPTION, ROBOT_ACTION, entity
from viz.scene import Eye


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeLayout:
    """What the layout of one dataset episode depends on."""

    root: str
    cameras: tuple[str, ...]
    control_hz: float
    eye: Eye | None
    """None without an end-effector pose."""


def episode_blueprint(layout: EpisodeLayout) -> rrb.Blueprint:
    """Cameras above actions above poses; beside them the path in 3D and the instruction."""
    root = layout.root
    cameras = rrb.Horizontal(*(camera(root, f"{CAMERA}/{name}", name) for name in layout.cameras))
    rows: list[rrb.Container] = [cameras, groups(root, ROBOT_ACTION)]
    words = rrb.TextDocumentView(origin=entity(root, INSTRUCTION), name="instruction")
    aside: list[rrb.View] = [words]
    if layout.eye is not None:
        rows.append(groups(root, PROPRIOCEPTION, prefix="pose: "))
        aside.insert(0, scene(root, layout.eye, name="end-effector path", has_table=False))
    content = rrb.Horizontal(
        rrb.Vertical(*rows, row_shares=[50, 25, 25][: len(rows)]),
        rrb.Vertical(*aside, row_shares=[75, 25][-len(aside) :]),
        column_shares=[64, 36],
    )
    return rrb.Blueprint(content, time_panel(layout.control_hz), *side_panels(), auto_views=False)
