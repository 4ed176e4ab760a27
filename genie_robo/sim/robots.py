"""What a robot is, and the built-in arm: six joints and a parallel gripper of plain shapes.

World frame: the origin lies on the table surface in the middle of the workspace, x points away
from the robot, z up. Every robot gets a site between its fingertips whose axes are the
world's at the home posture, so roll, pitch and yaw are measured from there.
"""

from dataclasses import dataclass

import mujoco
import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Robot:
    """What control needs to know: names in the compiled model, postures and limits."""

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
