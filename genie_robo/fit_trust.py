"""Trust in the imagined frames of a run: what is usual is measured on val, and kept in the run."""

import json
import logging
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from genie_robo.checkpoint import weights_digest
from genie_robo.eval_context import eval_context
from genie_robo.eval_suites.table import UnavailableError
from genie_robo.eval_suites.watching import measure_usual
from genie_robo.fit_action_map import fetch_action_map, saved_action_map
from genie_robo.inference.trust import Usual, WatchedWorld
from genie_robo.inference.world import Actions, Codes, GenieWorld, Latents, RobotActions, World
from genie_robo.run_folder import write_atomic
from genie_robo.run_lock import only_writer
from genie_robo.stored_files import read_json
from genie_robo.trained_run import TrainedRun

FORMAT_VERSION = 2
NAMES = {Codes: "codes", Latents: "latents", RobotActions: "robot_actions"}

_log = logging.getLogger(__name__)


def watch_run(
    trained: TrainedRun,
    world: World,
    *,
    kinds: Collection[type[Actions]],
    num_labels: int,
    may_measure: bool = True,
) -> World:
    """The world of a run under watch, if it is a Genie's and something is known to be usual.

    Args:
        trained: The run.
        world: One that shows its models.
        kinds: The kinds of actions that will steer it.
        num_labels: Of the action map, which gives the latents of robot actions.
        may_measure: False takes only what is kept in the run, and opens no dataset.
    """
    if not isinstance(world, GenieWorld):
        return world
    judged = [kind for kind in kinds if kind in world.takes]
    if trained.genie.takes_robot_actions:  # its action map is no part of the world
        judged = [kind for kind in judged if kind is not RobotActions]

    def to_latents(robot_actions: np.ndarray) -> np.ndarray:
        fitted = saved_action_map(trained, num_labels=num_labels)
        fitted = fitted or fetch_action_map(trained, num_labels=num_labels)
        return fitted.latents.predict(robot_actions)

    try:
        usual = _find(trained, world, judged, num_labels=num_labels, may_measure=may_measure)
    except (UnavailableError, ValueError) as error:
        _log.warning("trust in imagined frames is not known: %s", error)
        return world
    return WatchedWorld(world, usual, to_latents=to_latents) if usual else world


def kept_usual(
    trained: TrainedRun, world: GenieWorld, *, num_labels: int
) -> dict[type[Actions], Usual]:
    """What is kept in the run of this world, for each kind of actions; measures nothing.

    Raises:
        ValueError: The file is damaged.
    """
    return _find(trained, world, tuple(NAMES), num_labels=num_labels, may_measure=False)


def _find(
    trained: TrainedRun,
    world: GenieWorld,
    kinds: Collection[type[Actions]],
    *,
    num_labels: int,
    may_measure: bool,
) -> dict[type[Actions], Usual]:
    """What is usual by kind: kept in the run, or measured and then kept there."""
    path, dynamics = trained.folder.trust, _dynamics(trained, world)
    origin = _origin(trained, world, dynamics, num_labels=num_labels)
    kept = _read(trained) if trained.is_own_data and path.exists() else {}
    found, is_new = {}, False
    for kind in kinds:
        name = f"{dynamics}/{NAMES[kind]}"
        entry = kept.get(name, {})
        if entry.get("origin") == origin:
            found[kind] = _usual(trained, entry)
        elif may_measure:
            context = eval_context(trained, sampler=world.sampler, num_labels=num_labels)
            found[kind] = measure_usual(context, world, kind)
            kept[name] = {"origin": origin, "usual": found[kind].numbers}
            is_new = True
    if is_new and trained.is_own_data:
        content = json.dumps({"format_version": FORMAT_VERSION, "kept": kept})
        with only_writer(trained.folder):
            write_atomic(path, content)
    return found


def _dynamics(trained: TrainedRun, world: GenieWorld) -> str:
    """The name of the weights that imagine."""
    return "dynamics" if world.genie is trained.genie else "robot_dynamics"


def _origin(
    trained: TrainedRun, world: GenieWorld, dynamics: str, *, num_labels: int
) -> dict[str, str | int]:
    parts = ("tokenizer", "latent_action", dynamics)
    return {
        **{part: weights_digest(trained.folder, part) for part in parts},
        "sampler": world.sampler.describe(),
        "num_labels": num_labels,
    }


def _read(trained: TrainedRun) -> dict[str, Any]:
    """What is kept; nothing of another version."""
    try:
        stored = read_json(trained.folder.trust)
        if stored["format_version"] != FORMAT_VERSION:
            return {}
        return {name: dict(entry) for name, entry in dict(stored["kept"]).items()}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise _damaged(trained, error) from error


def _usual(trained: TrainedRun, entry: Mapping[str, Any]) -> Usual:
    try:
        return Usual.from_numbers(entry["usual"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _damaged(trained, error) from error


def _damaged(trained: TrainedRun, error: Exception) -> ValueError:
    return ValueError(
        f"{trained.folder.trust} cannot be read: {error}. Delete the file, and it is measured "
        "again when it is needed"
    )
