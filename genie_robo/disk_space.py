"""Writes that a full disk, a quota or a size limit stops, as one sentence with path and space."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NO_INODES = "the disk has no inodes left, which means too many files; delete some"
_REASONS = {
    errno.ENOSPC: "the disk is full; make room",
    errno.EDQUOT: "the quota on this disk is used up; make room",
    errno.EFBIG: "files may not be that large here; raise the limit (ulimit -f)",
}
_PROBE_BYTES = 2**16


class NoSpaceError(OSError):
    """A file did not fit; the message has its path, the space that it needs and what to do."""


@contextmanager
def explaining_no_space(path: Path, *, num_bytes: int) -> Iterator[None]:
    """Explain errors of writing `path`, which needs `num_bytes`.

    Raises:
        NoSpaceError: The block ran out of space.
    """
    try:
        yield
    except OSError as error:
        if is_no_space(error):
            raise no_space(error, path, num_bytes=num_bytes) from error
        raise


def is_no_space(error: OSError) -> bool:
    """Whether a full disk, a quota or a size limit has caused an error, not explained yet."""
    return error.errno in _REASONS


def no_space(
    error: OSError, path: Path, *, num_bytes: int | None = None, num_written: int = 0
) -> NoSpaceError:
    """The error to raise in place of one of the system.

    Where `num_bytes`, the space needed, is not known, it is more than `num_written`.
    """
    assert error.errno is not None
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    has_no_inodes = error.errno == errno.ENOSPC and _has_no_inodes(folder)
    reason = _NO_INODES if has_no_inodes else _REASONS[error.errno]
    free = f" ({_size(shutil.disk_usage(folder).free)} are free)"
    needed = f"more than {_size(num_written)}" if num_written else "more space"
    if num_bytes is not None:
        needed = _size(num_bytes)
    return NoSpaceError(
        f"cannot write {path}, which needs {needed}{'' if error.errno == errno.EFBIG else free}: "
        f"{reason}, then run the same command again"
    )


def check_growth(file: Path) -> None:
    """Check that a file can grow; for libraries that hide why they could not write it.

    Raises:
        OSError: It cannot; the number tells why.
    """
    if not file.is_file():
        return
    with file.open("ab") as grown:
        grown.write(bytes(_PROBE_BYTES))
        grown.flush()
        os.fsync(grown.fileno())


def _has_no_inodes(folder: Path) -> bool:
    if not hasattr(os, "statvfs"):
        return False
    disk = os.statvfs(folder)
    return disk.f_files > 0 and disk.f_favail == 0


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.1f} MB" if num_bytes >= 1e5 else f"{num_bytes:,} bytes"
