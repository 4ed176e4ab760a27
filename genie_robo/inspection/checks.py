"""What is suspicious about a dataset's records and episodes; each check yields findings."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from genie_robo.data.index import DatasetIndex, RecordEntry
from genie_robo.inspection.episodes import CameraFacts, SeenEpisode
from genie_robo.inspection.motion import (
    IDLE_M,
    IDLE_RAD,
    Finding,
    is_idle,
    starts_with_zero,
)
from genie_robo.inspection.sources import known_sources, misfit

FIRST_ZERO_SHARE = 0.1
"""The first action may be all zero in this share of the episodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitFacts:
    """One RLDS split as stored."""

    name: str
    num_episodes: int
    num_repeated: int
    """Episodes whose bytes occur elsewhere too, in this split or another."""
    num_unreadable: int
    min_steps: int
    median_steps: float
    max_steps: int


def check_records(index: DatasetIndex) -> Iterator[Finding]:
    """Unreadable records, repeated ones, and RLDS splits that share episodes."""
    for entry in index.entries:
        if entry.problem:
            yield Finding(kind="unreadable", text=f"{entry.episode_id}: {entry.problem}")
        elif entry.bad_keys:
            keys = ", ".join(entry.bad_keys)
            yield Finding(
                kind="bad_column", text=f"{entry.episode_id}: {keys} not finite or not an image"
            )
    shared = split_overlaps(index)
    for (one, other), count in shared.items():
        yield Finding(
            kind="split_overlap",
            text=f"RLDS {one} and {other} share {count} episodes; training uses each once and "
            "splits by content, so that no episode is in train and test",
        )
    inside = sum(len(entries) - len(_ids(entries)) for entries in by_split(index).values())
    if inside:
        yield Finding(
            kind="duplicate",
            text=f"{inside} of {len(index.entries)} records repeat another one of their split; "
            "each is used once",
        )


def by_split(index: DatasetIndex) -> dict[str, list[RecordEntry]]:
    """Records of every RLDS split."""
    split_of = {shard.path: shard.split for shard in index.schema.shards}
    found: dict[str, list[RecordEntry]] = {}
    for entry in index.entries:
        found.setdefault(split_of[entry.shard], []).append(entry)
    return found


def split_facts(index: DatasetIndex) -> list[SplitFacts]:
    """Every RLDS split with its episode counts and lengths."""
    seen = Counter(entry.episode_id for entry in index.entries)
    found = []
    for name, entries in by_split(index).items():
        steps = [entry.num_steps for entry in entries if not entry.problem] or [0]
        found.append(
            SplitFacts(
                name=name,
                num_episodes=len(entries),
                num_repeated=sum(seen[entry.episode_id] > 1 for entry in entries),
                num_unreadable=sum(bool(entry.problem) for entry in entries),
                min_steps=min(steps),
                median_steps=float(np.median(steps)),
                max_steps=max(steps),
            )
        )
    return found


def split_overlaps(index: DatasetIndex) -> dict[tuple[str, str], int]:
    """How many episodes two RLDS splits share, where they do."""
    ids = {name: _ids(entries) for name, entries in by_split(index).items()}
    counts = {pair: len(ids[pair[0]] & ids[pair[1]]) for pair in combinations(ids, 2)}
    return {pair: count for pair, count in counts.items() if count}


def check_own_file(index: DatasetIndex) -> Iterator[Finding]:
    """A file in conf/data/ that is named like this dataset but does not describe it."""
    source = known_sources().get(index.schema.name)
    reason = misfit(source, index.features) if source else ""
    if reason:
        text = f"data={index.schema.name} is meant for this dataset but does not fit: {reason}"
        yield Finding(kind="own_file", text=text)


def check_cameras(cameras: Sequence[CameraFacts]) -> Iterator[Finding]:
    """Cameras that see nothing."""
    for camera in cameras:
        of = f"of {camera.num_looked_at} episodes"
        if camera.num_blank:
            text = f"{camera.key} is black in {camera.num_blank} {of}"
            yield Finding(kind="blank_camera", text=text)
        if camera.num_undecodable:
            text = f"{camera.key} cannot be decoded in {camera.num_undecodable} {of}"
            yield Finding(kind="undecodable", text=text)


def check_episodes(seen: Sequence[SeenEpisode]) -> Iterator[Finding]:
    """Flags and motion of single episodes."""
    yield from _check_flags(seen)
    for episode in seen:
        if episode.problem:
            yield Finding(kind="unreadable", text=f"{episode.episode_id}: {episode.problem}")
    idle = [episode.episode_id[:8] for episode in seen if is_idle(episode)]
    if idle:
        yield Finding(
            kind="idle",
            text=f"{_share(len(idle), seen)} never get farther than {IDLE_M * 1000:g} mm and "
            f"{IDLE_RAD:g} rad from where they began, nor move the gripper: {_some(idle)}",
        )
    moving = [e for e in seen if e.commanded is not None and not is_idle(e)]
    same = Counter(e.commanded.tobytes() for e in moving if e.commanded is not None)
    copies = sum(count - 1 for count in same.values())
    if copies:
        yield Finding(
            kind="equal_actions",
            text=f"{_share(copies, seen)} have exactly the actions of another one, but not its "
            "bytes: they may be copies that the split does not recognise",
        )
    zero = sum(starts_with_zero(episode) for episode in moving)
    if zero > FIRST_ZERO_SHARE * len(seen):
        yield Finding(
            kind="first_action_zero",
            text=f"the first action is all zero in {_share(zero, seen)}: is it a placeholder, and "
            "the action of step t that of t - 1?",
        )


def _check_flags(seen: Sequence[SeenEpisode]) -> Iterator[Finding]:
    """The end of an episode. A true is_last without is_terminal is fine: time was up."""
    ends = [e.is_last for e in seen if e.is_last is not None]
    terminals = [e.is_terminal for e in seen if e.is_terminal is not None]
    open_ends = sum(not flags[-1] for flags in ends)
    early = sum(bool(flags[:-1].any()) for flags in [*ends, *terminals])
    found = {
        "there is no is_last": not ends,
        "there is no is_terminal": not terminals,
        f"is_last is not true at the last step of {_share(open_ends, seen)}": open_ends,
        "is_terminal is never true at the last step": terminals
        and (open_ends or not ends)
        and not any(flags[-1] for flags in terminals),
        f"is_last or is_terminal is true before the last step {early} times": early,
    }
    for text, is_found in found.items():
        if seen and is_found:
            yield Finding(kind="terminal", text=f"{text}: episodes may be cut, or end elsewhere")


def _ids(entries: Sequence[RecordEntry]) -> set[str]:
    return {entry.episode_id for entry in entries}


def _share(count: int, seen: Sequence[SeenEpisode]) -> str:
    return f"{count} of {len(seen)} episodes"


def _some(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
