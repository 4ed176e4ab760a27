"""Names of joints: made safe to print and unique, sorted into groups, matched with a URDF's.

Names come from files that others made. They become parts of addresses such as `r2/elbow`, of
columns, axes and messages, so only letters, digits, dots, dashes and underscores stay in them.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import chain, count

from genie_robo.data.settings import ACTION_NAMES

MAX_NAME = 64
"""Characters of a name."""
_MEAN = "mean"
"""What figures call the mean over all joints."""
_UNSAFE = re.compile(r"[^\w.+-]+")
_SIDES = {
    "left": re.compile(r"left|(^|[^a-z])l([^a-z]|$)", re.IGNORECASE),
    "right": re.compile(r"right|(^|[^a-z])r([^a-z]|$)", re.IGNORECASE),
}
_PARTS = {
    "hand": re.compile(r"hand|finger|thumb|pinky|gripper", re.IGNORECASE),
    "leg": re.compile(r"hip|knee|ankle|leg|foot", re.IGNORECASE),
    "arm": re.compile(r"shoulder|elbow|wrist|arm", re.IGNORECASE),
}
_DECORATION = re.compile(r"^k(?=[A-Z])|[^A-Za-z0-9]|(?i:joint|position|pos)$")


def clean_names(names: Iterable[str]) -> tuple[str, ...]:
    """Safe, unique names of at most `MAX_NAME` characters that no number of an end effector has.

    One that is taken gets its place behind it, as in `gripper_6`.
    """
    found: list[str] = []
    for place, name in enumerate(names):
        safe = _UNSAFE.sub("_", name[: 4 * MAX_NAME]).strip("_")[:MAX_NAME] or f"joint{place}"
        numbered = (f"{safe[: MAX_NAME - 8]}_{number}" for number in count(place))
        taken = {*ACTION_NAMES, _MEAN, *found}
        found.append(next(name for name in chain([safe], numbered) if name not in taken))
    return tuple(found)


def joint_groups(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Joints that belong together, by the name of the group; empty where there is one group only.

    Groups are what stands before the first dot, as in `left_arm.elbow`, where that is shared; else
    the side and the part of the body that a name tells. Groups of a single joint are left out.
    """
    prefixes = {name.partition(".")[0] for name in names}
    is_grouped = 1 < len(prefixes) <= len(names) / 2
    groups: dict[str, tuple[str, ...]] = {}
    for name in names:
        group = name.partition(".")[0] if is_grouped else _body_part(name)
        if group:
            groups[group] = (*groups.get(group, ()), name)
    several = {group: members for group, members in groups.items() if len(members) > 1}
    return several if len(groups) > 1 else {}


def _body_part(name: str) -> str:
    """As in `left_arm`, `right_hand` or `arm`; empty where the name tells neither."""
    side = next((side for side, words in _SIDES.items() if words.search(name)), "")
    part = next((part for part, words in _PARTS.items() if words.search(name)), "")
    return "_".join(filter(None, (side, part)))


def match_names(names: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The known name of each joint; empty where none or several are like it.

    Case, underscores and a trailing `joint` or `pos` do not matter: `kLeftElbow` is
    `left_elbow_joint`.
    """
    by_core: dict[str, list[str]] = {}
    for name in known:
        by_core.setdefault(_core(name), []).append(name)
    alike = [by_core.get(_core(name), []) for name in names]
    return tuple(
        name if name in known else found[0] if len(found) == 1 else ""
        for name, found in zip(names, alike, strict=True)
    )


def _core(name: str) -> str:
    previous = ""
    while previous != name:
        previous, name = name, _DECORATION.sub("", name)
    return name.lower()
