"""`genie-robo doctor`: what works on this machine, and the fix for what does not."""

import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from enum import Enum
from importlib import util
from pathlib import Path

import torch
from rich.markup import escape
from rich.table import Table

from genie_robo.commands.console import open_console
from genie_robo.config import DoctorConfig
from genie_robo.models.attention import time_backends, xformers_works
from genie_robo.precision import supports_bf16
from genie_robo.provenance import memory_bytes, package_version
from genie_robo.workers import end_with_parent

DEMO_DISK_GB, DEMO_MEMORY_GB = 5, 6
RENDER_TIMEOUT_S = 60

_CUDA = "pip install 'genie-robo[cuda]'"
_RENDERER_FIX = {
    "raycast": "make install",
    "egl": "install a driver with EGL (Debian: libegl1), or keep renderer=auto",
    "osmesa": "install OSMesa (Debian: libosmesa6), or keep renderer=auto",
}
_SCENE = """
<mujoco>
  <worldbody>
    <light pos="0 0 3"/>
    <camera name="camera" pos="0 0 2"/>
    <geom type="box" size=".3 .3 .3" rgba="1 0 0 1"/>
  </worldbody>
</mujoco>
"""


class State(Enum):
    """How a check went, with its colour."""

    ok = "green"
    optional = "yellow"
    broken = "red"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that works or not."""

    what: str
    found: str
    state: State = State.ok
    fix: str = ""
    """What to do; empty where nothing has to be done."""


def run(config: DoctorConfig) -> None:
    """Print every finding; a broken thing is a line in the table, never a failure."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("", "what", "found", "fix"):
        table.add_column(column, overflow="fold")
    for check in CHECKS:
        for finding in check():
            mark = f"[{finding.state.value}]{finding.state.name}[/]"
            table.add_row(mark, finding.what, escape(finding.found), escape(finding.fix))
    open_console().print(table)


def check_python() -> Iterator[Finding]:
    """The interpreter."""
    is_supported = (3, 11) <= sys.version_info < (3, 14)
    fix = "make a new .venv with Python 3.11, 3.12 or 3.13"
    found = ".".join(map(str, sys.version_info[:3]))
    yield _finding("Python", found, fix, works=is_supported, otherwise=State.broken)


def check_torch() -> Iterator[Finding]:
    """PyTorch and the device that `auto` takes."""
    yield Finding("PyTorch", torch.__version__)
    if torch.cuda.is_available():
        yield Finding("GPU", torch.cuda.get_device_name())
        return
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "a CPU build"
    found = f"none that PyTorch sees ({built}); everything runs on the CPU"
    fix = "with an NVIDIA card: install its driver and a CUDA build of torch"
    yield Finding("GPU", found, State.optional, fix)


def check_xformers() -> Iterator[Finding]:
    """Memory-efficient attention, which has kernels for CUDA only."""
    installed = package_version("xformers")
    if installed is None:
        found, state = "not installed; attention falls back to PyTorch", State.optional
    elif not torch.cuda.is_available():
        found, state = f"{installed}, unused: it has no kernels for a CPU", State.ok
    elif xformers_works():
        found, state = f"{installed}, forward and backward run on this GPU", State.ok
    else:
        found, state = f"{installed} refuses tensors on this GPU", State.broken
    yield _finding("xformers", found, _CUDA, works=state is State.ok, otherwise=state)


def check_attention() -> Iterator[Finding]:
    """How fast attention is with every backend of the device."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    times = time_backends(device)
    yield Finding("attention", ", ".join(f"{name} {ms:.1f} ms" for name, ms in times.items()))


def check_renderers() -> Iterator[Finding]:
    """Every renderer, each in a process of its own: a broken GL driver may crash it."""
    for kind, fix in _RENDERER_FIX.items():
        problem = _render_elsewhere(kind)
        otherwise = State.broken if kind == "raycast" else State.optional
        found = problem or "draws"
        yield _finding(f"renderer {kind}", found, fix, works=not problem, otherwise=otherwise)


def check_tensorflow() -> Iterator[Finding]:
    """Used by the cross-check reader and for writing tfrecord, nowhere else."""
    installed = package_version("tensorflow-cpu") or package_version("tensorflow")
    found = installed or "not installed; only writing tfrecord needs it"
    yield _finding("TensorFlow", found, "pip install 'genie-robo[tf]'", works=bool(installed))


def check_viewer() -> Iterator[Finding]:
    """The Rerun viewer and a display to open it on."""
    installed = package_version("rerun-sdk")
    has_display = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    if installed is None:
        yield Finding("Rerun viewer", "not installed", State.broken, "make install")
    elif has_display or sys.platform != "linux":
        yield Finding("Rerun viewer", installed)
    else:
        fix = "serve it to a browser: genie-robo view run=RUN serve=true"
        yield Finding("Rerun viewer", f"{installed}, but no display here", State.optional, fix)


def check_robots() -> Iterator[Finding]:
    """Robots of the Menagerie; the built-in arm needs nothing."""
    root = os.environ.get("MENAGERIE_ROOT", "")
    package = "mujoco-menagerie" if util.find_spec("mujoco_menagerie") else ""
    place = root if root and Path(root).is_dir() else package
    found = place or "MENAGERIE_ROOT names no folder; the built-in arm works"
    fix = "export MENAGERIE_ROOT=FOLDER for record robot=google_robot"
    yield _finding("Menagerie robots", found, fix, works=bool(place))


def check_machine() -> Iterator[Finding]:
    """Cores, memory and disk, compared with what the demo needs."""
    bf16 = "with" if supports_bf16("cpu") else "without"
    yield Finding("cores", f"{os.cpu_count()}, {bf16} bf16 instructions")
    memory, free = memory_bytes() / 2**30, shutil.disk_usage(Path.cwd()).free / 2**30
    fix = "lower data.cache_mb and the batch sizes"
    yield _finding("memory", f"{memory:.0f} GiB", fix, works=memory >= DEMO_MEMORY_GB)
    found = f"{free:.0f} GiB free in this folder"
    fix = f"free {DEMO_DISK_GB} GiB, or put run=FOLDER elsewhere"
    yield _finding("disk", found, fix, works=free >= DEMO_DISK_GB, otherwise=State.broken)


def _finding(
    what: str, found: str, fix: str, *, works: bool, otherwise: State = State.optional
) -> Finding:
    """A finding that comes with a fix only where something does not work."""
    return Finding(what, found) if works else Finding(what, found, otherwise, fix)


def _render_elsewhere(kind: str) -> str:
    """Why this renderer does not draw; empty when it does."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=end_with_parent) as pool:
        try:
            return pool.submit(_render_once, kind).result(timeout=RENDER_TIMEOUT_S)
        except BrokenProcessPool:
            return "crashes"
        except TimeoutError:
            return f"hangs for {RENDER_TIMEOUT_S} s"


def _render_once(kind: str) -> str:
    try:
        # Imported here, as a broken GL driver already fails at import. Ours first: it ignores a
        # MUJOCO_GL that MuJoCo does not start with.
        from genie_robo.sim.render import make_renderer  # noqa: I001
        import mujoco

        model = mujoco.MjModel.from_xml_string(_SCENE)
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        renderer = make_renderer(model, camera="camera", image_size=(16, 16), kind=kind)
        frame = renderer.render(data)
        renderer.close()
    except (AttributeError, ImportError, OSError, RuntimeError, ValueError) as error:
        return str(error).strip().split("\n")[0][:120] or type(error).__name__
    return "" if frame.std() > 0 else "draws nothing"


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    check_python,
    check_torch,
    check_xformers,
    check_attention,
    check_renderers,
    check_tensorflow,
    check_viewer,
    check_robots,
    check_machine,
)
