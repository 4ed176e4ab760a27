"""The layout of several models that imagine one episode, side by side."""

import rerun as rr
import rerun.blueprint as rrb

from viz.blueprints.layout import ComparisonLayout, RolloutLayout
from viz.blueprints.parts import (
    ERRORS,
    Color,
    Curve,
    Looks,
    camera,
    groups,
    scene,
    shared_plot,
    strip,
)
from viz.curves import COPY_LAST, IMAGINED
from viz.entities import (
    CHANGED_TOKENS,
    DIFFERENCE,
    ENTROPY_MAP,
    GEOMS,
    IMAGINED_CAMERA,
    IMAGINED_PATH,
    IMAGINED_POINT,
    ROBOT_ACTION,
    SCENE,
    SUMMARY,
    TRUE_CAMERA,
    UNCERTAINTY,
    entity,
)
from viz.series import BLUE, GREEN, GREY, ORANGE, PINK, RED, TEAL, VIOLET

MODEL_COLORS = (ORANGE, BLUE, GREEN, PINK, TEAL, VIOLET, RED)
"""One per model, again from the first when there are more."""
CAMERAS_IN_A_ROW = 5


def comparison(layout: ComparisonLayout) -> rrb.Vertical:
    """The truth once and each model's camera beside it; what they do; their errors together."""
    pictures = _pictures(layout)
    cameras = rrb.Grid(*pictures, grid_columns=min(len(pictures), CAMERAS_IN_A_ROW))
    strips = rrb.Horizontal(
        *(strip(model.root, f"{_name(model)}: latent actions") for model in layout.models)
    )
    rows: list[rrb.Container] = [strips]
    if plots := _plots(layout):
        rows.append(rrb.Horizontal(*plots))
    if ROBOT_ACTION in layout.parts:
        rows.append(groups(layout.root, ROBOT_ACTION))
    below = rrb.Horizontal(
        rrb.Vertical(*rows, row_shares=[22, 44, 34][: len(rows)]),
        _aside(layout),
        column_shares=[64, 36],
    )
    return rrb.Vertical(cameras, below, row_shares=[42, 58], name=layout.root)


def _pictures(layout: ComparisonLayout) -> list[rrb.View | rrb.Container]:
    pictures: list[rrb.View | rrb.Container] = []
    if TRUE_CAMERA in layout.parts:
        pictures.append(camera(layout.root, TRUE_CAMERA, "true camera"))
    for model in layout.models:
        views = [camera(model.root, IMAGINED_CAMERA, f"{_name(model)}: imagined camera")]
        if TRUE_CAMERA in model.parts:
            views.append(camera(model.root, DIFFERENCE, "difference"))
        if CHANGED_TOKENS in model.parts:
            views.append(camera(model.root, CHANGED_TOKENS, "changed tokens"))
            views.append(camera(model.root, ENTROPY_MAP, "uncertainty"))
        pictures.append(rrb.Tabs(*views, active_tab=0))
    return pictures


def _plots(layout: ComparisonLayout) -> list[rrb.View]:
    return [
        shared_plot(layout.root, name, _curves(layout, path), legend=legend)
        for path, (name, legend) in ERRORS.items()
        if path in layout.parts
    ]


def _curves(layout: ComparisonLayout, path: str) -> list[Curve]:
    """Each model's, and what has to be beaten, which is the same for all."""
    shown = [(model, color) for model, color in _colored(layout) if path in model.parts]
    curves = [
        Curve(f"{entity(model.root, path)}/{IMAGINED}", _name(model), color)
        for model, color in shown
    ]
    if path == UNCERTAINTY:
        return curves
    first, _ = shown[0]
    return [*curves, Curve(f"{entity(first.root, path)}/{COPY_LAST}", "copy last", GREY)]


def _aside(layout: ComparisonLayout) -> rrb.Container:
    words = rrb.Tabs(
        *(
            rrb.TextDocumentView(origin=entity(model.root, SUMMARY), name=_name(model))
            for model in layout.models
        ),
        active_tab=0,
    )
    eyes = [model.eye for model in layout.models if model.eye is not None]
    if not eyes:
        return words
    roots = [layout.root, *(model.root for model in layout.models)]
    has_table = GEOMS in layout.parts
    looks: Looks = {}
    for model, color in _colored(layout):
        if IMAGINED_PATH in model.parts:
            looks[entity(model.root, IMAGINED_PATH)] = rr.LineStrips3D.from_fields(colors=[color])
            looks[entity(model.root, IMAGINED_POINT)] = rr.Points3D.from_fields(colors=[color])
    view = scene(
        layout.root,
        eyes[0],
        name="true and imagined paths" if has_table else "imagined paths",
        has_table=has_table,
        contents=[f"{entity(root, SCENE)}/**" for root in roots],
        overrides=looks,
    )
    return rrb.Vertical(view, words, row_shares=[60, 40])


def _colored(layout: ComparisonLayout) -> list[tuple[RolloutLayout, Color]]:
    return [
        (model, MODEL_COLORS[number % len(MODEL_COLORS)])
        for number, model in enumerate(layout.models)
    ]


def _name(model: RolloutLayout) -> str:
    return model.root.rpartition("/")[2]
