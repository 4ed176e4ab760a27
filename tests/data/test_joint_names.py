"""Names of joints, which come from files that others made."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genie_robo.data.joint_names import MAX_NAME, clean_names, joint_groups, match_names
from genie_robo.types import ACTION_NAMES

G1 = ("kLeftElbow", "kLeftWristYaw", "kRightElbow", "kLeftHandRing", "kLeftHandIndex")


@pytest.mark.parametrize(
    ("given_names", "clean"),
    [
        (["waist", "elbow"], ("waist", "elbow")),
        (["shoulder_pan.pos", "gripper.pos"], ("shoulder_pan.pos", "gripper.pos")),
        (["j", "j", "j"], ("j", "j_1", "j_2")),
        (["j", "gripper"], ("j", "gripper_1")),  # the end effector's, which is number 6
        (["a/b", "a b", "\x1b[31mred\n", "$x_1$"], ("a_b", "a_b_1", "31mred", "x_1")),
        (["", "[bold]", "x" * 500], ("joint0", "bold", "x" * MAX_NAME)),
    ],
)
def test_names_are_safe_and_unique(given_names, clean):
    assert clean_names(given_names) == clean


@given(st.lists(st.text(max_size=80), max_size=40))
def test_any_names_become_different_short_words(names):
    found = clean_names(names)
    assert len(found) == len({*found, *ACTION_NAMES}) - len(ACTION_NAMES) == len(names)
    assert all(1 <= len(name) <= MAX_NAME and name.isprintable() for name in found)
    assert not set("".join(found)) & (set(string.whitespace) | set("/[]$|<>&\"'"))
    assert clean_names(found) == found


def test_groups_by_the_words_in_names():
    assert joint_groups(G1) == {
        "left_arm": ("kLeftElbow", "kLeftWristYaw"),
        "left_hand": ("kLeftHandRing", "kLeftHandIndex"),
    }  # and a right arm of one joint, which has its own row


def test_groups_by_what_stands_before_the_dot():
    names = ("arm_a.waist", "arm_a.elbow", "arm_b.waist", "arm_b.elbow")
    assert joint_groups(names) == {"arm_a": names[:2], "arm_b": names[2:]}
    # A suffix that all share is no group, and one group says nothing.
    assert joint_groups(("left_pan.pos", "left_lift.pos", "right_pan.pos", "right_lift.pos")) == {
        "left": ("left_pan.pos", "left_lift.pos"),
        "right": ("right_pan.pos", "right_lift.pos"),
    }
    assert joint_groups(("waist", "elbow")) == joint_groups(()) == {}


def test_joints_of_a_dataset_are_found_in_a_urdf():
    known = ("left_elbow_joint", "left_wrist_yaw_joint", "right_elbow_joint", "finger1", "finger_1")
    found = match_names([*G1[:3], "torso", "finger1", "Finger1"], known)
    # The last one is like two joints.
    assert found == (*known[:3], "", "finger1", "")
