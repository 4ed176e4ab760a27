"""A Genie world model for robot data.

    genie = genie_robo.load("runs/demo")
    found = genie.actions(video)
    imagined = genie.imagine(video[0], codes=3, num_frames=10)

What is listed here is public; docs/python.md shows how to use it. Importing the package imports
neither torch nor numpy: each name is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genie_robo.api.datasets import open_dataset, read_episode
    from genie_robo.api.loaded import ImaginedVideo, InferredActions, LoadedGenie
    from genie_robo.api.opening import load
    from genie_robo.api.probing import ProbeResult, probe
    from genie_robo.pretrained import Genie

__all__ = [
    "Genie",
    "ImaginedVideo",
    "InferredActions",
    "LoadedGenie",
    "ProbeResult",
    "load",
    "open_dataset",
    "probe",
    "read_episode",
]

__version__ = "0.1.0"

_HOMES = {
    "Genie": "pretrained",
    "ImaginedVideo": "api.loaded",
    "InferredActions": "api.loaded",
    "LoadedGenie": "api.loaded",
    "ProbeResult": "api.probing",
    "load": "api.opening",
    "open_dataset": "api.datasets",
    "probe": "api.probing",
    "read_episode": "api.datasets",
}


def __getattr__(name: str) -> Any:
    """Import the module of a name when the name is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """Public names, whether imported yet or not."""
    return sorted({*globals(), *__all__})
