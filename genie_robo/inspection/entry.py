"""A dataset as a file of one's own, FOLDER/data/NAME.yaml, as `--config-dir FOLDER` reads it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from genie_robo.command_line import is_address, printable
from genie_robo.config_file import as_text, plain
from genie_robo.data.settings import DataConfig
from genie_robo.inspection.facts import DatasetFacts, Inspection

_EXPLAINED = ("frame_stride", "action_lag", "action_scale")
"""Kinds of findings that give reasons for settings."""


def entry_text(found: Inspection) -> str:
    """The settings that a training needs, where they differ from the defaults, with the reasons.

    Raises:
        ValueError: Nothing says how the dataset is read.
    """
    if found.source is None:
        missing = found.facts.proposal.missing if found.facts.proposal else []
        raise ValueError(
            f"there are no settings to write for {found.facts.folder}: "
            f"{'; '.join(missing) or 'its columns are not known'}. Give them on the command line "
            f"(data={found.index.schema.data_choice} data.source.camera=KEY ...) and write again"
        )
    settings: dict[str, Any] = {"path": _absolute(found.facts.folder)}
    settings |= _differences(plain(found.data), plain(DataConfig()))
    if urdf := found.data.source.pose.urdf:
        settings["source"]["pose"]["urdf"] = _absolute(urdf)
    comments = "".join(f"# {_one_line(text)}\n" for text in _reasons(found.facts))
    return comments + yaml.safe_dump(as_text(settings), sort_keys=False, allow_unicode=True)


def _reasons(facts: DatasetFacts) -> Iterator[str]:
    yield f"{facts.name}, written by genie-robo inspect."
    for part in facts.proposal.parts if facts.proposal else ():
        yield f"source.{part.setting}: {part.confidence}, {part.why}"
    for finding in (*facts.problems, *facts.notes):
        if finding.kind in _EXPLAINED:
            yield finding.text


def _absolute(path: str) -> str:
    return path if is_address(path) else str(Path(path).resolve())


def _one_line(text: str) -> str:
    return " ".join(printable(text).split())


def _differences(settings: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    """What differs from the defaults, section by section; the path and a mixture are left out."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        other = default.get(name)
        if isinstance(value, Mapping) and isinstance(other, Mapping) and other:
            if inner := _differences(value, other):
                found[name] = inner
        elif value != other and name not in ("path", "mix"):
            found[name] = value
    return found
