"""Facts about a dataset: splits, columns, cameras, actions, problems."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from genie_robo.command_line import write_setting
from genie_robo.config import DataConfig
from genie_robo.config_file import plain
from genie_robo.data.dataset import BadEpisodeError, EpisodeDataset
from genie_robo.data.formats import index_folder
from genie_robo.data.index import DatasetIndex
from genie_robo.data.lerobot_layout import BOOKKEEPING, TASK, LeRobotSchema
from genie_robo.data.metadata import open_folder
from genie_robo.data.schema import Schema
from genie_robo.data.settings import Source
from genie_robo.data.sources import check_source, source_keys
from genie_robo.data.statistics import ALL, ActionStatistics, SplitStatistics, dataset_statistics
from genie_robo.inspection.checks import (
    SplitFacts,
    check_actions,
    check_cameras,
    check_episodes,
    check_kinematics,
    check_list,
    check_records,
    check_times,
    names_of,
    split_facts,
    units_of,
)
from genie_robo.inspection.episodes import (
    CameraFacts,
    SeenEpisode,
    camera_facts,
    look_at,
    readable,
    sample_columns,
)
from genie_robo.inspection.findings import Finding
from genie_robo.inspection.lerobot_proposal import propose_lerobot
from genie_robo.inspection.motion import (
    Motion,
    check_motion,
    check_unit,
    compare_motion,
    found_lag,
    found_settings,
)
from genie_robo.inspection.proposal import (
    Proposal,
    base_source,
    fitting_sources,
    known_sources,
    misfit,
    propose,
)
from genie_robo.inspection.rates import check_rate
from genie_robo.inspection.recording import record_dataset
from genie_robo.inspection.step_sizes import check_step_sizes
from genie_robo.inspection.visible_motion import (
    VisibleMotion,
    check_visible_motion,
    measure_motion,
)
from genie_robo.sim.contact import moves_a_box
from genie_robo.sim.restore import recorded_boxes
from genie_robo.video_files import spread

NOTES = (
    "urdf",
    "frame_stride",
    "times",
    "constant",
    "unit",
    "motion_unchecked",
    "control_hz",
    "not_read",
)
"""Kinds of findings that may be intended."""
_LOOKED_AT = ("is_last", "is_terminal")
"""Columns that `check_episodes` looks at, besides those of the source and the cameras."""
_CAMERAS = "cameras."
_CONTACT_EPISODES = 60
_REAL_VIDEO = "model=real_video"
_STATISTICS = {name: name for name in ("mean", "std", "min", "q01", "q99", "max")} | {
    "median": "q50"
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionFacts:
    """One dimension of the commanded action, over all episodes."""

    name: str
    unit: str
    mean: float
    std: float
    min: float
    q01: float
    median: float
    q99: float
    max: float
    achieved_std: float | None
    """Standard deviation of the differences of measured poses or joints; None without them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    """Everything that `genie-robo inspect` reports."""

    name: str
    folder: str
    file_format: str
    num_shards: int
    size_mb: float
    fingerprint: str
    splits: Sequence[SplitFacts]
    columns: dict[str, str]
    """Every key of a step, with its type."""
    cameras: Sequence[CameraFacts]
    fits: Sequence[str]
    """Names that can be given as data=NAME."""
    read_as: str
    """Origin of the mapping of the actions; empty when they cannot be read."""
    num_seen: int
    """Episodes that were checked one by one; statistics cover all."""
    actions: Sequence[ActionFacts]
    motion: Motion | None
    """None without commands and a pose to compare."""
    visible_motion: VisibleMotion | None
    """None without a source, and where it cannot be measured."""
    better_lag: int | None
    """The value of data.source.action.lag at which commands correlate better; None without one."""
    share_of_clips_that_move_a_box: float | None
    """Of clips of 10 actions of some episodes; None without simulator states."""
    problems: Sequence[Finding]
    notes: Sequence[Finding]
    """Findings that may be intended, such as a dimension that a robot never uses."""
    proposal: Proposal | None
    """A mapping to try; None when conf/data/ has a file for this dataset, or data= was given."""
    words: str
    """Command-line words that read the dataset."""
    model: str
    """A further word for training: the preset for video of real robots, where no column has the
    state of a simulator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """The facts, and the data for figures and a recording."""

    facts: DatasetFacts
    index: DatasetIndex
    source: Source | None
    """None when the actions cannot be read."""
    data: DataConfig
    """How a training would read it, with the proposed stride, scales and lag; without a path."""
    seen: Sequence[SeenEpisode]
    commanded: ActionStatistics | None


class _Reading(NamedTuple):
    """The source that episodes are read with, and why."""

    source: Source | None
    name: str
    words: str
    proposal: Proposal | None = None


def inspect_dataset(
    path: Path | str,
    given: Source | None = None,
    *,
    data: DataConfig | None = None,
) -> Inspection:
    """Look through a dataset, reading its actions by `given`, its own file or a proposal.

    Args:
        path: The folder of the dataset, one above it, or its address.
        given: How to read it.
        data: How a training would read it: RLDS splits and shards, image size, frame stride; by
            default as by default. Its path and its source are ignored.

    Raises:
        FileNotFoundError: There is no dataset, or a shard is missing.
        KeyError: The given source names a key that is not there.
        ValueError: A JSON file or a shard is damaged, or the given source does not fit.
    """
    data = data or DataConfig()
    max_pixels = data.max_image_pixels
    schema = open_folder(path, data.rlds_splits, data.shards)
    if given is not None:
        complete = schema.complete(given)
        check_source(complete, schema.features)
        given = replace(given, control_hz=complete.control_hz)
    fits = fitting_sources(schema.name, schema.features)
    chosen, read_as, words, proposal = _choose_reading(schema, given, fits)
    source = schema.complete(chosen) if chosen else None
    data = replace(data, source=chosen or Source())
    index = index_folder(schema, keys=source_keys(source) if source else ())
    cameras = camera_facts(index, source.bgr if source else (), max_pixels=max_pixels)
    seen = look_at(index, source)
    statistics = _statistics(index, source) if source and readable(index) else None
    motion = compare_motion(seen, source)
    findings = [*check_list(index), *check_records(index), *_check_own_file(index)]
    findings += check_cameras(cameras)
    findings += check_episodes(seen, has_flags=not isinstance(schema, LeRobotSchema))
    findings += [*check_times(index), *check_motion(motion, source), *_not_read(index, source)]
    findings += check_kinematics(source)
    names = names_of(source) if source else ()
    visible = measure_motion(index, source, data) if source and readable(index) else None
    if visible and data.stride == 1 and not data.target_hz:
        findings += check_visible_motion(visible)
        data = replace(data, frame_stride=visible.stride)
    if source and statistics:
        findings += check_actions(statistics.commanded, seen, source, names)
        findings += check_step_sizes(statistics, source)
        findings += [*check_unit(motion, source), *check_rate(source)]
        found = found_settings(motion, source)
        action = replace(data.source.action, **found)
        data = replace(data, source=replace(data.source, action=action))
        words = " ".join([words, *(f"data.source.action.{k}={v:g}" for k, v in found.items())])
    facts = DatasetFacts(
        name=index.schema.name,
        folder=schema.place,
        file_format=index.schema.file_format,
        num_shards=len(index.schema.shards),
        size_mb=schema.num_bytes / 1e6,
        fingerprint=index.fingerprint,
        splits=split_facts(index),
        columns={key: str(feature) for key, feature in sorted(index.features.items())},
        cameras=cameras,
        fits=fits,
        read_as=read_as,
        num_seen=len(seen),
        actions=action_facts(statistics, source, names) if source and statistics else [],
        motion=motion,
        visible_motion=visible,
        better_lag=_better_lag(motion, source) if source else None,
        share_of_clips_that_move_a_box=_contact(index, source) if source else None,
        problems=[finding for finding in findings if finding.kind not in NOTES],
        notes=[finding for finding in findings if finding.kind in NOTES],
        proposal=proposal,
        words=" ".join([words, *_data_words(data)]),
        model="" if source and source.sim_state else _REAL_VIDEO,
    )
    commanded = statistics.commanded if statistics else None
    return Inspection(
        facts=facts, index=index, source=source, data=data, seen=seen, commanded=commanded
    )


def record_first(path: Path, recording: Path, *, num_episodes: int) -> int:
    """Write a recording of a dataset without checking it, read by its own file or a proposal.

    Raises:
        FileNotFoundError: There is no dataset, or a shard is missing.
        ValueError: A JSON file or a shard is damaged, or no episode can be read.
    """
    schema = open_folder(path)
    fits = fitting_sources(schema.name, schema.features)
    source = _choose_reading(schema, None, fits).source
    source = schema.complete(source) if source else None
    index = index_folder(schema, keys=source_keys(source) if source else ())
    return record_dataset(recording, index, source, num_episodes=num_episodes)


def _better_lag(motion: Motion | None, source: Source) -> int | None:
    lag = found_lag(motion, source)
    return None if lag == source.action.lag else lag


def action_facts(
    statistics: SplitStatistics, source: Source, names: Sequence[str]
) -> list[ActionFacts]:
    """The dimensions that the dataset has, with the names of all dimensions."""
    commanded, achieved = statistics.commanded, statistics.achieved
    return [
        ActionFacts(
            name=names[i],
            unit=units_of(source)[i],
            **{name: float(getattr(commanded, key)[i]) for name, key in _STATISTICS.items()},
            achieved_std=float(achieved.std[i]) if achieved and achieved.mask[i] else None,
        )
        for i in np.flatnonzero(commanded.mask).tolist()
    ]


def _check_own_file(index: DatasetIndex) -> Iterator[Finding]:
    """A file in conf/data/ that is named like this dataset but does not describe it."""
    name = index.schema.name
    if isinstance(index.schema, LeRobotSchema):  # the files in conf/data/ are for RLDS
        return
    source = known_sources().get(name)
    if source and (reason := misfit(source, index.features)):
        text = f"data={name} is meant for this dataset but does not fit: {reason}"
        yield Finding("own_file", text)


def _not_read(index: DatasetIndex, source: Source | None) -> Iterator[Finding]:
    """Columns that nothing here looks at; a training with this source does not read them either."""
    used = {*(source_keys(source) if source else ()), *_LOOKED_AT}
    if isinstance(index.schema, LeRobotSchema):
        used |= {*BOOKKEEPING, TASK}
    rest = {k: f for k, f in index.features.items() if k not in used and not f.is_camera}
    reasons = [f"{key} ({f.why_unreadable})" for key, f in rest.items() if f.why_unreadable]
    others = [key for key, feature in rest.items() if not feature.why_unreadable]
    if rest:
        yield Finding("not_read", f"not read, so not checked: {', '.join([*reasons, *others])}")


def _data_words(data: DataConfig) -> list[str]:
    """The settings of a training that differ from the defaults, without path and source."""
    default = dict(_flatten(plain(DataConfig())))
    return [
        shlex.quote(write_setting(f"data.{name}", value))
        for name, value in _flatten(plain(data))
        if name != "path" and not name.startswith(("source.", "mix.")) and value != default[name]
    ]


def _choose_reading(schema: Schema, given: Source | None, fits: Sequence[str]) -> _Reading:
    """The given source, else the file of the dataset's own name, else a proposal."""
    name = schema.name
    if given is not None:
        words = source_words(given, known_sources(), base=schema.data_choice)
        return _Reading(given, "data= says", words)
    if name in fits:
        return _Reading(known_sources()[name], f"data={name} says", f"data={name}")
    index = index_folder(schema)
    if not readable(index):
        return _Reading(None, "", f"data={schema.data_choice} data.source.camera=KEY")
    sample, cameras = sample_columns(index), camera_facts(index)
    if isinstance(schema, LeRobotSchema):
        proposal, source = propose_lerobot(schema, sample, cameras)
    else:
        proposal, source = propose(index.features, sample, cameras)
    return _Reading(source, "proposed below" if source else "", proposal.words, proposal)


def _statistics(index: DatasetIndex, source: Source) -> SplitStatistics:
    """Over all episodes; a training run with the default fractions reuses them."""
    dataset = EpisodeDataset(index, source, bad_episode_limit=1.0)
    fractions = DataConfig()
    return dataset_statistics(
        dataset, val_fraction=fractions.val_fraction, test_fraction=fractions.test_fraction
    ).splits[ALL]


def _contact(index: DatasetIndex, source: Source) -> float | None:
    """The share of clips that move a box, over some episodes of a simulator."""
    dataset = EpisodeDataset(index, source, bad_episode_limit=1.0)
    moves = []
    for e in spread(len(dataset), most=_CONTACT_EPISODES) if len(dataset) else ():
        try:
            moves.append(moves_a_box(recorded_boxes(dataset[e])))
        except (BadEpisodeError, ValueError):
            continue
    clips = np.concatenate(moves) if moves else np.zeros(0)
    return float(clips.mean()) if len(clips) else None


def source_words(source: Source, known: Mapping[str, Source], *, base: str = "rlds") -> str:
    """`data=NAME` for one of the known sources, else `data=BASE` and what differs from it."""
    for name, other in known.items():
        if other == source:
            return f"data={name}"
    default = dict(_flatten(plain(base_source(base))))
    words = [
        write_setting(_key(name), value)
        for name, value in _flatten(plain(source))
        if default.get(name) != value
    ]
    return shlex.join([f"data={base}", *words])


def _key(name: str) -> str:
    """Hydra wants a + before a new name in a mapping."""
    return f"{'+' if name.startswith(_CAMERAS) else ''}data.source.{name}"


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
