"""Command-line words that may read an unknown dataset, each with how sure it is and why."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from omegaconf import OmegaConf

from genie_robo.build import build_source
from genie_robo.config import SourceConfig
from genie_robo.data.sources import Feature, Source
from genie_robo.inspection.columns import PoseMatch, Sample, match_pose
from genie_robo.inspection.episodes import CameraFacts
from genie_robo.inspection.layouts import (
    GripperGuess,
    Layout,
    find_layouts,
    find_rotation,
    guess_gripper,
)
from genie_robo.inspection.sources import misfit

SURE, LIKELY, GUESS = "sure", "likely", "guess"
_WRIST = re.compile(r"wrist|hand|gripper|depth|tactile", re.IGNORECASE)
_TEXT = re.compile(r"instruction|language|task", re.IGNORECASE)
_DEFAULTS = {
    "action.rotation_format": "rpy",
    "action.motion": "delta",
    "pose.rotation_format": "rpy",
}
_SAFE = re.compile(r"[\w/.-]*")
_SCALE_FACTOR = 3
"""Commands that differ from the motion by less are taken to be in metres."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedPart:
    """One setting."""

    setting: str
    """Below data.source."""
    value: str
    confidence: str
    """sure, likely or guess."""
    why: str

    @property
    def is_default(self) -> bool:
        """Whether it need not be said."""
        return _DEFAULTS.get(self.setting) == self.value

    @property
    def word(self) -> str:
        """As it is typed into a shell."""
        value = self.value
        if not value or not _SAFE.fullmatch(value):
            value = value if value.startswith("[") and "'" not in value else f"'{value}'"
        return _shell_quote(f"data.source.{self.setting}={value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A mapping of an unknown dataset."""

    parts: Sequence[ProposedPart]
    missing: Sequence[str] = field(default_factory=list)
    """What could not be found, with the reason."""

    @property
    def words(self) -> str:
        """The whole choice of the dataset on a command line, without what is the default."""
        return " ".join(["data=rlds", *(part.word for part in self.parts if not part.is_default)])


def propose(
    features: Mapping[str, Feature], sample: Sample, cameras: Sequence[CameraFacts]
) -> tuple[Proposal, Source | None]:
    """Propose a mapping by key names, shapes and values.

    Args:
        features: Columns of a step.
        sample: The small ones of some episodes.
        cameras: Those that there are.

    Returns:
        The proposal, and the source that it describes; None when it is too incomplete to read by.
    """
    parts, missing = [], []
    if cameras:
        parts.append(_camera(cameras))
    else:
        missing.append("camera: there is no 8-bit colour image")
    layouts = find_layouts(sample)
    matched = [(layout, match_pose(sample.take(layout.translation), sample)) for layout in layouts]
    # The layout whose motion is seen in a pose; else the first, which has the clearest name.
    matched.sort(key=lambda pair: -(pair[1].correlation if pair[1] else 0.0))
    if matched:
        parts += _motion(*matched[0], sample)
    else:
        missing.append("action: no column looks like an end-effector action; joints are not read")
    parts += _instruction(sample)
    proposal = Proposal(parts=parts, missing=missing)
    source = _to_source(parts)
    if missing or source is None:
        return proposal, None
    return proposal, None if misfit(source, features) else source


def _camera(cameras: Sequence[CameraFacts]) -> ProposedPart:
    keys = [camera.key for camera in cameras]
    seeing = [camera.key for camera in cameras if 2 * camera.num_blank < camera.num_looked_at]
    outside = [key for key in seeing or keys if not _WRIST.search(key)] or seeing or keys
    if len(cameras) == 1:
        confidence, why = SURE, "the only colour image"
    elif len(outside) == 1:
        confidence, why = LIKELY, f"of {len(cameras)}, the only one that sees from outside"
    else:
        confidence = GUESS
        why = f"the first of {len(outside)} outside cameras; look at the contact sheet"
    return ProposedPart(setting="camera", value=outside[0], confidence=confidence, why=why)


def _motion(layout: Layout, match: PoseMatch | None, sample: Sample) -> Iterator[ProposedPart]:
    """The action's parts, and the pose that it was matched with."""
    confidence, seen = GUESS, "no measured position moves with it"
    if match:
        confidence, seen = SURE, f"{match.part} moves with it ({match.correlation:.2f})"
    yield _part("action.translation", layout.translation, confidence, f"{layout.why}; {seen}")
    confidence = LIKELY if match else GUESS
    yield _part("action.rotation", layout.rotation, confidence, layout.rotation_why)
    if layout.rotation:
        yield _part(
            "action.rotation_format", layout.rotation_format, confidence, layout.rotation_why
        )
    yield from _scale(layout, match)
    gripper = guess_gripper(layout.gripper, sample)
    yield from _gripper("action", gripper)
    if match is None:
        return
    yield _part("pose.position", str(match.part), SURE, f"correlation {match.correlation:.2f}")
    pose = find_rotation(match.part, layout.rotation, sample)
    if pose.part:
        yield _part("pose.rotation", pose.part, pose.confidence, pose.why)
        yield _part("pose.rotation_format", pose.format, pose.confidence, pose.why)
    measured = guess_gripper(pose.gripper, sample, like=gripper)
    if measured.part and measured.format != "relative_close":
        yield from _gripper("pose", measured)


def _gripper(section: str, guess: GripperGuess) -> Iterator[ProposedPart]:
    why = "the number that its name or place leaves" if guess.part else guess.why
    yield _part(f"{section}.gripper", guess.part, guess.confidence, why)
    if guess.part:
        yield _part(f"{section}.gripper_format", guess.format, guess.confidence, guess.why)


def _part(setting: str, value: str, confidence: str, why: str) -> ProposedPart:
    return ProposedPart(setting=setting, value=value, confidence=confidence, why=why)


def _scale(layout: Layout, match: PoseMatch | None) -> Iterator[ProposedPart]:
    motion, confidence, why = "delta", GUESS, "small numbers around zero"
    if match is not None:
        motion, confidence = match.motion, SURE if match.motion == "achieved" else LIKELY
        why = {
            "achieved": f"equal to the differences of {match.part}",
            "target": f"close to {match.part} itself",
            "delta": f"correlates with the differences of {match.part}",
        }[match.motion]
    elif layout.looks_absolute:
        why = "the numbers look absolute, but no measured pose is near them"
    yield ProposedPart(setting="action.motion", value=motion, confidence=confidence, why=why)
    if match and not 1 / _SCALE_FACTOR <= match.slope <= _SCALE_FACTOR:
        yield ProposedPart(
            setting="action.translation_scale",
            value=f"{1 / match.slope:.2g}",
            confidence=GUESS,
            why=f"commands are {match.slope:.3g} times the motion that followed",
        )


def _instruction(sample: Sample) -> Iterator[ProposedPart]:
    keys = [key for key, says in sample.texts.items() if any(says)]
    named = [key for key in keys if _TEXT.search(key)]
    if named:
        yield ProposedPart(
            setting="instruction",
            value=f"[{named[0]}]",
            confidence=LIKELY,
            why=f"text in {sum(sample.texts[named[0]])} of {len(sample.texts[named[0]])} episodes",
        )


def _to_source(parts: Sequence[ProposedPart]) -> Source | None:
    given = OmegaConf.create({})
    for part in parts:
        value = [part.value[1:-1]] if part.setting == "instruction" else part.value
        OmegaConf.update(given, part.setting, value)
    merged = OmegaConf.merge(OmegaConf.structured(SourceConfig), given)
    if OmegaConf.missing_keys(merged):
        return None
    config = OmegaConf.to_object(merged)
    assert isinstance(config, SourceConfig)
    return build_source(config)


def _shell_quote(word: str) -> str:
    """In double quotes when it holds brackets or quotes, which is easier to read than escapes."""
    if _SAFE.fullmatch(word.replace("=", "")):
        return word
    return f'"{word}"' if not re.search(r'["$`\\!]', word) else shlex.quote(word)
