"""Test episodes, clips of prompt and future frames, and rollouts of a world from them."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from genie_robo.data.dataset import BadEpisodeError
from genie_robo.eval_suites.base import (
    EpisodeSet,
    EvalContext,
    LatentActionEncoder,
    SequenceEncoder,
)
from genie_robo.eval_suites.bounds import room_for
from genie_robo.eval_suites.table import Table, UnavailableError
from genie_robo.inference.world import (
    Actions,
    Codes,
    Latents,
    Prompt,
    RobotActions,
    World,
    code_steps,
    latent_steps,
    robot_steps,
    roll_out,
)
from genie_robo.progress import progress_bar
from genie_robo.types import Episode, Window

_log = logging.getLogger(__name__)

FAST_EPISODES = 12
"""Episodes of a split under fast=true."""
FAST_CLIPS = 6
"""Clips under fast=true."""
ROBOT_ACTIONS_ONLY = "this world model takes robot actions only, no latent actions"
NO_CONTROL = "stage robot_control was not trained in this run, or on actions of another width"
NO_LATENTS = "the latents of this encoder do not steer the world model"
_STEPS = {Codes: code_steps, Latents: latent_steps, RobotActions: robot_steps}
CACHE_BYTES = 256 * 2**20
"""Most memory for cached rollouts."""


def episode_limit(context: EvalContext, max_episodes: int) -> int:
    """How many episodes of a split to read."""
    return min(max_episodes, FAST_EPISODES) if context.fast else max_episodes


def frame_size(episodes: EpisodeSet) -> tuple[int, int]:
    """Height and width of the frames of the first readable episode.

    Raises:
        ValueError: No episode is readable.
    """
    for e in range(len(episodes.episodes)):
        with suppress(BadEpisodeError):
            height, width = episodes.whole_episode(e).video.shape[1:3]
            return height, width
    raise ValueError(f"none of the {len(episodes.episodes)} test episodes can be read")


def read_episodes(
    episodes: EpisodeSet, *, max_episodes: int, description: str
) -> Iterator[tuple[int, Window]]:
    """The first episodes of a split with their numbers in it, under a progress bar.

    Splits are in hash order, so the first episodes are a random sample. Unreadable episodes are
    logged and skipped. So are duplicates: equal episodes have equal ids.
    """
    total = min(max_episodes, len(episodes.episodes))
    seen: set[str] = set()
    num_bad = 0
    with progress_bar(description, total=total, unit="episodes") as advance:
        for e in range(len(episodes.episodes)):
            if len(seen) + num_bad == total:
                break
            try:
                window = episodes.whole_episode(e)
            except BadEpisodeError as error:
                _log.warning("%s leaves an episode out: %s", description, error)
                num_bad += 1
            else:
                if window.episode_id in seen:
                    continue
                seen.add(window.episode_id)
                yield e, window
            advance()


class Clip(NamedTuple):
    """Prompt frames of an episode, and the true frames after them."""

    number: int
    """Index of the episode in its split."""
    window: Window
    """Prompt frames, then the future frames."""
    num_prompt_frames: int
    stride: int
    """Steps from one frame to the next."""
    recording: Episode | None
    """The episode, if a simulator can restore it."""

    @property
    def prompt(self) -> Prompt:
        """The input of the world."""
        return Prompt(
            frames=self.window.video[: self.num_prompt_frames],
            name=self.window.episode_id,
            start=self.window.start,
            stride=self.stride,
            recording=self.recording,
        )

    @property
    def future(self) -> UInt8[np.ndarray, "n h w c"]:
        """The true frames after the prompt."""
        return self.window.video[self.num_prompt_frames :]

    @property
    def robot_actions(self) -> Float[np.ndarray, "n a"]:
        """Robot actions from the last prompt frame on, one per future frame."""
        return self.window.robot_actions[self.num_prompt_frames - 1 :].astype(np.float64)

    @property
    def key(self) -> str:
        """Identifies the clip in seeds, independently of other clips."""
        return f"{self.window.episode_id}/{self.window.start}"


def clip_table(clips: Sequence[Clip]) -> Table:
    """A row for each clip."""
    return Table([c.window.episode_id for c in clips], start=[c.window.start for c in clips])


def choose_clips(
    context: EvalContext,
    *,
    num_clips: int,
    horizon: int,
    name: str,
    num_prompt_frames: int = 1,
    fast_clips: int = FAST_CLIPS,
) -> list[Clip]:
    """Clips of as many different test episodes as possible, starting at random steps.

    One clip of each of the first `num_clips` episodes that are long enough, then a second one of
    each, and so on. The start depends only on the seed and the episode's id. A clip is at most as
    long as the model's window.

    Raises:
        ValueError: The window has no room for a prompt frame and a frame to imagine.
        UnavailableError: No test episode is long enough.
    """
    room = room_for(horizon, num_prompt_frames, num_frames=context.num_frames, name=name)
    if context.fast:
        num_clips = min(num_clips, fast_clips)
    length, side = num_prompt_frames + room, context.test
    read = read_episodes(side, max_episodes=num_clips, description=f"{name}: prompts")
    plans = [(e, w, _random_starts(w, length=length, seed=context.seed)) for e, w in read]
    clips = (
        Clip(
            e,
            _cut(window, int(starts[turn]), length, side.frame_stride),
            num_prompt_frames,
            side.frame_stride,
            context.recording(side, e),
        )
        for turn in range(max((len(starts) for _, _, starts in plans), default=0))
        for e, window, starts in plans
        if turn < len(starts)
    )
    chosen = sorted(islice(clips, num_clips), key=lambda clip: clip.key)
    if not chosen:
        raise UnavailableError(
            f"no test episode is as long as {num_prompt_frames} prompt frames and a horizon of "
            f"{horizon}; lower suite.{name}.horizon"
        )
    return chosen


def infer_codes(encoder: LatentActionEncoder, clips: Sequence[Clip]) -> Int[np.ndarray, "m n"]:
    """Latent actions of the future transitions of each clip, each quantised independently."""
    codes = [encoder.encode(clip.window).codes[clip.num_prompt_frames - 1 :] for clip in clips]
    return np.stack(codes)


def infer_latents(
    encoder: LatentActionEncoder, clips: Sequence[Clip]
) -> Float[np.ndarray, "m n e"]:
    """Latents of the future transitions of each clip."""
    latents = [encoder.encode(clip.window).latents[clip.num_prompt_frames - 1 :] for clip in clips]
    return np.stack(latents)


def infer_sequences(encoder: LatentActionEncoder, clips: Sequence[Clip]) -> Int[np.ndarray, "m n"]:
    """As `infer_codes`, with error feedback where the encoder supports it."""
    if not isinstance(encoder, SequenceEncoder):
        return infer_codes(encoder, clips)
    return np.stack(
        [encoder.encode_sequence(clip.window, clip.num_prompt_frames - 1) for clip in clips]
    )


def random_codes(
    clips: Sequence[Clip], num_codes: int, horizon: int, seed: int
) -> Int[np.ndarray, "m n"]:
    """Uniform latent actions; those of a clip are independent of the other clips."""
    generators = (np.random.default_rng(stable_seed("codes", seed, clip.key)) for clip in clips)
    return np.stack([rng.integers(num_codes, size=horizon) for rng in generators])


def sampler_seeds(clips: Sequence[Clip], seed: int) -> list[int]:
    """One sampler seed per clip, the same for all kinds of actions."""
    return [stable_seed("sampler", seed, clip.key) for clip in clips]


def imagine(
    context: EvalContext,
    prompts: Sequence[Prompt],
    actions: Int[np.ndarray, "r n"] | Float[np.ndarray, "r n d"],
    seeds: Sequence[int],
    *,
    by: type[Actions] = Codes,
    batch_size: int,
    description: str,
    world: World | None = None,
) -> UInt8[np.ndarray, "r n h w c"]:
    """Roll out a world, by default the context's, under one kind of actions.

    Cached rollouts are reused; new ones are cached up to CACHE_BYTES.

    Raises:
        UnavailableError: These are codes, and the context's world takes robot actions only.
    """
    if by is Codes and not context.takes_codes:
        raise UnavailableError(ROBOT_ACTIONS_ONLY)
    world = world or context.world
    keys = [
        (id(world), p.name, p.start, _digest(p.frames), by, row.tobytes(), seed)
        for p, row, seed in zip(prompts, actions, seeds, strict=True)
    ]
    cache = context.cache
    videos = {row: cache[key].video for row, key in enumerate(keys) if key in cache}
    missing = [row for row in range(len(keys)) if row not in videos]
    with progress_bar(description, total=len(missing), unit="rollouts") as advance:
        for first in range(0, len(missing), batch_size):
            rows = missing[first : first + batch_size]
            steps = _STEPS[by](actions[rows])
            batch = [prompts[row] for row in rows]
            made = roll_out(world, batch, steps, seeds=[seeds[row] for row in rows])
            videos |= dict(zip(rows, made, strict=True))
            advance(len(rows))
    for row in missing:
        _keep(cache, keys[row], _CachedRollout(world, videos[row]))
    return np.stack([videos[row] for row in range(len(keys))])


class _CachedRollout(NamedTuple):
    world: World
    """Kept alive, because the key holds its id, which Python reuses for later objects."""
    video: UInt8[np.ndarray, "n h w c"]


def _keep(cache: dict, key: object, rollout: _CachedRollout) -> None:
    used = cache.get("bytes of rollouts", 0) + rollout.video.nbytes
    if used <= CACHE_BYTES:
        cache["bytes of rollouts"], cache[key] = used, rollout


def _digest(frames: UInt8[np.ndarray, "p h w c"]) -> bytes:
    return hashlib.blake2b(frames.tobytes()).digest()


def stable_seed(*parts: str | int) -> int:
    """A seed that depends only on `parts`, in 0 .. 2^31 - 1."""
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
