"""Robots from a MuJoCo Menagerie folder, made ready for the tabletop.

Source: https://github.com/google-deepmind/mujoco_menagerie. Differs: gravity compensation and
stiffer position servos, so that the arm follows 5 cm steps at 3 Hz; a tool site; grippy fingers.
"""

import importlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

import mujoco

from genie_robo.sim.robots import POINTING_DOWN, Robot

MENAGERIE_ROOT = "MENAGERIE_ROOT"
"""Names the folder of the Menagerie; without it the package mujoco-menagerie is asked."""
PACKAGE = "mujoco_menagerie"


@dataclass(frozen=True, slots=True, kw_only=True)
class MenagerieRobot:
    """Where a robot's files are, and how it is mounted and driven."""

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
    """Add a Menagerie robot to a scene.

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
