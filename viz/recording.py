"""Recordings as files: complete or absent, deterministic, checked after writing."""

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import rerun as rr
import rerun.blueprint as rrb
from jaxtyping import Int
from rerun.error_utils import RerunWarning

from genie_robo.atomic import replacing
from genie_robo.viz.entities import SECONDS, STEP
from genie_robo.viz.recording_header import check_header

Times = list[rr.TimeColumn]
"""The times of logged rows: one column per timeline."""


def write_recording(
    path: Path,
    *,
    application_id: str,
    recording_id: str,
    log: Callable[[rr.RecordingStream], None],
    blueprint: rrb.Blueprint,
    name: str = "",
) -> Path:
    """Write an .rrd file with its layout; `path` is replaced only by a complete recording.

    Recordings of one `application_id` share their layout in the viewer, and the viewer merges
    recordings with equal ids. No wall-clock timeline is written, so equal data make equal
    recordings (`rerun rrd compare --unordered`).

    Raises:
        ValueError: Rerun rejects what is logged, or RERUN=off keeps it from writing.
    """
    recording = new_stream(application_id, recording_id)
    _check_enabled(recording)
    strict = rr.strict_mode()
    rr.set_strict_mode(True)
    try:
        # Not with `save`: when the disk is full its thread ends, and what is logged waits for ever.
        stream = recording.binary_stream()
        recording.send_blueprint(blueprint)
        recording.send_recording_name(name or path.stem)
        log(recording)
        content = stream.read(flush=True) or b""
        with replacing(path, num_bytes=len(content)) as temporary:
            temporary.write_bytes(content)
            check_recording(temporary)
    finally:
        rr.set_strict_mode(strict)
        recording.disconnect()
    return path


def new_stream(application_id: str, recording_id: str) -> rr.RecordingStream:
    """A stream without wall-clock timelines."""
    recording = rr.RecordingStream(application_id, recording_id=recording_id, send_properties=False)
    recording.set_log_time_enabled(False)
    recording.set_log_tick_enabled(False)
    return recording


def _check_enabled(recording: rr.RecordingStream) -> None:
    if rr.get_application_id(recording) is None:
        raise ValueError(
            "Rerun is switched off, so no recording can be written: the environment has "
            f"RERUN={os.environ.get('RERUN', '')}; unset it"
        )


def stable_id(kind: str, parts: Iterable[str]) -> str:
    """An application or recording id with a hash of these words, short enough for the viewer."""
    digest = hashlib.blake2b("\n".join(parts).encode(), digest_size=4).hexdigest()
    return f"{kind}-{digest}"


def time_columns(steps: Int[np.ndarray, " n"], *, control_hz: float) -> Times:
    """The synchronised timelines of data at these steps; `seconds` only when the rate is known."""
    columns = [rr.TimeColumn(STEP, sequence=steps)]
    if control_hz > 0:
        columns.append(rr.TimeColumn(SECONDS, duration=steps / control_hz))
    return columns


def log_columns(
    recording: rr.RecordingStream,
    path: str,
    times: Times,
    columns: Iterable[rr.ComponentColumn],
    *,
    static: rr.AsComponents,
) -> None:
    """Log one row per time, and once the `static` part: format, colours, names."""
    recording.log(path, static, static=True)
    recording.send_columns(path, times, columns)


def log_markdown(recording: rr.RecordingStream, path: str, text: str) -> None:
    """Log a static Markdown text."""
    document = rr.TextDocument(text, media_type=rr.MediaType.MARKDOWN)
    recording.log(path, document, static=True)


def check_recording(path: Path) -> None:
    """Read a recording to its end.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a Rerun recording, is cut short or damaged, or was made by a newer
            Rerun than the installed one.
    """
    check_header(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RerunWarning)
            reader = rr.chunk.RrdReader(path)
        num_recordings = len(reader.recordings())
        for store in reader.recordings():
            reader.stream(store=store).to_chunks()
    except (RerunWarning, RuntimeError, ValueError) as error:
        raise ValueError(
            f"recording {path} is cut short or damaged ({_first_line(error)}); delete it and "
            f"record it again"
        ) from error
    if not num_recordings:
        raise ValueError(f"{path} holds a blueprint and no recording; it cannot be viewed alone")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].partition(". This is a legacy")[0]
