"""What `genie-robo imagine run=[A,B]` adds: one recording with all models, side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from genie_robo.config import ImagineConfig
from genie_robo.imagine.files import TRUE, write_pictures
from genie_robo.imagine.steering import ALONE, INFERRED, ROBOT
from genie_robo.imagine.view import ImaginedEpisode
from genie_robo.prompts import Clip
from genie_robo.run_folder import COMPARISON
from viz.rollout import write_rollouts

FOLDER = "rollouts"
RECORDING = "comparison"


def check_one_truth(config: ImagineConfig) -> None:
    """Refuse what would lead several models to different truths.

    Raises:
        ValueError: They are to be steered by codes, which mean something else in each of them.
    """
    actions = config.actions
    by_robot = isinstance(actions, list) and bool(actions) and isinstance(actions[0], list)
    has_truth = config.prompt in ("episode", "simulator")
    known = (INFERRED, ALONE, ROBOT, *([None] if has_truth else []))
    if config.branches or not (by_robot or actions in known):
        asked = "branches=true" if config.branches else f"actions={actions or 'random'}"
        raise ValueError(
            f"{asked} steers by codes, which mean something else in every run, so run={config.run} "
            f"share no truth to compare with. Give actions={INFERRED}, actions={ROBOT} or a list "
            "of robot actions, or one run"
        )


def check_same_prompts(prompts: Mapping[str, Sequence[Clip]]) -> None:
    """Refuse runs that would start from different frames.

    Raises:
        ValueError: A run has other test episodes, or sees them at another size or rate.
    """
    (first, own), *others = prompts.items()
    for name, theirs in others:
        for wanted, found in zip(own, theirs, strict=False):
            if not _are_same(wanted, found):
                raise ValueError(
                    f"{first} and {name} start {wanted.file} from different frames: "
                    f"{_describe(wanted)} against {_describe(found)}. Name runs of one dataset, "
                    "split, image size and frame stride"
                )
        if len(own) != len(theirs):
            raise ValueError(
                f"{first} has {len(own)} prompts and {name} {len(theirs)}; give "
                f"num_episodes={min(len(own), len(theirs))} or less"
            )


def write_beside(config: ImagineConfig, episodes: Mapping[str, Sequence[ImaginedEpisode]]) -> Path:
    """Write comparison.rrd, a tab for each prompt, and a video and a strip of each.

    Returns the recording.
    """
    folder = (Path(config.output) if config.output else COMPARISON) / FOLDER
    titles = short_names(list(episodes))
    views = {}
    for of_prompt in zip(*episodes.values(), strict=True):
        clip, true_video = of_prompt[0].parts.clip, of_prompt[0].view.true_video
        own = {title: made.view for title, made in zip(titles, of_prompt, strict=True)}
        views |= {f"{clip.file}/{title}": view for title, view in own.items()}
        rows = {} if true_video is None else {TRUE: true_video}
        imagined = {title: view.imagined_video for title, view in own.items()}
        write_pictures(folder, clip, rows | imagined)
    return write_rollouts(folder / f"{RECORDING}.rrd", views, name=RECORDING)


def short_names(runs: Sequence[str]) -> list[str]:
    """The last parts of paths, as many as tell them apart, for entities and pictures."""
    paths = [(Path.cwd() / run).parts[1:] for run in runs]
    for count in range(1, max(map(len, paths)) + 1):
        names = ["_".join(parts[-count:]) for parts in paths]
        if len(set(names)) == len(names):
            return names
    return list(runs)


def _are_same(one: Clip, other: Clip) -> bool:
    is_same_rate = one.prompt.control_hz == other.prompt.control_hz
    return is_same_rate and np.array_equal(_frames(one), _frames(other))


def _frames(clip: Clip) -> np.ndarray:
    return clip.prompt.frames if clip.window is None else clip.window.video


def _describe(clip: Clip) -> str:
    num_frames, height, width, _ = _frames(clip).shape
    rate = f"{clip.prompt.control_hz:g} Hz"
    return f"{clip.prompt.title}, {num_frames} frames of {height}x{width} at {rate}"
