"""A field that a command cannot do without."""

from typing import Any

REQUIRED: Any = "???"
"""Hydra refuses to start while a field still has this value."""
