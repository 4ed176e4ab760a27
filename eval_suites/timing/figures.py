"""Bars of what was measured, ours and theirs told apart."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from eval_suites import figures


class Bars(NamedTuple):
    """One panel: a bar per name."""

    label: str
    values: Sequence[float]


def bars(names: Sequence[str], panels: Sequence[Bars], *, is_ours: Sequence[bool]) -> Figure:
    """Panels side by side with the same names from top to bottom."""
    all_axes = figures.new_axes(len(panels), width=11.0, height=0.7 * len(names) + 1.5)
    colours = [figures.BLUE if ours else figures.ORANGE for ours in is_ours]
    rows = range(len(names))
    for axes, panel in zip(all_axes, panels, strict=True):
        axes.barh(rows, panel.values, color=colours, height=0.7)
        for row, value in zip(rows, panel.values, strict=True):
            axes.annotate(f" {value:.0f}", (value, row), fontsize=11, va="center")
        axes.margins(x=0.15)
        axes.grid(visible=False)
        axes.set_yticks(rows, names if axes is all_axes[0] else [], fontsize=11)
        axes.invert_yaxis()
        axes.set_xlabel(panel.label, fontsize=12)
    return figures.owner(all_axes[0])
