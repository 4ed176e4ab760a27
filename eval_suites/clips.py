"""Prompts with the true frames that follow them, and what a world model makes of them."""

import hashlib
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from eval_suites.base import (
    EpisodeSet,
    EvalContext,
    LatentActionEncoder,
    Prompt,
    RobotWorldModel,
    SequenceEncoder,
    WorldModel,
)
from eval_suites.episodes import read_episodes
from genie_robo.progress import progress_bar
from genie_robo.types import Window

FAST_CLIPS = 6
"""In a first look."""


class Clip(NamedTuple):
    """Some prompt frames of an episode and the true frames after them."""

    number: int
    """Which episode of its split."""
    window: Window
    """Prompt frames, then as many as the horizon."""
    num_prompt_frames: int

    @property
    def prompt(self) -> Prompt:
        """What the world model may see."""
        frames = self.window.video[: self.num_prompt_frames]
        return Prompt(self.window.episode_id, self.window.start, frames)

    @property
    def future(self) -> UInt8[np.ndarray, "n h w c"]:
        """What really follows."""
        return self.window.video[self.num_prompt_frames :]

    @property
    def robot_actions(self) -> Float[np.ndarray, "n 7"]:
        """What the robot did from the last prompt frame on, one action for each future frame."""
        return self.window.robot_actions[self.num_prompt_frames - 1 :].astype(np.float64)

    @property
    def key(self) -> str:
        """Names the clip, whatever else is measured with it."""
        return f"{self.window.episode_id}/{self.window.start}"


class Branch(NamedTuple):
    """One rollout to be imagined."""

    prompt: Prompt
    latent_actions: Int[np.ndarray, " n"]
    seed: int


def choose_clips(
    episodes: EpisodeSet,
    *,
    num_clips: int,
    num_prompt_frames: int,
    horizon: int,
    seed: int,
    description: str,
) -> list[Clip]:
    """Clips of as many different episodes as possible, starting at random steps.

    One clip of each of the first `num_clips` episodes that are long enough, then a second one of
    each, and so on. Where an episode is cut depends only on the seed and the episode's id.
    """
    length = num_prompt_frames + horizon
    read = read_episodes(episodes, max_episodes=num_clips, description=description)
    plans = [(e, window, _random_starts(window, length=length, seed=seed)) for e, window in read]
    clips = (
        Clip(e, _cut(window, int(starts[turn]), length, episodes.frame_stride), num_prompt_frames)
        for turn in range(max((len(starts) for _, _, starts in plans), default=0))
        for e, window, starts in plans
        if turn < len(starts)
    )
    return sorted(islice(clips, num_clips), key=lambda clip: clip.key)


def choose_test_clips(
    context: EvalContext,
    *,
    num_clips: int,
    horizon: int,
    name: str,
    num_prompt_frames: int = 1,
    fast_clips: int = FAST_CLIPS,
) -> list[Clip]:
    """Clips of test episodes for the suite `name`, no longer than the model's window.

    Raises:
        ValueError: The window has no room for a prompt frame and a frame to imagine.
    """
    room = min(horizon, context.num_frames - num_prompt_frames)
    if num_prompt_frames < 1 or room < 1:
        raise ValueError(
            f"suite.{name} has {num_prompt_frames} prompt frames and a horizon of {horizon}, but "
            f"it needs one of each, and the model sees {context.num_frames} frames at once; change "
            f"suite.{name}.num_prompt_frames or suite.{name}.horizon"
        )
    return choose_clips(
        context.test,
        num_clips=min(num_clips, fast_clips) if context.fast else num_clips,
        num_prompt_frames=num_prompt_frames,
        horizon=room,
        seed=context.seed,
        description=f"{name}: prompts",
    )


def too_short(name: str, *, num_prompt_frames: int, horizon: int) -> str:
    """Why there is no clip at all, and what to do."""
    return (
        f"no test episode is as long as {num_prompt_frames} prompt frames and a horizon of "
        f"{horizon}; lower suite.{name}.horizon"
    )


def infer_actions(encoder: LatentActionEncoder, clips: Sequence[Clip]) -> Int[np.ndarray, "m n"]:
    """The latent actions that lead from the last prompt frame of each clip through its future."""
    codes = [encoder.encode(clip.window).codes[clip.num_prompt_frames - 1 :] for clip in clips]
    return np.stack(codes)


def follow_actions(encoder: LatentActionEncoder, clips: Sequence[Clip]) -> Int[np.ndarray, "m n"]:
    """As `infer_actions`, for each rollout as a whole where the encoder knows how."""
    if not isinstance(encoder, SequenceEncoder):
        return infer_actions(encoder, clips)
    return np.stack(
        [encoder.encode_sequence(clip.window, clip.num_prompt_frames - 1) for clip in clips]
    )


def random_codes(
    clips: Sequence[Clip], num_codes: int, horizon: int, seed: int
) -> Int[np.ndarray, "m n"]:
    """Latent actions drawn alike; those of a clip do not depend on which others there are."""
    generators = (np.random.default_rng(stable_seed("codes", seed, clip.key)) for clip in clips)
    return np.stack([rng.integers(num_codes, size=horizon) for rng in generators])


def imagine_branches(
    world_model: WorldModel, branches: Sequence[Branch], *, batch_size: int, description: str
) -> UInt8[np.ndarray, "r n h w c"]:
    """Imagine many rollouts of one length, a batch at a time."""
    videos = []
    with progress_bar(description, total=len(branches), unit="rollouts") as advance:
        for first in range(0, len(branches), batch_size):
            batch = branches[first : first + batch_size]
            actions = np.stack([branch.latent_actions for branch in batch])
            prompts = [branch.prompt for branch in batch]
            videos.append(world_model.imagine(prompts, actions, [branch.seed for branch in batch]))
            advance(len(batch))
    return np.concatenate(videos)


def imagine_robot_actions(
    world_model: RobotWorldModel,
    prompts: Sequence[Prompt],
    robot_actions: Float[np.ndarray, "r n 7"],
    seeds: Sequence[int],
    *,
    batch_size: int,
    description: str,
) -> UInt8[np.ndarray, "r n h w c"]:
    """Imagine one rollout after each prompt under robot actions, a batch at a time."""
    videos = []
    with progress_bar(description, total=len(prompts), unit="rollouts") as advance:
        for first in range(0, len(prompts), batch_size):
            batch = slice(first, first + batch_size)
            videos.append(
                world_model.imagine_robot(prompts[batch], robot_actions[batch], seeds[batch])
            )
            advance(len(videos[-1]))
    return np.concatenate(videos)


def stable_seed(*parts: str | int) -> int:
    """A seed that depends on these words and nothing else, in 0 .. 2^31 - 1."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1


def _random_starts(window: Window, *, length: int, seed: int) -> Int[np.ndarray, " n"]:
    """All possible first frames in random order."""
    num_frames = int((~window.is_pad).sum())
    rng = np.random.default_rng(stable_seed(seed, window.episode_id))
    return rng.permutation(max(0, num_frames - length + 1))


def _cut(window: Window, first: int, length: int, stride: int) -> Window:
    last = first + length
    return Window(
        episode_id=window.episode_id,
        start=window.start + first * stride,
        video=window.video[first:last],
        robot_actions=window.robot_actions[first : last - 1],
        action_mask=window.action_mask,
        is_pad=window.is_pad[first:last],
    )
