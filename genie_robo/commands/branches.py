"""All latent actions from one prompt, each held: what does a code do?"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from genie_robo.commands.prompts import Prompt
from genie_robo.commands.rollout_files import archive, strip, write_cameras
from genie_robo.commands.trained_run import TrainedRun, build_sampler
from genie_robo.config import ImagineConfig
from genie_robo.inference.rollout import imagine
from genie_robo.pictures import write_mp4, write_png
from genie_robo.progress import Advance
from genie_robo.run_folder import write_atomic
from genie_robo.types import Rollout

PAPER = 255
GAP = 2


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
        sampler=build_sampler(config.sampler),
        advance=advance,
    )


def write_branches(folder: Path, prompt: Prompt, rollout: Rollout) -> None:
    """Write NAME_branches.rrd, .mp4, .png and .npz, each complete or not at all."""
    name = f"{prompt.name}_branches"
    videos = {f"code_{code}": v.cpu().numpy() for code, v in enumerate(rollout.video)}
    hz, path = prompt.control_hz, folder / f"{name}.rrd"
    write_cameras(path, videos, rollout, control_hz=hz, num_codes=len(videos))
    write_mp4(folder / f"{name}.mp4", tile(rollout.video.cpu().numpy()), fps=hz)
    rows = {name.replace("_", " "): video for name, video in videos.items()}
    write_png(folder / f"{name}.png", strip(rows, num_prompt=len(prompt.frames)))
    write_atomic(folder / f"{name}.npz", archive(rollout, slice(None), prompt.name))


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
