"""A Gymnasium environment: a robot arm over a table with boxes, RT-1 style 7-D actions."""

from dataclasses import dataclass
from typing import Any

import gymnasium
import mujoco
import numpy as np
from jaxtyping import Float, UInt8

from genie_robo.sim.actions import checked_action, robot_action_space
from genie_robo.sim.control import ArmController
from genie_robo.sim.render import make_renderer
from genie_robo.sim.scene import (
    CAMERA,
    DIRECTIONS,
    MAX_BOXES,
    SceneSpec,
    box_name,
    build_model,
    num_substeps,
    sample_scene,
)

LIFTED = 0.05
PUSHED = 0.05
"""Metres that a box must rise or move for success."""
REACHED = 0.03
"""Metres from the tool to the top of the box for success."""
_FARTHEST = 4.0
"""Bound of the tool pose: angles to pi, and no robot here reaches 4 m."""
_STATE = mujoco.mjtState.mjSTATE_INTEGRATION
_STATE_PER_BOX = 7 + 6 + 6 + 6 + 6
"""Position, velocity, warm start, applied generalised and Cartesian force of a free body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TabletopState:
    """Everything that the rest of an episode depends on; it can be pickled."""

    scene: SceneSpec
    physics: Float[np.ndarray, " n"]
    """MuJoCo's integration state."""


class Tabletop(gymnasium.Env[dict[str, Any], np.ndarray]):
    """Reach, pick or push boxes on a table.

    Actions are dx dy dz (m), droll dpitch dyaw (rad, about the world's axes) and gripper
    (1 = open, absolute). Observations are the camera image `pixels` and the tool pose
    `agent_pos` (x y z roll pitch yaw gripper). The reward is 1 while the task is solved. An
    episode has no end of its own: `gymnasium.make(..., max_episode_steps=N)` truncates it.
    `scene.instruction` names the box.

    Args:
        task: reach (the tool within 3 cm of the top of the box), pick (the box 5 cm above the
            table), push (the box 5 cm towards the given side) or explore (no goal).
        robot: arm is built in; wx250s and google_robot are read from the MuJoCo Menagerie.
        image_size: Height and width.
        renderer: auto, raycast, egl or osmesa.
        control_hz: Actions per second, and `render_fps`.
        scene: Reset into this scene instead of a random one; overrides task, robot, control_hz.
        render_mode: For Gymnasium's wrappers; `render` works in any case.

    Raises:
        ValueError: task, robot or renderer are unknown.
        FileNotFoundError: the robot's files are not found.
        RuntimeError: the renderer does not work on this machine.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 3.0}  # noqa: RUF012 (as gymnasium declares it)

    def __init__(
        self,
        *,
        task: str = "pick",
        robot: str = "arm",
        image_size: tuple[int, int] = (64, 64),
        renderer: str = "auto",
        control_hz: float = 3.0,
        scene: SceneSpec | None = None,
        render_mode: str | None = "rgb_array",
    ) -> None:
        self._given_scene = scene
        self._task, self._robot_name, self._control_hz = task, robot, control_hz
        self._image_size, self._renderer_kind = image_size, renderer
        self.render_mode = render_mode
        self.action_space = robot_action_space()
        self.observation_space = gymnasium.spaces.Dict(
            {
                "pixels": gymnasium.spaces.Box(0, 255, (*image_size, 3), np.uint8),
                "agent_pos": gymnasium.spaces.Box(-_FARTHEST, _FARTHEST, (7,), np.float32),
            }
        )
        self._renderer = None
        self._load(self._next_scene(np.random.default_rng(0)))

    def _next_scene(self, rng: np.random.Generator) -> SceneSpec:
        return self._given_scene or sample_scene(
            rng, task=self._task, robot=self._robot_name, control_hz=self._control_hz
        )

    def _load(self, scene: SceneSpec) -> None:
        """Build the scene and put everything at its start."""
        self.close()
        self.scene = scene
        self.metadata = type(self).metadata | {"render_fps": scene.control_hz}
        self.model, self.robot = build_model(scene)
        self.data = mujoco.MjData(self.model)
        """The live simulation; change it through `step` and `restore` only."""
        steps = num_substeps(scene.control_hz)
        self._control = ArmController(self.model, self.robot, num_substeps=steps)
        self._renderer = make_renderer(
            self.model, camera=CAMERA, image_size=self._image_size, kind=self._renderer_kind
        )
        self._control.place(self.data, np.array(scene.start))
        mujoco.mj_step(self.model, self.data, nstep=steps)
        self._settle()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode in a new random scene, or in the given one."""
        super().reset(seed=seed, options=options)
        self._load(self._next_scene(self.np_random))
        return self._observe(), {"is_success": self.is_success}

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Execute one action for one control period.

        Raises:
            ValueError: the action is not seven finite numbers within the action space.
        """
        self.advance(action)
        is_success = self.is_success
        return self._observe(), float(is_success), False, False, {"is_success": is_success}

    def advance(self, action: np.ndarray) -> None:
        """The physics of `step` without drawing.

        Raises:
            ValueError: the action is not seven finite numbers within the action space.
        """
        self._control.command(self.data, checked_action(action))
        self._settle()

    def _settle(self) -> None:
        """Round the state to float32, as it is stored, and compute its poses.

        Rounding makes a restored state continue bit for bit.
        """
        mujoco.mj_setState(self.model, self.data, self.state().astype(np.float32), _STATE)
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)

    def _observe(self) -> dict[str, np.ndarray]:
        return {"pixels": self.render(), "agent_pos": self.pose.astype(np.float32)}

    def render(self) -> UInt8[np.ndarray, "h w 3"]:
        """The camera image of the current state."""
        assert self._renderer is not None
        return self._renderer.render(self.data)

    def close(self) -> None:
        """Free the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def state(self) -> Float[np.ndarray, " n"]:
        """MuJoCo's full integration state, exact in float32.

        The commanded pose and the joint command are part of it.
        """
        state = np.zeros(mujoco.mj_stateSize(self.model, _STATE))
        mujoco.mj_getState(self.model, self.data, state, _STATE)
        return state

    def padded_state(self) -> Float[np.ndarray, " m"]:
        """The state followed by zeros, of one length for all scenes with this robot."""
        state = self.state()
        return np.pad(state, (0, self.padded_state_size - len(state)))

    @property
    def padded_state_size(self) -> int:
        """Length of the state when all boxes are on the table."""
        size = mujoco.mj_stateSize(self.model, _STATE)
        return size + (MAX_BOXES - len(self.scene.boxes)) * _STATE_PER_BOX

    def restore(self, scene: SceneSpec, state: Float[np.ndarray, " n"]) -> None:
        """Continue exactly where `state` (padded or not) was taken.

        Raises:
            ValueError: the state is too short for the scene.
        """
        if scene != self.scene:
            self._load(scene)
        size = mujoco.mj_stateSize(self.model, _STATE)
        if len(state) < size:
            raise ValueError(
                f"the scene with robot {scene.robot} and {len(scene.boxes)} boxes has a state of "
                f"{size} numbers, but {len(state)} were given; restore a state with its own scene"
            )
        mujoco.mj_resetData(self.model, self.data)
        mujoco.mj_setState(self.model, self.data, state[:size].astype(np.float64), _STATE)
        self._settle()

    def get_state(self) -> TabletopState:
        """The state for `set_state`, here or in another Tabletop."""
        return TabletopState(scene=self.scene, physics=self.state())

    def set_state(self, state: TabletopState) -> None:
        """Continue exactly where `get_state` was called."""
        self.restore(state.scene, state.physics)

    @property
    def renderer_name(self) -> str:
        """Renderer of the frames: raycast, egl or osmesa."""
        assert self._renderer is not None
        return self._renderer.name

    @property
    def pose(self) -> Float[np.ndarray, " 7"]:
        """Pose of the tool: x y z (m) roll pitch yaw (rad) gripper (1 = open)."""
        return self._control.pose(self.data)

    def box_position(self, index: int) -> Float[np.ndarray, " 3"]:
        """Centre of a box (m)."""
        return self.data.body(box_name(index)).xpos.copy()

    def box_yaw(self, index: int) -> float:
        """Rotation of a box about the vertical (rad)."""
        matrix = self.data.body(box_name(index)).xmat
        return float(np.arctan2(matrix[3], matrix[0]))

    @property
    def is_success(self) -> bool:
        """Whether the task is solved right now."""
        scene = self.scene
        box, position = scene.boxes[scene.target], self.box_position(scene.target)
        match scene.task:
            case "reach":
                top = position + np.array([0.0, 0.0, box.half_size[2]])
                return bool(np.linalg.norm(self.pose[:3] - top) < REACHED)
            case "pick":
                return bool(position[2] - box.half_size[2] > LIFTED)
            case "push":
                moved = position[:2] - np.array(box.position)
                return bool(moved @ np.array(DIRECTIONS[scene.direction]) > PUSHED)
            case _:
                return False
