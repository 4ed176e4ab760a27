"""A toy robot whose frames, actions and physics are known exactly.

The robot is a bright square on a patterned table; dx and dy move it by whole pixels, dz changes
its brightness. Achieved motion equals the command, so a perfect world model exists.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from genie_robo.eval_suites.base import EvalContext, Reconstruction, Transitions
from genie_robo.eval_suites.simulated.truth import Poses
from genie_robo.eval_suites.table import Table
from genie_robo.inference.world import Codes, HeldFrame, Prompt, RobotActions, Step
from genie_robo.types import Episode, Window

SIZE, SQUARE = 32, 5
PIXEL_M, LEVEL_M = 0.01, 0.005
MASK = np.array([True] * 3 + [False] * 3 + [True])


def draw(pose):
    """The frame at a pose x y z (m)."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    frame = np.stack([rows * 3, columns * 3, rows + columns], axis=-1).astype(np.uint8)
    x, y = (np.round(pose[:2] / PIXEL_M).astype(int)) % (SIZE - SQUARE)
    level = int(np.clip(180 + round(pose[2] / LEVEL_M) * 8, 110, 250))
    frame[y : y + SQUARE, x : x + SQUARE] = level
    return frame


def join(actions, stride):
    """Every `stride` actions as one: moves add, the last gripper command holds."""
    groups = actions[: len(actions) // stride * stride].reshape(-1, stride, 7)
    return np.concatenate([groups[:, :, :6].sum(axis=1), groups[:, -1, 6:]], axis=1)


def make_actions(rng, num, correlation=0.3):
    """Autocorrelated whole-pixel moves and a gripper that toggles now and then."""
    moves = rng.normal(size=(num, 3))
    for i in range(1, num):
        moves[i] = correlation * moves[i - 1] + np.sqrt(1 - correlation**2) * moves[i]
    actions = np.zeros((num, 7))
    actions[:, :2] = np.round(moves[:, :2] * 2) * PIXEL_M
    actions[:, 2] = np.round(moves[:, 2] * 2) * LEVEL_M
    actions[:, 6] = (np.cumsum(rng.random(num) < 0.15) % 2).astype(float)
    return actions


@dataclass
class ToyRobot(Sequence):
    """Episodes by number, as a dataset and as true physics."""

    num_episodes: int
    num_frames: int = 20
    seed: int = 0
    proprioception: bool = True
    simulated: bool = False
    correlation: float = 0.3
    actions: list = field(default_factory=list)
    poses: list = field(default_factory=list)

    def __post_init__(self):
        for e in range(self.num_episodes):
            rng = np.random.default_rng([self.seed, e])
            actions = make_actions(rng, self.num_frames - 1, self.correlation)
            poses = np.zeros((self.num_frames, 7))
            poses[0, :2] = rng.integers(4, SIZE - SQUARE - 4, size=2) * PIXEL_M
            poses[1:, :3] = poses[0, :3] + np.cumsum(actions[:, :3], axis=0)
            poses[1:, 6] = actions[:, 6]
            self.actions.append(actions)
            self.poses.append(poses)

    def __len__(self):
        return self.num_episodes

    def pose_at(self, prompt):
        """Where the robot is in the last frame of a prompt."""
        names = [self.name(e) for e in range(len(self))]
        return self.poses[names.index(prompt.name)][prompt.last_step]

    def name(self, e):
        return f"{self.seed:04d}{e:012x}"

    def video(self, e):
        return np.stack([draw(pose) for pose in self.poses[e]])

    def __getitem__(self, e):
        frames = tuple(b"" for _ in range(self.num_frames))
        return Episode(
            episode_id=self.name(e),
            images={"primary": frames},
            robot_actions=np.concatenate([self.actions[e], np.zeros((1, 7))]),
            bgr_cameras=frozenset(),
            action_mask=MASK,
            end_effector_pose=self.poses[e] if self.proprioception else None,
            pose_mask=MASK if self.proprioception else np.zeros(7, bool),
            sim_state=self.poses[e] if self.simulated else None,
            scene="toy" if self.simulated else "",
            instruction="",
            control_hz=3.0,
        )


@dataclass
class ToyEpisodes:
    """One side of the split."""

    robot: ToyRobot
    episodes: Sequence[int]
    num_pad: int = 0
    frame_stride: int = 1

    def whole_episode(self, e):
        stride = self.frame_stride
        video = self.robot.video(self.episodes[e])[::stride]
        actions = join(self.robot.actions[self.episodes[e]], stride)
        is_pad = np.arange(len(video) + self.num_pad) >= len(video)
        return Window(
            episode_id=self.robot.name(self.episodes[e]),
            start=0,
            video=np.concatenate([video, np.repeat(video[-1:], self.num_pad, axis=0)]),
            robot_actions=np.concatenate([actions, np.zeros((self.num_pad, 7))]),
            action_mask=MASK,
            is_pad=is_pad,
        )


@dataclass
class FakeEncoder:
    """Codes computed from the window, which here includes the true actions."""

    num_codes: int
    assign: Callable

    def encode(self, window):
        codes = np.asarray(self.assign(window), dtype=np.int64)
        return Transitions(codes, np.eye(self.num_codes)[codes])


@dataclass
class TransitionCodes:
    """Every transition of every episode has a code of its own: nothing is lost."""

    robot: ToyRobot

    @property
    def num_codes(self):
        return sum(map(len, self.robot.actions))

    @property
    def table(self):
        return np.concatenate(self.robot.actions)

    def encode(self, window):
        names = [self.robot.name(e) for e in range(len(self.robot))]
        lengths = np.cumsum([0, *map(len, self.robot.actions)])
        first = lengths[names.index(window.episode_id)] + window.start
        codes = first + np.arange(len(window.video) - 1)
        return Transitions(codes, codes[:, None].astype(float))


class MovingSquare:
    """A world that moves the square; subclasses say where from and by how much."""

    def start(self, prompts: Sequence[Prompt], seeds):
        assert len(seeds) == len(prompts)
        self.poses = np.stack([self.pose(prompt)[:3] for prompt in prompts])
        self.given = []
        return self.show()

    def step(self, actions):
        self.given.append(self.motions(actions)[:, :3])
        self.poses = self.poses + self.moved()
        return self.show()

    def moved(self):
        return self.given[-1]

    def show(self):
        frames = np.stack([draw(pose) for pose in self.poses])
        return Step(frames=frames, uncertainty=np.zeros(len(frames)))


@dataclass
class TruePhysics(MovingSquare):
    """The world itself as a world model: executes the action that each code stands for."""

    robot: ToyRobot
    table: np.ndarray
    takes = (Codes,)

    def pose(self, prompt):
        return self.robot.pose_at(prompt)

    def motions(self, actions):
        return self.table[actions.values]


@dataclass
class ToyRobotWorld(MovingSquare):
    """The world itself, steered by robot actions; codes stand for those of a table, or for none."""

    robot: ToyRobot
    scale: float = 1.0
    delay: int = 0
    table: np.ndarray | None = None
    takes = (Codes, RobotActions)

    def pose(self, prompt):
        return self.robot.pose_at(prompt)

    def motions(self, actions):
        if isinstance(actions, RobotActions):
            return actions.values * self.scale
        still = np.zeros((len(self.poses), 7))
        return still if self.table is None else self.table[actions.values]

    def moved(self):
        late = self.given[: len(self.given) - self.delay]
        return late[-1] if late else np.zeros_like(self.poses)


class ExactReader:
    """Finds the square, and reads x y z (m) from where it is and how bright."""

    def read(self, video):
        grey = (video == video[..., :1]).all(axis=-1) & (video[..., 0] >= 110)
        tool = []
        for frame, mask in zip(video, grey, strict=True):
            level = np.bincount(frame[mask][:, 0]).argmax()
            rows, columns = np.nonzero(mask & (frame[..., 0] == level))
            corner = np.array([columns.min(), rows.min()]) * PIXEL_M
            tool.append([*corner, (level - 180) / 8 * LEVEL_M])
        count = len(video)
        return Poses(
            np.array(tool), np.full((count, 5, 3), np.nan), np.zeros(count), np.ones(count)
        )

    def box_pixels(self, video):
        return np.full(video.shape[:3], 5)


class LosslessTokenizer:
    """One token per pixel value of the red channel, and the frames themselves."""

    num_codes = 256

    def reconstruct(self, video):
        return Reconstruction(video[..., 0].reshape(len(video), -1).astype(np.int64), video)


def make_context(robot, *, encoder, world=None, num_fit=None, **changes):
    """Half of the episodes to fit on, the other half to test on."""
    num_fit = len(robot) // 2 if num_fit is None else num_fit
    numbers = list(range(len(robot)))
    settings = {
        "encoder": encoder,
        "untrained_encoder": None,
        "world": world or HeldFrame(),
        "tokenizer": LosslessTokenizer(),
        "dataset": robot,
        "fit": ToyEpisodes(robot, numbers[:num_fit]),
        "test": ToyEpisodes(robot, numbers[num_fit:]),
        "num_frames": 16,
    }
    return EvalContext(**(settings | changes))


def episode_mean(values, episode, *, seed=0):
    """The mean over finite values, as the table of a suite estimates it."""
    table = Table([str(e) for e in episode])
    columns = values.reshape(len(values), -1).T
    names = [f"column_{c}" for c in range(len(columns))]
    for name, column in zip(names, columns, strict=True):
        table.add(name, column)
    return table.mean(names).estimate(seed)
