"""What takes the place of Genie in an evaluation: by name, or `package:Class`.

A class of one's own is built by its `from_context(context)` if it has such a class method, else
without arguments.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from eval_suites.base import EvalContext, LatentActionEncoder, RobotWorldModel, WorldModel
from eval_suites.plugs.encoders import ENCODERS
from eval_suites.plugs.worlds import WORLDS

GENIE = "genie"


def check_plugs(*, world_model: str, encoder: str) -> None:
    """Refuse a name that stands for nothing, before anything slow.

    Raises:
        ValueError: No such name, module or class.
    """
    _find(world_model, WORLDS, setting="world_model")
    _find(encoder, ENCODERS, setting="encoder")


def plug(context: EvalContext, *, world_model: str = GENIE, encoder: str = GENIE) -> EvalContext:
    """The same held-out episodes with other models.

    A world model of one's own that only knows `imagine` leaves nothing that robot actions steer.

    Raises:
        ValueError: No such name, module or class, an object without the methods of base.py, or a
            model that this dataset does not support.
    """
    build = _find(encoder, ENCODERS, setting="encoder")
    if build is not None:
        plugged = _checked(
            build(context), LatentActionEncoder, name=encoder, methods="num_codes and encode"
        )
        context = replace(context, encoder=plugged)
    build = _find(world_model, WORLDS, setting="world_model")
    if build is not None:
        world = _checked(build(context), WorldModel, name=world_model, methods="imagine")
        robot = world if isinstance(world, RobotWorldModel) else None
        context = replace(
            context, world_model=world, robot_world_model=robot, alone_world_model=None
        )
    return context


def plug_notes(*, world_model: str, encoder: str) -> tuple[str, ...]:
    """What a reader of the results must know about what was plugged in."""
    notes = []
    if world_model != GENIE:
        notes.append(f"The world model is {world_model}, not the run's own.")
    if world_model.startswith("mujoco"):
        notes.append(
            "MuJoCo understands robot actions only: wherever latent actions steer, it executes the "
            "recorded robot actions, whatever the codes are."
        )
    if world_model == "mujoco_coded":
        notes.append(
            "The xyz motion of every robot action is quantised to the nearest centroid, with error "
            "feedback."
        )
    if encoder != GENIE:
        notes.append(f"The latent actions are those of encoder={encoder}, not the run's own.")
    if encoder != GENIE and world_model == GENIE:
        notes.append(
            "The run's world model was never trained on these latent actions: what it imagines "
            "from them means nothing."
        )
    return tuple(notes)


def _find(
    name: str, known: Mapping[str, Callable[[EvalContext], Any]], *, setting: str
) -> Callable[[EvalContext], Any] | None:
    """How to build what a name stands for; None leaves Genie in place."""
    if name == GENIE:
        return None
    if name in known:
        return known[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        raise ValueError(
            f"{setting}={name} is not known; choose one of {', '.join((GENIE, *known))}, or give "
            "your own as package.module:Class"
        )
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{setting}={name} cannot be imported: {error}; give package.module:Class with a "
            "module that Python finds, for example through PYTHONPATH"
        ) from error
    return getattr(found, "from_context", None) or (lambda _: found())


def _checked(built: Any, protocol: type, *, name: str, methods: str) -> Any:
    if not isinstance(built, protocol):
        raise ValueError(
            f"{name} is a {type(built).__name__} without {methods}; a {protocol.__name__} in "
            "eval_suites/base.py says what it needs"
        )
    return built
