"""Command-line words that may read an unknown LeRobot folder.

LeRobot names the numbers of an action. Those named x, y, z are an end effector's; others are joint
commands, by its convention absolute ones in the order of the measured joints. Names such as motor_0
say nothing, as folders have them that were converted from other formats: then the values decide.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from genie_robo.data.features import Feature
from genie_robo.data.lerobot_layout import TIMESTAMP, LeRobotSchema
from genie_robo.data.settings import Source
from genie_robo.data.sources import MAX_JOINTS, Part
from genie_robo.inspection.checks import is_other_rate
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
from genie_robo.inspection.rates import VELOCITY, find_rate, is_per_second

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
_TELLS_NOTHING = re.compile(
    r"(motors?|actions?|dim(ension)?s?|values?|numbers?|[a-z])?[_. -]*\d*", re.IGNORECASE
)
_SCALE_FACTOR = 3
"""Commands that differ from the motion by more are not simply its differences."""


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
    found, absent = _action(schema.features, sample)
    parts += [*found, *propose_instruction(sample), _rate(schema, sample)]
    missing += absent
    proposal = Proposal(parts=parts, missing=missing, base="lerobot", defaults=_DEFAULTS)
    return proposal, proposed_source(proposal, schema.features)


def _action(
    features: Mapping[str, Feature], sample: Sample
) -> tuple[list[ProposedPart], list[str]]:
    """The parts of an action and what is measured of it, and what is missing of them."""
    key, others = _action_key(features, sample)
    if not key:
        return [], [_why_no_action(features)]
    names = features[key].names
    if _is_end_effector(names) and (hand := _hand(sample)):
        return hand
    is_telling = _is_telling(names)
    if not is_telling and (hand := _hand(sample)) and _is_surely_a_hand(hand[0]):
        return [replace(part, confidence=GUESS) for part in hand[0]], hand[1]
    confidence = SURE if is_telling and not others and not _is_end_effector(names) else GUESS
    return list(_joints(key, features, sample, confidence, others)), []


def _action_key(features: Mapping[str, Feature], sample: Sample) -> tuple[str, list[str]]:
    """The column of the action, empty without one; and others that could be it.

    That is `action`, else the widest that is measured or named like joints, else the widest.
    """
    keys = sorted(key for key in sample.numbers if key.startswith("action"))
    if "action" in keys:
        return "action", []

    def rank(key: str) -> tuple[bool, int]:
        return "joint" in key or bool(_measured(key, features, sample)), sample.width(key)

    key = max(keys, key=rank, default="")
    return key, [other for other in keys if other != key]


def _why_no_action(features: Mapping[str, Feature]) -> str:
    large = [
        k for k, f in features.items() if k.startswith("action") and (f.size or 0) > MAX_JOINTS
    ]
    if large:
        return f"action: {large[0]} is {features[large[0]]}, more than {MAX_JOINTS} numbers"
    return "action: no column of numbers is named so"


def _is_end_effector(names: Sequence[str]) -> bool:
    is_like = [axis.fullmatch(name) for axis, name in zip(_AXES, names, strict=False)]
    return len(is_like) == len(_AXES) and all(is_like)


def _is_telling(names: Sequence[str]) -> bool:
    """Whether names say what the numbers are, which motor_0, motor_1, ... do not."""
    return not all(_TELLS_NOTHING.fullmatch(name) for name in names)


def _hand(sample: Sample) -> tuple[list[ProposedPart], list[str]] | None:
    """The action of an end effector and what is missing of it; None where no layout is known.

    The rate is that of the folder.
    """
    parts, missing = propose_end_effector(sample)
    if not any(part.setting == "action.translation" and part.value for part in parts):
        return None
    return (
        [part for part in parts if part.setting != "control_hz"],
        [text for text in missing if not text.startswith("control_hz")],
    )


def _is_surely_a_hand(parts: Sequence[ProposedPart]) -> bool:
    """Whether numbers without names move a measured pose.

    Absolute joints are near measured joints as absolute poses are near measured ones, so targets
    count only with a rotation that joints do not have.
    """
    values = {part.setting: part.value for part in parts}
    if not values.get("pose.position"):
        return False
    rotation = values.get("action.rotation_format", "")
    return values["action.motion"] != "target" or rotation.startswith(("quaternion", "rotation_6d"))


def _rate(schema: LeRobotSchema, sample: Sample) -> ProposedPart:
    """Steps per second: `fps`, which lerobot stores as an integer, or what timestamps say."""
    step_s = 0.0
    if TIMESTAMP in sample.numbers:
        step_s = float(np.median(sample.changes(sample.take(TIMESTAMP))))
    if is_other_rate(step_s, schema.fps):
        why = f"{TIMESTAMP} advances by {step_s:.4g} s a step, fps in {schema.features_file} is "
        return ProposedPart("control_hz", f"{1 / step_s:.4g}", LIKELY, f"{why}{schema.fps:g}")
    return ProposedPart("control_hz", f"{schema.fps:g}", SURE, f"fps in {schema.features_file}")


def _joints(
    key: str,
    features: Mapping[str, Feature],
    sample: Sample,
    confidence: str,
    others: Sequence[str],
) -> Iterator[ProposedPart]:
    """Joint commands, and the measured joints where a column has them."""
    commands, names = sample.take(key), features[key].names
    for part in ("translation", "rotation", "gripper"):
        yield ProposedPart(f"action.{part}", "", LIKELY, "the action is not named x, y, z, ...")
    named = f"named {', '.join(names[:_SHOWN])}, ..." if names else "without names"
    why = f"all of its numbers, {named}"
    if others:
        why += f"; other columns are {', '.join(f'{k} ({sample.width(k)})' for k in others)}"
    yield ProposedPart("action.joints", f"{key}[0:{commands.shape[1]}]", confidence, why)
    state = _measured(key, features, sample)
    motion, confidence, why = _joints_motion(key, commands, state, sample)
    yield ProposedPart("action.joints_motion", motion, confidence, why)
    if state and motion != "position":
        found = Part.parse(state, setting="pose.joints")
        is_same = bool(names) and features[found.key].names[found.start : found.stop] == names
        alike = "the same names" if is_same else "as many numbers"
        yield ProposedPart("pose.joints", state, SURE if is_same else LIKELY, alike)


def _measured(key: str, features: Mapping[str, Feature], sample: Sample) -> str:
    """The part with the measured joints: the same names, else the same number; empty without."""
    width, names = sample.width(key), features[key].names
    states = [
        other for other in sample.numbers if "state" in other and not other.startswith("action")
    ]
    for other in states if names else ():
        stored = features[other].names
        for start in range(len(stored) - width + 1):
            if stored[start : start + width] == names:
                return f"{other}[{start}:{start + width}]"
    alike = [other for other in states if sample.width(other) == width]
    return next((f"{other}[0:{width}]" for other in sorted(alike, key=len)), "")


def _joints_motion(key: str, commands: Rows, state: str, sample: Sample) -> tuple[str, str, str]:
    """What joint commands are, with the confidence and the reason."""
    if not state:
        return "position", GUESS, "no measured joints to compare with; taken as absolute"
    measured = sample.take(state)
    command, before = sample.without_last(commands), sample.without_last(measured)
    if np.abs(command - before).mean() <= _NEAR * np.abs(before - before.mean(axis=0)).mean():
        return "target", LIKELY, f"close to {state} itself"
    change = sample.changes(measured)
    alike = correlation(command.ravel(), change.ravel())
    if alike <= _CORRELATED:
        return "position", GUESS, f"neither close to {state} nor to its differences"
    why = f"correlates {alike:.2f} with the differences of {state}"
    ratio = float(np.abs(command).mean() / np.abs(change).mean())
    rate = find_rate(sample)
    if VELOCITY.search(key) or (rate and is_per_second(ratio, rate.hz)):
        return "velocity", LIKELY, f"{why}, and is {ratio:.3g} times as large"
    if not 1 / _SCALE_FACTOR <= ratio <= _SCALE_FACTOR:
        return "delta", GUESS, f"{why}, but is {ratio:.3g} times as large"
    return "delta", LIKELY, why
