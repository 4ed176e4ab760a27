"""How many steps there are in a second, and commands that are velocities."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from genie_robo.data.settings import Source
from genie_robo.inspection.episodes import Sample
from genie_robo.inspection.findings import Finding
from genie_robo.inspection.pose_match import PoseMatch

_CLOCK = re.compile(r"time|stamp", re.IGNORECASE)
_COUNTER = re.compile(r"step|index|limit", re.IGNORECASE)
VELOCITY = re.compile(r"velocit|(?<![a-z])vel(?![a-z])|twist", re.IGNORECASE)
_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_LONGEST_STEP_S = 2.0
_NEAR = 0.2
"""Relative difference of a ratio and a rate that are taken to be equal."""
_LEAST_HZ = 2.0
"""Commands that are fewer times the motion may be deltas."""


class Rate(NamedTuple):
    """Steps per second, and how they are known."""

    hz: float
    why: str
    is_measured: bool


def find_rate(sample: Sample) -> Rate | None:
    """The rate by a column of timestamps, if there is one."""
    for key in sample.numbers:
        name = key.rpartition("/")[2]
        if sample.width(key) != 1 or not _CLOCK.search(name) or _COUNTER.search(name):
            continue
        step = float(np.median(sample.changes(sample.take(key))))
        unit = next((u for u, size in _UNITS.items() if 0 < step * size <= _LONGEST_STEP_S), "")
        if unit:
            hz = float(f"{1 / (step * _UNITS[unit]):.4g}")
            return Rate(hz, f"{key} advances by {step:.4g} {unit} a step", is_measured=True)
    return None


def velocity_rate(key: str, match: PoseMatch | None, rate: Rate | None) -> tuple[bool, Rate | None]:
    """Whether a column of commands is a velocity, and the rate that follows from it.

    It is one by its name, or where commands are as many times the motion of a step as there are
    steps in a second.
    """
    is_named = VELOCITY.search(key) is not None
    if match is None or match.motion != "delta":
        return is_named and match is None, rate
    if rate:
        return is_named or is_per_second(match.slope, rate.hz), rate
    if is_named:
        why = f"{key} is {match.slope:.3g} times the motion of a step"
        return True, Rate(float(f"{match.slope:.2g}"), why, is_measured=False)
    return False, None


def is_per_second(slope: float, hz: float) -> bool:
    """Whether commands are as many times the motion of a step as there are steps in a second."""
    return abs(slope / hz - 1) < _NEAR and hz >= _LEAST_HZ


def check_rate(source: Source) -> Iterator[Finding]:
    """Ask for the rate where it is unknown."""
    if source.control_hz <= 0:
        yield Finding(
            "control_hz",
            "the steps per second are unknown; give data.source.control_hz=HZ, which "
            "motion=velocity, data.target_hz and time axes need",
        )
