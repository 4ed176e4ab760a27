"""What happens to the tokens of imagined frames: which change, and how unsure each was."""

from dataclasses import dataclass

import numpy as np
import rerun as rr
from jaxtyping import Float, Int, UInt8

from viz.entities import CHANGED_TOKENS, ENTROPY_MAP, entity
from viz.images import heat_map, image_format, log_exact
from viz.series import BLUE, ORANGE, TEAL

FULL_ENTROPY = 7.0
"""Nats that the brightest colour of the uncertainty map stands for."""
KEPT, IMAGINED_ONLY, TRUE_ONLY, BOTH = range(4)
"""What a token of an imagined frame does beside the true one's at its place."""
_CLASSES = (
    (KEPT, "kept", (16, 16, 20)),
    (IMAGINED_ONLY, "changes in the imagined frame only", ORANGE),
    (TRUE_ONLY, "changes in the true frame only", BLUE),
    (BOTH, "changes in both", TEAL),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenMaps:
    """Tokens of every frame, row by row."""

    grid: tuple[int, int]
    """Rows and columns of tokens."""
    tokens: Int[np.ndarray, "t s"]
    entropy: Float[np.ndarray, "t s"]
    """Nats when a token was revealed, 0 in the prompt."""
    true_tokens: Int[np.ndarray, "t s"] | None = None
    """The tokenizer's view of the true frames."""


def log_token_maps(
    recording: rr.RecordingStream, maps: TokenMaps, times: list[rr.TimeColumn], *, root: str = ""
) -> None:
    """Log a pixel per token: the class of its change, and its entropy as a heat map."""
    path = entity(root, CHANGED_TOKENS)
    static = rr.SegmentationImage.from_fields(format=image_format(*maps.grid))
    # In one row: two rows of an entity make one chunk or two, as time goes.
    recording.log(path, static, rr.AnnotationContext(list(_CLASSES)), static=True)
    changed = changes(maps.tokens, maps.true_tokens)
    recording.send_columns(path, times, rr.SegmentationImage.columns(buffer=changed))
    entropy = maps.entropy.reshape(-1, *maps.grid)
    colored = heat_map(entropy, full=FULL_ENTROPY)
    log_exact(recording, entity(root, ENTROPY_MAP), colored, times)


def changes(
    tokens: Int[np.ndarray, "t s"], true_tokens: Int[np.ndarray, "t s"] | None
) -> UInt8[np.ndarray, "t s"]:
    """Which tokens differ from the frame before, here and in the truth; none in the first frame.

    Equality with the true tokens would say less: of a thousand tokens many look alike, and a good
    imagination of a scene seldom picks the very same ones.
    """
    classes = _moved(tokens) * np.uint8(IMAGINED_ONLY)
    if true_tokens is not None:
        classes = classes + _moved(true_tokens) * np.uint8(TRUE_ONLY)
    return classes


def _moved(tokens: Int[np.ndarray, "t s"]) -> UInt8[np.ndarray, "t s"]:
    return (np.diff(tokens, axis=0, prepend=tokens[:1]) != 0).astype(np.uint8)
