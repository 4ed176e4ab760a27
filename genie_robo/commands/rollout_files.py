"""The files that show an imagined rollout: recording, video, strip, tokens."""

from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from genie_robo.commands.imagined_episode import ImaginedEpisode
from genie_robo.pictures import draw_strip, spread, write_mp4, write_png
from genie_robo.run_folder import write_atomic
from genie_robo.types import Rollout
from viz.blueprints.episode import EpisodeLayout, episode_blueprint
from viz.entities import CAMERA, entity
from viz.images import log_video
from viz.recording import stable_id, time_columns, write_recording
from viz.rollout import write_rollouts
from viz.series import log_latent_actions

STRIP_FRAMES = 9
IMAGINED = "imagined"


def write_episode(folder: Path, episode: ImaginedEpisode, *, num_codes: int) -> None:
    """Write NAME.rrd, NAME.mp4, NAME.png and NAME.npz, each complete or not at all."""
    prompt, view = episode.prompt, episode.view
    name, imagined = prompt.name, episode.rollout.video[0].cpu().numpy()
    if view is None:
        rows = {IMAGINED: imagined}
        path = folder / f"{name}.rrd"
        write_cameras(
            path, rows, episode.rollout, control_hz=prompt.control_hz, num_codes=num_codes
        )
    else:
        rows = {"true": view.true_video, IMAGINED: imagined}
        write_rollouts(folder / f"{name}.rrd", {name: view}, name=name)
    beside = np.concatenate(list(rows.values()), axis=2)
    write_mp4(folder / f"{name}.mp4", beside, fps=prompt.control_hz)
    write_png(folder / f"{name}.png", strip(rows, num_prompt=len(prompt.frames)))
    episode_id = prompt.name if view is None else view.episode_id
    robot_actions = None if view is None else view.robot_actions
    write_atomic(folder / f"{name}.npz", archive(episode.rollout, 0, episode_id, robot_actions))


def write_cameras(
    path: Path,
    videos: dict[str, UInt8[np.ndarray, "t h w c"]],
    rollout: Rollout,
    *,
    control_hz: float,
    num_codes: int,
) -> None:
    """A recording of imagined frames that nothing true stands beside."""
    steps = np.arange(rollout.video.shape[1])
    times = time_columns(steps, control_hz=control_hz)
    layout = EpisodeLayout(root="", cameras=tuple(videos), control_hz=control_hz, eye=None)

    def log(recording) -> None:  # noqa: ANN001 (its type belongs to viz)
        for (name, video), codes in zip(videos.items(), rollout.latent_actions, strict=True):
            log_video(recording, entity("", f"{CAMERA}/{name}"), video, times)
            log_latent_actions(
                recording, codes.cpu().numpy(), times, num_codes=num_codes, root=name
            )

    write_recording(
        path,
        application_id=stable_id("imagined", videos),
        recording_id=stable_id(path.stem, videos),
        log=log,
        blueprint=episode_blueprint(layout),
        name=path.stem,
    )


def strip(rows: dict[str, UInt8[np.ndarray, "t h w c"]], *, num_prompt: int) -> Image.Image:
    """Videos under one another, their frames evenly spread over the rollout."""
    shown = spread(len(next(iter(rows.values()))), most=STRIP_FRAMES)
    headers = [f"t={t}" + (" (prompt)" if t < num_prompt else "") for t in shown]
    return draw_strip({name: video[shown] for name, video in rows.items()}, headers=headers)


def archive(
    rollout: Rollout,
    which: int | slice,
    episode_id: str,
    robot_actions: Float[np.ndarray, "n 7"] | None = None,
) -> bytes:
    """Tokens, actions and uncertainty of one rollout or of all as a NumPy archive."""
    assert rollout.token_entropy is not None
    assert rollout.uncertainty is not None
    arrays = {
        "tokens": rollout.tokens[which].cpu().numpy(),
        "latent_actions": rollout.latent_actions[which].cpu().numpy(),
        "uncertainty": rollout.uncertainty[which].cpu().numpy(),
        "token_entropy": rollout.token_entropy[which].cpu().numpy(),
        "num_prompt_frames": np.array(rollout.num_prompt_frames),
        "episode_id": np.array(episode_id),
    }
    if robot_actions is not None:
        arrays["robot_actions"] = robot_actions
    buffer = BytesIO()
    np.savez_compressed(buffer, **arrays)  # pyright: ignore[reportArgumentType]
    return buffer.getvalue()
