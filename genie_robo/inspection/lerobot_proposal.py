"""Command-line words that may read an unknown LeRobot folder.

LeRobot names the numbers of an action. Those named x, y, z are an end effector's; all others are
joint commands, by its convention absolute ones in the order of the measured joints.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from genie_robo.data.features import Feature
from genie_robo.data.lerobot_layout import LeRobotSchema
from genie_robo.data.settings import Source
from genie_robo.inspection.episodes import CameraFacts, Rows, Sample
from genie_robo.inspection.motion import correlation
from genie_robo.inspection.proposal import (
    GUESS,
    LIKELY,
    SURE,
    Proposal,
    ProposedPart,
    propose_camera,
    propose_end_effector,
    propose_instruction,
    proposed_source,
)

_DEFAULTS = {
    "action.translation": "",
    "action.rotation": "",
    "action.rotation_format": "rpy",
    "action.gripper": "",
    "action.motion": "delta",
    "action.joints_motion": "target",
    "pose.rotation_format": "rpy",
    "instruction": "[task]",
}
"""What conf/data/lerobot.yaml, and the settings below it, say already."""
_AXES = [re.compile(rf"(.*[^a-z])?(d|delta_?)?{axis}([^a-z].*)?", re.IGNORECASE) for axis in "xyz"]
_NEAR = 0.5
"""Commands whose distance from the measured joints is below this share of their spread."""
_CORRELATED = 0.5
_SHOWN = 3
"""Names that are shown of a vector."""


def propose_lerobot(
    schema: LeRobotSchema, sample: Sample, cameras: Sequence[CameraFacts]
) -> tuple[Proposal, Source | None]:
    """Propose a mapping by names and values.

    Args:
        schema: The folder's metadata.
        sample: Small columns of some episodes.
        cameras: Cameras of the dataset.

    Returns:
        The proposal, and its source; None when parts are missing or it does not fit.
    """
    parts, missing = propose_camera(cameras)
    key = _action_key(sample)
    if _is_end_effector(schema.features.get(key)):
        found, absent = propose_end_effector(sample)
        parts, missing = parts + found, missing + absent
    elif key:
        parts += _joints(key, schema.features, sample)
    else:
        missing.append("action: no column of numbers is named so")
    parts += propose_instruction(sample)
    rate = f"{schema.fps:g}"
    parts.append(ProposedPart("control_hz", rate, SURE, f"fps in {schema.features_file}"))
    proposal = Proposal(parts=parts, missing=missing, base="lerobot", defaults=_DEFAULTS)
    return proposal, proposed_source(proposal, schema.features)


def _action_key(sample: Sample) -> str:
    """The column named action; else the first whose name begins so; empty without one."""
    keys = sorted(key for key in sample.numbers if key.startswith("action"))
    return "action" if "action" in keys else next(iter(keys), "")


def _is_end_effector(feature: Feature | None) -> bool:
    names = feature.names[: len(_AXES)] if feature else ()
    is_like = [axis.fullmatch(name) for axis, name in zip(_AXES, names, strict=False)]
    return len(names) == len(_AXES) and all(is_like)


def _joints(key: str, features: Mapping[str, Feature], sample: Sample) -> Iterator[ProposedPart]:
    """Joint commands, and the measured joints where a column has as many numbers."""
    commands, names = sample.take(key), features[key].names
    for part in ("translation", "rotation", "gripper"):
        yield ProposedPart(f"action.{part}", "", LIKELY, "the action is not named x, y, z, ...")
    named = f"named {', '.join(names[:_SHOWN])}, ..." if names else "without names"
    joints = f"[0:{commands.shape[1]}]"
    yield ProposedPart("action.joints", f"{key}{joints}", SURE, f"all of its numbers, {named}")
    state = _measured(key, features, sample)
    motion, confidence, why = _joints_motion(commands, state, sample)
    yield ProposedPart("action.joints_motion", motion, confidence, why)
    if state and motion != "position":
        is_same = bool(names) and features[state].names == names
        alike = "the same names" if is_same else "as many numbers"
        confidence = SURE if is_same else LIKELY
        yield ProposedPart("pose.joints", f"{state}{joints}", confidence, alike)


def _measured(key: str, features: Mapping[str, Feature], sample: Sample) -> str:
    """The column with the measured joints: the same names, else the same number; empty without."""
    width = sample.width(key)
    alike = [
        other
        for other in sample.numbers
        if "state" in other and not other.startswith("action") and sample.width(other) == width
    ]
    names = features[key].names
    by_name = [other for other in alike if names and features[other].names == names]
    return next(iter([*by_name, *sorted(alike, key=len)]), "")


def _joints_motion(commands: Rows, state: str, sample: Sample) -> tuple[str, str, str]:
    """What joint commands are, with the confidence and the reason."""
    if not state:
        return "position", GUESS, "no measured joints to compare with; taken as absolute"
    measured = sample.take(state)
    command, before = sample.without_last(commands), sample.without_last(measured)
    if np.abs(command - before).mean() <= _NEAR * np.abs(before - before.mean(axis=0)).mean():
        return "target", LIKELY, f"close to {state} itself"
    alike = correlation(command.ravel(), sample.changes(measured).ravel())
    if alike > _CORRELATED:
        return "delta", LIKELY, f"correlates {alike:.2f} with the differences of {state}"
    return "position", GUESS, f"neither close to {state} nor to its differences"
