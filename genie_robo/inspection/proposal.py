"""Command-line words that may read an unknown dataset, each with its confidence and reason.

Evidence is the names and sizes of columns, and whether a measured pose follows the commands.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
from genie_robo.inspection.checks import correlation
from genie_robo.inspection.episodes import CameraFacts, Rows, Sample
from genie_robo.rotations import relative_rpy, wrap_angle

SURE, LIKELY, GUESS = "sure", "likely", "guess"
_TRANSLATION = re.compile(r"world_vector|transl|xyz|pos(ition)?(_delta)?$|delta_pos", re.IGNORECASE)
_ROTATION = re.compile(r"rot|rpy|euler|quat|orient", re.IGNORECASE)
_GRIPPER = re.compile(r"grip|finger", re.IGNORECASE)
_NOT_HAND = re.compile(r"joint|base|terminat|stop|mode|qpos|qvel", re.IGNORECASE)
_WRIST = re.compile(r"wrist|hand|gripper|depth|tactile", re.IGNORECASE)
_TEXT = re.compile(r"instruction|language|task", re.IGNORECASE)
_CLOSED, _OPEN = re.compile(r"clos", re.IGNORECASE), re.compile(r"open", re.IGNORECASE)
_DEFAULTS = {
    "action.rotation_format": "rpy",
    "action.motion": "delta",
    "pose.rotation_format": "rpy",
}
"""Settings that a choice of data leaves as they are in genie_robo.data.settings."""
_OPPOSITE = {"open_one": "closed_one", "closed_one": "open_one"}
_QUATERNIONS = (RotationFormat.quaternion_xyzw, RotationFormat.quaternion_wxyz)
_FULL_TURN = 2 * np.pi + 0.01
_SCALE_FACTOR = 3
"""Commands that differ from the motion by less are taken to be in metres."""
_CORRELATED = 0.5
"""Correlations above this are not taken for chance."""
_EQUAL = 0.02
"""Relative difference below which actions are differences of poses."""


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


class PoseMatch(NamedTuple):
    """How commanded translations relate to three numbers of a column."""

    part: Part
    motion: str
    """delta, achieved or target."""
    correlation: float
    slope: float
    """Stored command over achieved motion; 1 for targets."""


class _Layout(NamedTuple):
    """Parts of an action, as written on the command line; "" where there is none."""

    translation: str
    rotation: str
    gripper: str
    why: str
    rotation_why: str
    looks_absolute: bool = False


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
    """The parts of an end-effector action and its pose, and what is missing of them."""
    layouts = [
        (found, match_pose(sample.take(found.translation), sample)) for found in _layouts(sample)
    ]
    if not layouts:
        return [], ["action: no column looks like an end-effector action; joints are not read"]
    # The layout whose motion is visible in a pose; else the first, which has the clearest name.
    best = max(layouts, key=lambda pair: pair[1].correlation if pair[1] else 0.0)
    return list(_action(*best, sample)), []


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


def match_pose(actions: Rows, sample: Sample) -> PoseMatch | None:
    """The three measured numbers whose changes follow the actions best, if any do."""
    found = [
        match
        for key, rows in sample.numbers.items()
        if not key.startswith("action")
        for start in range(rows.shape[1] - 2)
        if (match := _match(actions, Part(key, start, start + 3), sample))
    ]
    return max(found, key=lambda match: match.correlation, default=None)


def _match(actions: Rows, part: Part, sample: Sample) -> PoseMatch | None:
    position = sample.take(part)[:, : actions.shape[1]]
    command, before = sample.without_last(actions), sample.without_last(position)
    change = sample.changes(position)
    if not change.any():
        return None
    if np.abs(command - change).mean() < _EQUAL * np.abs(change).mean():
        return PoseMatch(part, "achieved", 1.0, 1.0)
    if np.abs(command - before).mean() < 0.5 * np.abs(before - before.mean(axis=0)).mean():
        alike = correlation((command - before).ravel(), change.ravel())
        return PoseMatch(part, "target", alike, 1.0) if alike > _CORRELATED / 2 else None
    alike = correlation(command.ravel(), change.ravel())
    # The ratio of sizes, not the regression slope, which noise in the motion makes too small.
    slope = float(np.abs(command).mean() / np.abs(change).mean())
    return PoseMatch(part, "delta", alike, slope) if alike > _CORRELATED else None


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


def _action(layout: _Layout, match: PoseMatch | None, sample: Sample) -> Iterator[ProposedPart]:
    """The action's parts, and the pose that it was matched with."""
    found, confidence, likely = "no measured position moves with it", GUESS, GUESS
    pose_rotation: list[ProposedPart] = []
    pose_gripper = ""
    if match:
        pose_rotation, pose_gripper = _pose_rotation(match.part, layout.rotation, sample)
        layout, match = _check_turns(layout, match, pose_rotation, sample)
        found = f"{match.part} moves with it ({match.correlation:.2f})"
        confidence, likely = SURE, LIKELY
    yield ProposedPart(
        "action.translation", layout.translation, confidence, f"{layout.why}; {found}"
    )
    yield ProposedPart("action.rotation", layout.rotation, likely, layout.rotation_why)
    if layout.rotation:
        rotation_format = _rotation_format(sample, layout.rotation)
        yield ProposedPart("action.rotation_format", rotation_format, likely, layout.rotation_why)
    yield from _motion(layout, match)
    gripper = _guess_gripper(layout.gripper, sample)
    yield from _gripper("action", gripper)
    if match:
        why = f"correlation {match.correlation:.2f}"
        yield ProposedPart("pose.position", str(match.part), SURE, why)
        yield from pose_rotation
        measured = _guess_gripper(pose_gripper, sample, like=gripper)
        if measured.part and measured.format != "relative_close":
            yield from _gripper("pose", measured)


def _check_turns(
    layout: _Layout, match: PoseMatch, pose: Sequence[ProposedPart], sample: Sample
) -> tuple[_Layout, PoseMatch]:
    """Whether the angles of an achieved motion are differences of the pose's, or turns.

    Differences without the pose that they start from cannot be read; turns are a delta.
    """
    is_angles = layout.rotation and _rotation_format(sample, layout.rotation) == "rpy"
    if match.motion != "achieved" or not is_angles:
        return layout, match
    if not pose:
        why = "differences of angles, and no measured angles to start from"
        return layout._replace(rotation="", rotation_why=why), match
    part, rotation_format = (proposed.value for proposed in pose)
    angles = to_rpy(sample.take(part), RotationFormat(rotation_format))
    stored = sample.without_last(sample.take(layout.rotation))
    turns = relative_rpy(angles[:-1], angles[1:])
    steps = ~sample.is_last[:-1]
    errors = [
        np.abs(wrap_angle(stored - rows[steps])).sum() for rows in (np.diff(angles, axis=0), turns)
    ]
    return layout, match if errors[0] <= errors[1] else match._replace(motion="delta")


def _motion(layout: _Layout, match: PoseMatch | None) -> Iterator[ProposedPart]:
    if match is None:
        why = "small numbers around zero"
        if layout.looks_absolute:
            why = "the numbers look absolute, but no measured pose is near them"
        yield ProposedPart("action.motion", "delta", GUESS, why)
        return
    confidence, why = {
        "achieved": (SURE, f"equal to the differences of {match.part}"),
        "target": (LIKELY, f"close to {match.part} itself"),
        "delta": (LIKELY, f"correlates with the differences of {match.part}"),
    }[match.motion]
    yield ProposedPart("action.motion", match.motion, confidence, why)
    if not 1 / _SCALE_FACTOR <= match.slope <= _SCALE_FACTOR:
        why = f"commands are {match.slope:.3g} times the motion that followed"
        yield ProposedPart("action.translation_scale", f"{1 / match.slope:.2g}", GUESS, why)


def _gripper(section: str, guess: _Gripper) -> Iterator[ProposedPart]:
    if not guess.part:
        yield ProposedPart(f"{section}.gripper", "", guess.confidence, guess.why)
        return
    why = "chosen by its name, or the number left over"
    yield ProposedPart(f"{section}.gripper", guess.part, guess.confidence, why)
    yield ProposedPart(f"{section}.gripper_format", guess.format, guess.confidence, guess.why)


def _layouts(sample: Sample) -> list[_Layout]:
    """End-effector actions that the columns may hold, the clearest names first."""
    keys = [k for k in sample.numbers if k.startswith("action") and not _NOT_HAND.search(k)]
    return [*_layout_by_name(keys, sample), *_layouts_by_place(keys, sample)]


def _layout_by_name(keys: list[str], sample: Sample) -> Iterator[_Layout]:
    """An action in several columns, each named for what it holds."""

    def first(pattern: re.Pattern[str], *sizes: int) -> str:
        named = (k for k in keys if pattern.search(k) and sample.width(k) in sizes)
        return next((str(Part(key)) for key in named), "")

    translation, rotation = first(_TRANSLATION, 2, 3), first(_ROTATION, 3, 4)
    if translation:
        rotation_why = "no column is named so"
        if rotation:
            rotation_why = f"named so; {_rotation_format(sample, rotation)}"
        yield _Layout(translation, rotation, first(_GRIPPER, 1), "named so", rotation_why)


def _layouts_by_place(keys: list[str], sample: Sample) -> Iterator[_Layout]:
    """One vector for everything."""
    grippers = (k for k in keys if _GRIPPER.search(k) and sample.width(k) == 1)
    gripper = next((str(Part(key)) for key in grippers), "")
    # `action` before `action_dict/...`, Cartesian columns before all.
    for key in sorted(keys, key=lambda k: ("cartesian" not in k.lower(), len(k))):
        size, (_, slash, name) = sample.width(key), key.rpartition("/")
        is_named_part = slash and (_GRIPPER.search(name) or _ROTATION.search(name))
        if size < 2 or size > 8 or size == 5 or is_named_part:
            continue
        translation, rotation, end = f"{key}[0:{min(size, 3)}]", "", 3
        rotation_why = "none left"
        if size >= 7 and _is_unit(sample.take(f"{key}[3:7]")):
            rotation, end, rotation_why = f"{key}[3:7]", 7, "the next numbers; unit length"
        elif size >= 6:
            rotation, end, rotation_why = f"{key}[3:6]", 6, "the next numbers; taken as angles"
        rows = sample.take(translation)
        yield _Layout(
            translation,
            rotation,
            f"{key}[{end}]" if size > end else gripper,
            f"the first of {size} numbers in {key}",
            rotation_why,
            # Positions change little from step to step, compared with their size.
            looks_absolute=np.abs(sample.changes(rows)).mean() < 0.1 * np.abs(rows).mean(),
        )


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
        alike = _agreement(sample.take(like.part), rows, sample)
        word = like.format if alike >= 0 else _OPPOSITE[like.format]
        why = f"{reach}, correlates {alike:.2f} with {like.part}"
        return _Gripper(part, word, like.confidence, why)
    word = "open_one" if first >= 0.5 else "closed_one"
    why = f"{reach}, episodes begin at {first:.2g}, and most grippers begin open"
    return _Gripper(part, word, GUESS, why)


def _pose_rotation(
    position: Part, action_rotation: str, sample: Sample
) -> tuple[list[ProposedPart], str]:
    """The rotation after a measured position, and the gripper in its column or another."""
    assert position.stop is not None
    key, start, size = position.key, position.stop, sample.width(position.key)
    grippers = [
        name
        for name, rows in sample.numbers.items()
        if _GRIPPER.search(name) and not name.startswith("action")
        if rows.shape[1] == 1 and np.ptp(rows)
    ]
    gripper = str(Part(grippers[0])) if grippers else ""
    quaternion, angles = f"{key}[{start}:{start + 4}]", f"{key}[{start}:{start + 3}]"
    if size >= start + 4 and _is_unit(sample.take(quaternion)):
        part = quaternion
        rotation_format, why = _quaternion_order(quaternion, action_rotation, sample)
        inside = f"{key}[{start + 4}]" if size == start + 5 else ""
    elif size >= start + 3 and np.abs(sample.take(angles)).max() <= _FULL_TURN:
        part, rotation_format = angles, "rpy"
        why = "the next three numbers of the pose are within a full turn"
        inside = f"{key}[{size - 1}]" if size > start + 3 else ""
    else:
        return [], gripper
    parts = [
        ProposedPart("pose.rotation", part, LIKELY, why),
        ProposedPart("pose.rotation_format", rotation_format, LIKELY, why),
    ]
    return parts, gripper or inside


def _quaternion_order(part: str, action_rotation: str, sample: Sample) -> tuple[str, str]:
    """The order in which turns from step to step are most like the commanded ones."""
    if not action_rotation or sample.size(action_rotation) != 3:
        return _QUATERNIONS[0], "unit length; the order is a guess"
    scores = []
    for order in _QUATERNIONS:
        angles = to_rpy(sample.take(part), order)
        turns = relative_rpy(angles[:-1], angles[1:])
        commands = sample.take(action_rotation)
        scores.append(_agreement(commands, np.pad(turns, ((0, 1), (0, 0))), sample))
    best = int(np.argmax(scores))
    return _QUATERNIONS[best], f"unit length; turns correlate {scores[best]:.2f} in this order"


def _rotation_format(sample: Sample, part: str) -> str:
    return _QUATERNIONS[0] if sample.size(part) == 4 else "rpy"


def _agreement(one: Rows, other: Rows, sample: Sample) -> float:
    """Correlation of two parts over all numbers of all steps but the last of each episode."""
    return correlation(sample.without_last(one).ravel(), sample.without_last(other).ravel())


def _is_unit(rows: Rows) -> bool:
    """Whether rows of four numbers are quaternions."""
    return bool(np.abs(np.linalg.norm(rows, axis=1) - 1).max() < 0.01)


def _build_source(given: Mapping[str, Any]) -> Source | None:
    """The source of some settings; None when a required one is missing."""
    return from_plain(Source, given) if given.get("camera") else None
