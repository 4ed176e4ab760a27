"""Enum members by name, for callers in Python, and the names that a command line may give."""

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import pytest

from genie_robo.commands.command import UsageError
from genie_robo.commands.compose import compose_config
from genie_robo.commands.table import load_command
from genie_robo.config import TrainConfig
from genie_robo.settings import check_numbers, take_names


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


def replaced(config, path, value):
    """The settings with another value at a dotted path."""
    name, _, rest = path.partition(".")
    return replace(
        config, **{name: replaced(getattr(config, name), rest, value) if rest else value}
    )


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("tokenizer.optim.ema_decay", 1.0),
        ("tokenizer.optim.learning_rate", -1.0),
        ("world_model.optim.final_learning_rate", -0.1),
        ("tokenizer.optim.beta1", 1.0),
        ("tokenizer.optim.beta2", 2.0),
        ("tokenizer.optim.decay_fraction", 1.5),
        ("tokenizer.optim.weight_decay", -1.0),
        ("tokenizer.optim.max_grad_norm", -1.0),
        ("tokenizer.optim.max_grad_norm", math.nan),
        ("tokenizer.optim.warmup_steps", -1),
        ("tokenizer.validation_windows", -1),
        ("world_model.validate_every", 0),
        ("robot_control.validate_every", 0),
        ("robot_control.min_labels", -1),
        ("latent_action_labels.num_transitions", -1),
        ("latent_action_labels.weight", -1.0),
        ("engine.num_threads", -1),
        ("log_every", 0),
        ("save_every_s", -1.0),
        ("num_checkpoints", 0),
    ],
)
def test_a_number_that_no_training_can_have_is_refused(path, value):
    with pytest.raises(ValueError, match=rf"^{path}={value} must be (from|at least) "):
        check_numbers(replaced(TrainConfig(), path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("learning_rate", 0.0),
        ("weight_decay", 0.0),
        ("beta1", 0.0),
        ("decay_fraction", 0.0),
        ("decay_fraction", 1.0),
        ("warmup_steps", 0),
        ("ema_decay", 0.9999),
        ("max_grad_norm", math.inf),
    ],
)
def test_the_limits_of_a_number_of_a_training_are_taken(path, value):
    assert refusal(replaced(TrainConfig(), f"tokenizer.optim.{path}", value)) == ""


def refusal(config):
    """What is said against the numbers of a configuration; empty if nothing is."""
    try:
        check_numbers(config)
    except ValueError as error:
        return str(error)
    return ""
