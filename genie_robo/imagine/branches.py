"""Every latent action held from one prompt: what each code does."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from genie_robo.config import ImagineConfig
from genie_robo.imagine.files import archive, strip
from genie_robo.imagine.rollout import Imagined, imagine_rollouts
from genie_robo.inference.action_map import ActionMap
from genie_robo.inference.code_names import dictionary_names
from genie_robo.inference.world import Codes, World, code_steps
from genie_robo.progress import Advance
from genie_robo.prompts import Clip
from genie_robo.run_folder import BRANCHES, write_atomic
from genie_robo.types import XYZ
from genie_robo.video_files import write_mp4, write_png
from viz.atlas import AtlasView, write_atlas

PAPER = 255
GAP = 2


class Branches(NamedTuple):
    """One rollout per code from the same prompt."""

    clip: Clip
    imagined: Imagined
    action_map: ActionMap | None
    """What the codes are to the robot; None where the run has none."""


def imagine_branches(
    world: World, clip: Clip, config: ImagineConfig, *, num_codes: int, seed: int, advance: Advance
) -> Imagined:
    """One rollout per code, held for the whole horizon.

    All draw with the same seed, so that they differ by their code alone.

    Raises:
        ValueError: The world takes no latent actions.
    """
    if Codes not in world.takes:
        raise ValueError(
            f"branches=true holds latent actions, but world_model={config.world_model} takes robot "
            "actions only; leave one of them out"
        )
    held = code_steps(np.arange(num_codes)[:, None].repeat(config.horizon, axis=1))
    return imagine_rollouts(world, clip.prompt, held, seeds=[seed] * num_codes, advance=advance)


def write_branches(folder: Path, branches: Branches) -> Path:
    """Write NAME_branches.rrd, .mp4, .png and .npz, each complete or not at all.

    Returns the recording.
    """
    clip, imagined = branches.clip, branches.imagined
    name, videos = f"{clip.file}{BRANCHES}", imagined.video
    atlas = make_atlas(branches)
    recording = write_atlas(folder / f"{name}.rrd", atlas)
    write_mp4(folder / f"{name}.mp4", tile(videos), fps=clip.prompt.control_hz)
    rows = {f"code {code}": video for code, video in zip(atlas.names, videos, strict=True)}
    write_png(folder / f"{name}.png", strip(rows, num_prompt=imagined.num_prompt_frames))
    write_atomic(folder / f"{name}.npz", archive(imagined, slice(None), clip.file))
    return recording


def make_atlas(branches: Branches) -> AtlasView:
    """The branches next to what the robot does in labelled steps with each code."""
    prompt, videos = branches.clip.prompt, branches.imagined.video
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
        num_prompt_frames=branches.imagined.num_prompt_frames,
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
