"""Command-line words that may read an unknown dataset, each with its confidence and reason.

Evidence is the names and sizes of columns, and whether a measured pose follows the commands.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import yaml

from genie_robo.command_line import write_list, write_text
from genie_robo.config_file import conf_dir, from_plain
from genie_robo.data.actions import to_rpy
from genie_robo.data.features import Feature
from genie_robo.data.settings import RotationFormat, Source
from genie_robo.data.sources import Part, check_source
from genie_robo.inspection.episodes import CameraFacts, Sample
from genie_robo.inspection.layouts import GRIPPER, Layout, layouts
from genie_robo.inspection.pose_match import PoseMatch, agreement, match_joints, match_pose
from genie_robo.inspection.rates import find_rate, velocity_rate
from genie_robo.inspection.rotations import (
    Measured,
    Turning,
    alone,
    decide_formats,
    measured_rotation,
)
from genie_robo.rotations import relative_rpy, wrap_angle
from genie_robo.settings import REQUIRED

SURE, LIKELY, GUESS = "sure", "likely", "guess"
_WRIST = re.compile(r"wrist|hand|gripper|depth|tactile", re.IGNORECASE)
_TEXT = re.compile(r"instruction|language|task", re.IGNORECASE)
_CLOSED, _OPEN = re.compile(r"clos", re.IGNORECASE), re.compile(r"open", re.IGNORECASE)
_DEFAULTS = {
    "action.rotation_format": "rpy",
    "action.motion": "delta",
    "pose.rotation_format": "rpy",
}
"""Settings that a choice of data leaves as they are in genie_robo.data.settings."""
NO_ACTION = (
    "no column looks like an end-effector action; joint commands are named with "
    "data.source.action.joints=KEY[0:7]"
)
_OPPOSITE = {"open_one": "closed_one", "closed_one": "open_one"}
_SCALE_FACTOR = 3
"""Commands that differ from the motion by less are taken to be in metres."""


@dataclass(frozen=True, slots=True)
class ProposedPart:
    """One setting."""

    setting: str
    """Its key below data.source."""
    value: str
    confidence: str
    """sure, likely or guess."""
    why: str

    @property
    def word(self) -> str:
        """The setting for a shell."""
        is_list = self.setting == "instruction"
        value = write_list([self.value[1:-1]]) if is_list else write_text(self.value)
        return shlex.quote(f"data.source.{self.setting}={value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A mapping of an unknown dataset."""

    parts: Sequence[ProposedPart]
    missing: Sequence[str] = field(default_factory=list)
    """What could not be found, with the reason."""
    base: str = "rlds"
    """The file in conf/data/ that the settings are added to."""
    defaults: Mapping[str, str] = field(default_factory=lambda: _DEFAULTS)
    """Settings that this file has already."""

    @property
    def words(self) -> str:
        """The choice of the dataset on a command line, defaults left out."""
        given = (part.word for part in self.parts if not self.is_default(part))
        return " ".join([f"data={self.base}", *given])

    def is_default(self, part: ProposedPart) -> bool:
        """Whether a setting can be left out."""
        return self.defaults.get(part.setting) == part.value


class _Gripper(NamedTuple):
    """What a gripper number means; part is "" where no format fits."""

    part: str
    format: str
    confidence: str
    why: str


@cache
def known_sources() -> Mapping[str, Source]:
    """Every dataset that has a file in conf/data/ naming its keys."""
    found = {}
    for path in sorted((conf_dir() / "data").glob("*.yaml")):
        source = _build_source(yaml.safe_load(path.read_text()).get("source", {}))
        if source is not None:
            found[path.stem] = source
    return found


@cache
def base_source(name: str) -> Source:
    """What a file in conf/data/ says that names no camera."""
    content = yaml.safe_load((conf_dir() / "data" / f"{name}.yaml").read_text())
    return replace(from_plain(Source, {"camera": ""} | content.get("source", {})), camera=REQUIRED)


def fitting_sources(name: str, features: Mapping[str, Feature]) -> list[str]:
    """Names of the known sources whose keys the dataset has.

    Only the one named like the dataset when it fits: keys such as `action` are too common for the
    fit of another one to mean much.
    """
    fits = [known for known, source in known_sources().items() if not misfit(source, features)]
    return [name] if name in fits else fits


def misfit(source: Source, features: Mapping[str, Feature]) -> str:
    """Why a source cannot read a dataset; empty when it can."""
    try:
        check_source(source, features)
    except (KeyError, ValueError) as error:
        return str(error.args[0])
    return ""


def propose(
    features: Mapping[str, Feature], sample: Sample, cameras: Sequence[CameraFacts]
) -> tuple[Proposal, Source | None]:
    """Propose a mapping by key names, shapes and values.

    Args:
        features: Columns of a step.
        sample: Small columns of some episodes.
        cameras: Cameras of the dataset.

    Returns:
        The proposal, and its source; None when parts are missing or it does not fit.
    """
    parts, missing = propose_camera(cameras)
    found, absent = propose_end_effector(sample)
    parts += [*found, *propose_instruction(sample)]
    missing += absent
    proposal = Proposal(parts=parts, missing=missing)
    return proposal, proposed_source(proposal, features)


def propose_camera(cameras: Sequence[CameraFacts]) -> tuple[list[ProposedPart], list[str]]:
    """The camera, and what is missing of it."""
    if cameras:
        return [_camera(cameras)], []
    return [], ["camera: there is no 8-bit colour image"]


def propose_end_effector(sample: Sample) -> tuple[list[ProposedPart], list[str]]:
    """The parts of an action and its pose, and what is missing of them."""
    parts = list(_best_action(sample))
    return parts, list(_missing_of_action({part.setting: part.value for part in parts}))


def proposed_source(proposal: Proposal, features: Mapping[str, Feature]) -> Source | None:
    """The source of a proposal; None when parts are missing or it does not fit."""
    given: dict[str, Any] = {}
    for part in proposal.parts:
        value = [part.value[1:-1]] if part.setting == "instruction" else part.value
        section, _, name = part.setting.rpartition(".")
        (given.setdefault(section, {}) if section else given)[name] = value
    source = _build_source(given)
    if proposal.missing or source is None or misfit(source, features):
        return None
    return source


def _missing_of_action(values: Mapping[str, str]) -> Iterator[str]:
    if not values["action.translation"] and "action.joints" not in values:
        yield f"action: {NO_ACTION}"
    if values.get("action.motion") == "velocity" and "control_hz" not in values:
        yield "control_hz: velocities need the steps per second; add data.source.control_hz=HZ"


def _best_action(sample: Sample) -> Iterator[ProposedPart]:
    """The layout whose motion is visible in a pose; else the first, which has the clearest name."""
    ends = [
        (layout, match, match_joints(layout.key, sample))
        for layout in layouts(sample)
        for match in [match_pose(sample.take(layout.translation), sample)]
    ]
    hands = [
        (layout, match)
        for layout, match, joints in ends
        if joints is None or (match is not None and match.strength > joints.strength)
    ]
    if hands:
        best = max(hands, key=lambda pair: pair[1].correlation if pair[1] else 0.0)
        yield from _action(*best, sample)
    elif ends:
        layout, _, joints = ends[0]
        assert joints is not None
        yield from _joint_commands(layout.key, joints, sample)
    else:
        # Said with empty words: by default the first seven numbers of `action` would be read.
        for name in ("translation", "rotation", "gripper"):
            yield ProposedPart(f"action.{name}", "", GUESS, NO_ACTION)


def _measured_gripper(position: Part, measured: Measured | None, sample: Sample) -> str:
    """The gripper in a column of its own, or in that of the pose, behind the rotation."""
    grippers = [
        name
        for name, rows in sample.numbers.items()
        if GRIPPER.search(name) and not name.startswith("action")
        if rows.shape[1] == 1 and np.ptp(rows)
    ]
    if grippers:
        return str(Part(grippers[0]))
    if measured is None:
        return ""
    size = sample.width(position.key)
    is_next = size == measured.end + 1 or (size > measured.end and len(measured.formats) == 1)
    return f"{position.key}[{size - 1}]" if is_next else ""


def _camera(cameras: Sequence[CameraFacts]) -> ProposedPart:
    keys = [camera.key for camera in cameras]
    visible = [c.key for c in cameras if 2 * c.num_blank < c.num_looked_at] or keys
    external = [key for key in visible if not _WRIST.search(key)] or visible
    if len(cameras) == 1:
        confidence, why = SURE, "the only colour image"
    elif len(external) == 1:
        confidence, why = LIKELY, f"of {len(cameras)}, the only external camera"
    else:
        confidence = GUESS
        why = f"the first of {len(external)} external cameras; look at the contact sheet"
    return ProposedPart("camera", external[0], confidence, why)


def propose_instruction(sample: Sample) -> Iterator[ProposedPart]:
    """The first text that is named like an instruction and not always empty."""
    for key, is_given in sample.texts.items():
        if any(is_given) and _TEXT.search(key):
            why = f"text in {sum(is_given)} of {len(is_given)} episodes"
            yield ProposedPart("instruction", f"[{key}]", LIKELY, why)
            return


def _action(layout: Layout, match: PoseMatch | None, sample: Sample) -> Iterator[ProposedPart]:
    """The action's parts, and the pose that it was matched with."""
    if match is None:
        yield from _unmatched_action(layout, sample)
        return
    measured = measured_rotation(match.part, sample)
    turning, pose_turning = decide_formats(
        layout.rotation, layout.rotation_why, match, measured, sample
    )
    turning, match = _check_turns(turning, match, pose_turning, sample)
    found = f"{match.part} moves with it ({match.correlation:.2f})"
    sure, likely = SURE, LIKELY
    if not match.is_plausible:
        sure = likely = GUESS
        found += f", by up to {match.largest_step:.3g} a step, which are no metres"
    yield ProposedPart("action.translation", layout.translation, sure, f"{layout.why}; {found}")
    yield from _rotation("action", turning, likely)
    yield from _motion(layout, match, sample)
    gripper = _guess_gripper(layout.gripper, sample)
    yield from _gripper("action", gripper)
    yield ProposedPart("pose.position", str(match.part), sure, found)
    if pose_turning.part:
        yield from _rotation("pose", pose_turning, LIKELY)
    pose_gripper = _measured_gripper(match.part, measured, sample)
    measured_gripper = _guess_gripper(pose_gripper, sample, like=gripper)
    if measured_gripper.part and measured_gripper.format != "relative_close":
        yield from _gripper("pose", measured_gripper)


def _unmatched_action(layout: Layout, sample: Sample) -> Iterator[ProposedPart]:
    why = f"{layout.why}; no measured position moves with it"
    yield ProposedPart("action.translation", layout.translation, GUESS, why)
    yield from _rotation("action", alone(layout.rotation, layout.rotation_why, sample), GUESS)
    yield from _motion(layout, None, sample)
    yield from _gripper("action", _guess_gripper(layout.gripper, sample))


def _rotation(section: str, turning: Turning, confidence: str) -> Iterator[ProposedPart]:
    yield ProposedPart(f"{section}.rotation", turning.part, confidence, turning.why)
    if turning.part:
        setting = f"{section}.rotation_format"
        yield ProposedPart(setting, turning.format, confidence, turning.why)


def _joint_commands(key: str, match: PoseMatch, sample: Sample) -> Iterator[ProposedPart]:
    """Commands that measured joints follow, and no end effector."""
    assert match.part.stop is not None
    count = match.part.stop
    for name in ("translation", "rotation"):
        yield ProposedPart(f"action.{name}", "", LIKELY, f"{key} are joint commands")
    is_velocity, rate = velocity_rate(key, match, find_rate(sample))
    motion = "velocity" if is_velocity else "target" if match.motion == "target" else "delta"
    why = f"{match.part} moves with it ({match.correlation:.2f})"
    if is_velocity and rate:
        confidence = LIKELY if rate.is_measured else GUESS
        yield ProposedPart("control_hz", f"{rate.hz:g}", confidence, rate.why)
    yield ProposedPart("action.joints", f"{key}[0:{count}]", LIKELY, why)
    yield ProposedPart("action.joints_motion", motion, LIKELY, why)
    yield ProposedPart("pose.joints", str(match.part), LIKELY, why)
    part = f"{key}[{count}]" if sample.width(key) == count + 1 else ""
    yield from _gripper("action", _guess_gripper(part, sample))


def _check_turns(
    turning: Turning, match: PoseMatch, pose: Turning, sample: Sample
) -> tuple[Turning, PoseMatch]:
    """Whether the angles of an achieved motion are differences of the pose's, or turns.

    Differences without the pose that they start from cannot be read; turns are a delta.
    """
    if match.motion != "achieved" or turning.format != "rpy":
        return turning, match
    if not pose.part:
        why = "differences of angles, and no measured angles to start from"
        return Turning("", "", why), match
    angles = to_rpy(sample.take(pose.part), RotationFormat(pose.format))
    stored = sample.without_last(sample.take(turning.part))
    turns = relative_rpy(angles[:-1], angles[1:])
    steps = ~sample.is_last[:-1]
    errors = [
        np.abs(wrap_angle(stored - rows[steps])).sum() for rows in (np.diff(angles, axis=0), turns)
    ]
    return turning, match if errors[0] <= errors[1] else match._replace(motion="delta")


def _motion(layout: Layout, match: PoseMatch | None, sample: Sample) -> Iterator[ProposedPart]:
    rate = find_rate(sample)
    is_velocity, rate = velocity_rate(layout.key, match, rate)
    if rate:
        confidence = LIKELY if rate.is_measured else GUESS
        yield ProposedPart("control_hz", f"{rate.hz:g}", confidence, rate.why)
    if is_velocity:
        why = f"{layout.key}, by its name" if match is None else rate.why if rate else ""
        yield ProposedPart("action.motion", "velocity", LIKELY, why)
    elif match is None:
        why = "small numbers around zero"
        if layout.looks_absolute:
            why = "the numbers look absolute, but no measured pose is near them"
        yield ProposedPart("action.motion", "delta", GUESS, why)
        return
    else:
        confidence, why = {
            "achieved": (SURE, f"equal to the differences of {match.part}"),
            "target": (LIKELY, f"close to {match.part} itself"),
            "delta": (LIKELY, f"correlates with the differences of {match.part}"),
        }[match.motion]
        yield ProposedPart("action.motion", match.motion, confidence, why)
    if match is None:
        return
    ratio = match.slope / rate.hz if is_velocity and rate else match.slope
    if not 1 / _SCALE_FACTOR <= ratio <= _SCALE_FACTOR:
        why = f"commands are {ratio:.3g} times the motion that followed"
        yield ProposedPart("action.translation_scale", f"{1 / ratio:.2g}", GUESS, why)


def _gripper(section: str, guess: _Gripper) -> Iterator[ProposedPart]:
    if not guess.part:
        yield ProposedPart(f"{section}.gripper", "", guess.confidence, guess.why)
        return
    why = "chosen by its name, or the number left over"
    yield ProposedPart(f"{section}.gripper", guess.part, guess.confidence, why)
    yield ProposedPart(f"{section}.gripper_format", guess.format, guess.confidence, guess.why)


def _guess_gripper(part: str, sample: Sample, like: _Gripper | None = None) -> _Gripper:
    """What a gripper number means, by its name, its values and where episodes begin.

    `like` is another gripper of the dataset whose meaning is known: the two move together.
    """
    if not part:
        return _Gripper("", "", GUESS, "no number is left for it")
    rows = sample.take(part)
    values, first = sample.without_last(rows), np.median(rows[np.roll(sample.is_last, 1)])
    low, high = float(values.min()), float(values.max())
    reach = f"{low:.3g} to {high:.3g}"
    if low < -1.2 or high > 1.2 or 0 < high - low < 0.3:
        why = f"{part} goes from {reach}, not from 0 to 1: there is no format for it"
        return _Gripper("", "", GUESS, why)
    if low < -0.5:
        return _Gripper(part, "relative_close", GUESS, f"{reach}: does -1 open, +1 close?")
    if _CLOSED.search(part) or _OPEN.search(part):
        word = "closed_one" if _CLOSED.search(part) else "open_one"
        return _Gripper(part, word, LIKELY, f"{reach}, and its name")
    if like is not None and like.format in _OPPOSITE:
        alike = agreement(sample.take(like.part), rows, sample)
        word = like.format if alike >= 0 else _OPPOSITE[like.format]
        why = f"{reach}, correlates {alike:.2f} with {like.part}"
        return _Gripper(part, word, like.confidence, why)
    word = "open_one" if first >= 0.5 else "closed_one"
    why = f"{reach}, episodes begin at {first:.2g}, and most grippers begin open"
    return _Gripper(part, word, GUESS, why)


def _build_source(given: Mapping[str, Any]) -> Source | None:
    """The source of some settings; None when a required one is missing."""
    return from_plain(Source, given) if given.get("camera") else None
