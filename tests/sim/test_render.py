import importlib
import logging
import os
import subprocess
import sys
from pathlib import Path

import mujoco
import numpy as np
import pytest

from genie_robo.sim import render
from genie_robo.sim.render import make_renderer
from genie_robo.sim.tabletop import Tabletop

RED_BOX = """
<mujoco>
  <visual><headlight ambient=".3 .3 .3" diffuse=".5 .5 .5" specular="0 0 0"/></visual>
  <worldbody>
    {light}
    <camera name="top" pos="0 0 2" fovy="45"/>
    <geom type="box" size=".3 .3 .3" rgba="1 .25 0 1"/>
    <geom type="box" size=".6 .6 .1" pos="0 0 .2" rgba="0 1 0 1" group="3"/>
    {floor}
  </worldbody>
</mujoco>
"""
LIGHT = '<light pos="0.5 0 3" diffuse=".2 .2 .2"/>'
FLOOR = '<geom type="plane" size="5 5 .1" rgba=".5 .5 .5 1"/>'


def draw(xml: str, kind: str = "raycast", image_size: tuple[int, int] = (64, 48)) -> np.ndarray:
    model = mujoco.MjModel.from_xml_string(xml)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    renderer = make_renderer(model, camera="top", image_size=image_size, kind=kind)
    image = renderer.render(data)
    renderer.close()
    return image


def test_box_has_its_colour_and_size_and_nothing_else_is_there():
    image = draw(RED_BOX.format(light="", floor=""))
    assert image.shape == (64, 48, 3)
    # The top face faces the headlight: 0.3 + 0.5 of its colour. Group 3 is not drawn.
    is_red = (image == (204, 51, 0)).all(axis=-1)
    is_background = (image == image[0, 0]).all(axis=-1)
    # 0.3 m at 1.7 m under 45 degrees: 13.6 pixels to each side of the middle.
    assert is_red.any(axis=1).sum() == is_red.any(axis=0).sum() == 26
    assert is_red[19:45, 11:37].all()
    assert (~is_background).any(axis=1).sum() == 28
    assert image[0, 0].tolist() == [76, 84, 97]


def test_borders_are_antialiased():
    image = draw(RED_BOX.format(light="", floor="")).astype(int)
    border = image[18, 20]
    assert border.tolist() == ((np.array([204, 51, 0]) + image[0, 0]) / 2).round().tolist()


def test_shadow_takes_the_key_light_and_leaves_the_headlight():
    image = draw(RED_BOX.format(light=LIGHT, floor=FLOOR), image_size=(64, 64))
    # The light stands to the right (+x), so the floor left of the box lies in shadow:
    # 0.8 of grey 0.5 there, and up to 0.2 * 0.5 more where the light arrives.
    middle = image[32]
    assert (middle == 102).all(axis=-1).any()
    assert (middle[:12] > 120).all()
    assert (middle[52:] > 120).all()
    assert not (middle[46:] == 102).any()


def test_an_image_is_the_same_every_time(env):
    assert (env.render() == env.render()).all()


def test_unknown_renderer_is_refused():
    with pytest.raises(ValueError, match="renderer=vulkan is not known; choose one of auto, ray"):
        draw(RED_BOX, kind="vulkan")


@pytest.mark.parametrize("kind", ["egl", "osmesa"])
@pytest.mark.parametrize("failure", [ImportError, AttributeError])
def test_missing_graphics_library_is_a_readable_error(monkeypatch, kind, failure):
    def import_module(name: str) -> None:
        os.environ["PYOPENGL_PLATFORM"] = kind
        raise failure("no library")

    monkeypatch.setenv("PYOPENGL_PLATFORM", "before")
    monkeypatch.setattr(importlib, "import_module", import_module)
    with pytest.raises(RuntimeError, match=rf"renderer={kind} does not work .*no library.*raycast"):
        draw(RED_BOX.format(light="", floor=""), kind=kind)
    assert os.environ["PYOPENGL_PLATFORM"] == "before"


@pytest.mark.parametrize("library", ["nonsense", "osmesa"])
def test_a_missing_library_in_mujoco_gl_is_ignored(library):
    program = (
        "import os, genie_robo.sim, mujoco\n"
        "print(mujoco.MjModel.__name__, os.environ['MUJOCO_GL'], 'PYOPENGL_PLATFORM' in os.environ)"
    )
    process = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "MUJOCO_GL": library},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    if library == "osmesa" and not process.stderr:
        pytest.skip("OSMesa is installed here")
    assert process.stdout == f"MjModel {library} False\n", process.stderr
    assert process.stderr.startswith(f"MUJOCO_GL={library} does not work here (")
    assert process.stderr.endswith("and is ignored: renderer= names what draws\n")


def test_auto_casts_rays_and_says_so_once(caplog):
    render._announce.cache_clear()
    with caplog.at_level(logging.INFO):
        assert Tabletop(renderer="auto").renderer_name == "raycast"
        Tabletop(renderer="auto").reset(seed=0)
    assert caplog.text.count("renderer=auto picked raycast for 64 x 64 images") == 1


def test_auto_falls_back_for_large_images(caplog, monkeypatch):
    def refuse(*args: object, **kwargs: object) -> None:
        raise RuntimeError("renderer=egl does not work on this machine")

    render._announce.cache_clear()
    monkeypatch.setattr(render, "GlRenderer", refuse)
    with caplog.at_level(logging.INFO):
        assert Tabletop(image_size=(300, 16)).renderer_name == "raycast"
    assert "egl does not work" in caplog.text
    assert "picked raycast for 300 x 16" in caplog.text


def test_egl_draws_the_same_image(env):
    try:
        other = Tabletop(renderer="egl")
    except RuntimeError as error:
        pytest.skip(str(error))
    other.restore(env.scene, env.state())
    difference = np.abs(other.render().astype(float) - env.render())
    assert other.renderer_name == "egl"
    other.close()
    assert difference.mean() < 4
