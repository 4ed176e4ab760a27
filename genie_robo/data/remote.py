"""A folder that lies elsewhere, cached here: its files are fetched whole when they are needed.

All cached files together stay below a limit; those that were used longest ago are removed first,
never one that is being read or fetched. Any number of processes and threads share the cache. Names
and sizes that a server or a dataset gives are checked before anything is written.
"""

import logging
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from filelock import FileLock

from genie_robo.data.cache import cache_folder, digest
from genie_robo.data.server import Server, Stored
from genie_robo.disk_space import explaining_no_space
from genie_robo.progress import progress_bar
from genie_robo.run_folder import write_atomic

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be removed anyway
    fcntl = None

LIMIT_VARIABLE = "GENIE_ROBO_CACHE_GB"
"""Environment variable that limits the disk space of all cached files."""
_LIMIT_GB = 50.0
_FOLDER = "remote"
_STATE = ".state"
"""Unfinished files, locks and notes of a cached folder; no file of a dataset is kept in it."""
_PART = ".part"
_LOCK = ".lock"
_KEPT = (".json", ".tmp")
"""Ends of the names of small files, which are needed to open a dataset or about to be complete."""
_MOST_FILES = 100_000
_LOOK_UPS = 16
"""Files whose sizes are asked for at a time."""
_ATTEMPTS = 6
_WAIT_S = 0.5
"""Before the second attempt; doubled before each further one."""
BAR_AFTER_S = 5.0

_Result = TypeVar("_Result")
Fetched = Callable[[float], None]
"""Called with the megabytes of each part that arrives."""

_log = logging.getLogger(__name__)


class RemoteFolder:
    """A folder at an address, and its files in the cache, which lie in `folder` by their names.

    `look_up` comes first; `holding` and `read` then fetch what is missing.
    """

    def __init__(self, address: str) -> None:
        """Name a folder; nothing is asked of its server yet.

        Raises:
            ValueError: No address of this kind can be read.
        """
        self._server = Server(address)
        self.name = self._server.name
        """The address without secrets, for people."""
        base = cache_folder() / _FOLDER / digest(self.name.encode())
        parts = [_plain(part) for part in self.name.partition("://")[2].split("/") if part]
        self.folder = base.joinpath(*parts[-2:])
        """Where the cached files lie."""
        self._state = base / _STATE
        self._stored: dict[Path, Stored] = {}
        self._good: dict[Path, tuple[int, int]] = {}
        """Inode and time of cached files that are known to be of the version looked up."""
        self._fetched_again: set[Path] = set()

    def __repr__(self) -> str:
        return f"RemoteFolder({self.name})"

    @contextmanager
    def named(self) -> Iterator[None]:
        """Name the address instead of the cached copy in errors about the dataset."""
        try:
            yield
        except (FileNotFoundError, ValueError) as error:
            said = str(error)
            if str(self.folder) not in said:
                raise
            kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
            raise kind(said.replace(str(self.folder), self.name)) from error

    def fetch_text(self, name: str, *, max_bytes: int) -> bool:
        """Fetch a small file anew; False where there is none.

        Raises:
            OSError: The server cannot be read.
            ValueError: The file is too large.
        """
        try:
            content = self._retrying(lambda: self._whole(name, max_bytes))
        except FileNotFoundError:
            return False
        file = self.folder / name
        if not file.exists() or file.read_bytes() != content:
            write_atomic(file, content)
        return True

    def look_up(self, files: Sequence[Path]) -> None:
        """Ask for size and version of files, once for each.

        Raises:
            OSError: The server cannot be read.
            ValueError: It does not say how large a file is, or there are too many.
        """
        if len(files) > _MOST_FILES:
            raise ValueError(
                f"{self.name} lists {len(files)} shards with records, more than {_MOST_FILES}; "
                "name some with data.shards"
            )
        new = [file for file in files if file not in self._stored]
        if not new:
            return
        with ThreadPoolExecutor(_LOOK_UPS) as pool:
            described = pool.map(lambda f: self._retrying(lambda: self._info(f)), new)
            for file, found in zip(new, described, strict=True):
                if found is not None:
                    self._stored[file] = found

    def has(self, file: Path) -> bool:
        """Whether a file that was looked up is there."""
        return file in self._stored

    def num_bytes(self, file: Path) -> int:
        """The size of a file that was looked up; 0 where it is not there."""
        return self._stored[file].num_bytes if file in self._stored else 0

    def stamp(self, files: Sequence[Path]) -> list[list[str | int]]:
        """Name, size and version of files that were looked up."""
        return [[file.name, *self._stored[file]] for file in files if file in self._stored]

    @contextmanager
    def holding(self, file: Path, fetched: Fetched | None = None) -> Iterator[int]:
        """Keep a file in the cache while it is read, fetched if it was not there; its inode.

        Raises:
            OSError: It cannot be fetched, or the cache is too small.
            ValueError: The server sends another file than it said.
        """
        held = self._hold(file)
        for _ in range(_ATTEMPTS):
            if held is None:
                self._fetch(file, fetched)
                held = self._hold(file)
        if held is None:
            raise OSError(
                f"{self._shown(file)} left the cache before it could be read, {_ATTEMPTS} times: "
                f"too many processes share {_limit_bytes() / 1e9:g} GB; raise {LIMIT_VARIABLE}"
            )
        try:
            yield os.fstat(held).st_ino
        finally:
            os.close(held)

    def read(self, file: Path, read: Callable[[], _Result]) -> _Result:
        """What `read` gives of a cached file, which is fetched again, once, if it is damaged.

        Raises:
            OSError: It cannot be fetched.
            ValueError: It is damaged at the server too.
        """
        with self.holding(file) as inode:
            try:
                return read()
            except ValueError as error:
                if file in self._fetched_again:
                    raise
                _log.warning(
                    "%s is damaged in the cache (%s); fetching it again", self._shown(file), error
                )
        self._fetch(file, instead_of=inode)
        with self.holding(file):
            try:
                return read()
            except ValueError as error:
                raise ValueError(
                    f"{error}, also after {self._shown(file)} was fetched again: its copy there "
                    "is damaged"
                ) from error

    def _hold(self, file: Path) -> int | None:
        """A descriptor that keeps a good cached file from being removed, or None."""
        try:
            descriptor = os.open(file, os.O_RDONLY)
        except FileNotFoundError:
            return None
        is_good = False
        try:
            _lock(descriptor, shared=True)
            is_good = self._is_good(file, os.fstat(descriptor))
            if is_good:  # the time of the last use; that of the last change stays
                os.utime(descriptor, ns=(time.time_ns(), os.fstat(descriptor).st_mtime_ns))
        except FileNotFoundError:
            is_good = False
        finally:
            if not is_good:
                os.close(descriptor)
        return descriptor if is_good else None

    def _is_good(self, file: Path, found: os.stat_result) -> bool:
        """Whether a cached file is the one at the server, by size and version."""
        if not os.path.samestat(found, file.stat()):
            return False
        if found.st_size != self._stored[file].num_bytes:
            return False
        copy = (found.st_ino, found.st_mtime_ns)
        if self._good.get(file) != copy and self._note(file) == self._describe(file):
            self._good[file] = copy
        return self._good.get(file) == copy

    def _fetch(
        self, file: Path, fetched: Fetched | None = None, *, instead_of: int | None = None
    ) -> None:
        """Fetch a file into the cache, unless another process or thread just did.

        `instead_of` is the inode of a damaged copy.
        """
        self._state.mkdir(parents=True, exist_ok=True)
        with FileLock(self._state / f"{self._key(file)}{_LOCK}"):
            held = self._hold(file)
            if held is not None:
                inode = os.fstat(held).st_ino
                os.close(held)
                if inode != instead_of:
                    return
            if instead_of is not None:
                self._fetched_again.add(file)
            self._download(file, fetched)

    def _download(self, file: Path, fetched: Fetched | None) -> None:
        """Continue or begin the part of a file that is there, and give it its name when whole."""
        stored = self._stored[file]
        self._check_unchanged(file)
        if self._note(file) != self._describe(file):
            file.unlink(missing_ok=True)  # of an earlier version
            self._good.pop(file, None)
        name = digest(self._describe(file).encode())
        part = self._state / f"{name}.{stored.num_bytes}{_PART}"
        with _room(part, stored.num_bytes), _watched(file, stored, part, fetched) as advance:
            self._retrying(lambda: self._append(part, file, advance))
            write_atomic(self._state / f"{self._key(file)}.note", self._describe(file))
            file.parent.mkdir(parents=True, exist_ok=True)
            part.replace(file)

    def _check_unchanged(self, file: Path) -> None:
        now = self._retrying(lambda: self._info(file))
        if now != self._stored[file]:
            raise ValueError(
                f"{self._shown(file)} has changed since the dataset was opened; start again"
            )

    def _append(self, part: Path, file: Path, advance: Fetched) -> None:
        """Fetch what is missing of an unfinished file."""
        total, start = self._stored[file].num_bytes, part.stat().st_size
        if start == total:  # a killed process had all of it
            return
        with explaining_no_space(part, num_bytes=total), part.open("r+b") as output:
            end = output.seek(start)
            for place, chunk in self._server.chunks(self._relative(file), start, total):
                if place + len(chunk) > total:
                    raise ValueError(
                        f"{self._shown(file)} sends more than the {total} bytes that it has; the "
                        "server is broken or not to be trusted"
                    )
                if place != end:  # the server cannot send parts, so it began again
                    output.seek(place)
                    output.truncate()
                output.write(chunk)
                advance(max(0, place + len(chunk) - max(end, start)) / 1e6)
                end = place + len(chunk)
        if end < total:
            raise ConnectionError(f"{self._shown(file)} ended after {end} of {total} bytes")

    def _whole(self, name: str, max_bytes: int) -> bytes:
        """A small file, without a place in the cache."""
        content = bytearray()
        for place, chunk in self._server.chunks(name, 0, max_bytes + 1):
            content[place:] = chunk
            if len(content) > max_bytes:
                raise ValueError(f"{self.name}/{name} has more than {max_bytes} bytes")
        return bytes(content)

    def _info(self, file: Path) -> Stored | None:
        return self._server.find(self._relative(file))

    def _retrying(self, action: Callable[[], _Result]) -> _Result:
        """The result of an action that may fail for a while."""
        for attempt in range(1, _ATTEMPTS):
            try:
                return action()
            except ConnectionError as error:
                wait_s = _WAIT_S * 2 ** (attempt - 1)
                _log.warning("%s; trying again in %g s", error, wait_s)
                time.sleep(wait_s)
        return action()

    def _relative(self, file: Path) -> str:
        return file.relative_to(self.folder).as_posix()

    def _shown(self, file: Path) -> str:
        return f"{self.name}/{self._relative(file)}"

    def _key(self, file: Path) -> str:
        return digest(self._relative(file).encode())

    def _describe(self, file: Path) -> str:
        """What is noted beside a cached file."""
        return (
            f"{self._relative(file)}\n{self._stored[file].num_bytes} {self._stored[file].version}"
        )

    def _note(self, file: Path) -> str:
        with suppress(OSError, ValueError):
            return (self._state / f"{self._key(file)}.note").read_text()
        return ""


@contextmanager
def _watched(file: Path, stored: Stored, part: Path, fetched: Fetched | None) -> Iterator[Fetched]:
    """Where megabytes are told: to the caller, else to a progress bar of this file."""
    done = part.stat().st_size / 1e6
    if fetched is not None:
        fetched(done)
        yield fetched
        return
    total = math.ceil(stored.num_bytes / 1e6)
    with progress_bar(
        f"fetch {file.name}", total=total, unit="MB", completed=int(done), after_s=BAR_AFTER_S
    ) as advance:
        yield advance


def _limit_bytes() -> int:
    """Disk space that all cached files may take.

    Raises:
        ValueError: The environment variable is no positive number.
    """
    typed = os.environ.get(LIMIT_VARIABLE, "")
    try:
        limit = float(typed or _LIMIT_GB)
    except ValueError:
        limit = 0.0
    if not 0 < limit < math.inf:
        raise ValueError(f"{LIMIT_VARIABLE}={typed} must be a positive number of gigabytes")
    return int(limit * 1e9)


class _Cached(NamedTuple):
    """A file of the cache."""

    path: Path
    num_bytes: int
    """Of an unfinished file, those that it will have."""
    used_ns: int


@contextmanager
def _room(part: Path, num_bytes: int) -> Iterator[None]:
    """Reserve space for an unfinished file, and keep it from being removed.

    Raises:
        OSError: It cannot fit.
    """
    root = part.parents[2]
    with FileLock(root / _LOCK):  # so that two processes do not count on the same space
        _make_room(root, part, num_bytes)
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT, 0o666)
        _lock(descriptor, shared=False)
    try:
        yield
    finally:
        os.close(descriptor)


def _make_room(root: Path, part: Path, num_bytes: int) -> None:
    """Remove the files used longest ago until there is room."""
    limit = _limit_bytes()
    others = [cached for cached in _all_cached(root) if cached.path != part]
    excess = sum(cached.num_bytes for cached in others) + num_bytes - limit
    for cached in sorted(others, key=lambda cached: cached.used_ns):
        if excess <= 0:
            break
        if _remove_unused(cached.path):
            excess -= cached.num_bytes
    if excess > 0:
        raise OSError(
            f"a file of {num_bytes / 1e9:.3g} GB does not fit into the cache {root}, which may "
            f"have {limit / 1e9:g} GB of which all that is not in use was removed; raise "
            f"{LIMIT_VARIABLE}"
        )


def _all_cached(root: Path) -> Iterator[_Cached]:
    for path in root.rglob("*"):
        with suppress(FileNotFoundError):
            found = path.lstat()
            if path.is_dir() or (path.parent.name == _STATE and path.suffix != _PART):
                continue
            size = path.suffixes[0][1:] if path.suffix == _PART else ""
            num_bytes = int(size) if size.isdecimal() else found.st_size
            yield _Cached(path, num_bytes, found.st_atime_ns)


def _remove_unused(path: Path) -> bool:
    """Remove a cached file unless it is being read or fetched; whether it is gone."""
    if path.suffix in _KEPT or path.name == _LOCK:
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        _lock(descriptor, shared=False, wait=False)
        path.unlink(missing_ok=True)
    except (BlockingIOError, PermissionError):
        return False
    finally:
        os.close(descriptor)
    return True


def _lock(descriptor: int, *, shared: bool, wait: bool = True) -> None:
    """Lock an open file until it is closed; nothing where the disk or the system cannot."""
    if fcntl is None:
        return
    kind = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    try:
        fcntl.flock(descriptor, kind)
    except BlockingIOError:
        raise
    except OSError as error:
        _log.debug("cannot lock a file of the cache: %s", error)


def _plain(part: str) -> str:
    """A part of an address as the name of a folder."""
    return re.sub(r"[^\w.-]", "_", part).lstrip(".") or "_"
