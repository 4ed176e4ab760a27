"""A Genie world model for robot data."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genie_robo.pretrained import Genie

__all__ = ["Genie"]


def __getattr__(name: str) -> Any:
    """Import torch only when a model is requested."""
    if name == "Genie":
        from genie_robo.pretrained import Genie

        return Genie
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
