"""A folder served by HTTP from this machine, by servers that are good or bad in one way."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import NamedTuple


class Served(NamedTuple):
    address: str
    asked: list[tuple[str, str, int]]
    """Method, name of the file and first byte of every request."""


class Behaviour:
    """What a good server does; tests override one thing."""

    has_ranges = True
    has_etag = True
    has_length = True

    def status(self, handler: BaseHTTPRequestHandler) -> int:
        return 200

    def body(self, name: str, content: bytes, start: int) -> Iterator[bytes]:
        yield content


@contextmanager
def serving(folder: Path, behaviour: Behaviour | None = None) -> Iterator[Served]:
    server = _Server(folder, behaviour or Behaviour())
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Served(f"http://127.0.0.1:{server.server_port}/{folder.name}", server.asked)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, folder: Path, behaviour: Behaviour) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.behaviour = folder, behaviour
        self.asked: list[tuple[str, str, int]] = []


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        name, start, content = self._answer()
        with suppress(ConnectionError):  # the client has seen enough
            for part in self.server.behaviour.body(name, content[start:], start) if name else ():
                self.wfile.write(part)

    def _answer(self) -> tuple[str, int, bytes]:
        """Send the headers; name, first byte and content of what was asked for."""
        folder, behaviour = self.server.folder, self.server.behaviour
        name = self.path.partition("?")[0].removeprefix(f"/{folder.name}/")
        found = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(found[1]) if found and behaviour.has_ranges else 0
        self.server.asked.append((self.command, name, start))
        status = behaviour.status(self) if (folder / name).is_file() else 404
        if status != 200:
            self.send_error(status)
            return "", 0, b""
        content = (folder / name).read_bytes()
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if behaviour.has_length:
            self.send_header("Content-Length", str(len(content) - start))
        if behaviour.has_etag:
            self.send_header("ETag", f'"{hash(content)}"')
        self.end_headers()
        return name, start, content

    def log_message(self, *_: object) -> None:
        pass
