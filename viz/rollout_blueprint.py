"""The layout of imagined rollouts: one model, or several models on one episode."""

from collections.abc import Sequence
from dataclasses import dataclass

import rerun as rr
import rerun.blueprint as rrb

from viz.entities import (
    CHANGED_TOKENS,
    DECODED,
    DIFFERENCE,
    ENTROPY_MAP,
    GEOMS,
    IMAGINED_CAMERA,
    IMAGINED_PATH,
    IMAGINED_POINT,
    LATENT_CHANCE,
    LATENT_INDEX,
    ROBOT_ACTION,
    SCENE,
    SUMMARY,
    TRUE_CAMERA,
    UNCERTAINTY,
    entity,
)
from viz.images import FULL_DIFFERENCE, FULL_ENTROPY
from viz.rollout_view import COPY_LAST, IMAGINED
from viz.scene import Eye
from viz.series import BLUE, GREEN, GREY, ORANGE, PINK, RED, TEAL, VIOLET
from viz.views import (
    ERRORS,
    Color,
    Curve,
    Looks,
    camera,
    groups,
    plot,
    scene,
    shared_plot,
    side_panels,
    strip,
    time_panel,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutLayout:
    """One rollout."""

    root: str
    episode_id: str
    control_hz: float
    eye: Eye | None
    """None without a 3D scene."""
    parts: frozenset[str]
    """Entities that were logged, among those that may be missing."""

    @property
    def shape(self) -> str:
        """The same for rollouts that look alike."""
        return " ".join([self.root, *sorted(self.parts)])


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonLayout:
    """Several models on one episode, whose truth lies below its root."""

    root: str
    models: tuple[RolloutLayout, ...]

    @property
    def control_hz(self) -> float:
        """Steps per second, 0 when unknown."""
        return self.models[0].control_hz

    @property
    def parts(self) -> frozenset[str]:
        """What any of the models has."""
        return frozenset().union(*(model.parts for model in self.models))

    @property
    def shape(self) -> str:
        """The same for comparisons that look alike."""
        return " ".join([self.root, *(model.shape for model in self.models)])


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


MODEL_COLORS = (ORANGE, BLUE, GREEN, PINK, TEAL, VIOLET, RED)
"""One per model, again from the first when there are more."""
CAMERAS_IN_A_ROW = 5


def comparison(layout: ComparisonLayout) -> rrb.Vertical:
    """The truth once and each model's camera beside it; what they do; their errors together."""
    pictures = _model_cameras(layout)
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
        _shared_scene(layout),
        column_shares=[64, 36],
    )
    return rrb.Vertical(cameras, below, row_shares=[42, 58], name=layout.root)


def _model_cameras(layout: ComparisonLayout) -> list[rrb.View | rrb.Container]:
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


def _shared_scene(layout: ComparisonLayout) -> rrb.Container:
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
