"""The Rerun viewer as a process: a window, or a web page that this machine serves."""

import contextlib
import ctypes
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

HOST = "127.0.0.1"
_EXECUTABLES = ("Rerun.app/Contents/MacOS/Rerun", "rerun", "rerun.exe")
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")
_START_TIMEOUT_S = 60.0
_PR_SET_PDEATHSIG = 1
"""Of prctl (Linux): the signal that a process gets when its parent ends."""


def open_window(recordings: Sequence[Path]) -> None:
    """Show recordings in the native viewer; returns when its window is closed.

    Raises:
        FileNotFoundError: the viewer is not installed.
        ValueError: there is no display, or the viewer cannot start on it.
    """
    viewer = find_viewer()
    check_display()
    with _process([str(viewer), "--port", "auto", *map(str, recordings)]) as process:
        status = process.wait()
    if status:
        raise ValueError(
            f"the Rerun viewer stopped with status {status}, its own message is above; "
            f"serve=true shows the same in a browser"
        )


def serve_web(recordings: Sequence[Path], *, port: int, announce: Callable[[str], None]) -> None:
    """Serve a web viewer on this machine only, with its data on `port` + 1, until stopped.

    `announce` gets the address as soon as the page can be opened.

    Raises:
        FileNotFoundError: the viewer is not installed.
        ValueError: a port is out of range or taken, or the server stops by itself.
    """
    viewer = find_viewer()
    check_ports(port)
    command = [str(viewer), "--serve-web", "--bind", HOST, "--web-viewer-port", str(port)]
    command += ["--port", str(port + 1), *map(str, recordings)]
    with _process(command) as process:
        _wait_until_open(process, port)
        announce(web_address(port))
        process.wait()
    raise ValueError(
        f"the web viewer stopped with status {process.returncode}, its own message is above"
    )


def web_address(port: int) -> str:
    """The address of the page of `serve_web`."""
    data = quote(f"rerun+http://{HOST}:{port + 1}/proxy", safe="")
    return f"http://{HOST}:{port}/?hide_welcome_screen=1&url={data}"


def find_viewer() -> Path:
    """The viewer itself, not its Python wrapper: a killed wrapper leaves the viewer running.

    Raises:
        FileNotFoundError: it is not installed in this Python environment.
    """
    package = importlib.util.find_spec("rerun_cli")
    if package is not None and package.origin is not None:
        for name in _EXECUTABLES:
            executable = Path(package.origin).parent / name
            if executable.is_file():
                return executable
    raise FileNotFoundError(
        "the Rerun viewer is not installed in this Python environment; "
        "install it with: pip install 'rerun-sdk>=0.41,<0.42'"
    )


def check_display() -> None:
    """Refuse to open a window where there is no display.

    Raises:
        ValueError: Linux, without X and without Wayland.
    """
    if sys.platform == "linux" and not any(os.environ.get(name) for name in _DISPLAYS):
        raise ValueError(
            f"no display to open a window on (neither {' nor '.join(_DISPLAYS)} is set); "
            "add serve=true and open the printed address in a browser"
        )


def check_ports(port: int) -> None:
    """Refuse ports of `serve_web`, this one and the next, that are out of range or taken.

    Raises:
        ValueError: One of the two cannot be used.
    """
    check_port_range(port)
    for number in (port, port + 1):
        _check_port(number, web_port=port)


def check_port_range(port: int) -> None:
    """Refuse a port without a next one.

    Raises:
        ValueError: It is out of range.
    """
    if not 1 <= port <= 65534:
        raise ValueError(f"port={port} must be between 1 and 65534")


def _check_port(number: int, *, web_port: int) -> None:
    with socket.socket() as probe:
        if probe.connect_ex((HOST, number)) == 0:
            data = "" if number == web_port else f", which port={web_port} needs for the data,"
            raise ValueError(
                f"port {number}{data} is in use; stop what listens there or choose another "
                f"with port=NUMBER"
            )


def _wait_until_open(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.05)
    raise ValueError(
        f"the web viewer did not open port {port} (status {process.poll()}); "
        f"its own message is above"
    )


def _end_with_parent() -> Callable[[], None] | None:
    """What a child of this process calls first, so that it ends when this one is killed."""
    if sys.platform != "linux":
        return None
    # Loaded before the fork, after which little is safe.
    set_option = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def begin() -> None:
        set_option(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it was killed meanwhile
            os._exit(1)

    return begin


def _quiet() -> dict[str, str]:
    """Settings of a viewer that only warns: what it reports holds addresses that open no page."""
    plain = {} if sys.stderr.isatty() else {"NO_COLOR": "1"}
    return {"RUST_LOG": "warn", **plain}


@contextlib.contextmanager
def _process(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A child process that ends with the block."""
    process = subprocess.Popen(  # noqa: S603 our own executable and words, no shell
        command, preexec_fn=_end_with_parent(), env=_quiet() | os.environ
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()
