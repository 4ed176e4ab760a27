"""The viewer opens recordings, reports missing ones in one line, and leaves no process behind."""

import importlib.util
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import genie_robo.viz.viewer
from genie_robo.commands.command import UsageError
from genie_robo.commands.table import COMMANDS
from genie_robo.commands.view import run as view
from genie_robo.config import ViewConfig
from genie_robo.viz.rollout import write_rollouts
from genie_robo.viz.viewer import find_viewer, open_window, serve_web, web_address

PAGE = Path(__file__).parents[2] / "docs" / "viewer.md"


@pytest.fixture(scope="module")
def run(tmp_path_factory, make_view) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "demo"
    write_rollouts(folder / "rollouts" / "rollouts.rrd", {"": make_view()}, name="demo")
    return folder


@pytest.fixture
def fake_viewer(tmp_path, monkeypatch):
    """A viewer that writes down its arguments and stops with a chosen status."""

    def make(status: int) -> Path:
        script = tmp_path / "rerun"
        script.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/words\nexit {status}\n')
        script.chmod(0o755)
        monkeypatch.setattr(genie_robo.viz.viewer, "find_viewer", lambda: script)
        return tmp_path / "words"

    return make


def _free_port() -> int:
    """A port that is free, as is the next one."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port < 65535 and not _is_open(port + 1):
            return port


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_viewer_is_the_executable_and_not_its_wrapper():
    words = [find_viewer(), "--version"]
    version = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "0.41" in version
    with find_viewer().open("rb") as file:
        assert file.read(2) != b"#!", "killing a script leaves the viewer running"


def test_absent_viewer_is_reported(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"viewer is not installed.*pip install 'rerun-sdk"):
        find_viewer()


def test_window_opens_all_recordings_of_a_run(run, fake_viewer, monkeypatch):
    words = fake_viewer(0)
    monkeypatch.setenv("DISPLAY", ":0")
    before = signal.getsignal(signal.SIGTERM)
    view(ViewConfig(run=str(run)))
    assert words.read_text().split() == ["--port", "auto", f"{run}/rollouts/rollouts.rrd"]
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("place", ["rollouts", "rollouts/rollouts.rrd"])
def test_window_opens_a_recording_or_a_folder_of_them(run, place, fake_viewer, monkeypatch, capsys):
    words = fake_viewer(0)
    monkeypatch.setenv("DISPLAY", ":0")
    view(ViewConfig(path=str(run / place)))
    assert words.read_text().split()[2:] == [f"{run}/rollouts/rollouts.rrd"]
    size_mb = (run / "rollouts" / "rollouts.rrd").stat().st_size / 1e6
    assert capsys.readouterr().out.splitlines() == [
        f"1 recording(s) in {run}/rollouts:",
        f"  rollouts.rrd  {size_mb:.1f} MB",
    ]


@pytest.mark.parametrize("words", [{}, {"run": "runs/demo", "path": "a.rrd"}])
def test_a_run_or_a_path_is_wanted(words):
    with pytest.raises(UsageError, match=r"one of run=FOLDER and path=RECORDING_OR_FOLDER"):
        view(ViewConfig(**words))


def test_missing_path_is_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no recording or folder .*gone\.rrd"):
        view(ViewConfig(path=str(tmp_path / "gone.rrd")))


def test_dataset_is_distinguished_from_recordings(tmp_path):
    (tmp_path / "1.0.0").mkdir()
    (tmp_path / "1.0.0" / "features.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"dataset and no rec.*genie-robo inspect path="):
        view(ViewConfig(path=str(tmp_path)))


@pytest.mark.parametrize("place", ["rollouts", "rollouts/rollouts.rrd"])
def test_recordings_given_as_a_run_are_reported(run, place):
    with pytest.raises(
        FileNotFoundError, match=r"is no run folder; look at it with: genie-robo view path="
    ):
        view(ViewConfig(run=str(run / place)))


def test_runs_next_to_a_missing_one_are_listed(tmp_path):
    for name in ("demo", "bridge"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"no run folder .*dmo; runs in .*: bridge, demo;"):
        view(ViewConfig(run=str(tmp_path / "dmo")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"no recording", r"c\.rrd is not a Rerun recording"),
        (lambda data: data[:5] + b"\x63" + data[6:], r"c\.rrd was written by Rerun 0\.99, newer"),
    ],
)
def test_foreign_or_newer_recording_is_reported(run, tmp_path, change, message):
    data = (run / "rollouts" / "rollouts.rrd").read_bytes()
    (tmp_path / "c.rrd").write_bytes(change(data))
    for place in (tmp_path, tmp_path / "c.rrd"):
        with pytest.raises(ValueError, match=message):
            view(ViewConfig(path=str(place)))


def test_viewer_that_fails_is_reported(run, fake_viewer, monkeypatch):
    fake_viewer(3)
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    with pytest.raises(ValueError, match=r"stopped with status 3.*serve=true"):
        open_window([run / "rollouts" / "rollouts.rrd"])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can lack a display")
def test_no_display_is_reported(run, fake_viewer, monkeypatch):
    words = fake_viewer(0)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(ValueError, match=r"no display to open a window on.*add serve=true"):
        view(ViewConfig(run=str(run)))
    assert not words.exists()


def test_server_that_fails_is_reported(run, fake_viewer):
    fake_viewer(2)
    with pytest.raises(ValueError, match=r"did not open port \d+ \(status 2\)"):
        serve_web([run], port=_free_port(), announce=lambda address: None)


def test_server_that_stops_is_reported(run, tmp_path, monkeypatch):
    port = _free_port()
    script = tmp_path / "rerun"
    listen = f"import socket; s = socket.create_server(('127.0.0.1', {port})); s.accept()"
    script.write_text(f'#!/bin/sh\n{sys.executable} -c "{listen}"\nexit 4\n')
    script.chmod(0o755)
    monkeypatch.setattr(genie_robo.viz.viewer, "find_viewer", lambda: script)
    announced = []
    with pytest.raises(ValueError, match="the web viewer stopped with status 4"):
        serve_web([run], port=port, announce=announced.append)
    assert announced == [web_address(port)]


@pytest.mark.parametrize("offset", [0, 1])
def test_port_in_use_is_reported(run, offset):
    port = _free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port + offset))
        taken.listen()
        with pytest.raises(ValueError, match=f"port {port + offset}.* is in use.*port=NUMBER"):
            view(ViewConfig(run=str(run), serve=True, port=port))


@pytest.mark.parametrize("port", [0, -1, 65535, 70000])
def test_port_out_of_range_is_reported(run, port):
    with pytest.raises(ValueError, match=f"port={port} must be between 1 and 65534"):
        view(ViewConfig(run=str(run), serve=True, port=port))


def test_missing_run_is_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no run folder .*gone.*genie-robo demo run="):
        view(ViewConfig(run=str(tmp_path / "gone")))


def test_run_without_recordings_is_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no recordings in .*genie-robo imagine run="):
        view(ViewConfig(run=str(tmp_path)))
    with pytest.raises(FileNotFoundError, match=r"no recordings \(\*\.rrd\) in"):
        view(ViewConfig(path=str(tmp_path)))


def test_truncated_recording_of_a_run_is_reported(run, tmp_path):
    data = (run / "rollouts" / "rollouts.rrd").read_bytes()
    rollouts = tmp_path / "rollouts"
    rollouts.mkdir()
    (rollouts / "cut.rrd").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"cut\.rrd is cut short or damaged"):
        view(ViewConfig(run=str(tmp_path)))


def test_served_page_answers_and_stops_with_the_command(run):
    port = _free_port()
    code = (
        "from genie_robo.commands.view import run as view; "
        "from genie_robo.config import ViewConfig; "
        f"view(ViewConfig(run={str(run)!r}, serve=True, port={port}))"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    pipe = subprocess.PIPE
    server = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)
    try:
        assert server.stdout is not None
        lines = [server.stdout.readline() for _ in range(3)]
        assert lines[0] == f"1 recording(s) in {run}/rollouts:\n"
        assert lines[1].startswith("  rollouts.rrd  0.")
        assert lines[2] == f"viewer: {web_address(port)}\n"
        with urllib.request.urlopen(web_address(port)) as page:
            assert b"<canvas" in page.read()
        assert _is_open(port + 1), "the data"
    finally:
        server.terminate()
        _, errors = server.communicate(timeout=20)
    assert server.returncode == 0
    assert "http" not in errors, "only the address that opens the page is printed"
    deadline = time.monotonic() + 10
    while _is_open(port) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _is_open(port), "the viewer's own process has ended"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children of killed processes")
def test_a_killed_view_leaves_no_viewer_on_its_port(run):
    port = _free_port()
    code = (
        "from genie_robo.commands.view import run as view; "
        "from genie_robo.config import ViewConfig; "
        f"view(ViewConfig(run={str(run)!r}, serve=True, port={port}))"
    )
    command = [sys.executable, "-c", code]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    while not server.stdout.readline().startswith("viewer: "):
        assert server.poll() is None
    server.kill()
    server.wait()
    server.stdout.close()
    deadline = time.monotonic() + 10
    while _is_open(port) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _is_open(port)


def test_command_is_described():
    command = COMMANDS["view"]
    assert (command.name, command.config) == ("view", ViewConfig)
    assert all(example.startswith("genie-robo view ") for example in command.examples)


def test_the_code_on_the_page_reads_a_recording(make_view, tmp_path, monkeypatch, capsys):
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    write_rollouts(tmp_path / "runs/demo/rollouts/episode_000.rrd", {"": make_view()}, name="demo")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(block, names)
    assert "/camera/imagined" in capsys.readouterr().out
