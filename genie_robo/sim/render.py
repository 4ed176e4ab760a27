"""One function for images of a scene: GL-free ray casting, or EGL and OSMesa where they work."""

import atexit
import importlib
import io
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Protocol, runtime_checkable

import mujoco
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from genie_robo.sim.raycast import RaycastRenderer

RENDERERS = ("auto", "raycast", "egl", "osmesa")
_RAYCAST_ROWS = 256
"""Image height up to which `auto` casts rays: about 0.1 s per frame."""
_PLATFORM = "PYOPENGL_PLATFORM"

_log = logging.getLogger(__name__)


@runtime_checkable
class FrameRenderer(Protocol):
    """Draws the current state of a scene; close it when done."""

    name: str

    def render(self, data: mujoco.MjData) -> UInt8[np.ndarray, "h w 3"]:
        """The camera's image. `data` needs up-to-date kinematics."""
        ...

    def close(self) -> None:
        """Free what the renderer holds."""
        ...


class GlRenderer:
    """MuJoCo's own renderer in a headless OpenGL context.

    Raises:
        RuntimeError: the graphics library is missing or refuses a context.
    """

    def __init__(
        self, model: mujoco.MjModel, *, camera: str, image_size: tuple[int, int], kind: str
    ) -> None:
        self.name = kind
        height, width = image_size
        self._model = model
        self._context = _open_context(kind, height=height, width=width)
        buffers = model.vis.global_
        buffers.offheight = max(buffers.offheight, height)
        buffers.offwidth = max(buffers.offwidth, width)
        self._gpu = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._gpu)
        self._scene = mujoco.MjvScene(model, maxgeom=1000)
        self._options = mujoco.MjvOption()
        self._options.sitegroup[:] = 0
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = model.camera(camera).id
        self._viewport = mujoco.MjrRect(0, 0, width, height)
        self._image = np.empty((height, width, 3), np.uint8)
        # A context that lives until the interpreter is torn down fails noisily.
        atexit.register(self.close)

    def render(self, data: mujoco.MjData) -> UInt8[np.ndarray, "h w 3"]:
        """The camera's image."""
        self._context.make_current()
        mujoco.mjv_updateScene(
            self._model,
            data,
            self._options,
            None,
            self._camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        mujoco.mjr_render(self._viewport, self._scene, self._gpu)
        mujoco.mjr_readPixels(self._image, None, self._viewport, self._gpu)
        return self._image[::-1].copy()

    def close(self) -> None:
        """Free the context and what lies on the graphics card."""
        atexit.unregister(self.close)
        self._context.make_current()
        self._gpu.free()
        self._context.free()


def _open_context(kind: str, *, height: int, width: int) -> Any:
    """A current GL context, chosen here and not by MUJOCO_GL, which acts only at import."""
    try:
        with _restored_platform():
            context = importlib.import_module(f"mujoco.{kind}").GLContext(width, height)
            context.make_current()
    # PyOpenGL answers a missing library with an AttributeError on None.
    except (ImportError, AttributeError, RuntimeError, OSError) as error:
        raise RuntimeError(
            f"renderer={kind} does not work on this machine ({error}); use renderer=raycast, "
            f"which needs no graphics library, or renderer=auto"
        ) from error
    return context


@contextmanager
def _restored_platform() -> Iterator[None]:
    """A library that fails leaves its name in the environment, which stops the next one."""
    before = os.environ.get(_PLATFORM)
    try:
        yield
    except BaseException:
        os.environ.pop(_PLATFORM, None)
        if before is not None:
            os.environ[_PLATFORM] = before
        raise


def make_renderer(
    model: mujoco.MjModel, *, camera: str, image_size: tuple[int, int], kind: str = "auto"
) -> FrameRenderer:
    """A renderer for one camera of a model, image size as height, width.

    `auto` casts rays up to 256 rows, which draws the same bits on every machine; larger images
    come from EGL where it works. `name` tells which it is.

    Raises:
        ValueError: the kind is unknown.
        RuntimeError: the kind does not work on this machine.
    """
    if kind not in RENDERERS:
        raise ValueError(f"renderer={kind} is not known; choose one of {', '.join(RENDERERS)}")
    if kind == "auto":
        renderer = _choose(model, camera=camera, image_size=image_size)
        _announce(renderer.name, image_size)
        return renderer
    if kind == "raycast":
        return RaycastRenderer(model, camera=camera, image_size=image_size)
    return GlRenderer(model, camera=camera, image_size=image_size, kind=kind)


@cache
def _announce(name: str, image_size: tuple[int, int]) -> None:
    """Say it once, not at every episode."""
    _log.info("renderer=auto picked %s for %d x %d images", name, *image_size)


def _choose(model: mujoco.MjModel, *, camera: str, image_size: tuple[int, int]) -> FrameRenderer:
    if image_size[0] > _RAYCAST_ROWS:
        try:
            return GlRenderer(model, camera=camera, image_size=image_size, kind="egl")
        except RuntimeError as error:
            _log.info("%s", error)
    return RaycastRenderer(model, camera=camera, image_size=image_size)


def png_bytes(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """Lossless encoding of a frame."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="png", compress_level=4)
    return buffer.getvalue()
