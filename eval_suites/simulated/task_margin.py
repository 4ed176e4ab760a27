"""How far a task is from solved, from poses: the tabletop's own rules as a distance."""

import numpy as np
from jaxtyping import Float

from eval_suites.plugs.truth import PALETTE, Poses
from genie_robo.sim.scene import DIRECTIONS, SceneSpec
from genie_robo.sim.tabletop import LIFTED, PUSHED, REACHED


def task_margin(poses: Poses, scene: SceneSpec) -> Float[np.ndarray, " t"]:
    """Metres beyond the threshold of success in every frame, positive = solved.

    A box that has left the table is far from everything.

    Raises:
        ValueError: the scene's task has no goal.
    """
    box = scene.boxes[scene.target]
    position = poses.boxes[:, PALETTE.index(box.color)]
    match scene.task:
        case "reach":
            top = position + np.array([0.0, 0.0, box.half_size[2]])
            margin = REACHED - np.linalg.norm(poses.tool - top, axis=-1)
        case "pick":
            margin = position[:, 2] - box.half_size[2] - LIFTED
        case "push":
            moved = position[:, :2] - np.array(box.position)
            margin = moved @ np.array(DIRECTIONS[scene.direction], dtype=np.float64) - PUSHED
        case _:
            raise ValueError(f"task={scene.task} has no goal; choose reach, pick or push")
    return np.where(np.isfinite(margin), margin, -1.0)
