"""The layout of imagined rollouts beside the truth."""

from collections.abc import Sequence

import rerun.blueprint as rrb

from viz.blueprints.comparison import comparison
from viz.blueprints.layout import ComparisonLayout, RolloutLayout
from viz.blueprints.parts import ERRORS, camera, groups, plot, scene, side_panels, strip, time_panel
from viz.entities import (
    CHANGED_TOKENS,
    DECODED,
    DIFFERENCE,
    ENTROPY_MAP,
    GEOMS,
    IMAGINED_CAMERA,
    LATENT_CHANCE,
    LATENT_INDEX,
    ROBOT_ACTION,
    SUMMARY,
    TRUE_CAMERA,
    UNCERTAINTY,
    entity,
)
from viz.images import FULL_DIFFERENCE
from viz.tokens import FULL_ENTROPY


def rollout_blueprint(layouts: Sequence[RolloutLayout | ComparisonLayout]) -> rrb.Blueprint:
    """One tab per episode; a single one fills the window."""
    tabs = [
        comparison(layout) if isinstance(layout, ComparisonLayout) else _rollout(layout)
        for layout in layouts
    ]
    content = tabs[0] if len(tabs) == 1 else rrb.Tabs(*tabs, active_tab=0)
    return rrb.Blueprint(
        content, time_panel(layouts[0].control_hz), *side_panels(), auto_views=False
    )


def _rollout(layout: RolloutLayout) -> rrb.Vertical:
    """Pictures over the whole width; below them what was done and how good it is, and the scene."""
    root = layout.root
    rows: list[rrb.Container] = [_codes(layout)]
    shares = [24]
    if layout.parts & {ROBOT_ACTION, DECODED}:
        rows.append(groups(root, ROBOT_ACTION, has_decoded=DECODED in layout.parts))
        shares.append(38)
    if curves := _horizon(layout):
        rows.append(rrb.Horizontal(*curves))
        shares.append(38)
    below = rrb.Horizontal(
        rrb.Vertical(*rows, row_shares=shares), _aside(layout), column_shares=[62, 38]
    )
    return rrb.Vertical(
        rrb.Horizontal(*_pictures(layout)),
        below,
        row_shares=[37, 63],
        name=root or f"episode {layout.episode_id}",
    )


def _pictures(layout: RolloutLayout) -> list[rrb.View]:
    root, has_truth = layout.root, TRUE_CAMERA in layout.parts
    pictures: list[rrb.View] = [camera(root, IMAGINED_CAMERA, "imagined camera")]
    if has_truth:
        pictures.insert(0, camera(root, TRUE_CAMERA, "true camera"))
        pictures.append(camera(root, DIFFERENCE, f"difference (0 to {FULL_DIFFERENCE:g})"))
    if CHANGED_TOKENS in layout.parts:
        pictures += [
            camera(root, CHANGED_TOKENS, "changed tokens"),
            camera(root, ENTROPY_MAP, f"uncertainty (0 to {FULL_ENTROPY:g})"),
        ]
    return pictures


def _codes(layout: RolloutLayout) -> rrb.Container:
    root = layout.root
    codes = rrb.Tabs(
        strip(root, "latent action of each step"),
        plot(root, LATENT_INDEX, "as a number"),
        active_tab=0,
    )
    if LATENT_CHANCE not in layout.parts:
        return codes
    chances = plot(root, LATENT_CHANCE, "chance of each, same colours", limits=(0.0, 1.05))
    return rrb.Horizontal(codes, chances, column_shares=[64, 36])


def _horizon(layout: RolloutLayout) -> list[rrb.View]:
    return [
        plot(layout.root, path, name, legend=None if path == UNCERTAINTY else legend)
        for path, (name, legend) in ERRORS.items()
        if path in layout.parts
    ]


def _aside(layout: RolloutLayout) -> rrb.Container | rrb.View:
    words = rrb.TextDocumentView(origin=entity(layout.root, SUMMARY), name="summary")
    if layout.eye is None:
        return words
    has_table = GEOMS in layout.parts
    name = "what MuJoCo says happens" if has_table else "where the tool is imagined"
    view = scene(layout.root, layout.eye, name=name, has_table=has_table)
    return rrb.Vertical(view, words, row_shares=[54, 46])
