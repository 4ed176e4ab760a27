"""The process that sends a training run to a Rerun viewer, and may block on it (see viz/live.py).

Its layout is built here alone: imports of the other layouts would slow down the start.
"""

import contextlib
import logging
import pickle
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np
import rerun as rr
import rerun.blueprint as rrb
from jaxtyping import UInt8

from genie_robo.viz.entities import LIVE_CODE_USE, LIVE_NUMBERS, LIVE_PICTURES, TRAIN_STEP, entity
from genie_robo.viz.images import log_video
from genie_robo.viz.live import Images, Message, Numbers, check_address
from genie_robo.viz.recording import new_stream, stable_id

MAX_KEPT = 20_000
"""Logged steps kept for a viewer that starts late or restarts."""
GAP = 2
"""White pixels between frames of a row."""
_WHITE = 255
_BAR_COLOR = (60, 200, 190)
_CURVE_COLORS = ((255, 160, 40), (60, 200, 190), (240, 98, 98))
"""Orange, teal and red: of the first, second and third curve of a plot."""
_PROBE_TIMEOUT_S = 1.0
_log = logging.getLogger(__name__)


class StageLayout(NamedTuple):
    """Images, bars and plots on the page of one stage."""

    stage: str
    title: str
    rows: tuple[tuple[str, str], ...]
    """Rows of frames from top to bottom: entity and title."""
    codebook: str
    """Title of the bars."""
    plots: tuple[tuple[str, tuple[str, ...]], ...]
    """Title, with the colours of several curves, and names of the numbers in each plot."""


STAGES = (
    StageLayout(
        stage="tokenizer",
        title="tokenizer",
        rows=(("true", "validation frames"), ("reconstructed", "reconstructed by the tokenizer")),
        codebook="token counts in a few validation windows",
        plots=(
            ("loss: training orange, validation teal", ("loss", "val_loss")),
            ("PSNR (dB): training orange, validation teal", ("psnr", "val_psnr")),
            ("codes in use (perplexity)", ("perplexity",)),
            ("codes: dead orange, restarted teal", ("dead_codes", "code_resets")),
        ),
    ),
    StageLayout(
        stage="world_model",
        title="world model",
        rows=(("true", "a validation window"), ("imagined", "imagined from its first frame")),
        codebook="latent action counts in a few validation windows",
        plots=(
            ("loss: training orange, validation teal", ("loss", "val_loss")),
            (
                "unexplained change (1 = all): training orange, validation teal",
                ("lam_unexplained_change", "val_lam_unexplained_change"),
            ),
            (
                "accuracy on masked tokens: training orange, validation teal",
                ("dynamics_accuracy", "val_dynamics_accuracy"),
            ),
            (
                "latent actions: in use orange, dead teal, restarted red",
                ("lam_perplexity", "lam_dead_codes", "lam_code_resets"),
            ),
        ),
    ),
)


def follow(messages: Iterable[Message], connect: Callable[[], rr.RecordingStream | None]) -> None:
    """Show messages as they arrive; a viewer that starts later also gets the earlier ones."""
    kept: deque[Numbers] = deque(maxlen=MAX_KEPT)
    newest: dict[str, Images] = {}
    recording, stage = None, ""
    for message in messages:
        if isinstance(message, Numbers):
            kept.append(message)
        else:
            newest[message.stage] = message
        if recording is None:
            recording, stage = connect(), ""
            fresh: list[Message] = [*kept, *newest.values()]
        else:
            fresh = [message]
        if recording is None:
            continue
        if message.stage != stage:
            stage = message.stage
            recording.send_blueprint(training_blueprint(stage))
        if not _show(recording, fresh):
            recording = None


def _show(recording: rr.RecordingStream, messages: list[Message]) -> bool:
    """Send messages; False when the viewer has gone. Blocks while it does not respond."""
    _log_numbers(recording, (m for m in messages if isinstance(m, Numbers)))
    for message in messages:
        if isinstance(message, Images):
            _log_images(recording, message)
    try:
        recording.flush()
    except RuntimeError:
        _log.warning("the Rerun viewer is gone; training goes on, another viewer can take over")
        return False
    return True


def _log_numbers(recording: rr.RecordingStream, entries: Iterable[Numbers]) -> None:
    """Log a curve per stage and name, in one piece."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for entry in entries:
        for name, value in entry.numbers.items():
            path = f"{entity(entry.stage, LIVE_NUMBERS)}/{name}"
            curves.setdefault(path, []).append((entry.step, value))
    for path, points in curves.items():
        steps, values = zip(*points, strict=True)
        times = [rr.TimeColumn(TRAIN_STEP, sequence=steps)]
        recording.send_columns(path, times, rr.Scalars.columns(scalars=values))


def _log_images(recording: rr.RecordingStream, images: Images) -> None:
    """Log each row of frames as one image, and how often each code was chosen as bars."""
    stage, times = images.stage, [rr.TimeColumn(TRAIN_STEP, sequence=[images.step])]
    for name, frames in images.rows.items():
        log_video(recording, f"{entity(stage, LIVE_PICTURES)}/{name}", row(frames)[None], times)
    recording.set_time(TRAIN_STEP, sequence=images.step)
    bars = rr.BarChart(images.code_use, color=_BAR_COLOR)
    recording.log(entity(stage, LIVE_CODE_USE), bars)


def row(frames: UInt8[np.ndarray, "n h w c"]) -> UInt8[np.ndarray, "h w2 c"]:
    """Frames side by side, a gap between them."""
    num_frames, height, width, channels = frames.shape
    padded = np.full((num_frames, height, width + GAP, channels), _WHITE, np.uint8)
    padded[:, :, :width] = frames
    return padded.swapaxes(0, 1).reshape(height, -1, channels)[:, :-GAP]


def training_blueprint(active: str) -> rrb.Blueprint:
    """A tab for each stage, the active one in front, at the newest step."""
    names = [layout.stage for layout in STAGES]
    content = rrb.Tabs(*(_page(layout) for layout in STAGES), active_tab=names.index(active))
    newest = rrb.TimePanel(
        state=rrb.PanelState.Collapsed, timeline=TRAIN_STEP, play_state="following"
    )
    hidden = rrb.BlueprintPanel(state="hidden"), rrb.SelectionPanel(state="hidden")
    return rrb.Blueprint(content, newest, *hidden, auto_views=False)


def _page(layout: StageLayout) -> rrb.Horizontal:
    images = [
        rrb.Spatial2DView(origin=entity(layout.stage, f"{LIVE_PICTURES}/{name}"), name=title)
        for name, title in layout.rows
    ]
    use = rrb.BarChartView(origin=entity(layout.stage, LIVE_CODE_USE), name=layout.codebook)
    plots = [_plot(layout.stage, title, names) for title, names in layout.plots]
    return rrb.Horizontal(
        rrb.Vertical(*images, use, row_shares=[*[27] * len(images), 46]),
        rrb.Vertical(*plots),
        column_shares=[56, 44],
        name=layout.title,
    )


def _plot(stage: str, title: str, names: Sequence[str]) -> rrb.TimeSeriesView:
    origin = entity(stage, LIVE_NUMBERS)
    paths = [f"{origin}/{name}" for name in names]
    styles = [
        rr.SeriesLines(names=[name], colors=[color], widths=[2.0])
        for name, color in zip(names, _CURVE_COLORS, strict=False)
    ]
    return rrb.TimeSeriesView(
        origin=origin,
        contents=paths,
        name=title,
        overrides=dict(zip(paths, styles, strict=True)),
        plot_legend=rrb.PlotLegend(visible=False),  # it would cover curves
    )


class Connection:
    """Connects to the viewer at an address; warns once when no viewer runs there."""

    def __init__(self, address: str, *, name: str) -> None:
        self._address, self._name = address, name
        self._has_warned = False

    def __call__(self) -> rr.RecordingStream | None:
        """A stream to the viewer; None while nothing listens."""
        try:
            socket.create_connection(check_address(self._address), _PROBE_TIMEOUT_S).close()
        except OSError:
            if not self._has_warned:
                self._has_warned = True
                _log.warning(
                    "no Rerun viewer at %s; training goes on, start one at any time: rerun",
                    self._address,
                )
            return None
        recording = new_stream(stable_id("training", ()), stable_id(self._name, ()))
        recording.connect_grpc(f"rerun+http://{self._address}/proxy")
        recording.send_recording_name(self._name)
        return recording


def _read(pipe: BinaryIO) -> Iterator[Message]:
    """Messages until training ends."""
    with contextlib.suppress(EOFError):
        while True:
            yield pickle.load(pipe)  # noqa: S301 written by our own parent process


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    follow(_read(sys.stdin.buffer), Connection(sys.argv[1], name=sys.argv[2]))
