"""The files that show an imagined rollout: recording, video, strip, tokens."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from genie_robo.imagine.rollout import Imagined
from genie_robo.imagine.view import ImaginedEpisode
from genie_robo.prompts import Clip
from genie_robo.run_folder import write_atomic
from genie_robo.video_files import draw_strip, spread, write_mp4, write_png
from viz.rollout import write_rollouts

STRIP_FRAMES = 9
TRUE, IMAGINED = "true", "imagined"


def write_episode(folder: Path, episode: ImaginedEpisode) -> Path:
    """Write NAME.rrd, NAME.mp4, NAME.png and NAME.npz, each complete or not at all.

    Returns the recording.
    """
    parts, view = episode
    name = parts.clip.file
    rows = {IMAGINED: view.imagined_video}
    if view.true_video is not None:
        rows = {TRUE: view.true_video, **rows}
    recording = write_rollouts(folder / f"{name}.rrd", {name: view}, name=name)
    write_pictures(folder, parts.clip, rows)
    archived = archive(parts.imagined, 0, view.episode_id, view.robot_actions)
    write_atomic(folder / f"{name}.npz", archived)
    return recording


def write_pictures(
    folder: Path, clip: Clip, rows: Mapping[str, UInt8[np.ndarray, "t h w c"]]
) -> None:
    """Write NAME.mp4, the videos side by side, and NAME.png, their frames under one another."""
    joined = np.concatenate(list(rows.values()), axis=2)
    write_mp4(folder / f"{clip.file}.mp4", joined, fps=clip.prompt.control_hz)
    write_png(folder / f"{clip.file}.png", strip(rows, num_prompt=len(clip.prompt.frames)))


def strip(rows: Mapping[str, UInt8[np.ndarray, "t h w c"]], *, num_prompt: int) -> Image.Image:
    """Videos under one another, their frames evenly spread over the rollout."""
    shown = spread(len(next(iter(rows.values()))), most=STRIP_FRAMES)
    headers = [f"t={t}" + (" (prompt)" if t < num_prompt else "") for t in shown]
    return draw_strip({name: video[shown] for name, video in rows.items()}, headers=headers)


def archive(
    imagined: Imagined,
    which: int | slice,
    episode_id: str,
    robot_actions: Float[np.ndarray, "n 7"] | None = None,
) -> bytes:
    """Tokens, actions and uncertainty of one rollout or of all as a NumPy archive."""
    by_rollout = {
        "tokens": imagined.tokens,
        "latent_actions": imagined.codes,
        "uncertainty": imagined.uncertainty,
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
