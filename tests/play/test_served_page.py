"""The page on its real server, spoken to without a browser."""

import asyncio
import gc
import io
import re
import time
import uuid
import weakref

import httpx
import numpy as np
import pytest
from aiohttp import ClientSession
from nicegui import Client, core, ui
from PIL import Image
from socketio import AsyncClient

from genie_robo.inference.world import GenieWorld
from genie_robo.play import page
from genie_robo.play.access import MAX_MESSAGE_BYTES, MAX_UPLOAD_BYTES
from genie_robo.play.controls import _read_steer
from genie_robo.play.game import Game
from genie_robo.play.page import MAX_TABS, UNCONNECTED_S, free_closed_pages
from genie_robo.play.session import make_session
from tests.play.conftest import SAMPLER, served, wait_for

http = httpx.Client()


@pytest.fixture(scope="module")
def session(trained, prompts):
    def make() -> Game:
        world = GenieWorld(trained.genie, sampler=SAMPLER)
        return Game(world, prompts.episode(0).prompt, num_codes=5)

    return make_session(make, prompts=prompts, record=lambda _: None, title="runs/mine")


@pytest.fixture(scope="module")
def address(session):
    """Of the page."""
    with served(session) as address:
        yield address
        http.close()


@pytest.fixture(autouse=True)
def close_pages(address):
    yield
    asyncio.run_coroutine_threadsafe(forget_pages(), core.loop).result(10)


async def forget_pages():
    core.sio.eio.sockets.clear()
    for client in list(Client.instances.values()):
        for task in client._delete_tasks.values():
            task.cancel()
        client.delete()


class Tab:
    """What a browser tab does: load the page, open its socket, send events."""

    def __init__(self, address):
        self.address, self.tab_id = address, str(uuid.uuid4())
        self.client = open_page(address)
        self.socket = AsyncClient(reconnection=False)

    async def __aenter__(self):
        await connect(self.socket, self.address, self.client, self.tab_id)
        return self

    async def __aexit__(self, *_):
        await self.socket.disconnect()

    def press(self, marker, event="click"):
        """The event of a click on a button, or of another kind."""
        buttons = [e for e in self.client.elements.values() if isinstance(e, ui.button)]
        (button,) = [button for button in buttons if marker in button._markers]
        listener = next(e for e in button._event_listeners.values() if e.type == event)
        return {
            "id": button.id,
            "client_id": self.client.id,
            "listener_id": listener.id,
            "args": ['{"button": 0}'],
        }

    async def send(self, message, event="event"):
        """Send, and wait until the server has read it."""
        await self.socket.emit(event, message)
        await asyncio.sleep(0.2)


async def connect(socket, address, client, tab_id, **query):
    query = {"client_id": client.id, "tab_id": tab_id, "document_id": str(uuid.uuid4())} | query
    words = {"implicit_handshake": "true", "next_message_id": "0"} | query
    await socket.connect(
        f"{address}?{httpx.QueryParams(words)}",
        socketio_path="/_nicegui_ws/socket.io",
        transports=["websocket"],
    )


def open_page(address):
    answer = http.get(address)
    assert answer.status_code == 200, answer.text
    return Client.instances[re.search(r"'client_id': '([0-9a-f-]+)'", answer.text)[1]]


def image_bytes(size=(8, 8)):
    content = io.BytesIO()
    Image.fromarray(np.full((*size, 3), 200, np.uint8)).save(content, "PNG")
    return content.getvalue()


def upload(client, address, content, name="cup.png"):
    (element,) = [e for e in client.elements.values() if isinstance(e, ui.upload)]
    return http.post(address + element.props["url"], files={"file": (name, content, "image/png")})


@pytest.fixture
def actions(session):
    session.game.reset()
    return lambda: [action.name for action in session.game.actions]


def test_a_tab_presses_its_own_buttons_only(address, actions):
    async def story():
        async with Tab(address) as mine, Tab(address) as other:
            await mine.send(mine.press("key-1"))
            wait_for(lambda: actions() == ["1"])
            await mine.send(other.press("key-2"))
            assert actions() == ["1"]
            assert not mine.socket.connected
            await other.send(other.press("key-3"))
            wait_for(lambda: actions() == ["1", "3"])

    asyncio.run(story())


def test_a_tab_that_closes_releases_what_it_holds(address, session, actions):
    async def story():
        async with Tab(address) as mine:
            await mine.send(mine.press("key-1", "pointerdown"))
            wait_for(lambda: len(actions()) > 1)
        await asyncio.sleep(1)

    asyncio.run(story())
    stopped = actions()
    assert set(stopped) == {"1"}
    time.sleep(2 / session.game.frame_hz)
    assert actions() == stopped


@pytest.mark.parametrize(
    "given",
    [None, {}, "steer", [0.0, 0.0], [0, 0, "1"], [0, 0, 2.0], [0, 0, float("nan")], [[0]] * 3],
)
def test_what_is_no_direction_of_a_stick_is_ignored(given):
    assert _read_steer(given) is None


def test_the_direction_of_a_stick():
    assert _read_steer([0, -1, 0.5]).tolist() == [0.0, -1.0, 0.5]


@pytest.mark.parametrize("event", ["javascript_response", "ack", "log"])
def test_nothing_else_is_said_in_the_name_of_another_tab(address, event):
    async def story():
        async with Tab(address) as mine, Tab(address) as other:
            own = {"request_id": "x", "next_message_id": 0, "level": "info", "message": "hi"}
            await mine.send(own | {"client_id": mine.client.id}, event)
            assert mine.socket.connected
            await mine.send(own | {"client_id": other.client.id}, event)
            assert not mine.socket.connected
            assert other.socket.connected

    asyncio.run(story())


def test_a_socket_shakes_hands_with_one_page(address, actions):
    async def story():
        other = open_page(address)
        async with Tab(address) as mine:
            message = {"client_id": other.id, "tab_id": mine.tab_id, "document_id": "d"}
            assert await mine.socket.call("handshake", message) is False
            assert not other.has_socket_connection

    asyncio.run(story())


def test_a_socket_that_shook_no_hands_presses_nothing(address, actions):
    async def story():
        async with Tab(address) as other:
            stranger = AsyncClient(reconnection=False)
            await connect(
                stranger, address, other.client, "another tab", implicit_handshake="false"
            )
            await stranger.emit("event", other.press("key-2"))
            await asyncio.sleep(0.2)
            assert (actions(), stranger.connected) == ([], False)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ("event", None),
        ("event", []),
        ("event", {}),
        ("event", {"client_id": ["a list"]}),
        ("event", "missing listener"),
        ("log", "missing level"),
        ("event", b"binary"),
    ],
)
def test_malformed_messages_end_their_socket_alone(address, event, message, caplog):
    async def story():
        async with Tab(address) as mine, Tab(address) as other:
            own = {"client_id": mine.client.id, "id": 0, "listener_id": "none", "args": []}
            await mine.send(own if isinstance(message, str) else message, event)
            await asyncio.sleep(0.1)
            assert not mine.socket.connected
            assert other.socket.connected

    asyncio.run(story())
    assert "was disconnected" in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("frame", ["x", "4x", "42[", "44", '451-["event"]'])
def test_malformed_frames_end_their_socket_without_a_trace(address, frame, caplog):
    async def story():
        async with ClientSession() as web:
            path = f"{address}/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
            async with web.ws_connect(path) as raw:
                for text in ("40", frame):  # connects to the namespace, see the protocol
                    await raw.send_str(text)
                assert [message.type.name async for message in raw][-1] == "TEXT"
                assert raw.closed

    asyncio.run(asyncio.wait_for(story(), 10))
    assert "malformed" in caplog.text or "binary" in caplog.text
    assert "Traceback" not in caplog.text
    assert http.get(address).status_code == 200


def test_a_message_that_is_too_large_ends_its_socket(address):
    async def story():
        async with Tab(address) as mine:
            await mine.send({"client_id": mine.client.id, "args": ["x" * MAX_MESSAGE_BYTES]})
            wait_for(lambda: not mine.client.has_socket_connection)
            assert not mine.client.has_socket_connection

    asyncio.run(story())
    assert http.get(address).status_code == 200


def test_a_flood_of_events_is_thinned(address, actions, monkeypatch):
    async def story():
        async with Tab(address) as mine:
            seen = []
            monkeypatch.setattr(mine.client, "handle_event", seen.append)
            press = mine.press("key-1")
            for _ in range(500):
                await mine.socket.emit("event", press)
            await asyncio.sleep(0.5)
            assert 100 <= len(seen) < 300
            assert mine.socket.connected

    asyncio.run(story())


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"}]
)
def test_page_and_socket_check_host_and_origin(address, headers):
    path = f"{address}/_nicegui_ws/socket.io/?EIO=4&transport"
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version": "13",
    }
    codes = [
        http.get(address, headers=headers).status_code,
        http.get(f"{path}=polling", headers=headers).status_code,
        http.get(f"{path}=websocket", headers=headers | upgrade).status_code,
    ]
    assert codes == [400 if "Host" in headers else 403] * 3


def test_the_page_says_that_the_game_is_shared(address):
    assert "one game, shared by all open tabs" in http.get(address).text


def test_the_next_tab_is_refused_and_pages_without_a_socket_make_room(address, monkeypatch):
    monkeypatch.setattr(page, "MAX_TABS", 3)
    assert [http.get(address).status_code for _ in range(4)] == [200, 200, 200, 503]
    assert "play shows at most 3 tabs" in http.get(f"{address}/elsewhere").text
    assert len(Client.instances) == 3

    for client in list(Client.instances.values())[:2]:
        client.created -= UNCONNECTED_S
    assert http.get(address).status_code == 200
    assert len(Client.instances) == 2


def test_a_closed_page_leaves_nothing_behind(address, session):
    client = open_page(address)
    (label, *_) = [e for e in client.elements.values() if "status" in e.classes]
    gone = [weakref.ref(client), weakref.ref(label)]
    assert len(session.said.callbacks) == 1
    del client, label
    asyncio.run_coroutine_threadsafe(forget_pages(), core.loop).result(10)
    for _ in range(2):
        free_closed_pages()
        gc.collect()
    wait_for(lambda: [ref() for ref in gone] == [None, None])
    assert session.said.callbacks == []


def test_sockets_are_bounded(address):
    query = {"EIO": "4", "transport": "polling"}
    path = f"{address}/_nicegui_ws/socket.io/"
    codes = [http.get(path, params=query).status_code for _ in range(2 * MAX_TABS + 2)]
    assert codes == [200] * (2 * MAX_TABS) + [401] * 2
    assert http.get(address).status_code == 200


def test_an_uploaded_image_is_the_prompt(address, session):
    assert upload(open_page(address), address, image_bytes()).status_code == 200
    wait_for(lambda: session.game.prompt.title == "cup.png")


def test_uploads_are_bounded_in_size_and_rate(address, session):
    client, before = open_page(address), session.game.prompt
    assert upload(client, address, b"x" * (MAX_UPLOAD_BYTES + 20_000)).status_code == 413
    codes = [upload(client, address, b"no image").status_code for _ in range(6)]
    assert codes == [200] * 5 + [429]
    assert upload(open_page(address), address, b"no image").status_code == 200
    assert session.game.prompt is before
