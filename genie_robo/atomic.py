"""Files and folders that appear complete or not at all, and what killed processes left of them."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from genie_robo.disk_space import is_no_space, no_space

_TEMPORARY = re.compile(r"\..+\.(?P<process>\d+)\.(tmp|mp4|png)")
"""Names of unfinished files and folders; earlier versions ended those of videos and images in mp4
and png."""
_on_write: ContextVar[Callable[[Path], None] | None] = ContextVar("on_write", default=None)


@contextmanager
def replacing(path: Path, *, num_bytes: int | None = None) -> Iterator[Path]:
    """A temporary path to write a file or a folder to, which then takes the place of `path`.

    It is removed if the block fails; what killed processes left for the same path goes as well.
    `num_bytes` is the space needed, where it is known.

    Raises:
        NoSpaceError: It does not fit on the disk.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{_literal(path.name)}.*.tmp"):
            _remove_if_left(left)
        yield temporary
        if notify := _on_write.get():
            for file in _files_below(temporary):
                notify(path / file.relative_to(temporary))
        if temporary.is_dir() and path.is_dir():
            shutil.rmtree(path)
        temporary.replace(path)
    except OSError as error:
        if is_no_space(error):
            written = _written_bytes(temporary)
            raise no_space(error, path, num_bytes=num_bytes, num_written=written) from error
        raise
    finally:
        remove(temporary)


def remove(path: Path) -> None:
    """Remove a file or a folder that may not exist."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files and folders of processes that do not run any more."""
    for left in [path for path in folder.rglob(".*") if _TEMPORARY.fullmatch(path.name)]:
        _remove_if_left(left)


@contextmanager
def noting_writes(note: Callable[[Path], None]) -> Iterator[None]:
    """Call `note` with the path of each file just before it appears."""
    token = _on_write.set(note)
    try:
        yield
    finally:
        _on_write.reset(token)


def _files_below(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]


def _written_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in _files_below(path) if file.exists())


def _remove_if_left(path: Path) -> None:
    found = _TEMPORARY.fullmatch(path.name)
    if found and not _is_running(int(found["process"])):
        remove(path)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _literal(name: str) -> str:
    """A name as a pattern that fits this name only."""
    return re.sub(r"([*?[])", r"[\1]", name)
