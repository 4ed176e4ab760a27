"""What an answer is that is known beforehand."""

from collections.abc import Callable
from typing import NamedTuple, SupportsFloat


class Known(NamedTuple):
    """One metric function on one input."""

    name: str
    why: str
    """Where the expected number comes from."""
    expected: float
    compute: Callable[[], SupportsFloat]
    tolerance: float = 1e-9
