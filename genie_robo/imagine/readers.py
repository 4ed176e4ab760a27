"""The action map and the pose reader of a run, where it has them."""

from dataclasses import dataclass

from eval_suites.simulated.pose_reading import PoseReader, fit_pose_reader
from genie_robo.eval_context import eval_context
from genie_robo.fit_action_map import find_action_map
from genie_robo.inference.action_map import ActionMap
from genie_robo.trained_run import TrainedRun
from genie_robo.types import Split

POSE_EPISODES = 12
"""Val episodes whose frames the pose reader learns from: about two seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutReaders:
    """None for what a run lacks."""

    action_map: ActionMap | None
    """Latent actions to robot actions."""
    poses: PoseReader | None
    """Frames to where the tool is."""


def find_readers(trained: TrainedRun, *, num_labels: int, poses: bool = True) -> RolloutReaders:
    """The run's action map, and a pose reader fitted to val episodes.

    Poses are only known in datasets from the simulator.
    """
    return RolloutReaders(
        action_map=find_action_map(trained, num_labels=num_labels),
        poses=_fit_poses(trained) if poses else None,
    )


def _fit_poses(trained: TrainedRun) -> PoseReader | None:
    fit = trained.windows(Split.val)
    if not fit.episodes or trained.dataset[fit.episodes[0]].sim_state is None:
        return None
    context = eval_context(trained)
    return fit_pose_reader(context, max_episodes=POSE_EPISODES, description="imagine")
