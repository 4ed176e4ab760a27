"""Policies by name: `module:callable`, or a LeRobot policy in a folder."""

from collections.abc import Sequence
from pathlib import Path

from genie_robo.inference.plugged import checked_plug, find_plug
from genie_robo.policy.interface import Policy
from genie_robo.policy.lerobot import LeRobotPolicy
from genie_robo.policy.names import LEROBOT, no_policy


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
    plug = find_plug(name, dict.fromkeys(known, no_policy), setting="policy")
    return checked_plug(plug(None), Policy, name=name, methods="reset and act")
