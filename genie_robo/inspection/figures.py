"""The figures of `genie-robo inspect`: a contact sheet of all cameras, histograms of actions."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageDraw, ImageFont

from genie_robo.data.index import DatasetIndex
from genie_robo.data.settings import MAX_IMAGE_PIXELS, Source
from genie_robo.data.statistics import ActionStatistics
from genie_robo.data.transforms import decode_frames, stored_size
from genie_robo.eval_suites.figures import BLUE, GREY, ORANGE
from genie_robo.inspection.checks import names_of, units_of
from genie_robo.inspection.episodes import (
    SeenEpisode,
    camera_keys,
    readable,
    some_readable,
    take_frames,
)
from genie_robo.types import GRIPPER
from genie_robo.video_files import INK, LABEL_WIDTH, PAPER, draw_strip

SHEET_EPISODES, SHEET_FRAMES, SHEET_HEIGHT = 5, 8, 96
_MOST_ASPECT = 8.0
"""Images that are wider or narrower are compressed to this."""
_TITLE_HEIGHT, _TITLE_SIZE = 26, 15
_BINS = 50
_MARGIN = 0.5
"""Histograms reach this share of the width of q01..q99 beyond it."""


def draw_figures(
    index: DatasetIndex,
    source: Source | None,
    seen: Sequence[SeenEpisode],
    statistics: ActionStatistics | None,
    *,
    max_pixels: int = MAX_IMAGE_PIXELS,
) -> dict[str, Image.Image]:
    """Every figure by file name; none without a camera or a readable episode.

    `max_pixels` is `data.max_image_pixels`.
    """
    sheet = contact_sheet(index, source.bgr if source else (), max_pixels=max_pixels)
    figures = {"contact_sheet.png": sheet} if sheet else {}
    if lengths := [entry.num_steps for entry in readable(index)]:
        names = names_of(source) if source else ()
        figures["actions.png"] = action_figure(seen, lengths, statistics, names, units_of(source))
    return figures


def contact_sheet(
    index: DatasetIndex, bgr: Sequence[str], *, max_pixels: int = MAX_IMAGE_PIXELS
) -> Image.Image | None:
    """Frames of some episodes, first to last, in a block for every camera.

    `bgr` names the cameras that store blue, green, red. None without a camera or an episode.
    """
    chosen = some_readable(index, SHEET_EPISODES)
    columns = {entry.episode_id[:8]: index.read(entry).steps for entry in chosen}
    headers = [f"{share:.0%}" for share in np.linspace(0, 1, SHEET_FRAMES)]
    blocks = {}
    for key in camera_keys(index):
        rows = {
            name: _frames(found, is_bgr=key in bgr, max_pixels=max_pixels)
            for name, steps in columns.items()
            if (found := steps.find(key)) is not None
        }
        shown = {name: frames for name, frames in rows.items() if frames is not None}
        if shown:
            order = "   stored as BGR, shown as RGB" if key in bgr else ""
            title = f"{key}   {index.features[key]}{order}"
            blocks[title] = draw_strip(shown, headers=headers)
    return _stacked(blocks) if blocks else None


def action_figure(
    seen: Sequence[SeenEpisode],
    lengths: Sequence[int],
    statistics: ActionStatistics | None,
    names: Sequence[str],
    units: Sequence[str],
) -> Image.Image:
    """Histograms of every action dimension and of episode lengths.

    `statistics` are of all episodes, `seen` those that the histograms are drawn from; without them
    there are lengths only.
    """
    dims = np.flatnonzero(statistics.mask).tolist() if statistics is not None else []
    num_columns = 4 if len(dims) > 1 else len(dims) + 1
    num_rows = -(-(len(dims) + 1) // num_columns)
    figure = Figure(figsize=(4 * num_columns, 3.1 * num_rows), dpi=100, layout="constrained")
    panels = figure.subplots(num_rows, num_columns, squeeze=False).ravel()
    rows = {
        "commanded": [e.commanded for e in seen if e.commanded is not None],
        "achieved": [e.achieved for e in seen if e.achieved is not None],
    }
    joined = {name: np.concatenate(found) for name, found in rows.items() if found}
    for panel, i in zip(panels, dims, strict=False):
        assert statistics is not None
        rows = {name: found[:, i] for name, found in joined.items()}
        _histogram(panel, i, rows, statistics, label=(names[i], units[i]))
    _lengths(panels[len(dims)], lengths)
    for panel in panels[len(dims) + 1 :]:
        panel.set_axis_off()
    if dims:
        panels[0].legend(fontsize=9, frameon=False, loc="upper left")
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return Image.open(file).convert("RGB")


def _frames(
    encoded: np.ndarray, *, is_bgr: bool, max_pixels: int
) -> UInt8[np.ndarray, "t h w c"] | None:
    """Some images of an episode, first to last; None when they cannot be decoded."""
    images = take_frames(encoded, SHEET_FRAMES)
    try:
        height, width = stored_size(images[0], max_pixels=max_pixels)
        aspect = min(max(width / height, 1 / _MOST_ASPECT), _MOST_ASPECT)
        size = (SHEET_HEIGHT, round(SHEET_HEIGHT * aspect))
        return decode_frames(images, image_size=size, is_bgr=is_bgr, max_pixels=max_pixels)
    except ValueError:
        return None


def _histogram(
    axes: Axes,
    i: int,
    rows: Mapping[str, Float[np.ndarray, " n"]],
    statistics: ActionStatistics,
    *,
    label: tuple[str, str],
) -> None:
    """One dimension: shares of steps, with the range of all commands in the title.

    `label` is its name and its unit.
    """
    name, unit = label
    q01, q99 = float(statistics.q01[i]), float(statistics.q99[i])
    margin = _MARGIN * (q99 - q01) or max(abs(q01), 1.0) * 0.01
    low, high = (-0.05, 1.05) if i == GRIPPER else (q01 - margin, q99 + margin)
    bins = np.linspace(low, high, _BINS + 1).tolist()
    styles: dict[str, dict[str, Any]] = {
        "commanded": {"color": BLUE, "alpha": 0.55, "histtype": "stepfilled"},
        "achieved": {"color": ORANGE, "histtype": "step"},
    }
    for name, values in rows.items():
        weights = np.full(len(values), 100 / max(len(values), 1))
        axes.hist(
            np.clip(values, low, high),
            bins=bins,
            weights=weights,
            linewidth=1.5,
            label=name,
            **styles[name],
        )
    for edge, legend in ((q01, "q01, q99"), (q99, None)):
        axes.axvline(edge, color=GREY, linestyle=":", linewidth=1.2, label=legend)
    _style(axes, name, f"{name} ({unit})", "% of steps")
    axes.set_title(
        f"min {statistics.min[i]:.3g}   max {statistics.max[i]:.3g}", fontsize=9, loc="right"
    )
    if axes.get_ylim()[1] > 50:
        axes.set_yscale("symlog", linthresh=1.0)
        axes.set_ylabel("% of steps (log)", fontsize=10)
        axes.set_yticks([0, 1, 10, 100], ["0", "1", "10", "100"])


def _lengths(axes: Axes, lengths: Sequence[int]) -> None:
    low, high = min(lengths), max(lengths)
    count = min(30, high - low + 1)
    bins = np.linspace(low - 0.5, high + 0.5, count + 1).tolist()
    axes.hist(lengths, bins=bins, color=GREY)
    _style(axes, "episode length", "steps", "episodes")
    title = f"min {low}   median {np.median(lengths):g}   max {high}"
    axes.set_title(title, fontsize=9, loc="right")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    if low == high:
        axes.set_xlim(low - 3, high + 3)


def _style(axes: Axes, title: str, horizontal: str, vertical: str) -> None:
    axes.set_title(title, fontsize=11, loc="left", weight="bold")
    axes.set_xlabel(horizontal, fontsize=10)
    axes.set_ylabel(vertical, fontsize=10)
    axes.tick_params(labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#E5E5E5", linewidth=0.8)
    axes.set_axisbelow(True)


def _stacked(blocks: Mapping[str, Image.Image]) -> Image.Image:
    """Images below each other, each below its title."""
    font = ImageFont.load_default(_TITLE_SIZE)
    widths = [LABEL_WIDTH + round(font.getlength(title)) + 8 for title in blocks]
    width = max(*widths, *(block.width for block in blocks.values()))
    height = sum(_TITLE_HEIGHT + block.height for block in blocks.values())
    sheet, top = Image.new("RGB", (width, height), PAPER), 0
    draw = ImageDraw.Draw(sheet)
    for title, block in blocks.items():
        place = LABEL_WIDTH, top + _TITLE_HEIGHT // 2
        draw.text(place, title, INK, font=font, anchor="lm")
        sheet.paste(block, (0, top + _TITLE_HEIGHT))
        top += _TITLE_HEIGHT + block.height
    return sheet
