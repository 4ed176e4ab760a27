"""Videos that know nothing of what will happen: baselines of every PSNR of imagined frames.

A held prompt has the wrong pixels exactly where something moves, so on changed pixels every blurred
or grey picture beats it. Imagination must beat these too.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from scipy.ndimage import gaussian_filter

from genie_robo.eval_suites.base import EvalContext
from genie_robo.eval_suites.rollouts import Clip, episode_limit, read_episodes

MEAN_FRAME, BLURRED, OTHER_CLIP = "mean_frame", "blurred_prompt", "other_clip"
UNINFORMED = (MEAN_FRAME, BLURRED, OTHER_CLIP)
ABOUT = (
    "mean_frame shows the mean of the frames of the episodes to fit on, blurred_prompt the prompt "
    "blurred by an eighth of its height, other_clip what was imagined from another episode's prompt"
)
MEAN_EPISODES = 60
"""Most episodes that the mean frame is taken over."""
BLUR = 1 / 8
"""Standard deviation of the blur, as a share of the height: 8 pixels of 64."""


def uninformed_videos(
    context: EvalContext, clips: Sequence[Clip], imagined: UInt8[np.ndarray, "m n h w c"]
) -> dict[str, UInt8[np.ndarray, "m n h w c"]]:
    """The baselines for every clip; those that need other episodes are left out without them."""
    horizon = imagined.shape[1]
    held = np.stack([_blurred(clip.prompt.frames[-1]) for clip in clips])
    videos = {BLURRED: np.repeat(held[:, None], horizon, axis=1)}
    mean = mean_frame(context)
    if mean is not None:
        videos[MEAN_FRAME] = np.broadcast_to(mean, imagined.shape).copy()
    partner = other_episode([clip.window.episode_id for clip in clips])
    if partner is not None:
        videos[OTHER_CLIP] = imagined[partner]
    return {name: videos[name] for name in UNINFORMED if name in videos}


def mean_frame(context: EvalContext) -> UInt8[np.ndarray, "h w c"] | None:
    """The mean of all frames of the episodes that baselines are fitted on; None without one."""
    limit = episode_limit(context, MEAN_EPISODES)
    read = read_episodes(context.fit, max_episodes=limit, description="mean frame")
    means = [window.video[~window.is_pad].mean(axis=0) for _, window in read]
    return _to_bytes(np.mean(means, axis=0)) if means else None


def other_episode(episode_ids: Sequence[str]) -> np.ndarray | None:
    """For every clip the next one of another episode; None when all are of one episode."""
    count = len(episode_ids)
    partner = []
    for i, own in enumerate(episode_ids):
        others = ((i + step) % count for step in range(1, count))
        partner.append(next((j for j in others if episode_ids[j] != own), None))
    return None if None in partner else np.array(partner)


def _blurred(frame: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w c"]:
    sigma = BLUR * frame.shape[0]
    blurred = gaussian_filter(frame.astype(np.float64), (sigma, sigma, 0), mode="nearest")
    return _to_bytes(blurred)


def _to_bytes(levels: Float[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w c"]:
    return levels.round().astype(np.uint8)
