"""All latent actions from one prompt, each held: what does a code do?"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8

from genie_robo.config import ImagineConfig
from genie_robo.imagine.files import archive, strip
from genie_robo.imagine.prompts import Prompt
from genie_robo.inference.action_map import ActionMap
from genie_robo.inference.code_names import dictionary_names
from genie_robo.inference.rollout import imagine
from genie_robo.progress import Advance
from genie_robo.run_folder import BRANCHES, write_atomic
from genie_robo.trained_run import TrainedRun
from genie_robo.types import XYZ, Rollout
from genie_robo.video_files import write_mp4, write_png
from viz.atlas import AtlasView, write_atlas

PAPER = 255
GAP = 2


class Branches(NamedTuple):
    """One rollout per code from the same prompt."""

    rollout: Rollout
    action_map: ActionMap | None
    """What the codes are to the robot; None where the run has none."""


def imagine_branches(
    trained: TrainedRun, prompt: Prompt, config: ImagineConfig, number: int, advance: Advance
) -> Rollout:
    """One rollout per code, held for the whole horizon.

    All draw with the same seed, so that they differ by their code alone.
    """
    num_codes = trained.genie.latent_action.num_codes
    held = torch.arange(num_codes, device=trained.device)[:, None].repeat(1, config.horizon)
    return imagine(
        trained.genie,
        torch.from_numpy(prompt.frames[None]).to(trained.device),
        held,
        seeds=[config.seed + number] * num_codes,
        sampler=config.sampler,
        advance=advance,
    )


def write_branches(folder: Path, prompt: Prompt, branches: Branches) -> Path:
    """Write NAME_branches.rrd, .mp4, .png and .npz, each complete or not at all.

    Returns the recording.
    """
    name, rollout = f"{prompt.name}{BRANCHES}", branches.rollout
    videos = rollout.video.cpu().numpy()
    atlas = make_atlas(prompt, branches)
    recording = write_atlas(folder / f"{name}.rrd", atlas)
    write_mp4(folder / f"{name}.mp4", tile(videos), fps=prompt.control_hz)
    rows = {f"code {code}": video for code, video in zip(atlas.names, videos, strict=True)}
    write_png(folder / f"{name}.png", strip(rows, num_prompt=len(prompt.frames)))
    write_atomic(folder / f"{name}.npz", archive(rollout, slice(None), prompt.name))
    return recording


def make_atlas(prompt: Prompt, branches: Branches) -> AtlasView:
    """The branches beside what the robot does in labelled steps with each code."""
    videos = branches.rollout.video.cpu().numpy()
    names, displacements = tuple(map(str, range(len(videos)))), None
    if branches.action_map is not None:
        dictionary = branches.action_map.dictionary
        names = dictionary_names(dictionary)
        displacements = tuple(seen[:, XYZ] for seen in dictionary.robot_actions)
    return AtlasView(
        title=prompt.title,
        control_hz=prompt.control_hz,
        names=names,
        videos=videos,
        num_prompt_frames=branches.rollout.num_prompt_frames,
        displacements=displacements,
    )


def tile(videos: UInt8[np.ndarray, "b t h w c"]) -> UInt8[np.ndarray, "t h2 w2 c"]:
    """Videos side by side in a grid that is about as wide as high, row by row."""
    num_columns = int(np.ceil(np.sqrt(len(videos))))
    num_rows = -(-len(videos) // num_columns)
    _, num_frames, height, width, channels = videos.shape
    size = (num_frames, num_rows * (height + GAP) - GAP, num_columns * (width + GAP) - GAP)
    sheet = np.full((*size, channels), PAPER, np.uint8)
    for index, video in enumerate(videos):
        top = index // num_columns * (height + GAP)
        left = index % num_columns * (width + GAP)
        sheet[:, top : top + height, left : left + width] = video
    return sheet
