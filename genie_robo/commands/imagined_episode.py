"""One test episode, imagined and replayed, and the files that show it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image

from eval_suites.adapters import GenieEncoder, GenieTokenizer
from eval_suites.image_metrics import frame_psnr
from genie_robo.commands.trained_run import TrainedRun, build_sampler, choose_window
from genie_robo.config import ImagineConfig
from genie_robo.data.windows import WindowDataset
from genie_robo.inference.rollout import imagine
from genie_robo.pictures import draw_strip, spread, write_mp4, write_png
from genie_robo.progress import Advance
from genie_robo.run_folder import write_atomic
from genie_robo.sim.replay import Replay, replay
from genie_robo.types import Episode, Rollout, Window
from viz.rollout import RolloutView, write_rollouts

STRIP_FRAMES = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class ImaginedEpisode:
    """What was imagined, and how to look at it."""

    view: RolloutView
    rollout: Rollout


def imagine_episode(
    trained: TrainedRun,
    windows: WindowDataset,
    number: int,
    config: ImagineConfig,
    advance: Advance,
) -> ImaginedEpisode:
    """Imagine test episode `number` from its prompt frames.

    Raises:
        ValueError: The episode is shorter than start + prompt + horizon.
    """
    num_frames = config.num_prompt_frames + config.horizon
    whole = choose_window(windows, number, min_frames=config.start + num_frames)
    window = cut(whole, first=config.start, num_frames=num_frames)
    encoder = GenieEncoder(genie=trained.genie, device=trained.device)
    latent_actions = encoder.encode(window).codes
    episode = trained.dataset[windows.episodes[number]]
    happened = replay_window(episode, window, stride=windows.frame_stride, config=config)
    rollout = imagine(
        trained.genie,
        torch.from_numpy(window.video[None, : config.num_prompt_frames]).to(trained.device),
        torch.from_numpy(latent_actions[None, config.num_prompt_frames - 1 :]).to(trained.device),
        seeds=[config.seed + number],
        sampler=build_sampler(config.sampler),
        advance=advance,
    )
    true_video = window.video if happened is None else happened.video
    imagined_video = rollout.video[0].cpu().numpy()
    psnr = compare(trained, true_video, imagined_video, num_prompt=config.num_prompt_frames)
    view = RolloutView(
        episode_id=window.episode_id,
        control_hz=episode.control_hz / windows.frame_stride,
        true_video=true_video,
        imagined_video=imagined_video,
        robot_actions=window.robot_actions,
        latent_actions=latent_actions,
        num_codes=trained.genie.latent_action.num_codes,
        num_prompt_frames=config.num_prompt_frames,
        replay=happened,
        psnr=psnr,
        summary=summarise(episode, window, psnr, num_prompt=config.num_prompt_frames),
    )
    return ImaginedEpisode(view=view, rollout=rollout)


def cut(window: Window, *, first: int, num_frames: int) -> Window:
    """The frames first .. first + num_frames - 1 of a window, and the actions between them."""
    last = first + num_frames
    return replace(
        window,
        start=window.start + first,
        video=window.video[first:last],
        robot_actions=window.robot_actions[first : last - 1],
        is_pad=window.is_pad[first:last],
    )


def replay_window(
    episode: Episode, window: Window, *, stride: int, config: ImagineConfig
) -> Replay | None:
    """MuJoCo restored at the window's first frame and moved by its actions; None for real data."""
    if episode.sim_state is None:
        return None
    num_frames, height, width, _ = window.video.shape
    first = config.start * stride
    every = replay(
        episode,
        start=first,
        robot_actions=episode.robot_actions[first : first + (num_frames - 1) * stride],
        image_size=(height, width),
        renderer=config.renderer.value,
    )
    per_step = {"video", "positions", "rotations", "end_effector", "object_positions"}
    kept = {f.name: getattr(every, f.name)[::stride] for f in fields(every) if f.name in per_step}
    return replace(every, **kept)


def compare(
    trained: TrainedRun,
    true: UInt8[np.ndarray, "t h w c"],
    imagined: UInt8[np.ndarray, "t h w c"],
    *,
    num_prompt: int,
) -> dict[str, Float[np.ndarray, " t"]]:
    """PSNR (dB) of the imagined frames, of a world that stands still, of the tokenizer alone."""
    still = np.concatenate([true[:num_prompt], np.broadcast_to(true[num_prompt - 1], true.shape)])
    tokenizer = GenieTokenizer(genie=trained.genie, device=trained.device)
    others = {
        "imagined": imagined,
        "copy_last": still[: len(true)],
        "tokenizer": tokenizer.reconstruct(true).video,
    }
    return {name: frame_psnr(true, video) for name, video in others.items()}


def summarise(
    episode: Episode,
    window: Window,
    psnr: Mapping[str, Float[np.ndarray, " t"]],
    *,
    num_prompt: int,
) -> str:
    """Markdown that says what is shown."""
    lines = [
        f"## Episode {window.episode_id}",
        f"{episode.instruction or 'no instruction'}; from step {window.start}, "
        f"{num_prompt} prompt frame(s), {len(window.video) - num_prompt} imagined.",
        "",
        "| mean over the imagined frames | PSNR (dB) |",
        "|---|---|",
        *(
            f"| {name.replace('_', ' ')} | {values[num_prompt:].mean():.1f} |"
            for name, values in psnr.items()
        ),
    ]
    return "\n".join(lines)


def write_episode(folder: Path, name: str, episode: ImaginedEpisode) -> None:
    """Write NAME.rrd, NAME.mp4, NAME.png and NAME.npz, each complete or not at all."""
    view = episode.view
    write_rollouts(folder / f"{name}.rrd", {name: view}, name=name)
    beside = np.concatenate([view.true_video, view.imagined_video], axis=2)
    write_mp4(folder / f"{name}.mp4", beside, fps=view.control_hz)
    write_png(folder / f"{name}.png", strip(view))
    write_atomic(folder / f"{name}.npz", tokens_npz(episode))


def strip(view: RolloutView) -> Image.Image:
    """True frames above imagined ones, evenly spread over the rollout."""
    shown = spread(len(view.true_video), most=STRIP_FRAMES)
    headers = [f"t={t}" + (" (prompt)" if t < view.num_prompt_frames else "") for t in shown]
    rows = {"true": view.true_video[shown], "imagined": view.imagined_video[shown]}
    return draw_strip(rows, headers=headers)


def tokens_npz(episode: ImaginedEpisode) -> bytes:
    """Tokens and actions as a NumPy archive."""
    buffer = BytesIO()
    np.savez_compressed(
        buffer,
        tokens=episode.rollout.tokens[0].cpu().numpy(),
        latent_actions=episode.view.latent_actions,
        robot_actions=episode.view.robot_actions,
        num_prompt_frames=episode.view.num_prompt_frames,
        episode_id=episode.view.episode_id,
    )
    return buffer.getvalue()
