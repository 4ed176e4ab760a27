import itertools
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from genie_robo.sim.robots import PACKAGE
from genie_robo.sim.scene import (
    MAX_BOXES,
    SURROUNDINGS,
    TASKS,
    SceneSpec,
    box_name,
    build_model,
    num_substeps,
    sample_scene,
)


@pytest.mark.parametrize("task", TASKS)
def test_scene_survives_json(task):
    scene = sample_scene(np.random.default_rng(1), task=task, control_hz=5.0)
    assert SceneSpec.from_json(scene.to_json()) == scene


def test_table_and_light_are_written_only_where_they_are_unusual():
    scene = sample_scene(np.random.default_rng(1))
    assert not json.loads(scene.to_json()).keys() & SURROUNDINGS.keys()
    foreign = replace(scene, table=(0.4, 0.3, 0.2), light=(0.5, 0.3, 0.1))
    assert SceneSpec.from_json(foreign.to_json()) == foreign
    model, _ = build_model(foreign)
    assert np.allclose(model.geom("table").rgba, (0.4, 0.3, 0.2, 1))
    assert np.allclose(model.light_diffuse[0], (0.5, 0.3, 0.1))


def test_scenes_vary_and_their_boxes_stand_apart():
    scenes = [sample_scene(np.random.default_rng(seed)) for seed in range(30)]
    assert {len(scene.boxes) for scene in scenes} == {2, 3, MAX_BOXES}
    assert len({scene.boxes[0].position for scene in scenes}) == 30
    for scene in scenes:
        assert len({box.color for box in scene.boxes}) == len(scene.boxes)
        for one, other in itertools.combinations(scene.boxes, 2):
            assert np.hypot(*np.subtract(one.position, other.position)) > 0.09


def test_model_is_what_the_scene_says():
    scene = sample_scene(np.random.default_rng(2), control_hz=4.0)
    model, robot = build_model(scene)
    for index, box in enumerate(scene.boxes):
        geom = model.geom(box_name(index))
        assert np.allclose(geom.size, box.half_size)
        assert np.allclose(geom.rgba, box.rgba)
    assert model.opt.timestep * num_substeps(4.0) == pytest.approx(0.25)
    assert robot.name == "arm"
    assert len(robot.joints) == 6


def test_instructions_name_the_box_and_the_direction():
    scene = replace(sample_scene(np.random.default_rng(3), task="push"), direction="left")
    color = scene.boxes[scene.target].color
    assert scene.instruction == f"push the {color} box to the left"
    assert replace(scene, direction="closer").instruction == f"push the {color} box closer"
    assert replace(scene, task="reach").instruction == f"reach the {color} box"
    assert replace(scene, task="pick").instruction == f"pick up the {color} box"


def test_unknown_task_and_robot_are_refused(monkeypatch):
    with pytest.raises(ValueError, match="task=dance is not known; choose one of pick, push"):
        sample_scene(np.random.default_rng(0), task="dance")
    with pytest.raises(ValueError, match=r"robot=asimo is not known; choose arm, .* wx250s"):
        build_model(sample_scene(np.random.default_rng(0), robot="asimo"))


def test_missing_menagerie_is_a_readable_error(monkeypatch, tmp_path):
    scene = sample_scene(np.random.default_rng(0), robot="wx250s")
    monkeypatch.delenv("MENAGERIE_ROOT", raising=False)
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    with pytest.raises(FileNotFoundError, match=r"is not installed; set MENAGERIE_ROOT .*=arm"):
        build_model(scene)
    monkeypatch.setenv("MENAGERIE_ROOT", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"wx250s.xml, which does not exist"):
        build_model(scene)


class MenageriePackage(SimpleNamespace):
    """Replaces the package mujoco-menagerie: `get(name).path()` or its own error."""

    class MenagerieError(Exception):
        pass

    def get(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(path=lambda: self.path(name))

    def path(self, name: str) -> Path:
        if self.root is None:
            raise self.MenagerieError("no network")
        return self.root / name


def test_without_a_root_the_menagerie_package_is_asked(menagerie, monkeypatch):
    monkeypatch.delenv("MENAGERIE_ROOT")
    scene = sample_scene(np.random.default_rng(0), robot="wx250s")
    monkeypatch.setitem(sys.modules, PACKAGE, MenageriePackage(root=menagerie))
    assert build_model(scene)[1].name == "wx250s"
    monkeypatch.setitem(sys.modules, PACKAGE, MenageriePackage(root=None))
    with pytest.raises(FileNotFoundError, match=r"has no copy \(no network\); set MENAGERIE_ROOT"):
        build_model(scene)


def edited(**changes) -> str:
    """A scene with other values: of its own, of its first box (box_...) or its camera."""
    values = json.loads(sample_scene(np.random.default_rng(1)).to_json())
    for name, value in changes.items():
        part, _, key = name.partition("__")
        if key:
            (values["boxes"][0] if part == "box" else values["camera"])[key] = value
        else:
            values[name] = value
    return json.dumps(values)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"control_hz": 1e-7}, "control_hz=.*must be a number from 0.1 to 1000"),
        ({"control_hz": 1e300}, "control_hz"),
        ({"control_hz": float("nan")}, "control_hz"),
        ({"control_hz": True}, "control_hz"),
        ({"boxes": [{}] * 4_000}, "boxes: 1 to 4 are possible, found 4000"),
        ({"boxes": []}, "found 0"),
        ({"boxes": {"0": 1}}, "found dict"),
        ({"boxes": [7]}, "scene is not one"),
        ({"future": 1}, "future"),
        ({"version": 2}, "it has version 2, this genie_robo reads 1"),
        ({"box__half_size": [1, 1]}, "half_size=.*must be 3 numbers"),
        ({"box__half_size": [0, 0, 0]}, "half_size"),
        ({"box__half_size": [1e30, 1, 1]}, "half_size"),
        ({"box__position": [float("nan"), 0]}, "position"),
        ({"box__yaw": float("inf")}, "yaw"),
        ({"box__yaw": "0"}, "yaw"),
        ({"box__rgba": "red"}, "rgba"),
        ({"box__color": 7}, "color"),
        ({"box__wheels": 4}, "wheels"),
        ({"camera__fovy": 0}, "fovy"),
        ({"camera__position": [0, 0, 1]}, "looks straight down"),
        ({"camera": None}, "scene is not one"),
        ({"target": 4}, "target=4 is none of its"),
        ({"target": -1}, "target=-1"),
        ({"target": 1e9}, "target"),
        ({"task": "dance"}, "task='dance' is none of pick, push"),
        ({"direction": ["left"]}, "direction"),
        ({"robot": "../../etc"}, "robot="),
        ({"start": [0, 0]}, "start"),
        ({"table": [0.5, 0.5]}, "table=.*must be 3 numbers from 0 to 1"),
        ({"light": [0.4, 0.4, 9.0]}, "light"),
        ({"task": "x" * 30_000}, "characters, of at most 20,000"),
    ],
)
def test_hostile_scenes_are_refused_at_once(changes, reason):
    started = time.monotonic()
    with pytest.raises(ValueError, match=reason) as raised:
        SceneSpec.from_json(edited(**changes))
    assert len(str(raised.value)) < 600
    assert time.monotonic() - started < 1


def test_a_scene_may_name_its_version():
    assert SceneSpec.from_json(edited(version=1)) == SceneSpec.from_json(edited())
