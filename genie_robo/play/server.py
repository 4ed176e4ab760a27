"""Serve the page of a game until Ctrl-C."""

import socket
from collections.abc import Callable
from pathlib import Path

from nicegui import Event, app, ui

from genie_robo.play.game import Game
from genie_robo.play.page import Page, Session
from genie_robo.play.start import Starts
from genie_robo.play.turns import Turns


def serve(
    make_game: Callable[[], Game],
    *,
    starts: Starts,
    record: Callable[[Game], Path],
    title: str,
    note: str,
    host: str,
    port: int,
    browser: bool,
    announce: Callable[[str], None],
) -> None:
    """Play in a web page; returns or raises KeyboardInterrupt when the server is stopped.

    Args:
        make_game: Called once, in the thread where the game will be played.
        starts: What the player may begin from.
        record: Writes the session so far.
        title: What the page is headed with.
        note: What is to be known about its robot keys.
        host: Address to listen on.
        port: One that `free_port` gave.
        browser: Open the page.
        announce: Gets the address before the first page, and the speed at the end.
    """
    session = make_session(make_game, starts=starts, record=record, title=title, note=note)
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    app.on_startup(lambda: announce(f"play: {address}\nCtrl-C stops it"))

    try:
        ui.run(
            lambda: show_page(session),
            host=host,
            port=port,
            title=f"play {title}",
            show=browser,
            reload=False,
            show_welcome_message=False,
            timeout_graceful_shutdown=1,
        )
    finally:
        session.turns.call(session.game.close)
        session.turns.close()
        announce(session.game.speed)


def make_session(
    make_game: Callable[[], Game],
    *,
    starts: Starts,
    record: Callable[[Game], Path],
    title: str,
    note: str = "",
) -> Session:
    """Build the game in the thread where it will be played."""
    changed, said = Event[[]](), Event[[str]]()
    turns = Turns(changed=changed.emit, say=said.emit)
    return Session(
        title=title,
        note=note,
        game=turns.call(make_game),
        starts=starts,
        record=record,
        turns=turns,
        changed=changed,
        said=said,
    )


def show_page(session: Session) -> None:
    """Draw the page for a new browser tab."""
    Page(session)


def free_port(host: str, port: int) -> int:
    """The port itself, or any free one for 0.

    Raises:
        ValueError: Something listens there already, or this machine has no such address.
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"port={port} must be between 1 and 65535, or 0 for any free one")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family) as probe:
            return probe.getsockname()[1]
    except OSError as error:
        reason = str(error.strerror).split(" (")[0]
        raise ValueError(
            f"cannot listen on port {port} of {host} ({reason}); stop what listens there, "
            f"choose another with port=NUMBER, or take any free one with port=0"
        ) from error
