import re
from types import SimpleNamespace

import pytest
import torch

from genie_robo.commands import doctor
from genie_robo.commands.doctor import State
from genie_robo.models.attention import time_backends


def only(findings):
    (finding,) = findings
    return finding


def test_doctor_prints_every_check_and_succeeds(run_cli, monkeypatch):
    monkeypatch.setattr(
        doctor, "_render_elsewhere", lambda kind: "crashes" if kind == "egl" else ""
    )
    outcome = run_cli("doctor")
    assert outcome.status == 0
    for what in ("Python", "PyTorch", "xformers", "renderer raycast", "TensorFlow", "memory"):
        assert what in outcome.out
    assert "crashes" in outcome.out
    assert "libegl1" in outcome.out
    (attention,) = (line for line in outcome.out.splitlines() if " attention " in line)
    for backend in time_backends(torch.device("cuda" if torch.cuda.is_available() else "cpu")):
        assert re.search(rf"\b{backend} \d+\.\d ms", attention)


def test_raycast_renderer_draws_in_its_own_process():
    assert doctor._render_elsewhere("raycast") == ""


def test_renderer_that_cannot_draw_says_why():
    assert "vulkan" in doctor._render_once("vulkan")


@pytest.mark.parametrize(("version", "state"), [((3, 10, 2), State.broken), ((3, 12, 0), State.ok)])
def test_python_version(monkeypatch, version, state):
    monkeypatch.setattr(doctor.sys, "version_info", version)
    finding = only(doctor.check_python())
    assert finding.state is state
    assert (finding.fix == "") is (state is State.ok)


def test_missing_extras_come_with_the_line_that_installs_them(monkeypatch):
    monkeypatch.setattr(doctor, "package_version", lambda package: None)
    assert "genie-robo[tf]" in only(doctor.check_tensorflow()).fix
    assert "genie-robo[cuda]" in only(doctor.check_xformers()).fix
    assert only(doctor.check_viewer()).state is State.broken


def test_viewer_without_a_display_is_served(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(doctor.sys, "platform", "linux")
    assert "serve=true" in only(doctor.check_viewer()).fix
    monkeypatch.setenv("DISPLAY", ":0")
    assert only(doctor.check_viewer()).state is State.ok


def test_robots_of_the_menagerie(monkeypatch, tmp_path):
    monkeypatch.setenv("MENAGERIE_ROOT", str(tmp_path))
    assert only(doctor.check_robots()).found == str(tmp_path)
    monkeypatch.setenv("MENAGERIE_ROOT", str(tmp_path / "nowhere"))
    assert "export MENAGERIE_ROOT" in only(doctor.check_robots()).fix


def test_small_machine_is_warned(monkeypatch):
    monkeypatch.setattr(doctor, "memory_bytes", lambda: 2 * 2**30)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=2**30))
    states = {finding.what: finding.state for finding in doctor.check_machine()}
    assert states == {"cores": State.ok, "memory": State.optional, "disk": State.broken}
