"""Robots: the built-in arm of plain shapes, and robots of the MuJoCo Menagerie.

World frame: the origin lies on the table surface in the middle of the workspace, x points away
from the robot, z up. Every robot gets a site between its fingertips whose axes are the
world's at the home posture, so roll, pitch and yaw are measured from there.
"""

import importlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

import mujoco
import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Robot:
    """Names in the compiled model, postures and limits."""

    name: str
    joints: tuple[str, ...]
    """Arm joints from base to wrist; each is driven by a position actuator of the same name."""
    home: tuple[float, ...]
    """Joint angles (rad) with the tool over the middle of the workspace."""
    fingers: tuple[str, ...]
    """Gripper actuators."""
    finger_open: float
    finger_closed: float
    """Their control values, which are also positions of the first of `open_joints`."""
    open_joints: tuple[tuple[str, float], ...]
    """Finger joints with their positions in the open gripper (m or rad)."""
    tool_site: str = "tool"
    workspace_low: tuple[float, float, float] = (-0.12, -0.12, 0.014)
    workspace_high: tuple[float, float, float] = (0.12, 0.12, 0.17)
    """Box that the tool stays in (m)."""
    rotation_limit: tuple[float, float, float] = (0.25, 0.25, 0.8)
    """Largest absolute roll, pitch and yaw of the tool (rad)."""


POINTING_DOWN = (0.5**0.5, 0.0, -(0.5**0.5), 0.0)
"""Axes of the world in the frame of a hand whose x axis points down."""
_WHITE = (0.93, 0.93, 0.91, 1.0)
_DARK = (0.2, 0.21, 0.24, 1.0)
_ORANGE = (1.0, 0.5, 0.08, 1.0)

_ARM_BASE = -0.45
_SHOULDER_HEIGHT = 0.3
_UPPER_ARM = 0.34
_FOREARM = 0.3
_WRIST_TO_TOOL = 0.15
_FINGER_TRAVEL = 0.036


def _capsule(
    body: mujoco.MjsBody, start: tuple, end: tuple, radius: float, rgba: tuple, mass: float
) -> None:
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CAPSULE,
        fromto=[*start, *end],
        size=[radius, 0, 0],
        rgba=rgba,
        mass=mass,
    )


def _hinge(body: mujoco.MjsBody, name: str, axis: tuple, limit: float) -> None:
    body.add_joint(
        name=name,
        axis=axis,
        range=[-limit, limit],
        limited=mujoco.mjtLimited.mjLIMITED_TRUE,
        armature=0.05,
        damping=1.0,
    )


def _child(parent: mujoco.MjsBody, name: str, pos: tuple, **kwargs: object) -> mujoco.MjsBody:
    return parent.add_body(name=name, pos=pos, gravcomp=1, **kwargs)


def _add_gripper(spec: mujoco.MjSpec, wrist: mujoco.MjsBody) -> None:
    """A palm and two fingers that slide along y; the wrist frame's x axis points down."""
    palm_x = _WRIST_TO_TOOL - 0.075
    hand = _child(wrist, "hand", (0, 0, 0))
    _hinge(hand, "wrist_rotate", (1, 0, 0), 3.1)
    _capsule(hand, (0.0, 0, 0), (palm_x - 0.02, 0, 0), 0.024, _DARK, 0.15)
    hand.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=[palm_x, 0, 0],
        size=[0.02, 0.06, 0.028],
        rgba=_ORANGE,
        mass=0.2,
    )
    for side, sign in (("left", 1), ("right", -1)):
        finger = _child(hand, f"{side}_finger", (_WRIST_TO_TOOL, 0, 0))
        finger.add_joint(
            name=f"{side}_finger",
            type=mujoco.mjtJoint.mjJNT_SLIDE,
            axis=(0, sign, 0),
            range=[0, _FINGER_TRAVEL],
            limited=mujoco.mjtLimited.mjLIMITED_TRUE,
            armature=0.1,
            damping=10.0,
        )
        finger.add_geom(
            name=f"{side}_finger",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=[-0.025, sign * 0.008, 0],
            size=[0.036, 0.008, 0.014],
            rgba=_ORANGE,
            mass=0.05,
            friction=[2, 0.05, 0.0002],
            condim=4,
        )
    hand.add_site(name="tool", pos=(_WRIST_TO_TOOL, 0, 0), quat=POINTING_DOWN)
    spec.add_equality(
        type=mujoco.mjtEq.mjEQ_JOINT,
        name1="left_finger",
        name2="right_finger",
        objtype=mujoco.mjtObj.mjOBJ_JOINT,
        data=[0, 1] + 10 * [0],
    )


def _add_position_actuator(
    spec: mujoco.MjSpec, joint: str, *, stiffness: float, force: float
) -> None:
    """A critically damped position servo."""
    actuator = spec.add_actuator(
        name=joint, target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT, forcerange=[-force, force]
    )
    actuator.set_to_position(kp=stiffness, dampratio=1.0)


def attach_arm(spec: mujoco.MjSpec) -> Robot:
    """Add the built-in arm behind the workspace, facing along +x."""
    base = spec.worldbody.add_body(name="base", pos=(_ARM_BASE, 0, 0))
    _capsule(base, (0, 0, 0), (0, 0, _SHOULDER_HEIGHT - 0.05), 0.04, _DARK, 5.0)
    turret = _child(base, "turret", (0, 0, _SHOULDER_HEIGHT))
    _hinge(turret, "waist", (0, 0, 1), 2.8)
    _capsule(turret, (0, -0.05, 0), (0, 0.05, 0), 0.05, _DARK, 1.0)
    upper = _child(turret, "upper_arm", (0, 0, 0))
    _hinge(upper, "shoulder", (0, 1, 0), 2.2)
    _capsule(upper, (0, 0, 0), (0, 0, _UPPER_ARM), 0.035, _WHITE, 0.8)
    fore = _child(upper, "forearm", (0, 0, _UPPER_ARM))
    _hinge(fore, "elbow", (0, 1, 0), 2.7)
    _capsule(fore, (0, -0.03, 0), (0, 0.03, 0), 0.038, _DARK, 0.3)
    _capsule(fore, (0, 0, 0), (_FOREARM / 2, 0, 0), 0.03, _WHITE, 0.3)
    roll = _child(fore, "lower_forearm", (_FOREARM / 2, 0, 0))
    _hinge(roll, "forearm_roll", (1, 0, 0), 2.8)
    _capsule(roll, (0, 0, 0), (_FOREARM / 2, 0, 0), 0.028, _WHITE, 0.3)
    wrist = _child(roll, "wrist", (_FOREARM / 2, 0, 0))
    _hinge(wrist, "wrist_pitch", (0, 1, 0), 2.6)
    _capsule(wrist, (0, -0.022, 0), (0, 0.022, 0), 0.03, _DARK, 0.2)
    _add_gripper(spec, wrist)
    joints = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_pitch", "wrist_rotate")
    for joint in joints:
        _add_position_actuator(spec, joint, stiffness=8000.0, force=400.0)
    for joint in ("left_finger", "right_finger"):
        _add_position_actuator(spec, joint, stiffness=400.0, force=12.0)
    return Robot(
        name="arm",
        joints=joints,
        home=(0.0, 0.05, 0.5, 0.0, np.pi / 2 - 0.55, 0.0),
        fingers=("left_finger", "right_finger"),
        finger_open=_FINGER_TRAVEL,
        finger_closed=0.0,
        open_joints=(("left_finger", _FINGER_TRAVEL), ("right_finger", _FINGER_TRAVEL)),
    )


MENAGERIE_ROOT = "MENAGERIE_ROOT"
"""Environment variable with the Menagerie folder; else the package mujoco-menagerie is used."""
PACKAGE = "mujoco_menagerie"


@dataclass(frozen=True, slots=True, kw_only=True)
class MenagerieRobot:
    """Files, mounting and actuators of a robot."""

    file: str
    """MJCF below MENAGERIE_ROOT."""
    robot: Robot
    base: tuple[float, float, float]
    """Position of its base in the world (m)."""
    hand: str
    """Body that carries the tool."""
    tool: tuple[float, float, float]
    """Point between the fingertips in the hand's frame (m)."""
    tool_quat: tuple[float, float, float, float]
    """Axes of the tool in the hand's frame."""
    stiffness: float
    force: float
    finger_stiffness: float
    finger_force: float


WX250S = MenagerieRobot(
    file="trossen_wx250s/wx250s.xml",
    robot=Robot(
        name="wx250s",
        joints=("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate"),
        home=(0.0, 0.1, 0.3, 0.0, 1.17, 0.0),
        fingers=("gripper",),
        finger_open=0.037,
        finger_closed=0.015,
        open_joints=(("left_finger", 0.037), ("right_finger", -0.037)),
    ),
    base=(-0.33, 0.0, 0.1),
    hand="wx250s/gripper_link",
    tool=(0.108, 0.0, 0.0),
    tool_quat=POINTING_DOWN,
    stiffness=1000.0,
    force=100.0,
    finger_stiffness=2000.0,
    finger_force=20.0,
)

GOOGLE_ROBOT = MenagerieRobot(
    file="google_robot/robot.xml",
    robot=Robot(
        name="google_robot",
        joints=(
            "joint_torso",
            "joint_shoulder",
            "joint_bicep",
            "joint_elbow",
            "joint_forearm",
            "joint_wrist",
            "joint_gripper",
        ),
        home=(0.304, 0.975, -0.033, 1.608, 0.052, 0.559, 0.242),
        fingers=("joint_finger_right", "joint_finger_left"),
        finger_open=0.35,
        finger_closed=1.0,
        open_joints=(("joint_finger_right", 0.35), ("joint_finger_left", 0.35)),
        workspace_low=(-0.12, -0.12, 0.035),
    ),
    base=(-0.6, 0.17, -0.35),
    hand="link_gripper",
    tool=(0.0, 0.0, 0.15),
    tool_quat=(0.0, 0.0, 1.0, 0.0),
    stiffness=4000.0,
    force=300.0,
    finger_stiffness=60.0,
    finger_force=30.0,
)

MENAGERIE = {mount.robot.name: mount for mount in (WX250S, GOOGLE_ROBOT)}


def attach_menagerie(spec: mujoco.MjSpec, mount: MenagerieRobot) -> Robot:
    """Add a robot of the MuJoCo Menagerie to a scene.

    Source: https://github.com/google-deepmind/mujoco_menagerie. Differs: gravity compensation and
    stiffer position servos, so that the arm follows 5 cm steps at 3 Hz; a tool site; more friction
    at the fingers.

    Raises:
        FileNotFoundError: neither MENAGERIE_ROOT nor the package mujoco-menagerie has the robot.
    """
    child = mujoco.MjSpec.from_file(str(_find(mount)))
    child.option.timestep = spec.option.timestep
    for element in (*child.lights, *child.keys):
        child.delete(element)
    for body in child.bodies[1:]:
        body.gravcomp = 1
    robot = mount.robot
    for actuator in child.actuators:
        actuator.name = actuator.name or actuator.target
        is_finger = actuator.name in robot.fingers
        stiffness = mount.finger_stiffness if is_finger else mount.stiffness
        force = mount.finger_force if is_finger else mount.force
        actuator.set_to_position(kp=stiffness, dampratio=1.0)
        actuator.forcerange = [-force, force]
    hand = child.body(mount.hand)
    hand.add_site(name=robot.tool_site, pos=mount.tool, quat=mount.tool_quat)
    for geom in hand.find_all("geom"):
        geom.friction, geom.condim = [2, 0.05, 0.0002], 4
    prefix = f"{robot.name}/"
    spec.attach(child, frame=spec.worldbody.add_frame(pos=mount.base), prefix=prefix)
    return replace(
        robot,
        joints=tuple(prefix + joint for joint in robot.joints),
        fingers=tuple(prefix + finger for finger in robot.fingers),
        open_joints=tuple((prefix + joint, opened) for joint, opened in robot.open_joints),
        tool_site=prefix + robot.tool_site,
    )


def base_position(name: str) -> tuple[float, float, float]:
    """Where a robot's base is in the world (m)."""
    return MENAGERIE[name].base if name in MENAGERIE else (_ARM_BASE, 0.0, 0.0)


def _find(mount: MenagerieRobot) -> Path:
    root = os.environ.get(MENAGERIE_ROOT)
    if not root:
        return _find_in_package(mount)
    path = Path(root) / mount.file
    if not path.is_file():
        raise FileNotFoundError(
            f"robot={mount.robot.name} needs {path}, which does not exist; set {MENAGERIE_ROOT} "
            f"({root}) to the folder that holds {mount.file}, or take robot=arm"
        )
    return path


def _find_in_package(mount: MenagerieRobot) -> Path:
    """The robot from the package mujoco-menagerie, which downloads it at its first use."""
    name, file = mount.file.split("/")
    where = f"robot={mount.robot.name} is read from the MuJoCo Menagerie, but {MENAGERIE_ROOT}"
    fix = f"set {MENAGERIE_ROOT} to a Menagerie folder, or take robot=arm, which is built in"
    try:
        package = importlib.import_module(PACKAGE)
    except ModuleNotFoundError:
        raise FileNotFoundError(
            f"{where} is not set and the package mujoco-menagerie is not installed; {fix}"
        ) from None
    try:
        return package.get(name).path() / file
    except (package.MenagerieError, OSError) as error:
        raise FileNotFoundError(
            f"{where} is not set and the package mujoco-menagerie has no copy ({error}); {fix}"
        ) from error
