"""Worlds and encoders that replace the run's own in an evaluation: by name, or `package:Class`.

Reference worlds and encoders check the suites: MuJoCo itself must reach the best value of every
metric, a held frame the worst. A user's class is built by its class method `from_context(context)`
if it has one, otherwise without arguments.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.cluster import KMeans

from genie_robo.eval_suites.base import EvalContext, LatentActionEncoder
from genie_robo.eval_suites.encoders import ENCODERS
from genie_robo.eval_suites.metrics.regression import fit_clusters
from genie_robo.eval_suites.plug_names import GENIE
from genie_robo.eval_suites.rollouts import episode_limit, read_episodes
from genie_robo.eval_suites.table import UnavailableError
from genie_robo.inference.error_feedback import ErrorFeedback
from genie_robo.inference.plugged import checked_plug, find_plug
from genie_robo.inference.world import HeldFrame, World
from genie_robo.sim.mujoco_world import MujocoWorld
from genie_robo.types import XYZ

CENTROID_EPISODES = 60
"""Validation episodes whose motions are clustered."""


def fit_motion_centroids(context: EvalContext, *, name: str) -> ErrorFeedback:
    """k-means centroids of commanded xyz motions (m), as many as there are latent actions.

    MuJoCo driven by motions quantised to them by greedy error feedback is a reference for worlds
    driven by as many codes, not a bound: a search over whole sequences can come closer.

    Raises:
        UnavailableError: No validation episode can be read.
    """
    limit = episode_limit(context, CENTROID_EPISODES)
    read = read_episodes(context.fit, max_episodes=limit, description=f"{name}: centroids")
    motions = [window.robot_actions[~window.is_pad[1:], XYZ] for _, window in read]
    if not motions:
        raise UnavailableError(
            "centroids are fitted to the motions of validation episodes, but none can be read; "
            "raise data.val_fraction"
        )
    points = np.concatenate(motions).astype(np.float64)
    kmeans: KMeans = fit_clusters(points, num_codes=context.encoder.num_codes, seed=context.seed)
    return ErrorFeedback.to_nearest(kmeans.cluster_centers_.astype(np.float64))


def _mujoco(context: EvalContext, **settings: Any) -> MujocoWorld:
    """MuJoCo as a world, for datasets that were recorded in it.

    Raises:
        ValueError: The dataset holds no simulator state.
    """
    if not context.is_simulated:
        raise ValueError(
            "world_model=mujoco needs a recorded simulator state in every step, which this "
            "dataset does not hold; `genie-robo record` makes such datasets"
        )
    return MujocoWorld(**settings)


WORLDS: Mapping[str, Callable[[EvalContext], World]] = {
    "mujoco": _mujoco,
    "mujoco_scaled": lambda context: _mujoco(context, scale=0.5),
    "mujoco_delayed": lambda context: _mujoco(context, delay=1),
    "mujoco_coded": lambda context: _mujoco(
        context, feedback=fit_motion_centroids(context, name="mujoco_coded")
    ),
    "copy_first": lambda _: HeldFrame(0),
    "copy_last": lambda _: HeldFrame(-1),
}
"""Worlds that need no training, by name."""
_WORLDS = {GENIE: lambda context: context.world, **WORLDS}
_ENCODERS = {GENIE: lambda context: context.encoder, **ENCODERS}


def plug(context: EvalContext, *, world_model: str = GENIE, encoder: str = GENIE) -> EvalContext:
    """The same held-out episodes with another world or encoder.

    Raises:
        ValueError: No such name, module or class, an object without the methods of its protocol,
            or a model that this dataset does not support.
    """
    if encoder != GENIE:
        built = find_plug(encoder, _ENCODERS, setting="encoder")(context)
        methods = "num_codes and encode"
        plugged = checked_plug(built, LatentActionEncoder, name=encoder, methods=methods)
        context = replace(context, encoder=plugged, code_names=None)
    if world_model != GENIE:
        built = find_plug(world_model, _WORLDS, setting="world_model")(context)
        world = checked_plug(built, World, name=world_model, methods="takes, start and step")
        others = ("world_by_control", "world_by_codes", "world_without_feedback")
        context = replace(context, world=world, **dict.fromkeys(others))
    return context


def plug_notes(*, world_model: str, encoder: str) -> tuple[str, ...]:
    """Caveats of results with a plugged world or encoder."""
    notes = []
    if world_model != GENIE:
        notes.append(f"The world model is {world_model}, not the run's own.")
    if world_model.startswith("mujoco"):
        notes.append(
            "MuJoCo understands robot actions only: where latent actions steer, it executes the "
            "recorded robot actions and ignores the codes."
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
