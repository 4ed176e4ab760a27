"""The layout of a training that is being watched.

It shares nothing with the other layouts: what those need takes longer to load than a viewer should
cost a training.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import rerun as rr
import rerun.blueprint as rrb

from viz.entities import LIVE_CODE_USE, LIVE_NUMBERS, LIVE_PICTURES, TRAIN_STEP, entity

_COLORS = ((255, 160, 40), (60, 200, 190), (240, 98, 98))
"""Of the first, second and third curve of a plot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageLayout:
    """What the page of one stage shows."""

    stage: str
    title: str
    rows: tuple[tuple[str, str], ...]
    """Pictures from top to bottom: entity and title."""
    codebook: str
    """Whose use the bars count."""
    plots: tuple[tuple[str, tuple[str, ...]], ...]
    """Title and names of the numbers in each plot."""


STAGES = (
    StageLayout(
        stage="tokenizer",
        title="tokenizer",
        rows=(("true", "validation frames"), ("reconstructed", "the same through the tokenizer")),
        codebook="tokens of a few validation windows",
        plots=(
            ("loss", ("loss", "val_loss")),
            ("PSNR (dB)", ("psnr", "val_psnr")),
            ("codes in use (perplexity)", ("perplexity",)),
            ("dead codes, restarted codes", ("dead_codes", "code_resets")),
        ),
    ),
    StageLayout(
        stage="world_model",
        title="world model",
        rows=(("true", "a validation window"), ("imagined", "imagined from its first frame")),
        codebook="latent actions of a few validation windows",
        plots=(
            ("loss", ("loss", "val_loss")),
            (
                "change that latent actions leave unexplained (1 = all)",
                ("lam_unexplained_change", "val_lam_unexplained_change"),
            ),
            (
                "share of hidden tokens guessed right",
                ("dynamics_accuracy", "val_dynamics_accuracy"),
            ),
            (
                "latent actions in use (perplexity), dead, restarted",
                ("lam_perplexity", "lam_dead_codes", "lam_code_resets"),
            ),
        ),
    ),
)


def training_blueprint(active: str) -> rrb.Blueprint:
    """A tab for each stage, the active one in front, at the newest step."""
    names = [layout.stage for layout in STAGES]
    content = rrb.Tabs(*(_page(layout) for layout in STAGES), active_tab=names.index(active))
    newest = rrb.TimePanel(
        state=rrb.PanelState.Collapsed, timeline=TRAIN_STEP, play_state="following"
    )
    aside = (rrb.BlueprintPanel(state="hidden"), rrb.SelectionPanel(state="hidden"))
    return rrb.Blueprint(content, newest, *aside, auto_views=False)


def _page(layout: StageLayout) -> rrb.Horizontal:
    pictures = [
        rrb.Spatial2DView(origin=entity(layout.stage, f"{LIVE_PICTURES}/{name}"), name=title)
        for name, title in layout.rows
    ]
    use = rrb.BarChartView(origin=entity(layout.stage, LIVE_CODE_USE), name=layout.codebook)
    plots = [_plot(layout.stage, title, names) for title, names in layout.plots]
    return rrb.Horizontal(
        rrb.Vertical(*pictures, use, row_shares=[*[27] * len(pictures), 46]),
        rrb.Vertical(*plots),
        column_shares=[56, 44],
        name=layout.title,
    )


def _plot(stage: str, title: str, names: Sequence[str]) -> rrb.TimeSeriesView:
    origin = entity(stage, LIVE_NUMBERS)
    paths = [f"{origin}/{name}" for name in names]
    styles = [
        rr.SeriesLines(names=[name], colors=[color], widths=[2.0])
        for name, color in zip(names, _COLORS, strict=False)
    ]
    return rrb.TimeSeriesView(
        origin=origin,
        contents=paths,
        name=title,
        overrides=dict(zip(paths, styles, strict=True)),
        plot_legend=rrb.PlotLegend(rrb.Corner2D.LeftBottom, visible=len(names) > 1),
    )
