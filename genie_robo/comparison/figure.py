"""The figure of a comparison: every column by variant, or one column against another.

Tables have a row per run, indexed by variant, seed and run folder (`table.run_table`).
"""

from collections.abc import Sequence
from itertools import cycle

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, StrMethodFormatter

from genie_robo.eval_suites.figures import BLUE, COLOURS, GREY, LINES, MARKERS, new_axes, owner
from genie_robo.run_folder import RunFolder
from genie_robo.train.metrics import read_log

MAX_PANELS = 2
"""Side by side."""


def columns_by_variant(values: pd.DataFrame) -> Figure:
    """A panel for every column: seeds as rings, their mean as a dot, one line per variant."""
    variants, titles = list(values.index.unique("variant")), list(values)
    wide = min(len(titles), MAX_PANELS)
    high = -(-len(titles) // wide)
    figure = Figure(
        figsize=(3.0 * wide + 1.4, (0.38 * len(variants) + 1.0) * high),
        dpi=150,
        layout="constrained",
    )
    panels = figure.subplots(high, wide, squeeze=False, sharey=True)
    for panel in panels.flat[len(titles) :]:
        panel.remove()
    for axes, (_, column) in zip(panels.flat, values.items(), strict=False):
        _draw_column(axes, column)
    panels[0, 0].set_ylim(len(variants) - 0.5, -0.5)
    panels[0, 0].set_yticks(range(len(variants)), variants)
    return figure


def _draw_column(axes: Axes, column: pd.Series) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="both", color="#E5E5E5", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_title(str(column.name), fontsize=11, loc="left")
    axes.tick_params(labelsize=10)
    for place, (_, seeds) in enumerate(column.groupby(level="variant", sort=False)):
        known = seeds.dropna().tolist()
        if not known:
            axes.annotate("missing", (0.02, place), xycoords=("axes fraction", "data"), color=GREY)
            continue
        axes.plot(known, [place] * len(known), "o", mfc="none", color=GREY, markersize=7)
        axes.plot(seeds.mean(), place, "o", color=BLUE, markersize=6)
    if axes.get_xlim()[1] >= 1000:
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.locator_params(axis="x", nbins=4)


def column_against(values: pd.DataFrame, horizontal: str, *, curve: str = "") -> Figure:
    """The first column against another one on a logarithmic axis; training curves next to it.

    `curve` is the address of a logged number, log/STAGE/NAME.
    """
    vertical = next(title for title in values if title != horizontal)
    *left, axes = new_axes(2 if curve else 1, width=10.0 if curve else 6.0, height=4.5)
    if left:
        _draw_curves(left[0], values.index, curve, str(vertical))
    points = values.reindex(columns=[horizontal, vertical])
    variants = points.groupby(level="variant", sort=False)
    for (_, runs), colour, marker in zip(variants, cycle(COLOURS), cycle(MARKERS), strict=False):
        for x, y in runs.dropna().to_numpy():
            axes.plot(x, y, marker, color=colour, mfc="none", markersize=8)
    means = points.dropna().groupby(level="variant", sort=False).agg("mean").sort_values(horizontal)
    if len(means):
        axes.plot(*means.to_numpy().T, "-", color=GREY, zorder=1, linewidth=1.5)
        axes.set_xscale("log")
        _tick_values(axes, sorted(set(means[horizontal].tolist())))
    axes.set_xlabel(horizontal, fontsize=12)
    axes.set_ylabel(str(vertical), fontsize=12)
    return owner(axes)


def _tick_values(axes: Axes, values: Sequence[float]) -> None:
    """Ticks of a logarithmic axis at these values, written out with thousands separators."""
    axes.set_xticks(values, [f"{x:,.0f}" if x >= 1000 else f"{x:.4g}" for x in values])
    axes.xaxis.set_minor_locator(NullLocator())


def _draw_curves(axes: Axes, index: pd.Index, address: str, label: str) -> None:
    """Training curves of every run in the colour of its variant."""
    _, stage, name = address.split("/", 2)
    styles = dict(zip(index.unique("variant"), zip(cycle(COLOURS), cycle(LINES)), strict=False))
    labelled = set()
    for variant, _, run in index:
        log = pd.DataFrame(read_log(RunFolder.at(run).log(stage)), columns=["step", name]).dropna()
        if len(log):
            colour, style = styles[variant]
            shown = None if variant in labelled else variant
            axes.plot(log["step"], log[name], style, marker=".", color=colour, label=shown)
            labelled.add(variant)
    axes.set_xlabel("training step", fontsize=12)
    axes.set_ylabel(label, fontsize=12)
    if labelled:  # above, where no curve is
        axes.legend(
            fontsize=10, frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2
        )
