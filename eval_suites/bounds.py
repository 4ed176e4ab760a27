"""Settings of suites, checked before anything slow: ranges of numbers, names, prompts. No torch."""

from collections.abc import Collection, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from genie_robo.settings import bounded, check_numbers, take_names

MOST = 10**9
"""No suite counts further."""


def whole_number(default: Any, *, least: int = 1) -> Any:
    """A field with a whole number, or several, that `check_settings` checks."""
    return bounded(default, least=least, most=MOST)


def check_settings(suite: Any) -> None:
    """Refuse numbers and names that no evaluation could use, whatever the run.

    Raises:
        ValueError: A number is out of range or of the wrong kind, or a name is unknown.
    """
    if not is_dataclass(suite):
        return
    section = f"suite.{getattr(suite, 'name', type(suite).__name__)}"
    take_names(suite, section)
    for item in fields(suite):
        if "range" in item.metadata:
            is_whole = not any(isinstance(n, float) for n in _values(item.default))
            for value in _values(getattr(suite, item.name)):
                _check_kind(value, f"{section}.{item.name}", is_whole=is_whole)
    check_numbers(suite, f"{section}.")


def check_window(suite: Any, num_frames: int) -> None:
    """Refuse a prompt that leaves no room for an imagined frame in a model's window.

    Raises:
        ValueError: The window is too short for the suite.
    """
    if hasattr(suite, "horizon"):
        num_prompt_frames = getattr(suite, "num_prompt_frames", 1)
        room_for(suite.horizon, num_prompt_frames, num_frames=num_frames, name=suite.name)


def room_for(horizon: int, num_prompt_frames: int, *, num_frames: int, name: str) -> int:
    """Frames that the suite `name` can imagine in a model's window of `num_frames`.

    Raises:
        ValueError: The window has no room for a prompt frame and a frame to imagine.
    """
    room = min(horizon, num_frames - num_prompt_frames)
    if num_prompt_frames < 1 or room < 1:
        raise ValueError(
            f"suite.{name} has {num_prompt_frames} prompt frames and a horizon of {horizon}, but "
            f"it needs one of each, and the model sees {num_frames} frames at once; change "
            f"suite.{name}.num_prompt_frames or suite.{name}.horizon"
        )
    return room


def check_labels(labels: Sequence[int], suite: str) -> None:
    """Reject numbers of labels that are too small for a ridge.

    Raises:
        ValueError: One is below 2.
    """
    if any(n < 2 for n in labels):
        raise ValueError(
            f"suite.{suite}.labels={list(labels)} must be 2 or more each: a ridge is fitted to them"
        )


def check_names(names: Sequence[str], known: Collection[str], *, setting: str) -> None:
    """Refuse an empty list, and names that are not known.

    Raises:
        ValueError: Names what there is to choose from.
    """
    choices = f"choose from {', '.join(known)}"
    if not names:
        raise ValueError(f"{setting} is empty; {choices}")
    if unknown := sorted(set(names) - set(known)):
        raise ValueError(f"{setting}={unknown} are not known; {choices}")


def _values(value: Any) -> Sequence[Any]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else (value,)


def _check_kind(value: Any, setting: str, *, is_whole: bool) -> None:
    kinds = int if is_whole else int | float
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise ValueError(f"{setting}={value} must be a {'whole ' if is_whole else ''}number")
