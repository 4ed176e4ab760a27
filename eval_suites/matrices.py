"""A table of numbers as a picture with the numbers in it."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from eval_suites.figures import GREY, new_axes, owner

MOST_WRITTEN = 12
"""With more rows or columns than this the numbers are left out."""


def heat_map(
    values: Float[np.ndarray, "r c"],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    labels: tuple[str, str],
    limits: tuple[float, float] = (0.0, 1.0),
    title: str = "",
) -> Figure:
    """Cells from light to dark between the limits; NaN is grey. `labels` name rows and columns."""
    height = 1.8 + 0.42 * min(len(rows), 24)
    (axes,) = new_axes(width=2.5 + 0.55 * min(max(len(columns), 6), 24), height=height)
    axes.grid(visible=False)
    axes.set_facecolor(GREY)
    image = axes.imshow(
        np.ma.masked_invalid(values), cmap="cividis", vmin=limits[0], vmax=limits[1], aspect="auto"
    )
    axes.set_xticks(range(len(columns)), list(columns))
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_ylabel(labels[0], fontsize=12)
    axes.set_xlabel(labels[1], fontsize=12)
    axes.set_title(title, fontsize=12, loc="left")
    if max(values.shape) <= MOST_WRITTEN:
        middle = sum(limits) / 2
        for (row, column), value in np.ndenumerate(values):
            text = "" if np.isnan(value) else f"{value:.2f}"
            colour = "black" if value > middle else "white"
            axes.text(column, row, text, ha="center", va="center", fontsize=9, color=colour)
    owner(axes).colorbar(image, ax=axes)
    return owner(axes)
