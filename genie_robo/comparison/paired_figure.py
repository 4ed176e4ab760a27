"""The picture of paired differences: one line for every number, one panel for every unit."""

import re
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from eval_suites.comparing import Compared, Kind
from eval_suites.figures import BLACK, COLOURS, MARKERS

MAX_LINES = 24
"""More cannot be read; the rest stands in paired.md."""


def draw_differences(runs: Sequence[str], compared: Sequence[Compared]) -> Figure:
    """Differences to the first run with their intervals, beside the zero they should exclude.

    Headline numbers, then others that have an interval. A difference without an interval is a
    hollow mark.
    """
    shown = _choose(compared)
    by_unit: dict[str, list[Compared]] = {}
    for one in shown:
        by_unit.setdefault(one.unit, []).append(one)
    heights = [len(group) + 1.2 for group in by_unit.values()] or [1.0]
    figure = Figure(figsize=(9.0, 0.42 * sum(heights) + 1.4), dpi=150, layout="constrained")
    panels = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    if not shown:
        panels[0].annotate("no difference is defined", (0.5, 0.5), xycoords="axes fraction")
        panels[0].set_axis_off()
    for axes, (unit, group) in zip(panels, by_unit.items(), strict=False):
        _draw_unit(axes, group, unit)
    marks = [
        Line2D([], [], color=_colour(number), marker=_marker(number), label=run)
        for number, run in enumerate(runs[1:])
    ]
    title = f"minus {runs[0]}, paired by episode, 95 % interval; hollow: no interval"
    figure.legend(handles=marks, title=title, loc="outside upper left", frameon=False, fontsize=10)
    return figure


def _choose(compared: Sequence[Compared]) -> list[Compared]:
    """Headline numbers, then what else has an interval; no frames of a horizon, columns last."""
    headline = [
        one
        for one in compared
        if one.kind is Kind.headline and any(d.value is not None for d in one.differences)
    ]
    others = [
        one
        for one in compared
        if one.kind is not Kind.headline
        and any(d.ci95 for d in one.differences)
        and not re.search(r"[/_]t\d+$", one.name)
    ]
    metrics = [*headline, *(one for one in others if one.kind is Kind.metric)]
    if not any(d.ci95 for one in metrics for d in one.differences):
        metrics += [one for one in others if one.kind is Kind.column]
    return metrics[:MAX_LINES]


def _draw_unit(axes: Axes, group: Sequence[Compared], unit: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=10)
    axes.axvline(0.0, color=BLACK, linewidth=1.0)
    for row, one in enumerate(group):
        for number, difference in enumerate(one.differences):
            if difference.value is None:
                continue
            height = row + 0.5 * ((number + 0.5) / len(one.differences) - 0.5)
            colour = _colour(number)
            if difference.ci95:
                axes.hlines(height, *difference.ci95, color=colour, linewidth=2.5)
            face = colour if difference.ci95 else "none"
            axes.plot(
                difference.value, height, marker=_marker(number), color=colour, mfc=face, ms=7
            )
    axes.set_yticks(range(len(group)), [one.name.replace("_", " ") for one in group], fontsize=10)
    axes.set_ylim(len(group) - 0.4, -0.6)
    axes.set_xlabel(unit, fontsize=10)
    axes.locator_params(axis="x", nbins=6)


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _marker(number: int) -> str:
    return MARKERS[number % len(MARKERS)]
