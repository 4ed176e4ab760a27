"""Names of policies, checked without making one. Imports no torch, unless a user's module does."""

from collections.abc import Sequence
from pathlib import Path

from genie_robo.inference.plugged import find_plug

LEROBOT = "lerobot"


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
        find_plug(name, dict.fromkeys(known, no_policy), setting="policy")


def check_folder(folder: Path) -> None:
    """Refuse a folder without a policy.

    Raises:
        FileNotFoundError: There is no such policy.
    """
    if not (folder / "config.json").exists():
        raise FileNotFoundError(
            f"{folder} holds no LeRobot policy: there is no {folder / 'config.json'}; name the "
            "folder that its save_pretrained wrote"
        )


def no_policy(_: None) -> None:
    """Stands for a name that is found elsewhere."""
