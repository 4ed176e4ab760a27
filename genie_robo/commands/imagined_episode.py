"""One prompt imagined under its actions, and what really happens under them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8

from eval_suites.adapters import GenieTokenizer
from eval_suites.metrics.image_metrics import frame_psnr
from genie_robo.commands.prompts import Followed, Prompt
from genie_robo.commands.steering import Steering, single_steps
from genie_robo.commands.trained_run import TrainedRun, build_sampler
from genie_robo.config import ImagineConfig
from genie_robo.inference.rollout import imagine
from genie_robo.progress import Advance
from genie_robo.sim.replay import Replay, replay
from genie_robo.types import Rollout
from viz.rollout import RolloutView


@dataclass(frozen=True, slots=True, kw_only=True)
class ImaginedEpisode:
    """What was imagined, and what it is to be compared with."""

    prompt: Prompt
    steering: Steering
    rollout: Rollout
    view: RolloutView | None
    """Beside the truth; None where nobody knows what would have happened."""


def imagine_prompt(
    trained: TrainedRun,
    prompt: Prompt,
    steering: Steering,
    config: ImagineConfig,
    number: int,
    advance: Advance,
) -> ImaginedEpisode:
    """Imagine what follows a prompt.

    Raises:
        ValueError: MuJoCo refuses an action.
    """
    rollout = imagine(
        trained.genie,
        torch.from_numpy(prompt.frames[None]).to(trained.device),
        torch.from_numpy(steering.codes[None]).long().to(trained.device),
        seeds=[config.seed + number],
        sampler=build_sampler(config.sampler),
        advance=advance,
    )
    view = None
    if prompt.followed is not None:
        happened = replay_steered(prompt.followed, prompt, steering, config)
        if happened is not None or steering.is_true:
            view = make_view(trained, prompt, steering, rollout, happened)
    return ImaginedEpisode(prompt=prompt, steering=steering, rollout=rollout, view=view)


def replay_steered(
    followed: Followed, prompt: Prompt, steering: Steering, config: ImagineConfig
) -> Replay | None:
    """MuJoCo restored at the first prompt frame and moved by the actions; None for real data.

    The actions inside the prompt are the true ones, those after it the ones that steered.

    Raises:
        ValueError: MuJoCo refuses an action.
    """
    episode, first, stride = followed.episode, followed.first, followed.stride
    if episode.sim_state is None or steering.robot_actions is None:
        return None
    num_frames, height, width, _ = followed.window.video.shape
    actions = episode.robot_actions[first : first + (num_frames - 1) * stride].astype(np.float64)
    if not steering.is_true:
        steered = single_steps(steering.robot_actions, stride=stride)
        actions = np.concatenate([actions[: (len(prompt.frames) - 1) * stride], steered])
    every = replay(
        episode,
        start=first,
        robot_actions=actions,
        image_size=(height, width),
        renderer=config.renderer.value,
    )
    per_step = {"video", "positions", "rotations", "end_effector", "object_positions"}
    kept = {f.name: getattr(every, f.name)[::stride] for f in fields(every) if f.name in per_step}
    return replace(every, **kept)


def make_view(
    trained: TrainedRun,
    prompt: Prompt,
    steering: Steering,
    rollout: Rollout,
    happened: Replay | None,
) -> RolloutView:
    """Imagined frames beside true ones."""
    assert prompt.followed is not None
    window, num_prompt = prompt.followed.window, len(prompt.frames)
    true_video = window.video if happened is None else happened.video
    imagined_video = rollout.video[0].cpu().numpy()
    psnr = compare(trained, true_video, imagined_video, num_prompt=num_prompt)
    steered = window.robot_actions[num_prompt - 1 :]
    if not steering.is_true:
        assert steering.robot_actions is not None
        steered = steering.robot_actions
    return RolloutView(
        episode_id=window.episode_id,
        control_hz=prompt.control_hz,
        true_video=true_video,
        imagined_video=imagined_video,
        robot_actions=np.concatenate([window.robot_actions[: num_prompt - 1], steered]),
        latent_actions=rollout.latent_actions[0].cpu().numpy(),
        num_codes=trained.genie.latent_action.num_codes,
        num_prompt_frames=num_prompt,
        replay=happened,
        psnr=psnr,
        summary=summarise(prompt, rollout, psnr),
    )


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


def summarise(prompt: Prompt, rollout: Rollout, psnr: Mapping[str, Float[np.ndarray, " t"]]) -> str:
    """Markdown that says what is shown."""
    assert prompt.followed is not None
    assert rollout.uncertainty is not None
    num_prompt, num_frames = rollout.num_prompt_frames, rollout.video.shape[1]
    uncertainty = float(rollout.uncertainty[0, num_prompt:].mean())
    lines = [
        f"## {prompt.title}",
        f"{prompt.followed.episode.instruction or 'no instruction'}; from step "
        f"{prompt.followed.window.start}, {num_prompt} prompt frame(s), "
        f"{num_frames - num_prompt} imagined.",
        "",
        "| mean over the imagined frames | PSNR (dB) |",
        "|---|---|",
        *(
            f"| {name.replace('_', ' ')} | {values[num_prompt:].mean():.1f} |"
            for name, values in psnr.items()
        ),
        "",
        f"Token entropy of the imagined frames: {uncertainty:.2f} nats.",
    ]
    return "\n".join(lines)
