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

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genie_robo.commands.base import Command
from genie_robo.config import DoctorConfig
from genie_robo.provenance import memory_bytes, package_version

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
    """How a check went, with the colour that says so."""

    ok = "green"
    optional = "yellow"
    broken = "red"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that works or not."""

    what: str
    state: State
    found: str
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
    Console(highlight=False).print(table)


def check_python() -> Iterator[Finding]:
    """The interpreter."""
    found = ".".join(map(str, sys.version_info[:3]))
    supported = (3, 11) <= sys.version_info < (3, 14)
    yield Finding(
        what="Python",
        state=State.ok if supported else State.broken,
        found=found,
        fix="" if supported else "make a new .venv with Python 3.11, 3.12 or 3.13",
    )


def check_torch() -> Iterator[Finding]:
    """PyTorch and the device that `auto` would take."""
    import torch

    yield Finding(what="PyTorch", state=State.ok, found=torch.__version__)
    if torch.cuda.is_available():
        yield Finding(what="GPU", state=State.ok, found=torch.cuda.get_device_name())
    else:
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "a CPU build"
        yield Finding(
            what="GPU",
            state=State.optional,
            found=f"none that PyTorch sees ({built}); everything runs on the CPU",
            fix="with an NVIDIA card: install its driver and a CUDA build of torch",
        )


def check_xformers() -> Iterator[Finding]:
    """Memory-efficient attention, which has kernels for CUDA only."""
    import torch

    from genie_robo.models.attention import xformers_works

    installed = package_version("xformers")
    if installed is None:
        found, state, fix = "not installed; attention falls back to PyTorch", State.optional, _CUDA
    elif not torch.cuda.is_available():
        found, state, fix = f"{installed}, unused: it has no kernels for a CPU", State.ok, ""
    elif xformers_works():
        found, state, fix = f"{installed}, forward and backward run on this GPU", State.ok, ""
    else:
        found, state, fix = f"{installed} refuses tensors on this GPU", State.broken, _CUDA
    yield Finding(what="xformers", state=state, found=found, fix=fix)


def check_renderers() -> Iterator[Finding]:
    """Every renderer, each in a process of its own: a broken GL driver may crash it."""
    for kind in ("raycast", "egl", "osmesa"):
        problem = _render_elsewhere(kind)
        missing = State.broken if kind == "raycast" else State.optional
        yield Finding(
            what=f"renderer {kind}",
            state=missing if problem else State.ok,
            found=problem or "draws",
            fix=_RENDERER_FIX[kind] if problem else "",
        )


def check_tensorflow() -> Iterator[Finding]:
    """Only the cross-check reader and tfrecord writing want it."""
    installed = package_version("tensorflow-cpu") or package_version("tensorflow")
    yield Finding(
        what="TensorFlow",
        state=State.ok if installed else State.optional,
        found=installed or "not installed; only writing tfrecord needs it",
        fix="" if installed else "pip install 'genie-robo[tf]'",
    )


def check_viewer() -> Iterator[Finding]:
    """The Rerun viewer and a display to open it on."""
    installed = package_version("rerun-sdk")
    has_display = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    on_screen = has_display or sys.platform != "linux"
    if installed is None:
        yield Finding(
            what="Rerun viewer", state=State.broken, found="not installed", fix="make install"
        )
    else:
        yield Finding(
            what="Rerun viewer",
            state=State.ok if on_screen else State.optional,
            found=installed if on_screen else f"{installed}, but no display here",
            fix="" if on_screen else "serve it to a browser: genie-robo view run=RUN serve=true",
        )


def check_robots() -> Iterator[Finding]:
    """The built-in arm needs nothing; other robots come from the Menagerie."""
    root = os.environ.get("MENAGERIE_ROOT", "")
    package = "mujoco-menagerie" if util.find_spec("mujoco_menagerie") else ""
    found = root if root and Path(root).is_dir() else package
    yield Finding(
        what="Menagerie robots",
        state=State.ok if found else State.optional,
        found=found or "MENAGERIE_ROOT names no folder; the built-in arm works",
        fix="" if found else "export MENAGERIE_ROOT=FOLDER for record robot=google_robot",
    )


def check_machine() -> Iterator[Finding]:
    """Cores, memory and disk against what the demo wants."""
    import torch

    fast = torch.cpu._is_avx512_bf16_supported()
    yield Finding(
        what="cores",
        state=State.ok,
        found=f"{os.cpu_count()}, {'with' if fast else 'without'} bf16 instructions",
    )
    memory = memory_bytes() / 2**30
    yield Finding(
        what="memory",
        state=State.ok if memory >= DEMO_MEMORY_GB else State.optional,
        found=f"{memory:.0f} GiB",
        fix="" if memory >= DEMO_MEMORY_GB else "lower data.cache_mb and the batch sizes",
    )
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    yield Finding(
        what="disk",
        state=State.ok if free >= DEMO_DISK_GB else State.broken,
        found=f"{free:.0f} GiB free in this folder",
        fix="" if free >= DEMO_DISK_GB else f"free {DEMO_DISK_GB} GiB, or put run=FOLDER elsewhere",
    )


def _render_elsewhere(kind: str) -> str:
    """Why this renderer does not draw; empty when it does."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(_render_once, kind).result(timeout=RENDER_TIMEOUT_S)
        except BrokenProcessPool:
            return "crashes"
        except TimeoutError:
            return f"hangs for {RENDER_TIMEOUT_S} s"


def _render_once(kind: str) -> str:
    try:
        # Ours first: it explains a MUJOCO_GL that MuJoCo does not start with.
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
    check_renderers,
    check_tensorflow,
    check_viewer,
    check_robots,
    check_machine,
)


COMMAND = Command(
    name="doctor",
    summary="what works on this machine, and the fix for what does not",
    config=DoctorConfig,
    run=run,
    details=(
        "Green works, yellow is something optional that is not there, red would stop you. "
        "Renderers are tried in processes of their own. The exit status is 0 whatever is found."
    ),
    examples=("genie-robo doctor",),
)
