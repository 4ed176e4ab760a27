"""The layout of imagined rollouts: one model, or several models on one episode."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import rerun as rr
import rerun.blueprint as rrb

from genie_robo.inference.code_names import Color
from genie_robo.viz.entities import (
    CHANGED_TOKENS,
    DECODED,
    DIFFERENCE,
    ENTROPY_MAP,
    GEOMS,
    IMAGINED_CAMERA,
    IMAGINED_PATH,
    IMAGINED_POINT,
    LATENT_ACTION,
    LATENT_CHANCE,
    LATENT_INDEX,
    POSE_ERROR,
    PSNR,
    ROBOT_ACTION,
    SCENE,
    SUMMARY,
    TRUE_CAMERA,
    TRUST,
    UNCERTAINTY,
    entity,
)
from genie_robo.viz.images import FULL_DIFFERENCE, FULL_ENTROPY
from genie_robo.viz.rollout_view import COPY_LAST, IMAGINED
from genie_robo.viz.scene import Eye
from genie_robo.viz.series import (
    BLUE,
    COLOR_NAMES,
    GREEN,
    GREY,
    JOINT_GROUP,
    LINE_WIDTH,
    ORANGE,
    PINK,
    RED,
    TEAL,
    VIOLET,
)
from genie_robo.viz.views import (
    Limits,
    Looks,
    Part,
    group_plots,
    image,
    playing,
    plot,
    space,
    strip,
    text,
)

MODEL_COLORS = (ORANGE, BLUE, GREEN, PINK, TEAL, VIOLET, RED)
"""One per model, repeated when there are more."""
_ERRORS = {
    PSNR: "PSNR (dB)",
    POSE_ERROR: "tool (mm)",
    UNCERTAINTY: "uncertainty",
    TRUST: "trust",
}
"""Quality of the imagined frames over the horizon, with titles."""
_WITHOUT_BASELINE = (UNCERTAINTY, TRUST)
_GROUP_SHARES = {"translation": 4, "rotation": 5, "gripper": 3, JOINT_GROUP: 4}
"""Widths of plots of actions, which have titles of different lengths."""
_BASELINE_SHARES = (3, 4)
"""Widths of plots of errors without and with the baseline in their title."""
_CAMERAS_IN_A_ROW = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutLayout:
    """The properties of one rollout that its layout depends on."""

    root: str
    episode_id: str
    control_hz: float
    eye: Eye | None
    """None without a 3D scene."""
    parts: frozenset[str]
    """Optional entities that were logged."""
    action_groups: tuple[str, ...]
    """Names of the groups of robot actions that were logged."""
    limits: Limits = field(default_factory=dict)
    """Ends of the value axes of curves, by entity; those of others fit the data."""

    @property
    def shape(self) -> str:
        """Equal for rollouts with equal layouts."""
        limits = [f"{path}={ends}" for path, ends in sorted(self.limits.items())]
        return " ".join([self.root, *sorted(self.parts), *self.action_groups, *limits])

    @property
    def model(self) -> str:
        """Name of the model in a comparison: the last word of the root."""
        return self.root.rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonLayout:
    """Several models on one episode; the entities they share are below its root."""

    root: str
    models: tuple[RolloutLayout, ...]

    @property
    def control_hz(self) -> float:
        """Steps per second, 0 when unknown."""
        return self.models[0].control_hz

    @property
    def parts(self) -> frozenset[str]:
        """Optional entities that any of the models has."""
        return frozenset().union(*(model.parts for model in self.models))

    @property
    def shape(self) -> str:
        """Equal for comparisons with equal layouts."""
        return " ".join([self.root, *(model.shape for model in self.models)])


def rollout_blueprint(layouts: Sequence[RolloutLayout | ComparisonLayout]) -> rrb.Blueprint:
    """One tab per episode; a single one fills the window."""
    tabs = [_comparison(x) if isinstance(x, ComparisonLayout) else _rollout(x) for x in layouts]
    content = tabs[0] if len(tabs) == 1 else rrb.Tabs(*tabs, active_tab=0)
    return playing(content, control_hz=layouts[0].control_hz)


def _rollout(layout: RolloutLayout) -> rrb.Vertical:
    """Images across the top; below them actions and errors on the left, the scene on the right."""
    rows: list[rrb.Container] = [_codes(layout)]
    shares = [24]
    if layout.parts & {ROBOT_ACTION, DECODED}:
        rows.append(_robot_actions(layout.root, layout))
        shares.append(38)
    if curves := [
        plot(layout.root, path, name, limits=layout.limits.get(path))
        for path, name in _ERRORS.items()
        if path in layout.parts
    ]:
        rows.append(rrb.Horizontal(*curves))
        shares.append(38)
    left = rrb.Vertical(*rows, row_shares=shares)
    return rrb.Vertical(
        rrb.Horizontal(*_images(layout)),
        rrb.Horizontal(left, _scene_and_summary(layout), column_shares=[62, 38]),
        row_shares=[37, 63],
        name=layout.root or f"episode {layout.episode_id}",
    )


def _images(layout: RolloutLayout) -> list[rrb.View]:
    root = layout.root
    images: list[rrb.View] = [image(root, IMAGINED_CAMERA, "imagined camera")]
    if TRUE_CAMERA in layout.parts:
        images.insert(0, image(root, TRUE_CAMERA, "true camera"))
        images.append(image(root, DIFFERENCE, f"difference (0 to {FULL_DIFFERENCE:g})"))
    if CHANGED_TOKENS in layout.parts:
        images.append(image(root, CHANGED_TOKENS, "changed tokens"))
        images.append(image(root, ENTROPY_MAP, f"uncertainty (0 to {FULL_ENTROPY:g})"))
    return images


def _codes(layout: RolloutLayout) -> rrb.Container:
    root = layout.root
    codes = rrb.Tabs(
        strip(root, LATENT_ACTION, "latent action of each step"),
        plot(root, LATENT_INDEX, "code index"),
        active_tab=0,
    )
    if LATENT_CHANCE not in layout.parts:
        return codes
    chances = plot(root, LATENT_CHANCE, "probability of each code", limits=(0.0, 1.05))
    return rrb.Horizontal(codes, chances, column_shares=[64, 36])


def _robot_actions(root: str, layout: RolloutLayout) -> rrb.Horizontal:
    plots = group_plots(root, ROBOT_ACTION, limits=layout.limits)
    return rrb.Horizontal(
        *(plots[name] for name in layout.action_groups),
        column_shares=[_GROUP_SHARES[name] for name in layout.action_groups],
    )


def _scene_and_summary(layout: RolloutLayout) -> Part:
    summary = text(layout.root, SUMMARY, "summary")
    if layout.eye is None:
        return summary
    has_table = GEOMS in layout.parts
    name = "MuJoCo replay" if has_table else "imagined tool path"
    grid_m = None if has_table else 0.1
    scene = space(layout.root, SCENE, layout.eye, name=name, grid_m=grid_m)
    return rrb.Vertical(scene, summary, row_shares=[54, 46])


def _comparison(layout: ComparisonLayout) -> rrb.Vertical:
    """The truth and each model's camera; below them latent actions, errors and robot actions."""
    cameras = [_model_images(model) for model in layout.models]
    if TRUE_CAMERA in layout.parts:
        cameras.insert(0, image(layout.root, TRUE_CAMERA, "true camera"))
    strips = [
        strip(m.root, LATENT_ACTION, f"{m.model} ({COLOR_NAMES[color]}): codes")
        for m, color in _colored(layout)
    ]
    rows = [rrb.Horizontal(*strips)]
    if errors := [path for path in _ERRORS if path in layout.parts]:
        shares = [_BASELINE_SHARES[path not in _WITHOUT_BASELINE] for path in errors]
        plots = [_shared_plot(layout, path) for path in errors]
        rows.append(rrb.Horizontal(*plots, column_shares=shares))
    if ROBOT_ACTION in layout.parts:
        rows.append(_robot_actions(layout.root, layout.models[0]))
    left = rrb.Vertical(*rows, row_shares=[22, 44, 34][: len(rows)])
    return rrb.Vertical(
        rrb.Grid(*cameras, grid_columns=min(len(cameras), _CAMERAS_IN_A_ROW)),
        rrb.Horizontal(left, _scene_and_summaries(layout), column_shares=[64, 36]),
        row_shares=[42, 58],
        name=layout.root,
    )


def _model_images(model: RolloutLayout) -> Part:
    views = [image(model.root, IMAGINED_CAMERA, f"{model.model}: imagined camera")]
    if TRUE_CAMERA in model.parts:
        views.append(image(model.root, DIFFERENCE, "difference"))
    if CHANGED_TOKENS in model.parts:
        views.append(image(model.root, CHANGED_TOKENS, "changed tokens"))
        views.append(image(model.root, ENTROPY_MAP, "uncertainty"))
    return rrb.Tabs(*views, active_tab=0)


def _shared_plot(layout: ComparisonLayout, path: str) -> rrb.TimeSeriesView:
    """One error of all models in one plot, with the baseline, which is the same for all."""
    name = _ERRORS[path]
    shown = [(model, color) for model, color in _colored(layout) if path in model.parts]
    curves = {
        f"{entity(model.root, path)}/{IMAGINED}": (model.model, color) for model, color in shown
    }
    if path not in _WITHOUT_BASELINE:
        first, _ = shown[0]
        curves[f"{entity(first.root, path)}/{COPY_LAST}"] = ("copy last", GREY)
        name += ", grey: copy"
    looks: Looks = {
        path: rr.SeriesLines(names=[label], colors=[color], widths=[LINE_WIDTH])
        for path, (label, color) in curves.items()
    }
    ends = [model.limits[path] for model, _ in shown if path in model.limits]
    limits = (min(low for low, _ in ends), max(high for _, high in ends)) if ends else None
    return plot("", layout.root, name, contents=list(curves), overrides=looks, limits=limits)


def _scene_and_summaries(layout: ComparisonLayout) -> Part:
    summaries = [text(model.root, SUMMARY, model.model) for model in layout.models]
    tabs = rrb.Tabs(*summaries, active_tab=0)
    eyes = [model.eye for model in layout.models if model.eye is not None]
    if not eyes:
        return tabs
    roots = [layout.root, *(model.root for model in layout.models)]
    has_table = GEOMS in layout.parts
    looks: Looks = {}
    for model, color in _colored(layout):
        if IMAGINED_PATH in model.parts:
            looks[entity(model.root, IMAGINED_PATH)] = rr.LineStrips3D.from_fields(colors=[color])
            looks[entity(model.root, IMAGINED_POINT)] = rr.Points3D.from_fields(colors=[color])
    scene = space(
        layout.root,
        SCENE,
        eyes[0],
        name="true and imagined paths" if has_table else "imagined paths",
        grid_m=None if has_table else 0.1,
        contents=[f"{entity(root, SCENE)}/**" for root in roots],
        overrides=looks,
    )
    return rrb.Vertical(scene, tabs, row_shares=[60, 40])


def _colored(layout: ComparisonLayout) -> list[tuple[RolloutLayout, Color]]:
    return [(m, MODEL_COLORS[i % len(MODEL_COLORS)]) for i, m in enumerate(layout.models)]
