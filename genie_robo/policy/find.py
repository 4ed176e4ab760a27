"""Policies by name: `module:callable`, or a LeRobot policy in a folder."""

from collections.abc import Sequence
from pathlib import Path

from genie_robo.inference.plugged import checked_plug, find_plug
from genie_robo.policy.interface import Policy
from genie_robo.policy.lerobot import LeRobotPolicy, check_folder

LEROBOT = "lerobot"


def find_policy(name: str, *, known: Sequence[str] = ()) -> Policy:
    """The policy that `module:callable` returns, or the one in `lerobot:FOLDER`.

    The callable is called once without arguments; it may be a class. `known` are other names, for
    the error.

    Raises:
        ValueError: There is no such module, callable or folder, or what it gives is no policy.
        ImportError: lerobot is needed and not installed.
    """
    kind, _, place = name.partition(":")
    if kind == LEROBOT:
        return LeRobotPolicy(Path(place))
    plug = find_plug(name, dict.fromkeys(known, _none), setting="policy")
    return checked_plug(plug(None), Policy, name=name, methods="reset and act")


def check_policy(name: str, *, known: Sequence[str] = ()) -> None:
    """Refuse a name that `find_policy` could not find, without making the policy.

    Raises:
        ValueError: There is no such module or callable.
        FileNotFoundError: There is no such folder of LeRobot.
    """
    kind, _, place = name.partition(":")
    if kind == LEROBOT:
        check_folder(Path(place))
    elif name not in known:
        find_plug(name, dict.fromkeys(known, _none), setting="policy")


def _none(_: None) -> None:
    """Stands for a name that is found elsewhere."""
