"""Results about a dataset that are kept for next time, in the user's cache folder.

Files are named by a digest, never by a name that a dataset gives. Their content is checked where
it is read; a file that does not fit is ignored and replaced.
"""

import hashlib
import logging
import os
from pathlib import Path

from genie_robo.run_folder import write_atomic

CACHE_VARIABLE = "GENIE_ROBO_CACHE"
"""Environment variable that names another cache folder."""
_ID_BYTES = 8

_log = logging.getLogger(__name__)


def digest(*parts: bytes) -> str:
    """blake2b of byte strings, as 16 hexadecimal characters."""
    return hashlib.blake2b(b"".join(parts), digest_size=_ID_BYTES).hexdigest()


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
