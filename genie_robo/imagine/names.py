"""File names of rollouts that leave those of other settings in place."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from genie_robo.command_line import without_secrets
from genie_robo.config import ImagineConfig
from genie_robo.config_file import config_differences, plain
from genie_robo.pipeline import read_settings, stamps_of, written_files
from genie_robo.prompts import Clip
from genie_robo.run_folder import BRANCHES, RunFolder, write_atomic
from genie_robo.stored_files import read_json
from genie_robo.trained_run import TrainedRun

STAGE = "imagine"
_NAMED_OTHERWISE = (
    *("run", "prompt", "num_episodes", "branches", "output", "device", "data", "other_dataset"),
    *("renderer", "path"),
)
"""Settings that the name of a file has anyway, or that leave the rollout as it is."""
_DATASET = "dataset"
_MAX_LENGTH = 60


def beside_others(trained: TrainedRun, clips: Sequence[Clip], config: ImagineConfig) -> list[Clip]:
    """The clips, renamed where files of their names were made otherwise; notes the names."""
    run, now = trained.folder, _describe(asdict(config), config)
    if not trained.is_own_data:
        now[_DATASET] = without_secrets(str(config.data and config.data.path))
    made_with = _made_with(run)
    named = []
    for clip in clips:
        stem = _stem(clip, config)
        if not _is_there(run, stem):
            named.append(clip)
            continue
        suffix = _suffix(_describe(made_with.get(stem, {}), config), now)
        named.append(replace(clip, file=f"{clip.file}{suffix}"))
    kept = {stem: settings for stem, settings in made_with.items() if _is_there(run, stem)}
    noted = kept | {_stem(clip, config): now for clip in named}
    write_atomic(run.rollout_settings, json.dumps(plain(noted), indent=1))
    return named


def _made_with(run: RunFolder) -> dict[str, Mapping[str, Any]]:
    """The settings of rollouts by name: those of a demo's report, and those of this command."""
    made_with: dict[str, Mapping[str, Any]] = {}
    if (stage := read_settings(stamps_of(run), STAGE)) is not None:
        listed = written_files(stamps_of(run), STAGE)
        if listed is None:  # a demo of an earlier version
            listed = [str(path.relative_to(run.path)) for path in run.rollouts.glob("*")]
        stems = {line.rpartition("/")[2].partition(".")[0] for line in listed}
        settings: Mapping[str, Any] = stage.get("imagine", {})
        made_with |= dict.fromkeys(stems - {""}, settings)
    try:
        noted = read_json(run.rollout_settings)
    except (FileNotFoundError, ValueError):  # then its rollouts count as of other settings
        return made_with
    known = noted.items() if isinstance(noted, dict) else ()
    return made_with | {stem: made for stem, made in known if isinstance(made, dict)}


def _describe(settings: Mapping[str, Any], config: ImagineConfig) -> dict[str, Any]:
    """The settings that shape a rollout."""
    left_out = (*_NAMED_OTHERWISE, *(["actions"] if config.branches else []))
    return {_DATASET: "", **{k: value for k, value in settings.items() if k not in left_out}}


def _stem(clip: Clip, config: ImagineConfig) -> str:
    return f"{clip.file}{BRANCHES}" if config.branches else clip.file


def _is_there(run: RunFolder, stem: str) -> bool:
    return any(Path(run.rollouts, f"{stem}{end}").exists() for end in (".rrd", ".npz"))


def _suffix(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What distinguishes these rollouts from others; empty for the same ones."""
    lines = config_differences(before, now)
    words = [re.sub(r": .*-> ", "_", line) for line in lines]
    text = "".join(f"-{word}" for word in words)
    if re.fullmatch(rf"[\w.-]{{0,{_MAX_LENGTH}}}", text, re.ASCII):
        return text.replace(".", "_")
    return f"-settings_{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}"
