"""What the checks of `inspect` report."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to know before training on a dataset."""

    kind: str
    """The check that found it."""
    text: str
