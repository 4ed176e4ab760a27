"""Images of a scene: GL-free ray casting, or EGL and OSMesa where they work."""

import atexit
import importlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import mujoco
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

RENDERERS = ("auto", "raycast", "egl", "osmesa")
_RAYCAST_ROWS = 256
"""Image height up to which `auto` casts rays: about 0.1 s per frame."""
_PLATFORM = "PYOPENGL_PLATFORM"
_SAMPLES = 2
"""Rays per pixel along each image axis where it is antialiased."""
_SAME_COLOR = 0.04
"""Neighbouring pixels that differ by less need no antialiasing."""
_BACKGROUND = np.array([0.3, 0.33, 0.38])
VISIBLE_GROUPS = (0, 1, 2)
"""Geom groups that are drawn; Menagerie keeps collision shapes in group 3."""
_FAR = 10.0
_BIAS = 1e-3
"""How much nearer than its surface a shadow ray may end (m)."""

_log = logging.getLogger(__name__)


class RaycastRenderer:
    """Antialiased ray casting with `mj_multiRay`: Lambert shading, hard shadows of one light.

    The first light counts as a point, so all shadow rays start there and one call casts them; the
    headlight shines along the camera's axis and throws no shadow, as in MuJoCo's own renderer.
    Every pixel gets one ray, and those next to another colour (edges, shadow borders) get the mean
    of four. Geoms of groups 0 to 2 are drawn.
    """

    name = "raycast"

    def __init__(self, model: mujoco.MjModel, *, camera: str, image_size: tuple[int, int]) -> None:
        self._model = model
        self._camera = model.camera(camera).id
        self._size = image_size
        fovy = float(model.cam_fovy[self._camera])
        self._centres = _camera_rays(image_size, fovy, 1).reshape(-1, 3)
        self._samples = _camera_rays(image_size, fovy, _SAMPLES)
        self._colors = geom_colors(model)
        self._groups = np.isin(np.arange(6), VISIBLE_GROUPS).astype(np.uint8)

    def render(self, data: mujoco.MjData) -> UInt8[np.ndarray, "h w 3"]:
        """The camera image; `data` needs up-to-date kinematics."""
        height, width = self._size
        image = self._shade(data, self._centres)
        border = np.flatnonzero(_is_border(image.reshape(height, width, 3)))
        samples = self._shade(data, self._samples[border].reshape(-1, 3))
        image[border] = samples.reshape(len(border), -1, 3).mean(axis=1)
        return (image.reshape(height, width, 3) * 255).round().astype(np.uint8)

    def _shade(
        self, data: mujoco.MjData, rays: Float[np.ndarray, "r 3"]
    ) -> Float[np.ndarray, "r 3"]:
        """Colours in [0, 1] along rays in the camera frame."""
        axes = data.cam_xmat[self._camera].reshape(3, 3)
        rays = rays @ axes.T
        origin = data.cam_xpos[self._camera]
        geoms, distances, normals = self._cast(data, origin, rays)
        missed = np.flatnonzero(geoms < 0)
        distances[missed] = _FAR
        headlight = self._model.vis.headlight
        facing = np.maximum(np.einsum("rc,c->r", normals, axes[:, 2]), 0)
        light = headlight.ambient + headlight.diffuse * facing[:, None]
        if self._model.nlight:
            key = self._key_light(data, origin + distances[:, None] * rays, normals)
            light += self._model.light_diffuse[0] * key[:, None]
        colors = self._colors[geoms] * light
        colors[missed] = _BACKGROUND
        return np.clip(colors, 0, 1, out=colors)

    def _key_light(
        self,
        data: mujoco.MjData,
        points: Float[np.ndarray, "r 3"],
        normals: Float[np.ndarray, "r 3"],
    ) -> Float[np.ndarray, " r"]:
        """Cosine of incidence where the light arrives, zero in shadow."""
        source = data.light_xpos[0]
        offset = points - source
        distance = np.sqrt(np.einsum("rc,rc->r", offset, offset))
        rays = offset / distance[:, None]
        _, reached, _ = self._cast(data, source, rays)
        cosine = np.maximum(-np.einsum("rc,rc->r", normals, rays), 0)
        return np.where(reached > distance - _BIAS, cosine, 0.0)

    def _cast(
        self, data: mujoco.MjData, origin: Float[np.ndarray, " 3"], rays: Float[np.ndarray, "r 3"]
    ) -> tuple[Int[np.ndarray, " r"], Float[np.ndarray, " r"], Float[np.ndarray, "r 3"]]:
        count = len(rays)
        geoms, distances = np.empty(count, np.int32), np.empty(count)
        normals = np.zeros(3 * count)
        mujoco.mj_multiRay(
            self._model,
            data,
            origin,
            rays.ravel(),
            geomgroup=self._groups,
            flg_static=True,
            bodyexclude=-1,
            geomid=geoms,
            dist=distances,
            normal=normals,
            nray=count,
            cutoff=_FAR,
        )
        return geoms, distances, normals.reshape(-1, 3)

    def close(self) -> None:
        """Nothing to free."""


def _camera_rays(
    image_size: tuple[int, int], fovy: float, samples: int
) -> Float[np.ndarray, "p q 3"]:
    """Unit directions in the camera frame (x right, y up, -z forward): pixels, then samples."""
    height, width = image_size
    scale = 2 * np.tan(np.radians(fovy) / 2) / height
    within = (np.arange(samples) + 0.5) / samples
    x = (np.arange(width)[:, None] + within - width / 2) * scale
    y = (height / 2 - np.arange(height)[:, None] - within) * scale
    rays = np.empty((height, width, samples, samples, 3))
    rays[..., 0] = x[None, :, None, :]
    rays[..., 1] = y[:, None, :, None]
    rays[..., 2] = -1
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    return rays.reshape(height * width, samples * samples, 3)


def _is_border(image: Float[np.ndarray, "h w 3"]) -> Bool[np.ndarray, "h w"]:
    """Pixels whose colour differs from one of their four neighbours."""
    # A matrix product, because any() along a short inner axis is slow.
    border, any_channel = np.zeros(image.shape[:2], dtype=bool), np.ones(3, dtype=bool)
    down = (np.abs(np.diff(image, axis=0)) > _SAME_COLOR) @ any_channel
    right = (np.abs(np.diff(image, axis=1)) > _SAME_COLOR) @ any_channel
    border[:-1] |= down
    border[1:] |= down
    border[:, :-1] |= right
    border[:, 1:] |= right
    return border


def geom_colors(model: mujoco.MjModel) -> Float[np.ndarray, "g 3"]:
    """Colour of each geom: its own, or its material's times the mean of the texture."""
    colors = model.geom_rgba[:, :3].astype(np.float64)
    texels = [_mean_texel(model, texture) for texture in range(model.ntex)]
    for geom in np.flatnonzero(model.geom_matid >= 0):
        material = model.geom_matid[geom]
        colors[geom] = model.mat_rgba[material, :3]
        texture = int(model.mat_texid[material].max())
        if texture >= 0:
            colors[geom] *= texels[texture]
    return colors


def _mean_texel(model: mujoco.MjModel, texture: int) -> Float[np.ndarray, " 3"]:
    channels = model.tex_nchannel[texture]
    size = model.tex_height[texture] * model.tex_width[texture] * channels
    start = model.tex_adr[texture]
    texels = model.tex_data[start : start + size].reshape(-1, channels)
    # Channel by channel: a sum along a short inner axis takes seven times as long.
    sums = [texels[:, channel].sum(dtype=np.int64) for channel in range(3)]
    return np.array(sums) / len(texels) / 255


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
        # A context that lives until the interpreter exits prints errors.
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
        """Free the context and its memory on the graphics card."""
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
    # PyOpenGL raises AttributeError (on None) for a missing library.
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
) -> RaycastRenderer | GlRenderer:
    """A renderer for one camera of a model, image size as height, width.

    `auto` casts rays up to 256 rows, which draws the same bits on every machine; larger images
    come from EGL where it works. `name` tells which it is.

    Raises:
        ValueError: the kind is unknown.
        RuntimeError: the kind does not work on this machine.
    """
    if kind not in RENDERERS:
        raise ValueError(f"renderer={kind} is not known; choose one of {', '.join(RENDERERS)}")
    if kind == "raycast":
        return RaycastRenderer(model, camera=camera, image_size=image_size)
    if kind != "auto":
        return GlRenderer(model, camera=camera, image_size=image_size, kind=kind)
    renderer = None
    if image_size[0] > _RAYCAST_ROWS:
        try:
            renderer = GlRenderer(model, camera=camera, image_size=image_size, kind="egl")
        except RuntimeError as error:
            _log.info("%s", error)
    renderer = renderer or RaycastRenderer(model, camera=camera, image_size=image_size)
    _announce(renderer.name, image_size)
    return renderer


@cache
def _announce(name: str, image_size: tuple[int, int]) -> None:
    """Log once, not at every episode."""
    _log.info("renderer=auto picked %s for %d x %d images", name, *image_size)
