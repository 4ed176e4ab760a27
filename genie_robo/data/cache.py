"""Results about a dataset that are kept for next time, in the user's cache folder.

Files are named by a digest, never by a name that a dataset gives. Their content is checked where
it is read; a file that does not fit is ignored and replaced.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from genie_robo.run_folder import write_atomic
from genie_robo.stored_files import parse_json, read_bytes

CACHE_VARIABLE = "GENIE_ROBO_CACHE"
"""Environment variable that names another cache folder."""
_ID_BYTES = 8
_MAX_BYTES = 2**30
"""Of a file with a stamp: the index of some million records."""
NOT_CACHED = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)
"""Raised by reading a file of the cache that holds something else."""

_log = logging.getLogger(__name__)


def digest(*parts: bytes) -> str:
    """blake2b of byte strings one after the other, as 16 hexadecimal characters."""
    return digest_all(parts)


def digest_all(parts: Iterable[bytes]) -> str:
    """The same of any number of parts, of which one is in memory at a time."""
    state = hashlib.blake2b(digest_size=_ID_BYTES)
    for part in parts:
        state.update(part)
    return state.hexdigest()


def cache_folder() -> Path:
    """$GENIE_ROBO_CACHE, else genie_robo in $XDG_CACHE_HOME, else ~/.cache/genie_robo."""
    if own := os.environ.get(CACHE_VARIABLE):
        return Path(own).expanduser()
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # which the XDG specification ignores
        try:
            base = Path("~/.cache").expanduser()
        except RuntimeError:  # no home: nothing can be kept
            base = Path(os.devnull)
    return base / "genie_robo"


def cache_file(kind: str, *identity: str) -> Path:
    """The file that keeps one kind of result about what `identity` describes."""
    name = digest(*(f"{len(part)}:{part}".encode(errors="surrogatepass") for part in identity))
    return cache_folder() / f"{kind}_{name}.json"


def write_cache(file: Path, text: str) -> bool:
    """Write a file of the cache; False when that is impossible."""
    try:
        write_atomic(file, text)
    except OSError as error:
        _log.debug("cannot write %s: %s", file, error)
        return False
    return True


def file_stamp(version: int, files: Iterable[Path], *, folder: Path) -> str:
    """Digest of names below `folder`, sizes and times of those files that exist."""
    stats = []
    for file in files:
        try:
            found = file.stat()
        except OSError:
            continue
        name = file.relative_to(folder).as_posix()
        stats.append((name, found.st_size, found.st_mtime_ns, found.st_ctime_ns))
    return digest(json.dumps([version, stats]).encode())


def write_stamped(file: Path, stamp: str, content: Mapping[str, Any]) -> bool:
    """Write a result that is valid as long as its stamp stays; False when that is impossible."""
    stamped = {"stamp": stamp, **content}
    return write_cache(file, json.dumps({"checksum": _checksum(stamped), **stamped}))


def read_stamped(file: Path, stamp: str) -> dict[str, Any] | None:
    """A result of `write_stamped`; None if it is damaged or its stamp is another one.

    Raises:
        OSError: There is no such file.
        Exception: One of NOT_CACHED; it is none of our files.
    """
    content = parse_json(read_bytes(file, max_bytes=_MAX_BYTES))
    if content.pop("checksum") != _checksum(content) or content.pop("stamp") != stamp:
        return None
    return content


def _checksum(content: Mapping[str, Any]) -> str:
    return digest(json.dumps(content).encode())
