"""The files that show imagined rollouts: recordings, videos, strips, tokens."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from math import ceil, sqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from PIL import Image

from genie_robo.config import ImagineConfig
from genie_robo.imagine.rollout import Imagined, Video
from genie_robo.imagine.view import ImaginedEpisode
from genie_robo.inference.action_map import ActionMap
from genie_robo.prompts import Clip
from genie_robo.run_folder import BRANCHES, COMPARISON, write_atomic
from genie_robo.types import XYZ
from genie_robo.video_files import draw_strip, equally_spaced, side_by_side, write_mp4, write_png
from genie_robo.viz.atlas import AtlasView, write_atlas
from genie_robo.viz.rollout import write_rollouts

STRIP_FRAMES = 9
TRUE, IMAGINED = "true", "imagined"
FOLDER = "rollouts"
RECORDING = "comparison"


def write_episode(folder: Path, episode: ImaginedEpisode) -> Path:
    """Write NAME.rrd, NAME.mp4, NAME.png and NAME.npz, each complete or not at all.

    Returns the recording.
    """
    parts, view = episode
    name = parts.clip.file
    recording = write_rollouts(folder / f"{name}.rrd", {name: view}, name=name)
    _write_images(folder, parts.clip, view.true_video, {IMAGINED: view.imagined_video})
    archived = _archive(parts.imagined, 0, view.episode_id, view.robot_actions)
    write_atomic(folder / f"{name}.npz", archived)
    return recording


class Branches(NamedTuple):
    """One rollout per code from the same prompt."""

    clip: Clip
    imagined: Imagined
    action_map: ActionMap | None
    """Latent actions to robot actions; None where the run has none."""


def write_branches(folder: Path, branches: Branches) -> Path:
    """Write NAME_branches.rrd, .mp4, .png and .npz, each complete or not at all.

    Returns the recording.
    """
    clip, imagined = branches.clip, branches.imagined
    name, videos = f"{clip.file}{BRANCHES}", imagined.video
    atlas = make_atlas(branches)
    recording = write_atlas(folder / f"{name}.rrd", atlas)
    rows = {f"code {code}": video for code, video in zip(atlas.names, videos, strict=True)}
    sheet = side_by_side(rows, columns=ceil(sqrt(len(rows))))
    write_mp4(folder / f"{name}.mp4", sheet, fps=clip.prompt.control_hz)
    write_png(folder / f"{name}.png", _strip(rows, num_prompt=imagined.num_prompt_frames))
    write_atomic(folder / f"{name}.npz", _archive(imagined, slice(None), clip.file))
    return recording


def make_atlas(branches: Branches) -> AtlasView:
    """The branches next to the robot's motions in labelled steps with each code."""
    prompt, videos = branches.clip.prompt, branches.imagined.video
    names, displacements = tuple(map(str, range(len(videos)))), None
    if branches.action_map is not None:
        names = branches.action_map.code_names
        robot_actions = branches.action_map.dictionary.robot_actions
        displacements = tuple(seen[:, XYZ] for seen in robot_actions)
    return AtlasView(
        title=prompt.title,
        control_hz=prompt.control_hz,
        names=names,
        videos=videos,
        num_prompt_frames=branches.imagined.num_prompt_frames,
        displacements=displacements,
    )


def write_comparison(
    config: ImagineConfig, episodes: Mapping[str, Sequence[ImaginedEpisode]]
) -> Path:
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
        imagined = {title: view.imagined_video for title, view in own.items()}
        _write_images(folder, clip, true_video, imagined)
    return write_rollouts(folder / f"{RECORDING}.rrd", views, name=RECORDING)


def short_names(runs: Sequence[str]) -> list[str]:
    """The shortest endings of paths that are unique, for entities and images."""
    paths = [(Path.cwd() / run).parts[1:] for run in runs]
    for count in range(1, max(map(len, paths)) + 1):
        names = ["_".join(parts[-count:]) for parts in paths]
        if len(set(names)) == len(names):
            return names
    return list(runs)


def _write_images(
    folder: Path, clip: Clip, true: Video | None, imagined: Mapping[str, Video]
) -> None:
    """Write NAME.mp4, the videos side by side with labels, and NAME.png, their frames in rows."""
    rows = {**({} if true is None else {TRUE: true}), **imagined}
    joined = side_by_side(rows, columns=len(rows))
    write_mp4(folder / f"{clip.file}.mp4", joined, fps=clip.prompt.control_hz)
    write_png(folder / f"{clip.file}.png", _strip(rows, num_prompt=len(clip.prompt.frames)))


def _strip(rows: Mapping[str, Video], *, num_prompt: int) -> Image.Image:
    """A row of equally spaced frames for each video."""
    shown = equally_spaced(len(next(iter(rows.values()))), most=STRIP_FRAMES)
    headers = [f"t={t}" + (" (prompt)" if t < num_prompt else "") for t in shown]
    return draw_strip({name: video[shown] for name, video in rows.items()}, headers=headers)


def _archive(
    imagined: Imagined,
    which: int | slice,
    episode_id: str,
    robot_actions: Float[np.ndarray, "n a"] | None = None,
) -> bytes:
    """Tokens, actions, uncertainty and trust of one rollout or of all as a NumPy archive."""
    by_rollout = {
        "tokens": imagined.tokens,
        "latent_actions": imagined.codes,
        "uncertainty": imagined.uncertainty,
        "trust": imagined.trust,
        "token_entropy": imagined.token_entropy,
    }
    arrays = {name: array[which] for name, array in by_rollout.items() if array is not None}
    arrays["num_prompt_frames"] = np.array(imagined.num_prompt_frames)
    arrays["episode_id"] = np.array(episode_id)
    if robot_actions is not None:
        arrays["robot_actions"] = robot_actions
    buffer = BytesIO()
    np.savez_compressed(buffer, **arrays)  # pyright: ignore[reportArgumentType]
    return buffer.getvalue()
