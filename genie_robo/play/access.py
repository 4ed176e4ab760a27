"""Which requests the page answers, by address, site of origin, size and rate."""

import logging
import re
import time
from weakref import WeakKeyDictionary, WeakSet

from nicegui import Client
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_logger = logging.getLogger(__name__)
MAX_UPLOAD_BYTES = 20_000_000
MAX_MESSAGE_BYTES = 65_536
"""Of one message on a socket, and of the body of any request but an upload."""
MULTIPART_BYTES = 10_000
"""Allowed around the image of an upload: boundaries and headers of its form."""
_WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104 (recognised, not listened on)
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::[0-9]{1,5})?", re.IGNORECASE)
_UPLOAD = re.compile(r"/_nicegui/client/([0-9a-f-]+)/upload/")


class RateLimit:
    """A token bucket for each key, forgotten together with the key."""

    def __init__(self, *, rate_hz: float, burst: int) -> None:
        """Admit `burst` at once, and `rate_hz` a second in the long run."""
        self._rate_hz, self._burst = rate_hz, burst
        self._buckets: WeakKeyDictionary[object, tuple[float, float]] = WeakKeyDictionary()

    def admits(self, key: object) -> bool:
        """Whether one more is within the limit; it counts if so."""
        now = time.monotonic()
        tokens, counted_s = self._buckets.get(key, (self._burst, now))
        tokens = min(self._burst, tokens + (now - counted_s) * self._rate_hz)
        is_admitted = tokens >= 1
        self._buckets[key] = (tokens - is_admitted, now)
        return is_admitted


class Access:
    """ASGI middleware for HTTP and the socket.

    The Host header must be a served name: a foreign name that resolves to this machine (DNS
    rebinding) makes a foreign site same-origin. The Origin header must be the page's own.
    """

    def __init__(self, app: ASGIApp, *, names: frozenset[str]) -> None:
        """Guard an app that is served under these names (see `served_names`)."""
        self._app, self._names = app, names
        self._rate = RateLimit(rate_hz=0.5, burst=5)
        self._uploading: WeakSet[Client] = WeakSet()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        uploader = _uploader(scope)
        refusal = self._refuse(scope, uploader)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        try:
            if uploader is not None:
                self._uploading.add(uploader)
            await self._app(scope, receive, _unframed(send))
        except ValueError as error:
            if scope["type"] == "http":
                raise
            # Engine.IO lets what it cannot parse end as an error of the server.
            _logger.warning("a socket sent a malformed frame (%.200s) and was closed", error)
            await send({"type": "websocket.close", "code": 1002})
        finally:
            if uploader is not None:
                self._uploading.discard(uploader)

    def _refuse(self, scope: Scope, uploader: Client | None) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        if not self._is_served(host, scope):
            return PlainTextResponse(
                f"play is not served under the name {host[:100]!r}, but as "
                f"{', '.join(sorted(self._names))}; to allow it, start play with "
                "allowed_hosts=[NAME]\n",
                status_code=400,
            )
        if _is_foreign(headers, host):
            return PlainTextResponse("only play's own page may ask this\n", status_code=403)
        if scope["type"] == "websocket":
            return None
        return _refuse_size(headers, is_upload=uploader is not None) or self._refuse_rate(uploader)

    def _is_served(self, host: str, scope: Scope) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match[1] or match[2]
        server = scope.get("server")
        # Where all addresses are served, a request may name the one that it arrived at.
        is_arrival = (
            server is not None and name == server[0] and not _WILDCARDS.isdisjoint(self._names)
        )
        return name in self._names or is_arrival

    def _refuse_rate(self, uploader: Client | None) -> PlainTextResponse | None:
        if uploader is None:
            return None
        if uploader in self._uploading or not self._rate.admits(uploader):
            return PlainTextResponse("too many images at once; wait a moment\n", status_code=429)
        return None


def _uploader(scope: Scope) -> Client | None:
    """The page whose upload this is."""
    match = _UPLOAD.match(scope["path"])
    return Client.instances.get(match[1]) if match else None


def _is_foreign(headers: Headers, host: str) -> bool:
    """Whether another site sent this; links to the page from elsewhere are fine."""
    own = (f"http://{host}", f"https://{host}")
    if any(origin.lower() not in own for origin in headers.getlist("origin")):
        return True
    is_elsewhere = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
    return is_elsewhere and headers.get("sec-fetch-dest") != "document"


def _refuse_size(headers: Headers, *, is_upload: bool) -> PlainTextResponse | None:
    """The server itself holds a body to its announced length."""
    if "transfer-encoding" in headers:
        return PlainTextResponse("give the length of the body\n", status_code=411)
    limit = MAX_UPLOAD_BYTES + MULTIPART_BYTES if is_upload else MAX_MESSAGE_BYTES
    if int(headers.get("content-length", 0)) > limit:
        return PlainTextResponse(f"at most {limit} bytes are taken\n", status_code=413)
    return None


def _unframed(send: Send) -> Send:
    """Forbid other sites to show the page inside theirs, where they could steer clicks."""

    async def send_unframed(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["X-Frame-Options"] = "DENY"
        await send(message)

    return send_unframed
