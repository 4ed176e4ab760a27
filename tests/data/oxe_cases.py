"""What steps of public datasets must come out as, worked out by hand."""

from typing import NamedTuple

import numpy as np
from oxe_layouts import EXTERNAL, Rows

ALL, NO_TURN, NO_GRIPPER, PLANE = "1111111", "1110001", "1111110", "1100000"
QUARTER, HALF = "1.5707964", "0.70710678"
"""A quarter turn in radians, and the sine and cosine of its half, as in its quaternion."""


class Case(NamedTuple):
    """Three steps as stored, and what must come out, worked out by hand.

    A slash divides steps. Numbers that a row leaves out at its end are nines, which nothing reads;
    masks have a 1 for every number that is there.
    """

    stored: dict[str, str]
    actions: str
    """Of the two transitions."""
    pose: str
    mask: str = ALL
    pose_mask: str = ALL
    instruction: str = "language_instruction"


IN_OBSERVATION = "observation/natural_language_instruction"
DELTAS = {
    "action/world_vector": ".01 0 -.02 / .02 .01 0 / 9 9 9",
    "action/rotation_delta": ".1 .2 .3 / 0 0 -.1 / 9 9 9",
}
GRIPPER = "action/gripper_closedness_action"
WIDOWX = ".3 0 .1 0 -1 0 1 / .31 0 .1 0 -1 0 .5 / .32 0 .1 0 -1 0 0"
"""Poses that both versions of Bridge store."""
CASES = {
    "fractal20220817_data": Case(
        stored={
            **DELTAS,
            GRIPPER: "0 / 1 / 0",
            "observation/base_pose_tool_reached": (
                f".5 -.1 .8 0 0 0 1 / .6 -.1 .8 0 0 {HALF} {HALF} / .7 -.1 .8 {HALF} 0 0 {HALF}"
            ),
            "observation/gripper_closed": "0 / .25 / 1",
        },
        actions=".01 0 -.02 .1 .2 .3 1 / .02 .01 0 0 0 -.1 0",
        pose=f".5 -.1 .8 0 0 0 1 / .6 -.1 .8 0 0 {QUARTER} .75 / .7 -.1 .8 {QUARTER} 0 0 0",
        instruction=IN_OBSERVATION,
    ),
    "bridge_dataset": Case(
        stored={
            "action": ".01 0 0 0 0 .2 1.02 / 0 0 -.03 .1 0 0 .1 / 9",
            "observation/state": WIDOWX,
        },
        actions=".01 0 0 0 0 .2 1 / 0 0 -.03 .1 0 0 .1",
        pose=WIDOWX,
    ),
    "bridge": Case(
        stored={
            **DELTAS,
            "action/open_gripper": "1 / 0 / 1",
            "observation/state": WIDOWX,
        },
        actions=".01 0 -.02 .1 .2 .3 1 / .02 .01 0 0 0 -.1 0",
        pose=WIDOWX,
        instruction=IN_OBSERVATION,
    ),
    "droid": Case(
        stored={
            "action": "9 / 9 / 9",
            "action_dict/cartesian_velocity": "1 -.5 0 .2 0 -1 / 0 0 1 0 1 0 / 9",
            "action_dict/gripper_position": ".25 / 1 / 9",
            "observation/cartesian_position": ".4 0 .3 3 0 1 / .5 0 .3 3 0 1 / .5 0 .4 3 0 1",
            "observation/gripper_position": "0 / .5 / 1",
        },
        actions=".075 -.0375 0 .03 0 -.15 .75 / 0 0 .075 0 .15 0 0",
        pose=".4 0 .3 3 0 1 1 / .5 0 .3 3 0 1 .5 / .5 0 .4 3 0 1 0",
        instruction="language_instruction_3",
    ),
    "language_table": Case(
        stored={
            "action": ".01 -.02 / 0 .03 / 9",
            "observation/effector_translation": ".4 .1 / .41 .08 / .41 .11",
        },
        actions=".01 -.02 0 0 0 0 0 / 0 .03 0 0 0 0 0",
        pose=".4 .1 0 0 0 0 0 / .41 .08 0 0 0 0 0 / .41 .11 0 0 0 0 0",
        mask=PLANE,
        pose_mask=PLANE,
        instruction="observation/instruction",
    ),
    "jaco_play": Case(
        stored={
            "action/world_vector": DELTAS["action/world_vector"],
            GRIPPER: "-1 / 1 / 0",
            "observation/end_effector_cartesian_pos": ".1 .2 .3 / .1 .2 .4 / .1 .2 .5",
        },
        actions=".01 0 -.02 0 0 0 1 / .02 .01 0 0 0 0 0",
        pose=".1 .2 .3 0 0 0 0 / .1 .2 .4 0 0 0 0 / .1 .2 .5 0 0 0 0",
        mask=NO_TURN,
        pose_mask="1110000",
        instruction=IN_OBSERVATION,
    ),
    "kuka": Case(
        stored={
            **DELTAS,
            GRIPPER: "1 / 0 / 0",
            "observation/clip_function_input/base_pose_tool_reached": ".5 0 .2 / .5 0 .1 / .5 0 0",
            "observation/gripper_closed": "0 / 1 / 1",
        },
        actions=".01 0 -.02 .1 .2 .3 0 / .02 .01 0 0 0 -.1 0",
        pose=".5 0 .2 0 0 0 1 / .5 0 .1 0 0 0 0 / .5 0 0 0 0 0 0",
        pose_mask=NO_TURN,
        instruction=IN_OBSERVATION,
    ),
    "bc_z": Case(
        stored={
            "action/future/xyz_residual": ".01 0 .02 / 0 .03 0 / 9",
            "action/future/axis_angle_residual": "0 0 .3 / -.2 0 0 / 9",
            "action/future/target_close": "0 1 / 1 0 / 9",
            "observation/present/xyz": ".1 .2 .3 / .1 .2 .4 / .1 .2 .5",
            "observation/present/axis_angle": f"0 0 0 / 0 0 {QUARTER} / {QUARTER} 0 0",
            "observation/present/sensed_close": ".2 / .5 / 1",
        },
        actions=".01 0 .02 0 0 .3 1 / 0 .03 0 -.2 0 0 0",
        pose=f".1 .2 .3 0 0 0 .8 / .1 .2 .4 0 0 {QUARTER} .5 / .1 .2 .5 {QUARTER} 0 0 0",
        instruction=IN_OBSERVATION,
    ),
    f"furniture_bench{EXTERNAL}": Case(
        stored={
            "action": f".01 0 0 0 0 {HALF} {HALF} -1 / 0 .02 0 {HALF} 0 0 {HALF} 1 / 9",
            "observation/state": f".5 0 .1 0 0 {HALF} {HALF} / .5 0 .2 0 0 0 1 / .5 0 .3 0 0 0 1",
        },
        actions=f".01 0 0 0 0 {QUARTER} 1 / 0 .02 0 {QUARTER} 0 0 0",
        pose=f".5 0 .1 0 0 {QUARTER} 0 / .5 0 .2 0 0 0 0 / .5 0 .3 0 0 0 0",
        pose_mask=NO_GRIPPER,
    ),
    f"nyu_franka_play{EXTERNAL}": Case(
        stored={
            "action": "9 9 9 9 9 9 9 .01 0 0 .1 .2 .3 1.5 / 9 9 9 9 9 9 9 0 0 -.02 0 0 0 -1 / 9",
            "observation/state": (
                "9 9 9 9 9 9 9 .4 .1 .2 3 0 -1 / 9 9 9 9 9 9 9 .4 .1 .3 3 0 -1 / "
                "9 9 9 9 9 9 9 .4 .1 .4 3 0 -1"
            ),
        },
        actions=".01 0 0 .1 .2 .3 1 / 0 0 -.02 0 0 0 0",
        pose=".4 .1 .2 3 0 -1 0 / .4 .1 .3 3 0 -1 0 / .4 .1 .4 3 0 -1 0",
        pose_mask=NO_GRIPPER,
    ),
    "robo_net": Case(
        stored={
            "action": ".01 0 -.02 .3 1 / 0 .04 0 -.2 0 / 9",
            "observation/state": ".1 .2 .3 1.5 0 / .2 .2 .3 -1.5 1 / .2 .2 .4 0 .5",
        },
        actions=".01 0 -.02 0 0 .3 1 / 0 .04 0 0 0 -.2 0",
        pose=".1 .2 .3 0 0 1.5 0 / .2 .2 .3 0 0 -1.5 1 / .2 .2 .4 0 0 0 .5",
        mask="1110011",
        pose_mask="1110011",
    ),
    f"stanford_hydra{EXTERNAL}": Case(
        stored={
            "action": ".01 0 0 .1 .2 .3 0 / 0 0 .02 0 0 0 1 / 9",
            "observation/image": "200 20 10 / 100 20 10 / 50 20 10",
            "observation/state": (
                ".4 .1 .2 9 9 9 9 3 0 -1 / .4 .1 .3 9 9 9 9 3 0 -1 / .4 .1 .4 9 9 9 9 3 0 -1"
            ),
            "observation/wrist_image": "90 80 70 / 90 80 70 / 90 80 70",
        },
        actions=".01 0 0 .1 .2 .3 1 / 0 0 .02 0 0 0 0",
        pose=".4 .1 .2 3 0 -1 0 / .4 .1 .3 3 0 -1 0 / .4 .1 .4 3 0 -1 0",
        pose_mask=NO_GRIPPER,
    ),
    "berkeley_mvp_converted_externally_to_rlds": Case(
        stored={
            "action": "9 / 9 / 9",
            "observation/pose": ".1 .2 .3 / .1 .25 .3 / .1 .25 .2",
            "observation/gripper": "0 / 1 / 1",
        },
        actions="0 .05 0 0 0 0 0 / 0 0 -.1 0 0 0 0",
        pose=".1 .2 .3 0 0 0 1 / .1 .25 .3 0 0 0 0 / .1 .25 .2 0 0 0 0",
        mask=NO_TURN,
        pose_mask=NO_TURN,
    ),
    f"maniskill{EXTERNAL}": Case(
        stored={
            "action": "1 -1 0 1 0 0 1 / 0 0 .5 0 0 -2 -1 / 9",
            "observation/tcp_pose": f".5 0 0 {HALF} 0 0 {HALF} / .5 0 1 1 0 0 0 / .5 0 2 1 0 0 0",
        },
        actions=".1 -.1 0 .1 0 0 1 / 0 0 .05 0 0 -.2 0",
        pose=f".5 0 0 0 0 {QUARTER} 0 / .5 0 1 0 0 0 0 / .5 0 2 0 0 0 0",
        pose_mask=NO_GRIPPER,
    ),
}


def numbers(text: str) -> list[list[float]]:
    """The rows that slashes divide."""
    return [[float(word) for word in row.split()] for row in text.split("/")]


def instructed(name: str, text: str, num_steps: int) -> Rows:
    """The first steps of a case, with an instruction as the dataset stores it."""
    case = CASES[name]
    rows = {key: numbers(stored)[:num_steps] for key, stored in case.stored.items()}
    points = np.pad([ord(letter) for letter in text], (0, 512 - len(text)))
    instruction = points if name == "language_table" else text
    return {**rows, case.instruction: [instruction] * num_steps}
