"""Names, origins, sizes and rates, without a server."""

import asyncio
from typing import NamedTuple

import pytest

from genie_robo.play.access import MAX_MESSAGE_BYTES, Access, RateLimit
from genie_robo.play.address import served_names

OWN = "127.0.0.1:8090"
LOCAL = served_names("127.0.0.1", ())


class Answer(NamedTuple):
    status: int
    text: str
    headers: dict[str, str]


def ask(*headers, kind="http", names=LOCAL, arrived_at="127.0.0.1"):
    """What a server behind `Access` answers: 200 where the request is passed on."""

    async def served(scope, receive, send):
        await send({"type": f"{kind}.response.start", "status": 200, "headers": []})
        await send({"type": f"{kind}.response.body", "body": b""})

    scope = {
        "type": kind,
        "path": "/",
        "server": (arrived_at, 8090),
        "headers": [(name.encode(), value.encode()) for name, value in headers],
        "extensions": {"websocket.http.response": {}},
    }
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(Access(served, names=names)(scope, None, send))
    start, body = sent
    got = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], body["body"].decode(), got)


def status(*headers, **settings):
    """Of the page and of its socket, which must agree."""
    page, socket = (ask(*headers, kind=kind, **settings) for kind in ("http", "websocket"))
    assert page.status == socket.status
    return page.status


@pytest.mark.parametrize("host", [OWN, "localhost:9000", "LocalHost", "[::1]:8090", "127.0.0.1"])
def test_localhost_is_served_on_any_port(host):
    assert status(("host", host)) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8090",
        "localhost.evil.example",
        "127.0.0.1.evil.example:8090",
        "evil@localhost",
        "localhost:8090:80",
        "localhost/",
        "192.168.1.7:8090",
        "",
    ],
)
def test_other_names_are_refused(host):
    assert status(("host", host)) == 400


def test_the_refusal_says_how_to_allow_a_name():
    text = ask(("host", "robot7.lan")).text
    assert "not served under the name 'robot7.lan', but as 127.0.0.1, ::1, localhost" in text
    assert "allowed_hosts=[NAME]" in text


@pytest.mark.parametrize(
    ("host", "allowed_hosts", "named", "expected"),
    [
        ("127.0.0.1", ["Robot7.lan"], "robot7.LAN:8090", 200),
        ("127.0.0.1", ["robot7.lan"], "x.robot7.lan", 400),
        ("10.0.0.5", [], "10.0.0.5:8090", 200),
        ("10.0.0.5", [], "10.0.0.6:8090", 400),
        ("0.0.0.0", [], "10.0.0.9:8090", 200),  # the address that the connection arrived at
        ("0.0.0.0", [], "10.0.0.6:8090", 400),
        ("0.0.0.0", [], "evil.example", 400),
        ("0.0.0.0", ["robot7.lan"], "robot7.lan:8090", 200),
        ("127.0.0.1", [], "10.0.0.9:8090", 400),
        ("::1", ["fd00::7"], "[fd00::7]:8090", 200),
    ],
)
def test_names_of_other_machines(host, allowed_hosts, named, expected):
    names = served_names(host, allowed_hosts)
    assert status(("host", named), names=names, arrived_at="10.0.0.9") == expected


@pytest.mark.parametrize("name", ["*", "http://robot7.lan", "robot7.lan:8090", "", "a b"])
def test_what_is_no_name_cannot_be_allowed(name):
    with pytest.raises(ValueError, match=r"allowed_hosts: '.*' is no host name"):
        served_names("127.0.0.1", ["localhost", name])


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (f"http://{OWN}", 200),
        (f"https://{OWN}", 200),
        ("http://evil.example", 403),
        ("http://127.0.0.1:8091", 403),
        ("http://localhost:8090", 403),
        (f"http://{OWN}.evil.example", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_requests_of_another_site_are_refused(origin, expected):
    assert status(("host", OWN), ("origin", origin)) == expected


def test_the_second_of_two_origins_is_checked_too():
    origins = [("origin", f"http://{OWN}"), ("origin", "http://evil.example")]
    assert status(("host", OWN), *origins) == 403


@pytest.mark.parametrize(
    ("site", "destination", "expected"),
    [
        ("none", "document", 200),
        ("same-origin", "script", 200),
        ("cross-site", "document", 200),  # a link
        ("cross-site", "image", 403),
        ("cross-site", "iframe", 403),
        ("same-site", "script", 403),  # another port of this machine
    ],
)
def test_other_sites_may_link_but_not_embed(site, destination, expected):
    metadata = [("sec-fetch-site", site), ("sec-fetch-dest", destination)]
    assert status(("host", OWN), *metadata) == expected


def test_no_site_may_frame_the_page():
    assert ask(("host", OWN)).headers["x-frame-options"] == "DENY"


def test_bodies_are_bounded_before_they_are_read():
    assert ask(("host", OWN), ("content-length", str(MAX_MESSAGE_BYTES))).status == 200
    assert ask(("host", OWN), ("content-length", str(MAX_MESSAGE_BYTES + 1))).status == 413
    assert ask(("host", OWN), ("transfer-encoding", "chunked")).status == 411


def test_a_bucket_fills_again_and_each_key_has_its_own(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("genie_robo.play.access.time.monotonic", lambda: now[0])
    limit, first, second = RateLimit(rate_hz=2.0, burst=3), lambda: 1, lambda: 2
    assert [limit.admits(first) for _ in range(5)] == [True, True, True, False, False]
    assert limit.admits(second)
    now[0] += 0.5
    assert [limit.admits(first) for _ in range(2)] == [True, False]
    now[0] += 60
    assert [limit.admits(first) for _ in range(4)] == [True, True, True, False]
    del second
    assert len(limit._buckets) == 1
