"""Going through the episodes of a split, whole, without stumbling over a damaged one."""

import logging
from collections.abc import Iterator
from contextlib import suppress

from eval_suites.base import EpisodeSet, EvalContext
from genie_robo.data.bad_episodes import BadEpisodeError
from genie_robo.progress import progress_bar
from genie_robo.types import Window

_log = logging.getLogger(__name__)

FAST_EPISODES = 12
"""Of a split, in a first look."""


def episode_limit(context: EvalContext, max_episodes: int) -> int:
    """How many episodes of a split to read."""
    return min(max_episodes, FAST_EPISODES) if context.fast else max_episodes


def frame_size(episodes: EpisodeSet) -> tuple[int, int]:
    """Height and width of the frames, as the first episode shows that can be read.

    Raises:
        ValueError: None can.
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

    Episodes of a split are in the order of a hash, so the first ones are a random sample. One
    that cannot be read is logged and left out. Equal episodes have equal ids, and the second of
    them is passed over: seeing one twice proves nothing twice.
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
