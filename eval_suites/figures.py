"""Figures that can be read in a talk: plain arrays in, matplotlib figures out.

Colours are the colour-blind safe palette of Okabe and Ito, and two of Tol's. No function uses
pyplot or other global state.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genie_robo.eval_suites.table import Metric
from genie_robo.inference.code_names import code_colors

BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SKY, YELLOW, BLACK, GREY = "#56B4E9", "#E69F00", "#222222", "#9A9A9A"
WINE, OLIVE = "#882255", "#999933"
COLOURS = (BLUE, ORANGE, GREEN, PINK, SKY, YELLOW, BLACK, GREY)
MARKERS = "osD^vXP*"
BASELINE_COLOURS, BASELINE_MARKERS = (*COLOURS[1:], WINE, OLIVE), f"{MARKERS}<"
LINES = ("-", "--", "-.", ":")
MOST_WRITTEN = 12
"""Most rows or columns with which a heat map shows numbers in its cells."""
MOST_UPRIGHT = 12
"""Most codes whose names stand upright below their bars."""
SHORT_BAR = 0.1
"""Bars up to this height have their number above them."""
LEGEND_MARK_IN, LEGEND_LETTER_IN = 0.75, 0.075
"""Width of a legend's mark with its margins, and of a letter (inches)."""
SHORTEST_ARROW = 0.15
"""Codes that move less than this share of the largest motion in the plane have no arrow."""
LABEL_POINTS = 12.0
"""From the tip of an arrow to the middle of its label."""

Interval = tuple[float, float]


class Curve(NamedTuple):
    """Values over a horizontal axis, with the low and high ends of their intervals."""

    values: Float[np.ndarray, " n"]
    low: Float[np.ndarray, " n"]
    high: Float[np.ndarray, " n"]


def metric_curve(metrics: Sequence[Metric]) -> Curve:
    """Metrics as a curve with intervals; a gap where one is undefined."""
    ends = [metric.ci95 or (metric.value, metric.value) for metric in metrics]
    return Curve(
        _floats([metric.value for metric in metrics]),
        _floats([low for low, _ in ends]),
        _floats([high for _, high in ends]),
    )


def value_curve(values: Sequence[float | None]) -> Curve:
    """Values without intervals as a curve; a gap where one is None."""
    known = _floats(values)
    return Curve(known, known, known)


def new_axes(
    num_panels: int = 1, *, width: float = 8.0, height: float = 4.5, columns: int = 3
) -> list[Axes]:
    """Axes of a fresh figure, in the style of all figures here, at most `columns` side by side.

    The height is that of one row; rows are about equally full.
    """
    rows = -(-num_panels // columns)
    columns = -(-num_panels // rows)
    figure = Figure(figsize=(width, rows * height), dpi=150, layout="constrained")
    axes = [figure.add_subplot(rows, columns, panel + 1) for panel in range(num_panels)]
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=11)
        panel.grid(axis="y", color="#E5E5E5", linewidth=0.8)
        panel.set_axisbelow(True)
    return axes


def name_axes(axes: Axes, horizontal: str, vertical: str, *, title: str = "") -> None:
    """Label both axes and set the title."""
    axes.set_xlabel(horizontal, fontsize=12)
    axes.set_ylabel(vertical, fontsize=12)
    axes.set_title(title, fontsize=12, loc="left")


def owner(axes: Axes) -> Figure:
    """The figure that axes are drawn in."""
    figure = axes.figure
    assert isinstance(figure, Figure)
    return figure


def bars_with_baselines(
    groups: Sequence[str],
    values: Sequence[float | None],
    intervals: Sequence[Interval | None],
    *,
    baselines: Mapping[str, Sequence[float | None]],
    ceilings: Sequence[float | None],
    labels: tuple[str, str, str],
) -> Figure:
    """A bar with its interval per group, its ceiling as an outline, its baselines as marks.

    `labels` name the bars, the ceiling and the vertical axis; None draws nothing.
    """
    (axes,) = new_axes(width=10.0, height=5.0)
    place = np.arange(len(groups), dtype=float) - 0.16
    heights, tops = _floats(values), _floats(ceilings)
    axes.bar(place, heights, width=0.32, color=BLUE, label=labels[0])
    # Wider than the bar and above it, because a value may exceed its ceiling.
    axes.hlines(
        tops, place - 0.2, place + 0.2, color=BLACK, linestyle="--", zorder=3, label=labels[1]
    )
    for x, height, interval in zip(place, heights, intervals, strict=True):
        if interval is not None:
            axes.vlines(x, *interval, color=BLACK, linewidth=1.8)
            _write_height(axes, x, height, interval)
    offsets = np.linspace(0.12, 0.40, max(len(baselines), 2))
    styles = zip(cycle(BASELINE_COLOURS), cycle(BASELINE_MARKERS), strict=True)
    for (name, row), offset, (colour, marker) in zip(
        baselines.items(), offsets, styles, strict=False
    ):
        label = name.replace("_", " ")
        axes.scatter(
            place + 0.16 + offset, _floats(row), color=colour, marker=marker, s=42, label=label
        )
    axes.axhline(0.0, color=BLACK, linewidth=1.0)
    axes.set_xticks(place + 0.16, groups, fontsize=12)
    axes.set_ylabel(labels[2], fontsize=12)
    marks, names = axes.get_legend_handles_labels()
    # The bars and their ceilings before the baselines' marks.
    order = sorted(range(len(names)), key=lambda n: (names[n] != labels[0], names[n] != labels[1]))
    axes.legend(
        [marks[n] for n in order],
        [names[n] for n in order],
        fontsize=10,
        frameon=False,
        bbox_to_anchor=(1.0, 1.0),
        loc="upper left",
    )
    return owner(axes)


def _write_height(axes: Axes, x: float, height: float, interval: Interval) -> None:
    """A bar's height inside its foot, because the ceiling may be above it, unless it is short."""
    if height > SHORT_BAR:
        y, points, colour = 0.0, 8, "white"
    else:
        y, points, colour = interval[1], 2, BLACK
    axes.annotate(
        f"{height:.2f}",
        (x, y),
        (0, points),
        textcoords="offset points",
        fontsize=11,
        color=colour,
        ha="center",
        va="bottom",
    )


def curves(
    horizontal: Sequence[int],
    lines: Mapping[str, Curve],
    *,
    labels: tuple[str, str],
    title: str = "",
    zero_line: bool = False,
) -> Figure:
    """Lines with 95 % bands over integer steps; `labels` name both axes."""
    (axes,) = new_axes()
    draw_curves(axes, horizontal, lines, labels=labels, title=title)
    legend_above([axes])
    if zero_line:
        axes.axhline(0.0, color=BLACK, linewidth=1.0)
    return owner(axes)


def draw_curves(
    axes: Axes,
    horizontal: Sequence[int],
    lines: Mapping[str, Curve],
    *,
    labels: tuple[str, str],
    title: str = "",
) -> None:
    """Draw lines with 95 % bands into existing axes; `legend_above` names them."""
    for number, (name, curve) in enumerate(lines.items()):
        rounds, place = divmod(number, len(COLOURS))
        colour, marker = COLOURS[place], MARKERS[(place + rounds) % len(MARKERS)]
        style = LINES[(place + rounds) % len(LINES)]
        axes.fill_between(horizontal, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(
            horizontal,
            curve.values,
            color=colour,
            linestyle=style,
            marker=marker,
            linewidth=2.0,
            label=name,
        )
    axes.set_xticks(list(horizontal))
    name_axes(axes, *labels, title=title)


def horizon_panels(
    metrics: Mapping[str, Metric],
    who: Sequence[str],
    panels: Mapping[str, tuple[str, str]],
    *,
    horizon: int,
    width: float,
    names: Mapping[str, str] | None = None,
) -> Figure:
    """Metrics NAME/WHO/t1, t2, ... as curves, a panel for each name with its label and title.

    `names` are those of WHO in the legend, where they differ.
    """
    called = {w: w.replace("_", " ") for w in who} | dict(names or {})
    all_axes, frames = new_axes(len(panels), width=width * len(panels)), range(1, horizon + 1)
    for axes, (name, (label, title)) in zip(all_axes, panels.items(), strict=True):
        lines = {
            called[w]: metric_curve([metrics[f"{name}/{w}/t{t}"] for t in frames]) for w in who
        }
        draw_curves(axes, frames, lines, labels=("imagined frame t", label), title=title)
    legend_above(all_axes)
    return owner(all_axes[0])


def legend_above(panels: Sequence[Axes]) -> None:
    """One legend for panels that show the same lines, above them, where it covers none."""
    figure = owner(panels[0])
    lines, names = max(
        (axes.get_legend_handles_labels() for axes in panels), key=lambda x: len(x[0])
    )
    if names:
        widest = LEGEND_MARK_IN + LEGEND_LETTER_IN * max(map(len, names))
        columns = min(len(names), max(1, int(figure.get_figwidth() / widest)))
        figure.legend(
            lines, names, loc="outside upper left", ncols=columns, fontsize=10, frameon=False
        )


def forest(
    names: Sequence[str],
    values: Sequence[float | None],
    intervals: Sequence[Interval | None],
    *,
    label: str,
    reference: float = 0.0,
) -> Figure:
    """Values with their intervals, one per row, and a line at the reference.

    Intervals above it are blue, below it orange, and grey where they include it.
    """
    (axes,) = new_axes(height=0.5 * len(names) + 1.6)
    axes.grid(visible=False)
    axes.axvline(reference, color=BLACK, linewidth=1.0)
    for row, (value, interval) in enumerate(zip(values, intervals, strict=True)):
        if value is None:
            axes.annotate("not measured", (reference, row), fontsize=10, color=GREY, va="center")
            continue
        colour, marker = GREY, "o"
        if interval is not None:
            if interval[0] > reference:
                colour = BLUE
            elif interval[1] < reference:
                colour, marker = ORANGE, "s"
            axes.hlines(row, *interval, color=colour, linewidth=2.5)
        axes.plot(value, row, marker=marker, color=colour, markersize=8)
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names], fontsize=11)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel(label, fontsize=12)
    return owner(axes)


def usage(
    counts: Int[np.ndarray, " k"],
    *,
    label: str,
    title: str = "",
    names: Sequence[str] | None = None,
) -> Figure:
    """Share of use of each code, and the share under equal use.

    Named codes have a bar each, in their colours; without names they are sorted by their use.
    """
    (axes,) = new_axes(height=4.0)
    share = counts / max(counts.sum(), 1)
    if names is None:
        axes.step(np.arange(len(share)) + 1, np.sort(share)[::-1], where="mid", color=BLUE)
        axes.set_yscale("symlog", linthresh=1 / max(counts.sum(), 1))
    else:
        axes.bar(np.arange(len(share)), share, color=_code_colours(len(share)), width=0.8)
        _name_codes(axes, names)
    axes.axhline(1 / len(share), color=BLACK, linestyle="--", label="equal use")
    name_axes(axes, label, "share of use", title=title)
    legend_above([axes])
    return owner(axes)


def _code_colours(num_codes: int) -> list[tuple[float, ...]]:
    """The colours that the codes have in recordings too."""
    return [tuple(channel / 255 for channel in colour) for colour in code_colors(num_codes)]


def _name_codes(axes: Axes, names: Sequence[str]) -> None:
    """The names of codes below their bars, the direction below the number."""
    upright = len(names) <= MOST_UPRIGHT
    shown = [name.replace(" ", "\n") if upright else name for name in names]
    axes.set_xticks(range(len(names)), shown, rotation=0 if upright else 90, fontsize=10)


def histograms(
    samples: Mapping[str, Float[np.ndarray, " n"]], *, label: str, of: str = "frames"
) -> Figure:
    """Distributions on one axis with their means, ignoring NaN; `of` names the samples."""
    (axes,) = new_axes()
    known = {name: values[np.isfinite(values)] for name, values in samples.items()}
    joined = np.concatenate(list(known.values()))
    bins = np.linspace(joined.min(), joined.max() + 1e-9, 41)
    for number, (name, values) in enumerate(known.items()):
        if len(values):
            colour, style = COLOURS[number], LINES[number % len(LINES)]
            shares = np.full(len(values), 1 / len(values))
            title = f"{name}: mean {values.mean():.1f}"
            axes.hist(
                values,
                bins=list(bins),
                weights=shares,
                histtype="step",
                color=colour,
                linestyle=style,
                linewidth=2.0,
                label=title,
            )
    name_axes(axes, label, f"share of {of}")
    legend_above([axes])
    return owner(axes)


def displacement_rose(
    codes: Int[np.ndarray, " n"], moves: Float[np.ndarray, "n 3"], *, names: Sequence[str]
) -> Figure:
    """Mean end-effector displacement of each code: from above as arrows, and upwards as bars.

    Codes that hardly move in the plane have a bar only.
    """
    above, upwards = new_axes(2, width=11.0, height=4.8)
    counts = np.bincount(codes, minlength=len(names))
    mean = np.array([moves[codes == code].mean(axis=0) for code in np.flatnonzero(counts)]) * 100
    reach = 1.35 * np.abs(mean[:, :2]).max(initial=1e-3)
    shortest = SHORTEST_ARROW * np.linalg.norm(mean, axis=1).max(initial=1e-3)
    colours = _code_colours(len(names))
    for code, (x, y, z) in zip(np.flatnonzero(counts), mean, strict=True):
        upwards.bar(code, z, color=colours[code], width=0.8)
        if (length := float(np.hypot(x, y))) < shortest:
            continue
        width = 1.0 + 4.0 * counts[code] / counts.max()
        style = {"arrowstyle": "-|>", "color": colours[code], "lw": width, "shrinkB": 0.0}
        above.annotate("", (x, y), (0, 0), arrowprops=style)
        above.annotate(
            names[code],
            (x, y),
            (2 * LABEL_POINTS * x / length, LABEL_POINTS * y / length),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=10,
            bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none"},
        )
    above.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    name_axes(above, "dx (cm)", "dy (cm)", title="from above, width = frequency of use")
    upwards.axhline(0.0, color=BLACK, linewidth=1.0)
    _name_codes(upwards, names)
    name_axes(upwards, "latent action", "dz (cm)", title="upwards")
    return owner(above)


def frame_strip(
    rows: Mapping[str, UInt8[np.ndarray, "t h w c"]], *, titles: Sequence[str]
) -> Figure:
    """Videos as rows of frames, aligned at their end: a row without a prompt begins later."""
    num_columns = len(titles)
    figure = Figure(
        figsize=(1.35 * num_columns + 1.2, 1.45 * len(rows)), dpi=150, layout="constrained"
    )
    grid = figure.subplots(len(rows), num_columns, squeeze=False)
    for line, (name, video) in zip(grid, rows.items(), strict=True):
        for panel in line:
            panel.set(xticks=[], yticks=[])
            panel.spines[:].set_visible(False)
        for panel, frame in zip(line[num_columns - len(video) :], video, strict=True):
            panel.imshow(frame, interpolation="nearest")
        line[0].set_ylabel(name, fontsize=11)
    for panel, title in zip(grid[0], titles, strict=True):
        panel.set_title(title, fontsize=11)
    return figure


def heat_map(
    values: Float[np.ndarray, "r c"],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    labels: tuple[str, str],
    limits: tuple[float, float] = (0.0, 1.0),
    title: str = "",
) -> Figure:
    """Cells coloured between the limits, NaN grey; `labels` name the rows and the columns."""
    height = 1.8 + 0.42 * min(len(rows), 24)
    (axes,) = new_axes(width=2.5 + 0.55 * min(max(len(columns), 6), 24), height=height)
    axes.grid(visible=False)
    axes.set_facecolor(GREY)
    image = axes.imshow(
        np.ma.masked_invalid(values), cmap="cividis", vmin=limits[0], vmax=limits[1], aspect="auto"
    )
    axes.set_xticks(range(len(columns)), list(columns))
    axes.set_yticks(range(len(rows)), list(rows))
    name_axes(axes, labels[1], labels[0], title=title)
    if max(values.shape) <= MOST_WRITTEN:
        middle = sum(limits) / 2
        for (row, column), value in np.ndenumerate(values):
            text = "" if np.isnan(value) else f"{value:.2f}"
            colour = "black" if value > middle else "white"
            axes.text(column, row, text, ha="center", va="center", fontsize=9, color=colour)
    owner(axes).colorbar(image, ax=axes)
    return owner(axes)


def _floats(values: Sequence[float | None]) -> Float[np.ndarray, " n"]:
    return np.array([np.nan if value is None else value for value in values])
