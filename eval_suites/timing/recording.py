"""How long a rollout takes to become a recording, and how large it is."""

import importlib
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jaxtyping import Float

from eval_suites.base import EvalContext, Metric, SuiteResult
from eval_suites.timing.process import run_alone
from genie_robo.sim.policies import make_policy
from genie_robo.sim.replay import Replay, replay
from genie_robo.sim.tabletop import Tabletop
from genie_robo.types import Episode

GOAL_S, GOAL_MB = 0.15, 1.0
"""Wanted of 40 steps with two cameras of 128 px and the 3D scene."""
FAST_REPEATS = 3
NUM_CODES = 8
CONTROL_HZ = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingTask:
    """What is recorded, how often, and by what."""

    writer: str
    num_steps: int
    image_size: int
    """Pixels of a side."""
    num_repeats: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What one recording took."""

    first_s: float
    """Of the clock, the first one of the process."""
    wall_s: float
    """Median of those after it."""
    cpu_s: float
    """Of all threads, median of those after the first."""
    num_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingSpeed:
    """Seconds and size of an episode's recording, written in a fresh process."""

    writer: str = "viz.rollout"
    """Module with RolloutView and write_rollouts. Only the fresh process imports it, by this name:
    neither of the two rooms depends on the other."""
    num_steps: int = 40
    image_size: int = 128
    num_repeats: int = 9
    """Recordings that are measured, after the first one."""

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Record one simulated rollout again and again.

        Raises:
            ValueError: A number of conf/suite/speed.yaml is too small, or `writer` names no module
                that can write rollouts.
        """
        if self.num_steps < 2 or min(self.image_size, self.num_repeats) < 1:
            raise ValueError(
                f"suite.speed.recording wants num_steps={self.num_steps} of at least 2, and "
                f"image_size={self.image_size} and num_repeats={self.num_repeats} of at least 1"
            )
        task = RecordingTask(
            writer=self.writer,
            num_steps=self.num_steps,
            image_size=self.image_size,
            num_repeats=FAST_REPEATS if context.fast else self.num_repeats,
            seed=context.seed,
        )
        found = run_alone(record, task)
        metrics = _metrics(task, found)
        return SuiteResult(
            metrics=metrics,
            headline=tuple(metrics),
            per_episode=[{"part": "recording", **asdict(found)}],
            figures={},
            notes=(
                f"Wanted: {GOAL_S:g} s and {GOAL_MB:g} MB for a recording of 40 steps with two "
                "cameras of 128 px and the 3D scene.",
            ),
        )


def record(task: RecordingTask) -> Recorded:
    """Write a rollout as often as asked for and measure each time.

    Raises:
        ValueError: `writer` names no module that can write rollouts.
    """
    module = _find(task.writer)
    view = module.RolloutView(**example(task))
    with TemporaryDirectory() as folder:
        path = Path(folder, "rollout.rrd")
        laps = [
            _lap(lambda: module.write_rollouts(path, {"": view}, name="speed"))
            for _ in range(1 + task.num_repeats)
        ]
        num_bytes = path.stat().st_size
    (first_s, _), *others = laps
    return Recorded(
        first_s=first_s,
        wall_s=median(wall for wall, _ in others),
        cpu_s=median(cpu for _, cpu in others),
        num_bytes=num_bytes,
    )


def example(task: RecordingTask) -> dict[str, Any]:
    """A rollout of the built-in arm that is imagined a step late, as fields of a RolloutView."""
    happened, robot_actions = _roll(task)
    rng = np.random.default_rng(task.seed)
    video, num_frames = happened.video, len(happened.video)
    falling = np.linspace(35.0, 20.0, num_frames)
    return {
        "episode_id": "speed",
        "control_hz": CONTROL_HZ,
        "true_video": video,
        "imagined_video": np.concatenate([video[:1], video[:-1]]),
        "robot_actions": robot_actions.astype(np.float32),
        "latent_actions": rng.integers(NUM_CODES, size=num_frames - 1),
        "num_codes": NUM_CODES,
        "num_prompt_frames": 1,
        "replay": happened,
        "psnr": dict.fromkeys(("imagined", "copy_last", "tokenizer"), falling),
        "summary": "## A rollout to measure",
    }


def _roll(task: RecordingTask) -> tuple[Replay, Float[np.ndarray, "t-1 7"]]:
    """What happens under the random policy, drawn without a graphics library."""
    with closing(Tabletop(task="explore", renderer="raycast", control_hz=CONTROL_HZ)) as env:
        env.reset(seed=task.seed)
        start, policy = env.padded_state(), make_policy("random", seed=task.seed)
        actions = []
        for _ in range(task.num_steps - 1):
            actions.append(policy.act(env))
            env.advance(actions[-1])
        episode = Episode(
            episode_id="speed",
            images={"primary": (b"",) * task.num_steps},
            bgr_cameras=frozenset(),
            robot_actions=np.stack([*actions, np.zeros(7)]),
            action_mask=np.ones(7, dtype=bool),
            end_effector_pose=None,
            pose_mask=np.zeros(7, dtype=bool),
            sim_state=start[None].repeat(task.num_steps, 0),
            scene=env.scene.to_json(),
            instruction="",
            control_hz=CONTROL_HZ,
        )
    size = (task.image_size, task.image_size)
    taken = np.stack(actions)
    moved = replay(episode, start=0, robot_actions=taken, image_size=size, renderer="raycast")
    return moved, taken


def _find(writer: str) -> Any:
    try:
        module: Any = importlib.import_module(writer)
    except (ImportError, ValueError) as error:
        raise ValueError(
            f"suite.speed.recording.writer={writer} cannot be imported: {error}"
        ) from error
    missing = [name for name in ("RolloutView", "write_rollouts") if not hasattr(module, name)]
    if missing:
        raise ValueError(
            f"suite.speed.recording.writer={writer} has no {' and no '.join(missing)}; name a "
            "module like viz.rollout"
        )
    return module


def _lap(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the clock and of the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def _metrics(task: RecordingTask, found: Recorded) -> dict[str, Metric]:
    protocol = (
        f"a rollout of {task.num_steps} steps of the built-in arm as one recording, read through "
        f"once after writing: two cameras of {task.image_size} px, their difference, actions, "
        f"curves and the 3D scene; median of {task.num_repeats} after the first, in a fresh process"
    )

    def metric(value: float, unit: str, how: str, **baselines: float) -> Metric:
        return Metric(
            value=value,
            n_units=0,
            unit=unit,
            protocol=f"{how}; {protocol}",
            baselines=baselines,
        )

    return {
        "recording/seconds_per_episode": metric(
            found.wall_s, "s", "seconds of the clock", first_in_a_process=found.first_s
        ),
        "recording/cpu_seconds_per_episode": metric(found.cpu_s, "s", "seconds of all threads"),
        "recording/megabytes_per_episode": metric(found.num_bytes / 1e6, "MB", "size of the file"),
    }
