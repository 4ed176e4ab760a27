"""Views empty or broken on purpose: screenshot checks have to distinguish them from the others."""

import numpy as np
import rerun as rr
import rerun.blueprint as rrb

COLORED = 60
"""Difference of the largest and smallest channel from which a pixel has a colour: background, grid,
axes and the message of an empty view have none."""
FEWEST_PIXELS = 60
"""Coloured ones in a view with content, bright ones in a text."""

EMPTY = [
    rrb.Spatial2DView(origin="/nothing", name="empty camera"),
    rrb.TimeSeriesView(origin="/nothing", name="empty plot"),
    rrb.StateTimelineView(origin="/nothing", name="empty strip"),
    rrb.Spatial3DView(origin="/nothing", name="empty scene"),
    rrb.TextDocumentView(origin="/nothing", name="empty text"),
]
BROKEN = rrb.Spatial2DView(origin="/broken", name="too few pixels")


def log_broken(stream: rr.RecordingStream) -> None:
    """What `BROKEN` shows: an image with fewer bytes than its format wants."""
    size = rr.components.ImageFormat(width=64, height=64, color_model="RGB", channel_datatype="U8")
    stream.log("/broken", rr.Image.from_fields(buffer=b"short", format=size), static=True)


def is_colored(pixels: np.ndarray) -> np.ndarray:
    """Which pixels (h w 3, 0 to 255) have a colour."""
    return np.ptp(pixels.astype(int), axis=-1) > COLORED
