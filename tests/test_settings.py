"""Enum members by name, for callers in Python, and the names that a command line may give."""

from dataclasses import dataclass
from enum import StrEnum

import pytest

from genie_robo.commands.command import UsageError
from genie_robo.commands.compose import compose_config
from genie_robo.commands.table import load_command
from genie_robo.settings import take_names


class Colour(StrEnum):
    red = "red"
    blue = "blue"


@dataclass(frozen=True, kw_only=True)
class Paint:
    colour: Colour = Colour.red
    litres: float = 1.0

    def __post_init__(self) -> None:
        take_names(self, "paint")


def test_a_name_becomes_its_member():
    assert Paint(colour="blue").colour is Colour.blue
    assert Paint(colour=Colour.blue) == Paint(colour="blue")


def test_an_unknown_name_is_refused_with_those_that_are_known():
    with pytest.raises(ValueError, match=r"paint\.colour=green is unknown; use red or blue"):
        Paint(colour="green")


@pytest.mark.parametrize(
    ("setting", "name", "known"),
    [
        ("data.source.action.rotation_format", "euler", "rpy, axis_angle"),
        ("data.source.pose.rotation_format", "euler", "rpy, axis_angle"),
        ("data.source.action.gripper_format", "half", "open_one, closed_one, relative_close"),
        ("data.source.action.motion", "joints", "delta, velocity, target, achieved, pose_change"),
        ("data.resize", "squash", "stretch, crop, letterbox"),
    ],
)
def test_a_command_line_lists_the_names_as_well(setting, name, known):
    with pytest.raises(UsageError, match=rf"{setting}={name} does not fit: .*\[{known}"):
        compose_config(load_command("train"), ["run=r", "data.path=d", f"{setting}={name}"])
