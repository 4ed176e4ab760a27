"""What the parts of the speed suite ask of their settings."""

from dataclasses import asdict
from typing import Any

NUM_THREADS = "num_threads"
"""The one number that may be zero: it then means all cores."""


def refuse_small_numbers(part: Any, name: str) -> None:
    """Raise when a number of a part's dataclass is too small.

    Raises:
        ValueError: A number below one, or fewer threads than none.
    """
    sizes: dict[str, int] = asdict(part)
    if sizes.pop(NUM_THREADS, 0) < 0 or min(sizes.values()) < 1:
        threads = f", {NUM_THREADS} at least 0" if hasattr(part, NUM_THREADS) else ""
        raise ValueError(
            f"every number of suite.speed.{name} must be at least 1{threads}; got {asdict(part)}"
        )
