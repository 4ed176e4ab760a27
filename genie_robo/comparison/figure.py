"""The picture of a comparison: every column by variant, or one column against another."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from eval_suites.figures import BLUE, COLOURS, GREY, LINES, MARKERS, new_axes, owner
from genie_robo.comparison.table import RunRow, group, summarise
from genie_robo.run_folder import RunFolder
from genie_robo.train.metrics import read_log

MAX_PANELS = 4
"""Side by side."""


def columns_by_variant(rows: Sequence[RunRow]) -> Figure:
    """A panel for every column: seeds as rings, their mean as a dot, one line per variant."""
    variants, titles = group(rows), list(rows[0].numbers)
    wide = min(len(titles), MAX_PANELS)
    high = -(-len(titles) // wide)
    figure = Figure(
        figsize=(3.0 * wide + 1.4, (0.38 * len(variants) + 1.0) * high),
        dpi=150,
        layout="constrained",
    )
    panels = figure.subplots(high, wide, squeeze=False, sharey=True)
    for panel in panels.flat[len(titles) :]:
        panel.set_visible(False)
    for axes, title in zip(panels.flat, titles, strict=False):
        _draw_column(axes, variants, title)
    panels[0, 0].set_ylim(len(variants) - 0.5, -0.5)
    panels[0, 0].set_yticks(range(len(variants)), list(variants))
    return figure


def _draw_column(axes: Axes, variants: Mapping[str, Sequence[RunRow]], title: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="both", color="#E5E5E5", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_title(title, fontsize=11, loc="left")
    axes.tick_params(labelsize=10)
    for place, runs in enumerate(variants.values()):
        mean = summarise(runs, title).mean
        if mean is None:
            axes.annotate("missing", (0.02, place), xycoords=("axes fraction", "data"), color=GREY)
            continue
        values = [v for row in runs if (v := row.numbers[title].value) is not None]
        axes.plot(values, [place] * len(values), "o", mfc="none", color=GREY, markersize=7)
        axes.plot(mean, place, "o", color=BLUE, markersize=6)
    if axes.get_xlim()[1] >= 1000:
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.locator_params(axis="x", nbins=4)


def column_against(rows: Sequence[RunRow], horizontal: str, *, curve: str = "") -> Figure:
    """The first column against another one on a logarithmic axis; training curves beside it.

    `curve` is the address of a logged number, log/STAGE/NAME.
    """
    variants = group(rows)
    vertical = next(title for title in rows[0].numbers if title != horizontal)
    *left, axes = new_axes(2 if curve else 1, width=10.0 if curve else 6.0, height=4.5)
    if left:
        _draw_curves(left[0], variants, curve, vertical)
    means = []
    for number, runs in enumerate(variants.values()):
        points = [(r.numbers[horizontal].value, r.numbers[vertical].value) for r in runs]
        known = [(x, y) for x, y in points if x is not None and y is not None]
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        for x, y in known:
            axes.plot(x, y, marker, color=colour, mfc="none", markersize=8)
        if known:
            means.append(np.mean(np.array(known, dtype=float), axis=0))
    if means:
        ordered = np.array(sorted(means, key=lambda point: float(point[0])))
        axes.plot(*ordered.T, "-", color=GREY, zorder=1, linewidth=1.5)
        axes.set_xscale("log")
    axes.set_xlabel(horizontal, fontsize=12)
    axes.set_ylabel(vertical, fontsize=12)
    return owner(axes)


def _draw_curves(
    axes: Axes, variants: Mapping[str, Sequence[RunRow]], address: str, label: str
) -> None:
    """Training curves of every run in the colour of its variant."""
    _, stage, name = address.split("/", 2)
    for number, (variant, runs) in enumerate(variants.items()):
        colour, style = COLOURS[number % len(COLOURS)], LINES[number % len(LINES)]
        for first, row in enumerate(runs):
            log = read_log(RunFolder.at(row.path).log(stage))
            known = [(line["step"], line[name]) for line in log if line.get(name) is not None]
            if known:
                shown = "" if first else variant
                line = np.array(known, dtype=float).T
                axes.plot(*line, style, marker=".", color=colour, label=shown or None)
    axes.set_xlabel("training step", fontsize=12)
    axes.set_ylabel(label, fontsize=12)
    if axes.get_legend_handles_labels()[1]:  # above, where no curve is
        axes.legend(
            fontsize=10, frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2
        )
