"""The scripts of `genie_robo.sim.policies` as policies: they act on what is observed."""

import numpy as np
from jaxtyping import Float

from genie_robo.policy.interface import Observation
from genie_robo.sim.actions import ACTION_HIGH, ACTION_LOW
from genie_robo.sim.policies import Script, make_policy
from genie_robo.sim.robots import Robot
from genie_robo.sim.scene import COLORS, BoxSpec, Goal, SceneSpec, build_model, read_instruction

EXPERT = "expert"
"""The script of the task that the instruction names."""
_HALF_SIZE = (0.02, 0.02, 0.02)
"""Metres: the middle of what scenes hold. Sizes and turns of boxes are not observed."""


class SeenTable:
    """The table as observed: a view for scripts."""

    def __init__(self, goal: Goal, robot: Robot) -> None:
        self._goal, self.robot = goal, robot

    def look(self, observation: Observation) -> None:
        """Take in the present observation.

        Raises:
            ValueError: It holds no pose of the tool, or not the box of the goal.
        """
        if observation.agent_pos is None or self._goal.color not in (*observation.boxes, ""):
            raise ValueError(
                "scripted policies act on the pose of the tool and the places of the boxes, but "
                f"this observation has {'no' if observation.agent_pos is None else 'a'} pose and "
                f"the boxes {', '.join(observation.boxes) or 'none'}; a policy that sees pixels "
                "needs neither"
            )
        self.pose = observation.agent_pos
        self._boxes = list(observation.boxes.items())
        colors = [color for color, _ in self._boxes]
        self.scene = SceneSpec(
            robot=self.robot.name,
            task=self._goal.task,
            boxes=tuple(_box(color, place) for color, place in self._boxes),
            target=colors.index(self._goal.color) if self._goal.color else 0,
            direction=self._goal.direction or "away",
        )

    def box_position(self, index: int) -> Float[np.ndarray, " 3"]:
        """Centre of a box (m)."""
        return self._boxes[index][1].copy()

    def box_yaw(self, index: int) -> float:
        """Not observed: boxes are taken to be straight."""
        return 0.0


def _box(color: str, place: Float[np.ndarray, " 3"]) -> BoxSpec:
    return BoxSpec(
        color=color,
        rgba=(*COLORS.get(color, (0.5, 0.5, 0.5)), 1.0),
        half_size=_HALF_SIZE,
        position=(float(place[0]), float(place[1])),
        yaw=0.0,
    )


class ScriptedPolicy:
    """A script that sees poses, some of whose actions are replaced by random ones."""

    def __init__(self, script: str, *, robot: str = "arm", random_share: float = 0.0) -> None:
        """Name a script, or the expert of whatever the instruction asks for.

        Raises:
            ValueError: the script or the robot is unknown.
        """
        if script != EXPERT:
            make_policy(script, seed=0)
        self._name, self._random_share = script, random_share
        self._robot = _limits(robot)

    def reset(self, instruction: str, seed: int) -> None:
        """Begin the script anew.

        Raises:
            ValueError: The instruction is none of the table's.
        """
        goal = read_instruction(instruction)
        self._table = SeenTable(goal, self._robot)
        self._script: Script = make_policy(
            goal.task if self._name == EXPERT else self._name, seed=seed, noise=0.0
        )
        self._rng = np.random.default_rng((seed, 1))

    def act(self, observation: Observation) -> Float[np.ndarray, " 7"]:
        """The script's next action, or a random one."""
        self._table.look(observation)
        action = self._script.act(self._table)
        if self._rng.random() < self._random_share:
            return self._rng.uniform(ACTION_LOW, ACTION_HIGH)
        return action


def _limits(robot: str) -> Robot:
    box = _box("red", np.zeros(3))
    return build_model(SceneSpec(robot=robot, task="explore", boxes=(box,)))[1]
