"""Latent actions in a recording: the strip of codes, their names, and how likely each was."""

import colorsys
from collections.abc import Sequence

import numpy as np
import rerun as rr
from jaxtyping import Float, Int

from viz.entities import LATENT_ACTION, LATENT_CHANCE, LATENT_INDEX, entity
from viz.series import ORANGE, log_curves

SMALLEST_CHANCE = 0.02
"""A code that never becomes this likely gets no curve."""
_GOLDEN_RATIO = 0.618034


def log_latent_actions(
    recording: rr.RecordingStream,
    latent_actions: Int[np.ndarray, " n"],
    times: list[rr.TimeColumn],
    *,
    names: Sequence[str],
    root: str = "",
) -> None:
    """Log the strip of codes, each under its name, and beside it their indices as numbers.

    `times` has one entry more than there are actions: an empty state there ends the strip.
    """
    path = entity(root, LATENT_ACTION)
    values = [str(code) for code in range(len(names))]
    style = rr.StateConfiguration(values=values, labels=names, colors=code_colors(len(names)))
    recording.log(path, style, static=True)
    states = [*(str(int(code)) for code in latent_actions), ""]
    recording.send_columns(path, times, rr.StateChange.columns(state=states))
    index = np.append(latent_actions, latent_actions[-1:]).astype(np.float64)
    style = _steps(["latent action"], [ORANGE])
    log_curves(recording, entity(root, LATENT_INDEX), index[:, None], times, style=style)


def log_chances(
    recording: rr.RecordingStream,
    chances: Float[np.ndarray, "n k"],
    times: list[rr.TimeColumn],
    *,
    names: Sequence[str],
    root: str = "",
) -> None:
    """Log how likely each code was, in the colours of the strip; hopeless ones stay out."""
    shown = np.flatnonzero(chances.max(axis=0) >= SMALLEST_CHANCE)
    colors = code_colors(len(names))
    style = _steps([names[int(code)] for code in shown], [colors[int(code)] for code in shown])
    log_curves(recording, entity(root, LATENT_CHANCE), chances[:, shown], times, style=style)


def code_colors(num_codes: int) -> list[tuple[int, int, int]]:
    """One colour per code; neighbours differ clearly, and code i keeps its colour for any K."""
    colors = []
    for code in range(num_codes):
        hue = (0.08 + code * _GOLDEN_RATIO) % 1.0
        value = 0.92 if code % 2 == 0 else 0.72
        red, green, blue = colorsys.hsv_to_rgb(hue, 0.62, value)
        colors.append((round(255 * red), round(255 * green), round(255 * blue)))
    return colors


def _steps(names: list[str], colors: list[tuple[int, int, int]]) -> rr.SeriesLines:
    return rr.SeriesLines(
        names=names,
        colors=colors,
        widths=[2.0] * len(names),
        interpolation_mode=rr.components.InterpolationMode.StepAfter,
    )
