"""The layout of imagined rollouts beside the truth."""

from collections.abc import Sequence
from dataclasses import dataclass

import rerun.blueprint as rrb

from viz.blueprints.parts import axis, camera, groups, plot, scene, side_panels, time_panel
from viz.entities import (
    DIFFERENCE,
    IMAGINED_CAMERA,
    LATENT_ACTION,
    LATENT_INDEX,
    PSNR,
    ROBOT_ACTION,
    SUMMARY,
    TRUE_CAMERA,
    entity,
)
from viz.images import FULL_DIFFERENCE
from viz.scene import Eye


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutLayout:
    """What the layout of one rollout depends on."""

    root: str
    episode_id: str
    control_hz: float
    eye: Eye | None
    """None without a 3D scene."""


def rollout_blueprint(layouts: Sequence[RolloutLayout]) -> rrb.Blueprint:
    """One tab per rollout; a single one fills the window."""
    tabs = [_rollout(layout) for layout in layouts]
    content = tabs[0] if len(tabs) == 1 else rrb.Tabs(*tabs, active_tab=0)
    return rrb.Blueprint(
        content, time_panel(layouts[0].control_hz), *side_panels(), auto_views=False
    )


def _rollout(layout: RolloutLayout) -> rrb.Horizontal:
    root = layout.root
    cameras = rrb.Horizontal(
        camera(root, TRUE_CAMERA, "true camera"),
        camera(root, IMAGINED_CAMERA, "imagined camera"),
        camera(root, DIFFERENCE, f"difference (0 to {FULL_DIFFERENCE:g})"),
    )
    codes = rrb.Tabs(
        _codes(root), plot(root, LATENT_INDEX, "latent action as a number"), active_tab=0
    )
    actions = groups(root, ROBOT_ACTION)
    psnr = plot(root, PSNR, "PSNR of imagined frames (dB)", legend=rrb.Corner2D.LeftBottom)
    time = rrb.Vertical(cameras, codes, actions, psnr, row_shares=[38, 15, 23, 24])
    aside: list[rrb.View] = [rrb.TextDocumentView(origin=entity(root, SUMMARY), name="summary")]
    if layout.eye is not None:
        aside.insert(0, scene(root, layout.eye, name="what MuJoCo says happens", has_table=True))
    return rrb.Horizontal(
        time,
        rrb.Vertical(*aside, row_shares=[60, 40][-len(aside) :]),
        column_shares=[62, 38],
        name=root or f"episode {layout.episode_id}",
    )


def _codes(root: str) -> rrb.StateTimelineView:
    return rrb.StateTimelineView(
        origin=entity(root, LATENT_ACTION),
        name="latent action of each step",
        time_view=axis(),
    )
