"""What a browser's socket may send: messages of its own page, of limited size and rate."""

import logging
from collections.abc import Callable
from typing import Any

from nicegui import Client
from socketio import AsyncServer

from genie_robo.play.access import MAX_MESSAGE_BYTES, RateLimit

_logger = logging.getLogger(__name__)
_OF_A_PAGE = ("event", "javascript_response", "ack", "log")
"""Messages that name the page they belong to; NiceGUI believes the name."""
_MALFORMED = (LookupError, TypeError, ValueError, AttributeError)
"""Raised by NiceGUI and Socket.IO when a message has another form than the page's script sends."""


class SocketGuard:
    """Stands between sockets and the handlers of NiceGUI.

    A page has at most 50 messages a second, more are ignored; people press fewer keys. A socket
    that sends what no page sends is disconnected.
    """

    def __init__(self, server: AsyncServer, *, max_sockets: int) -> None:
        """Guard a server, once."""
        self._server, self._max_sockets = server, max_sockets
        self._rate = RateLimit(rate_hz=50.0, burst=100)
        server.eio.max_http_buffer_size = MAX_MESSAGE_BYTES
        server.eio.logger.setLevel(logging.CRITICAL)  # otherwise a trace for each malformed packet
        self._connect = server.eio.handlers["connect"]
        self._receive = server.eio.handlers["message"]
        server.eio.on("connect", self._on_connect)
        server.eio.on("message", self._on_message)
        handlers = server.handlers["/"]
        for name in _OF_A_PAGE:
            server.on(name, self._of_own_page(handlers[name]))
        server.on("handshake", self._first(handlers["handshake"]))

    async def _on_connect(self, socket_id: str, environ: dict[str, Any]) -> bool | None:
        if len(self._server.eio.sockets) > self._max_sockets:
            return False
        return await self._connect(socket_id, environ)

    async def _on_message(self, socket_id: str, data: str | bytes) -> None:
        # Pages send text only; the attachments of a binary message would be kept without limit.
        if isinstance(data, bytes) or data.startswith(("5", "6")):
            await self._refuse(socket_id, "a binary message")
            return
        try:
            await self._receive(socket_id, data)
        except _MALFORMED as error:
            await self._refuse(socket_id, f"a malformed message ({error!r})")

    def _of_own_page(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        """Run a handler for messages in the name of the page that the socket shook hands with."""

        async def guarded(sid: str, message: dict[str, Any]) -> None:
            client = Client.instances.get(message["client_id"])
            if client is None:  # its page was closed in the meantime
                return
            if client.id not in self._server.rooms(sid):
                await self._refuse_sender(sid, "a message in the name of another page")
            elif self._rate.admits(client):
                handler(sid, message)

        return self._well_formed(guarded)

    def _first(self, handshake: Callable[..., Any]) -> Callable[..., Any]:
        """Let a socket shake hands with one page only."""

        async def guarded(sid: str, message: dict[str, Any]) -> bool:
            if any(room in Client.instances for room in self._server.rooms(sid)):
                return False
            return await handshake(sid, message)

        return self._well_formed(guarded)

    def _well_formed(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        async def guarded(sid: str, *arguments: Any) -> Any:
            try:
                return await handler(sid, *arguments)
            except _MALFORMED as error:
                await self._refuse_sender(sid, f"a malformed message ({error!r})")
                return False

        return guarded

    async def _refuse_sender(self, sid: str, found: str) -> None:
        await self._refuse(self._server.manager.eio_sid_from_sid(sid, "/"), found)

    async def _refuse(self, socket_id: str | None, found: str) -> None:
        socket = self._server.eio.sockets.get(socket_id)
        if socket is None:
            return
        _logger.warning("a socket sent %.200s and was disconnected", found)
        await socket.close(wait=False)
        await socket.queue.put(None)  # ends the writer, and with it a websocket
