"""Files at an address, by fsspec: their sizes and their bytes, never more in memory than a chunk.

User names, passwords and signatures in an address are sent, and never shown.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import quote

from genie_robo.command_line import without_secrets

_EXTRA = "pip install 'genie-robo[remote]'"
_PROTOCOLS = {
    "http": _EXTRA,
    "https": _EXTRA,
    "s3": "pip install s3fs",
    "gs": "pip install gcsfs",
    "gcs": "pip install gcsfs",
    "memory": _EXTRA,
}
"""What each needs. Others of fsspec are refused, because some of them execute code."""
_VERSIONS = ("ETag", "etag", "md5Hash", "Last-Modified", "LastModified", "updated", "created")
"""What file systems call a value that changes with a file's content."""
_CREDENTIALS = (
    "give a user and a password or a signed address for https://, see docs/data.md for s3:// and "
    "gs://"
)
_CHUNK = 2**23
_TIMEOUT_S = 60


class Stored(NamedTuple):
    """A file, as its server describes it."""

    num_bytes: int
    version: str
    """Changes with the content; empty where the server has no such value."""


class Server:
    """The files of a folder at an address."""

    def __init__(self, address: str) -> None:
        """Name a folder; nothing is asked yet.

        Raises:
            ValueError: No address of this kind can be read.
        """
        self.name = without_secrets(address).rstrip("/")
        """The address without secrets, for people."""
        protocol = address.partition("://")[0].lower()
        if protocol not in _PROTOCOLS or "::" in address:
            raise ValueError(
                f"data.path={self.name} is not an address that can be read; give a local folder "
                f"without a protocol, or one that begins with {', '.join(_PROTOCOLS)} and ://"
            )
        self._address, self._protocol = address, protocol
        self._opened: tuple[int, Any] | None = None
        """A process and its file system; what a process opens does not work in those it forks."""

    def find(self, name: str) -> Stored | None:
        """What the server says of a file; None where there is none.

        Raises:
            OSError: It cannot be read.
            ValueError: It does not say how large the file is.
        """
        system = self._system()
        try:
            with self._explained(name):
                info = system.info(self._at(name))
        except FileNotFoundError:
            return None
        if info.get("type") == "directory":
            return None
        size = info.get("size")
        if not isinstance(size, int) or size < 0:
            raise ValueError(
                f"the server does not say how large {self.name}/{name} is, so it cannot be cached "
                "safely; download the folder and give its path"
            )
        version = next((str(info[key]) for key in _VERSIONS if info.get(key)), "")
        return Stored(size, version)

    def chunks(self, name: str, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        """Bytes of a file and their place, from `start` on or, where the server cannot, from 0.

        Raises:
            OSError: They cannot be read.
        """
        system, address = self._system(), self._at(name)
        with self._explained(name):
            chunks = _streamed if self._protocol.startswith("http") else _ranged
            opened = chunks(system, address, start, stop)
        while True:
            with self._explained(name):
                found = next(opened, None)
            if found is None:
                return
            yield found

    def _system(self) -> Any:
        """The file system of the address, one for all threads of this process."""
        if self._opened is not None and self._opened[0] == os.getpid():
            return self._opened[1]
        try:
            import fsspec

            self._opened = os.getpid(), fsspec.filesystem(self._protocol, **self._options())
            return self._opened[1]
        except ImportError as error:
            raise ImportError(
                f"data.path={self.name} needs a package that is not installed: "
                f"{_PROTOCOLS[self._protocol]}"
            ) from error

    def _options(self) -> dict[str, Any]:
        if not self._protocol.startswith("http"):
            return {}
        from aiohttp import ClientTimeout

        timeout = ClientTimeout(total=None, sock_connect=_TIMEOUT_S, sock_read=_TIMEOUT_S)
        client = {
            "timeout": timeout,
            "auto_decompress": False,
            "headers": {"Accept-Encoding": "identity"},
        }
        return {"client_kwargs": client, "encoded": "%" in self._address}

    def _at(self, name: str) -> str:
        """The address of a file; what follows a `?`, such as a signature, stays at the end."""
        place, mark, query = self._address.partition("?")
        name = quote(name) if self._protocol.startswith("http") else name
        return f"{place.rstrip('/')}/{name}{mark}{query}"

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        """Errors of any file system as ours, without secrets and what led to them."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  each file system raises errors of its own
            raise _explanation(error, f"{self.name}/{name}") from None


def _streamed(system: Any, address: str, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
    """Bytes of one answer of an HTTP server, never more in memory than one chunk."""
    headers = {"Range": f"bytes={start}-"} if start else {}
    with system.open(address, "rb", block_size=0, size=stop, headers=headers) as stream:
        answer = stream.r
        is_part = answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        place = start if start and answer.status == 206 and is_part else 0
        while chunk := stream.read(_CHUNK):
            yield place, chunk
            place += len(chunk)


def _ranged(system: Any, address: str, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
    """Bytes of an object store, by one request for each chunk."""
    stop = min(stop, system.info(address)["size"])
    while start < stop:
        chunk = system.cat_file(address, start=start, end=min(start + _CHUNK, stop))
        if not chunk:
            return
        yield start, chunk
        start += len(chunk)


def _explanation(error: Exception, name: str) -> OSError:
    """An error of a file system, in our words."""
    is_lost = isinstance(error, FileNotFoundError) and isinstance(error.__cause__, Exception)
    cause = error.__cause__ if is_lost and error.__cause__ is not None else error
    status = getattr(cause, "status", None)
    if isinstance(cause, FileNotFoundError) or status in (404, 410):
        return FileNotFoundError(f"{name} is not there")
    reason = without_secrets(f"{type(cause).__name__}: {cause}")
    is_refused = isinstance(cause, PermissionError) or status in (401, 403)
    if is_refused or "Credentials" in type(cause).__name__:
        return PermissionError(f"{name} may not be read ({reason}); {_CREDENTIALS}")
    return ConnectionError(f"{name} cannot be read ({reason})")
