"""File names of rollouts that leave those of a demo's report in place."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict, replace

from genie_robo.config import ImagineConfig
from genie_robo.config_file import config_differences
from genie_robo.pipeline import read_settings, stamps_of, written_files
from genie_robo.prompts import Clip
from genie_robo.trained_run import TrainedRun

STAGE = "imagine"
_NAMED_OTHERWISE = (
    *("run", "prompt", "num_episodes", "branches", "output", "device", "data", "other_dataset"),
    *("renderer", "path"),
)
"""Settings that the name of a file has anyway, or that leave the rollout as it is."""
_MAX_LENGTH = 60


def beside_report(trained: TrainedRun, clips: Sequence[Clip], config: ImagineConfig) -> list[Clip]:
    """The clips, renamed where files of the report have their names and were made otherwise."""
    run = trained.folder
    made_with = read_settings(stamps_of(run), STAGE)
    if made_with is None:
        return list(clips)
    suffix = _suffix(made_with.get("imagine", {}), config, is_own_data=trained.is_own_data)
    listed = written_files(stamps_of(run), STAGE)
    if listed is None:  # a demo of an earlier version
        listed = [str(path.relative_to(run.path)) for path in run.rollouts.glob("*")]
    taken = {line.rpartition("/")[2].partition(".")[0].removesuffix("_branches") for line in listed}
    return [
        replace(clip, file=f"{clip.file}{suffix}") if clip.file in taken else clip for clip in clips
    ]


def _suffix(made_with: dict[str, object], config: ImagineConfig, *, is_own_data: bool) -> str:
    """What distinguishes these rollouts from those of the report; empty for the same ones."""
    left_out = (*_NAMED_OTHERWISE, *(["actions"] if config.branches else []))
    now = {key: value for key, value in asdict(config).items() if key not in left_out}
    before = {key: value for key, value in made_with.items() if key not in left_out}
    lines = config_differences(before, now)
    if not is_own_data:
        lines.append(f"data: -> {config.data and config.data.path}")
    words = [re.sub(r": .*-> ", "_", line) for line in lines]
    text = "".join(f"-{word}" for word in words)
    if re.fullmatch(rf"[\w.-]{{0,{_MAX_LENGTH}}}", text, re.ASCII):
        return text.replace(".", "_")
    return f"-settings_{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}"
