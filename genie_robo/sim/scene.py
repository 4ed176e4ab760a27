"""The tabletop scene: its contents as plain data, and the MuJoCo model built from them."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import mujoco
import numpy as np
from jaxtyping import Float

from genie_robo.config.sim import check_robot
from genie_robo.sim.robots import MENAGERIE, Robot, attach_arm, attach_menagerie
from genie_robo.stored_files import parse_json

COLORS = {
    "red": (0.83, 0.1, 0.16),
    "green": (0.16, 0.62, 0.25),
    "blue": (0.1, 0.3, 0.82),
    "yellow": (0.95, 0.8, 0.12),
    "purple": (0.5, 0.2, 0.65),
}
SURROUNDINGS = {"table": (0.66, 0.72, 0.76), "light": (0.42, 0.42, 0.42)}
"""Colours of the table and of the lamp above it, in every recorded scene."""
TARGET_BODY = "commanded_pose"
CAMERA = "primary"
DIRECTIONS = {"away": (1, 0), "closer": (-1, 0), "left": (0, 1), "right": (0, -1)}
"""Push directions as the robot sees them."""
MAX_BOXES = 4
SCENE_VERSION = 1
"""Of the text of a scene. It is written only from version 2 on."""
MAX_SCENE_CHARACTERS = 20_000
CONTROL_HZ = (0.1, 1000.0)
"""Slower ones would take thousands of physics steps for an action."""
_PLACES = (-10.0, 10.0)
"""Of anything in a scene (m)."""
_TOO_NEAR = 1e-6
_SHOWN = 60
"""Characters of a wrong value that an error shows."""
TASKS = ("pick", "push", "reach", "explore")


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxSpec:
    """A loose box on the table."""

    color: str
    rgba: tuple[float, ...]
    half_size: tuple[float, ...]
    """Metres."""
    position: tuple[float, ...]
    """x y of the centre (m)."""
    yaw: float
    """Radians."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraSpec:
    """A fixed camera that looks at a point."""

    position: tuple[float, ...] = (0.6, 0.6, 0.7)
    target: tuple[float, ...] = (0.0, 0.0, 0.115)
    fovy: float = 23.5
    """Vertical field of view (degrees)."""


class Goal(NamedTuple):
    """What an instruction asks for."""

    task: str
    color: str = ""
    """Of the target box; empty for explore."""
    direction: str = ""
    """Of a push; empty for other tasks."""

    @property
    def instruction(self) -> str:
        """The goal in words."""
        match self.task:
            case "reach":
                return f"reach the {self.color} box"
            case "pick":
                return f"pick up the {self.color} box"
            case "push":
                to = "" if self.direction in ("closer", "away") else "to the "
                return f"push the {self.color} box {to}{self.direction}"
            case _:
                return "explore the table"


def read_instruction(text: str) -> Goal:
    """The goal that an instruction puts into words.

    Raises:
        ValueError: It is none of this table's.
    """
    for goal in _goals():
        if goal.instruction == text.strip():
            return goal
    raise ValueError(
        f"the instruction {text[:_SHOWN]!r} is none of this table's, which are `pick up the red "
        "box`, `reach the red box`, `push the red box to the left` (or to the right, away, closer) "
        f"and `explore the table`, with the colours {', '.join(COLORS)}"
    )


def _goals() -> Iterator[Goal]:
    yield Goal("explore")
    for color in COLORS:
        yield Goal("reach", color)
        yield Goal("pick", color)
        yield from (Goal("push", color, direction) for direction in DIRECTIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneSpec:
    """Everything needed to rebuild a scene's model; the state is stored separately."""

    robot: str
    task: str
    boxes: tuple[BoxSpec, ...]
    target: int = 0
    """Index of the box that the task is about."""
    direction: str = "away"
    """Direction of the push in a push task."""
    start: tuple[float, ...] = (0.0, 0.0, 0.15)
    """Tool position at reset (m)."""
    control_hz: float = 3.0
    camera: CameraSpec = field(default_factory=CameraSpec)
    table: tuple[float, ...] = SURROUNDINGS["table"]
    """Its colour, r g b."""
    light: tuple[float, ...] = SURROUNDINGS["light"]
    """Colour of the lamp above the table, r g b."""

    @property
    def instruction(self) -> str:
        """The task in words."""
        return Goal(self.task, self.boxes[self.target].color, self.direction).instruction

    def to_json(self) -> str:
        """One line of JSON, stable across runs; the usual table and light are left out."""
        values = asdict(self)
        for name, usual in SURROUNDINGS.items():
            if values[name] == usual:
                del values[name]
        return json.dumps(values, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "SceneSpec":
        """The scene that `to_json` wrote.

        Raises:
            ValueError: It is not one, or one that could not be simulated.
        """
        try:
            return cls._parse(text)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ValueError(
                f"an episode's scene is not one that `genie-robo record` wrote ({error}); record "
                "it again, or set data.source.sim_state='' to read it without a simulator"
            ) from error

    @classmethod
    def _parse(cls, text: str) -> "SceneSpec":
        if len(text) > MAX_SCENE_CHARACTERS:
            raise ValueError(
                f"it has {len(text):,} characters, of at most {MAX_SCENE_CHARACTERS:,}"
            )
        values = parse_json(text)
        version = values.pop("version", SCENE_VERSION)
        if version != SCENE_VERSION:
            raise ValueError(f"it has version {version!r}, this genie_robo reads {SCENE_VERSION}")
        _check_scene(values)
        boxes = tuple(BoxSpec(**_tuples(box)) for box in values.pop("boxes"))
        camera = CameraSpec(**_tuples(values.pop("camera")))
        return cls(**_tuples(values), boxes=boxes, camera=camera)


def _check_scene(values: dict[str, Any]) -> None:
    """Check that what is stored is of the right kinds and within what can be simulated.

    Raises:
        ValueError: Something is not; names it.
    """
    boxes = values["boxes"]
    if not isinstance(boxes, list) or not 0 < len(boxes) <= MAX_BOXES:
        found = len(boxes) if isinstance(boxes, list) else type(boxes).__name__
        raise ValueError(f"boxes: 1 to {MAX_BOXES} are possible, found {found}")
    _check_word("task", values.get("task"), TASKS)
    _check_word("direction", values.get("direction"), tuple(DIRECTIONS))
    _check_word("robot", values.get("robot"), ("arm", *MENAGERIE))
    target = values.get("target")
    if type(target) is not int or not 0 <= target < len(boxes):
        raise ValueError(f"target={str(target)[:_SHOWN]} is none of its {len(boxes)} boxes")
    _check_range("control_hz", [values.get("control_hz")], 1, CONTROL_HZ)
    _check_range("start", values.get("start"), 3, _PLACES)
    for name in SURROUNDINGS.keys() & values.keys():
        _check_range(name, values[name], 3, (0.0, 1.0))
    for box in boxes:
        _check_box(box)
    _check_camera(values["camera"])


def _check_box(box: dict[str, Any]) -> None:
    if not isinstance(box.get("color"), str) or not 0 < len(box["color"]) <= _SHOWN:
        raise ValueError("the color of a box must be a word")
    _check_range("rgba", box.get("rgba"), 4, (0.0, 1.0))
    _check_range("half_size", box.get("half_size"), 3, (1e-3, 1.0))
    _check_range("position", box.get("position"), 2, _PLACES)
    _check_range("yaw", [box.get("yaw")], 1, (-2 * math.pi, 2 * math.pi))


def _check_camera(camera: dict[str, Any]) -> None:
    _check_range("camera.position", camera.get("position"), 3, _PLACES)
    _check_range("camera.target", camera.get("target"), 3, _PLACES)
    _check_range("camera.fovy", [camera.get("fovy")], 1, (1.0, 170.0))
    if math.dist(camera["position"][:2], camera["target"][:2]) < _TOO_NEAR:
        raise ValueError("its camera looks straight down or up, or at itself")


def _check_word(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name}={str(value)[:_SHOWN]!r} is none of {', '.join(choices)}")


def _check_range(name: str, values: object, count: int, limits: tuple[float, float]) -> None:
    low, high = limits
    is_right = (
        isinstance(values, list)
        and len(values) == count
        and all(type(value) in (int, float) and low <= value <= high for value in values)
    )
    if not is_right:
        which = "a number" if count == 1 else f"{count} numbers"
        raise ValueError(f"{name}={str(values)[:_SHOWN]} must be {which} from {low:g} to {high:g}")


def _tuples(values: dict[str, object]) -> dict:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


def _sample_positions(rng: np.random.Generator, count: int) -> list[Float[np.ndarray, " 2"]]:
    """Positions at least 9 cm apart, by rejection."""
    positions: list[np.ndarray] = []
    while len(positions) < count:
        candidate = rng.uniform(-0.11, 0.11, size=2)
        if all(np.linalg.norm(candidate - p) > 0.09 for p in positions):
            positions.append(candidate)
    return positions


def sample_scene(
    rng: np.random.Generator, *, task: str = "pick", robot: str = "arm", control_hz: float = 3.0
) -> SceneSpec:
    """A random scene with two to four boxes of different colours.

    Raises:
        ValueError: the task is unknown.
    """
    if task not in TASKS:
        raise ValueError(f"task={task} is not known; choose one of {', '.join(TASKS)}")
    count = int(rng.integers(2, MAX_BOXES + 1))
    colors = rng.permutation(sorted(COLORS))[:count]
    boxes = []
    for color, position in zip(colors, _sample_positions(rng, count), strict=True):
        rgb = np.clip(np.array(COLORS[color]) + rng.uniform(-0.05, 0.05, size=3), 0, 1)
        boxes.append(
            BoxSpec(
                color=str(color),
                rgba=(*_rounded(rgb), 1.0),
                half_size=_rounded(rng.uniform((0.017, 0.017, 0.016), (0.024, 0.024, 0.024))),
                position=_rounded(position),
                yaw=round(float(rng.uniform(-0.3, 0.3)), 4),
            )
        )
    return SceneSpec(
        robot=robot,
        task=task,
        boxes=tuple(boxes),
        target=int(rng.integers(count)),
        direction=str(rng.choice(sorted(DIRECTIONS))),
        start=_rounded(rng.uniform((-0.1, -0.1, 0.08), (0.1, 0.1, 0.18))),
        control_hz=control_hz,
    )


def _rounded(values: Float[np.ndarray, " n"]) -> tuple[float, ...]:
    return tuple(round(float(v), 4) for v in values)


def build_model(scene: SceneSpec) -> tuple[mujoco.MjModel, Robot]:
    """Compile the scene.

    Raises:
        ValueError: the robot is unknown.
        FileNotFoundError: the robot's files are not found.
    """
    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10
    spec.option.timestep = 1.0 / scene.control_hz / num_substeps(scene.control_hz)
    robot = _attach_robot(spec, scene.robot)
    _add_surroundings(spec, scene)
    for index, box in enumerate(scene.boxes):
        _add_box(spec, index, box)
    spec.worldbody.add_body(name=TARGET_BODY, mocap=True)
    return spec.compile(), robot


def _attach_robot(spec: mujoco.MjSpec, name: str) -> Robot:
    check_robot(name, MENAGERIE)
    return attach_menagerie(spec, MENAGERIE[name]) if name in MENAGERIE else attach_arm(spec)


def num_substeps(control_hz: float) -> int:
    """Physics steps of about 5 ms in one control step."""
    return max(1, round(1.0 / control_hz / 0.005))


def box_name(index: int) -> str:
    """Body and geom name of a box."""
    return f"box_{index}"


def _add_surroundings(spec: mujoco.MjSpec, scene: SceneSpec) -> None:
    world, camera = spec.worldbody, scene.camera
    world.add_geom(
        name="table",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[1.5, 1.5, 0.1],
        rgba=[*scene.table, 1],
        friction=[1.0, 0.005, 0.0001],
    )
    world.add_light(
        pos=[0.0, 0.0, 2.4],
        dir=[0, 0, -1],
        type=mujoco.mjtLightType.mjLIGHT_SPOT,
        cutoff=80,
        exponent=0,
        diffuse=scene.light,
        specular=[0, 0, 0],
        castshadow=True,
    )
    spec.visual.headlight.ambient[:] = 0.4
    spec.visual.headlight.diffuse[:] = 0.5
    spec.visual.headlight.specular[:] = 0
    position, target = np.array(camera.position), np.array(camera.target)
    backward = (position - target) / np.linalg.norm(position - target)
    right = np.cross([0, 0, 1], backward)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(backward, right), backward], axis=1)
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, axes.ravel())
    world.add_camera(name=CAMERA, pos=position, quat=quat, fovy=camera.fovy)


def _add_box(spec: mujoco.MjSpec, index: int, box: BoxSpec) -> None:
    half = np.array(box.half_size)
    body = spec.worldbody.add_body(
        name=box_name(index),
        pos=(*box.position, half[2] + 0.001),
        quat=(np.cos(box.yaw / 2), 0, 0, np.sin(box.yaw / 2)),
    )
    body.add_freejoint()
    body.add_geom(
        name=box_name(index),
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=half,
        rgba=box.rgba,
        density=600,
        friction=[1.0, 0.01, 0.0002],
    )
