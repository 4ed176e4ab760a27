"""A long job as a list of stages: finished ones are skipped, unfinished ones resume.

A run folder holds one small stamp per stage: the settings and inputs its results were made from,
and a list of the files that the stage wrote, the only ones that are removed when it is made again.
A stamp is marked `finished` only after the stage has returned.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

from genie_robo.atomic import noting_writes
from genie_robo.config_file import config_differences, plain
from genie_robo.disk_space import explaining_no_space
from genie_robo.run_folder import RunFolder, write_atomic
from genie_robo.stored_files import read_json

CACHE = ".genie_robo_"
"""Beginning of the names of caches that earlier versions kept next to a dataset."""
DIGEST_BYTES = 16
_SHOWN = 5
"""Files that an error names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step of a job and what its result depends on."""

    name: str
    settings: Mapping[str, Any]
    """Everything that the result depends on besides the stages in `needs`; nested plain data."""
    folder: Path
    """Holds all that the stage writes."""
    outputs: tuple[Path, ...]
    """Files or folders that exist once it is done."""
    run: Callable[[], object]
    """The return value is ignored."""
    needs: tuple[str, ...] = ()
    """Earlier stages whose outputs it reads."""
    is_long: bool = False
    """True when `run` resumes from partial results; these are never deleted automatically."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What a result was made from."""

    settings: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Digest of the outputs of every needed stage."""
    finished: bool = False
    seconds: float = 0.0
    """Time spent, over all interruptions."""


class Verdict(Enum):
    """What to do with a stage."""

    skip = "already there"
    begin = "done"
    resume = "done, resumed"
    redo = "done again, its input had changed"


def run_stages(
    stages: Sequence[Stage], stamps: Path, *, announce: Callable[[str], None] = lambda _: None
) -> None:
    """Bring every stage up to date, in order, and announce one line for each.

    Raises:
        ValueError: A result was made with other settings, or training with another input.
    """
    refuse_changed(stages, stamps)
    by_name = {stage.name: stage for stage in stages}
    width = max(len(stage.name) for stage in stages)
    for number, stage in enumerate(stages, start=1):
        inputs = {name: digest(by_name[name].outputs) for name in stage.needs}
        verdict = judge(stage, read_stamp(stamps, stage), inputs)
        title = f"[{number}/{len(stages)}] {stage.name:<{width}} "
        if verdict is Verdict.skip:
            announce(f"{title} {verdict.value}")
        else:
            _run_stage(stage, verdict, inputs, stamps, lambda end, t=title: announce(f"{t} {end}"))


def refuse_changed(stages: Sequence[Stage], stamps: Path) -> None:
    """Check all stages before any work.

    Raises:
        ValueError: Results exist that were made with other settings; names them.
    """
    changed = [
        (stage, lines)
        for stage in stages
        if (stamp := read_stamp(stamps, stage)) and _is_kept(stage, stamp)
        if (lines := config_differences(stamp.settings, stage.settings))
    ]
    if not changed:
        return
    folders = [str(stage.folder) for stage, _ in changed]
    if any(stage.is_long for stage, _ in changed):
        folders = [str(stamps.parent)]
    differences = dict.fromkeys(line for _, lines in changed for line in lines)
    raise ValueError(
        f"{stamps.parent} holds results of another configuration ({'; '.join(differences)}). "
        "Give the same settings to go on with them, name another folder with run=FOLDER, or "
        f"delete {' '.join(folders)} to make them again"
    )


def judge(stage: Stage, stamp: Stamp | None, inputs: Mapping[str, str]) -> Verdict:
    """Whether a stage has to run, given its stamp and the current digests of its inputs.

    Raises:
        ValueError: A long stage was made from other inputs.
    """
    if stamp is None or not stage.folder.exists():
        return Verdict.begin
    if stamp.inputs != inputs:
        if stage.is_long:
            changed = [name for name in inputs if stamp.inputs.get(name) != inputs[name]]
            raise ValueError(
                f"{stage.folder} was made from another result of stage {' and '.join(changed)} "
                f"than the one that is there now; delete {stage.folder} to make it again, or name "
                "another folder with run=FOLDER"
            )
        return Verdict.redo
    same = stamp.settings == plain(stage.settings)
    if same and stamp.finished and all(path.exists() for path in stage.outputs):
        return Verdict.skip
    return Verdict.resume if stage.is_long else Verdict.begin


def stamps_of(run: RunFolder) -> Path:
    """The folder with the stamps of a run's stages."""
    return run.path / "stages"


def seconds_spent(stamps: Path) -> dict[str, float]:
    """Time that each finished stage took, over all interruptions, in the order of finishing.

    Raises:
        ValueError: A stamp is damaged.
    """
    paths = sorted(stamps.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    found = {path.stem: _load_stamp(path) for path in paths}
    return {name: stamp.seconds for name, stamp in found.items() if stamp.finished}


def read_stamp(stamps: Path, stage: Stage) -> Stamp | None:
    """The stamp of a stage, or None when it was never started.

    Raises:
        ValueError: The file is damaged.
    """
    path = _stamp_path(stamps, stage)
    return _load_stamp(path, f" and {stage.folder}") if path.exists() else None


def digest(outputs: Sequence[Path]) -> str:
    """Hash of the names and bytes of files, and of everything below folders but hidden files.

    Caches, such as the index of a dataset, are hidden files.
    """
    total = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for output in outputs:
        files = sorted(_visible_files(output)) if output.is_dir() else [output]
        for path in (path for path in files if path.is_file()):
            total.update(str(path.relative_to(output.parent)).encode())
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, hashlib.blake2b).digest())
    return total.hexdigest()


def read_settings(stamps: Path, name: str) -> dict[str, Any] | None:
    """What the result of a stage was made with; None where the stage was never begun.

    Raises:
        ValueError: The stamp is damaged.
    """
    path = stamps / f"{name}.json"
    return dict(_load_stamp(path).settings) if path.exists() else None


def written_files(stamps: Path, name: str) -> list[str] | None:
    """Files that a stage wrote, relative to the job's folder; None where no list was kept."""
    path = _list_path(stamps, name)
    return path.read_text().splitlines() if path.exists() else None


def _load_stamp(path: Path, results: str = "") -> Stamp:
    """A stamp; `results` are to be deleted with it where it is damaged."""
    try:
        content = read_json(path)
        if not isinstance(content["settings"], dict):
            raise TypeError("settings is no mapping")
        return Stamp(**content | {"seconds": float(content.get("seconds", 0.0))})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path} is not a stage stamp of this version of genie_robo ({error}); delete "
            f"{path}{results} to make that stage again"
        ) from error


def _visible_files(folder: Path) -> list[Path]:
    """Files below a folder that are not hidden, and in no hidden folder."""
    return [path for path in _all_files(folder) if not _is_hidden(path, folder)]


def _all_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() or path.is_symlink()]


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _run_stage(
    stage: Stage,
    verdict: Verdict,
    inputs: Mapping[str, str],
    stamps: Path,
    announce: Callable[[str], None],
) -> None:
    before = read_stamp(stamps, stage)
    if before is None:
        _list_path(stamps, stage.name).unlink(missing_ok=True)
    elif not stage.is_long:
        _remove_own_files(stage, stamps)
    spent = before.seconds if before and verdict is Verdict.resume else 0.0
    stamp = Stamp(settings=plain(stage.settings), inputs=inputs, seconds=spent)
    path = _stamp_path(stamps, stage)
    _write_stamp(path, stamp)
    started = time.monotonic()
    try:
        with _listing_files(stage, stamps):
            stage.run()
    except BaseException:
        stamp = replace(stamp, seconds=spent + time.monotonic() - started)
        with suppress(OSError):  # a full disk may be what stopped the stage
            _write_stamp(path, stamp)
        announce(f"stopped ({stamp.seconds:.0f} s)")
        raise
    stamp = replace(stamp, finished=True, seconds=spent + time.monotonic() - started)
    _write_stamp(path, stamp)
    announce(f"{verdict.value} ({stamp.seconds:.0f} s)")


def _remove_own_files(stage: Stage, stamps: Path) -> None:
    """Remove what the stage wrote, so that it can be made again.

    Raises:
        ValueError: There are other files in its folder; names them.
    """
    own = {stamps.parent.absolute() / line for line in written_files(stamps, stage.name) or ()}
    present = _all_files(stage.folder.absolute())
    others = [path for path in present if path not in own and not path.name.startswith(CACHE)]
    if others:
        folder = stage.folder.absolute()
        shown = ", ".join(str(path.relative_to(folder)) for path in sorted(others)[:_SHOWN])
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        raise ValueError(
            f"{stage.folder} has to be made again, but holds files that stage {stage.name} did not "
            f"write: {shown}{more}. Move them to another folder, or delete {stage.folder}"
        )
    for path in present:
        path.unlink()
    for folder in sorted(stage.folder.rglob("*"), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    _list_path(stamps, stage.name).unlink(missing_ok=True)


@contextmanager
def _listing_files(stage: Stage, stamps: Path) -> Iterator[None]:
    """Keep the list of the files that a stage writes, also when its process is killed."""
    job = stamps.parent.absolute()
    kept = set(written_files(stamps, stage.name) or ())
    present = set(_all_files(stage.folder))
    path = _list_path(stamps, stage.name)

    def line(file: Path) -> str:
        return os.path.relpath(file.absolute(), job)

    def note(written: Path) -> None:
        text = f"{line(written)}\n"
        with explaining_no_space(path, num_bytes=len(text)), path.open("a") as lines:
            lines.write(text)

    def complete() -> None:
        made = {line(file) for file in _all_files(stage.folder) if file not in present}
        write_atomic(path, "".join(f"{each}\n" for each in sorted(kept | made)))

    try:
        with noting_writes(note):
            yield
    except BaseException:
        with suppress(OSError):
            complete()
        raise
    complete()


def _is_kept(stage: Stage, stamp: Stamp) -> bool:
    """Finished results and unfinished long stages are never silently replaced."""
    return stage.folder.exists() and (stamp.finished or stage.is_long)


def _stamp_path(stamps: Path, stage: Stage) -> Path:
    return stamps / f"{stage.name}.json"


def _list_path(stamps: Path, name: str) -> Path:
    return stamps / f"{name}.files"


def _write_stamp(path: Path, stamp: Stamp) -> None:
    write_atomic(path, json.dumps(asdict(stamp), indent=2) + "\n")
