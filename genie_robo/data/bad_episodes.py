"""Counting episodes that cannot be read, and stopping when there are too many."""

import logging
from pathlib import Path
from threading import Lock

_SHOWN = 5

_log = logging.getLogger(__name__)


class BadEpisodeError(ValueError):
    """One episode cannot be read; the others may be fine."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"episode {name} cannot be read: {reason}")
        self.reason = reason


class BadEpisodes:
    """The unreadable episodes of one dataset, by name, with the reason. Thread-safe."""

    def __init__(self, folder: Path, *, num_episodes: int, limit: float) -> None:
        self._folder = folder
        self._num_episodes = num_episodes
        self._limit = limit
        self._reasons: dict[str, str] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._reasons)

    def __contains__(self, name: object) -> bool:
        return name in self._reasons

    def add(self, name: str, reason: str) -> None:
        """Note and log an episode, once.

        Raises:
            ValueError: The share of bad episodes is now above the limit.
        """
        with self._lock:
            if name in self._reasons:
                return
            self._reasons[name] = reason
        _log.warning("skipping episode %s of %s: %s", name, self._folder, reason)

    def check(self) -> None:
        """Stop when the share of bad episodes is above the limit.

        Raises:
            ValueError: It is.
        """
        share = len(self) / max(1, self._num_episodes)
        if share <= self._limit:
            return
        shown = [f"{name} ({reason})" for name, reason in list(self._reasons.items())[:_SHOWN]]
        more = f" and {len(self) - _SHOWN} more" if len(self) > _SHOWN else ""
        raise ValueError(
            f"{len(self)} of {self._num_episodes} episodes of {self._folder} cannot be read, "
            f"{share:.1%}, above data.bad_episode_limit={self._limit}: {', '.join(shown)}{more}; "
            "repair the dataset, or raise the limit to go on without these episodes"
        )
