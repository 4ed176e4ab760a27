"""How good the imagined frames are, as named curves over the horizon."""

from collections.abc import Mapping

import numpy as np
import rerun as rr
from jaxtyping import Float

from viz.recording import time_columns
from viz.series import GREY, ORANGE, TEAL, log_curves

IMAGINED, COPY_LAST, TOKENIZER, TRUE_FRAMES = "imagined", "copy_last", "tokenizer", "true_frames"
STYLES = {
    IMAGINED: ("imagined", ORANGE),
    COPY_LAST: ("copy last", GREY),
    TOKENIZER: ("tokenizer", TEAL),
    TRUE_FRAMES: ("true frames", TEAL),
}


def log_horizon(
    recording: rr.RecordingStream,
    path: str,
    curves: Mapping[str, Float[np.ndarray, " t"]],
    *,
    num_prompt_frames: int,
    control_hz: float,
) -> None:
    """Log curves of the imagined frames only: a copy of the prompt is perfect on the prompt."""
    for name, values in curves.items():
        label, color = STYLES.get(name, (name, TEAL))
        shown = np.isfinite(values) & (np.arange(len(values)) >= num_prompt_frames)
        log_curves(
            recording,
            f"{path}/{name}",
            values[shown, None],
            time_columns(np.flatnonzero(shown), control_hz=control_hz),
            style=rr.SeriesLines(names=[label], colors=[color], widths=[2.0]),
        )
