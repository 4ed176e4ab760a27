"""Where an imagined rollout starts: an episode, a fresh simulated scene, or pictures."""

import io
import re
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from genie_robo.config import ImagineConfig
from genie_robo.data.actions import compose_actions
from genie_robo.data.settings import Resize
from genie_robo.data.transforms import decode_frames
from genie_robo.data.windows import WindowDataset
from genie_robo.sim.policies import make_policy
from genie_robo.sim.scene import SceneSpec
from genie_robo.sim.tabletop import Tabletop
from genie_robo.trained_run import TrainedRun, choose_window
from genie_robo.types import Episode, Split, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """What really came after a prompt."""

    window: Window
    """The prompt and the frames after it."""
    episode: Episode
    first: int
    """Step of the episode that the first frame shows."""
    stride: int
    """Steps from one frame to the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """The frames that a rollout starts with."""

    name: str
    """Of the files that show it."""
    title: str
    frames: UInt8[np.ndarray, "p h w c"]
    control_hz: float
    """Frames per second, 0 when unknown."""
    followed: Followed | None
    """None after a picture."""


def find_prompts(trained: TrainedRun, config: ImagineConfig) -> list[Prompt]:
    """The prompts that `prompt` asks for.

    Raises:
        FileNotFoundError: There is no such picture.
        ValueError: An episode is too short, or a file is no picture.
    """
    windows = trained.windows(Split.test)
    match config.prompt:
        case "episode":
            count = min(config.num_episodes, len(windows.episodes))
            return [episode_prompt(trained, windows, number, config) for number in range(count)]
        case "simulator":
            numbers = range(config.num_episodes)
            return [simulator_prompt(trained, windows, number, config) for number in numbers]
        case _:
            return [picture_prompt(windows, config)]


def episode_prompt(
    trained: TrainedRun, windows: WindowDataset, number: int, config: ImagineConfig
) -> Prompt:
    """Test episode `number` from step `start` on.

    Raises:
        ValueError: The episode is shorter than start + prompt + horizon.
    """
    num_frames = config.num_prompt_frames + config.horizon
    whole = choose_window(windows, number, min_frames=config.start + num_frames)
    window = cut(whole, first=config.start, num_frames=num_frames)
    episode = trained.dataset[windows.episodes[number]]
    stride = windows.frame_stride
    return Prompt(
        name=f"episode_{number:03d}",
        title=f"Episode {window.episode_id}",
        frames=window.video[: config.num_prompt_frames],
        control_hz=episode.control_hz / stride,
        followed=Followed(
            window=window, episode=episode, first=config.start * stride, stride=stride
        ),
    )


def simulator_prompt(
    trained: TrainedRun, windows: WindowDataset, number: int, config: ImagineConfig
) -> Prompt:
    """A fresh scene with the robot and the rate of the run's own episodes, moved at random."""
    seed, stride = config.seed + number, windows.frame_stride
    stored = trained.dataset[windows.episodes[0]].scene
    like = SceneSpec.from_json(stored) if stored else None
    given = {"robot": like.robot, "control_hz": like.control_hz} if like else {}
    num_frames = config.start + config.num_prompt_frames + config.horizon
    env = Tabletop(task="explore", image_size=windows.image_size, renderer=config.renderer, **given)
    with closing(env):
        episode = record_scene(env, seed=seed, num_steps=(num_frames - 1) * stride + 1)
    video = decode_frames(episode.images["primary"][::stride], image_size=windows.image_size)
    whole = Window(
        episode_id=episode.episode_id,
        start=0,
        video=video,
        robot_actions=compose_actions(episode.robot_actions[:-1], stride),
        action_mask=episode.action_mask,
        is_pad=np.zeros(num_frames, dtype=bool),
    )
    window = cut(whole, first=config.start, num_frames=num_frames - config.start)
    return Prompt(
        name=f"simulator_{seed:03d}",
        title=f"Simulated scene {seed}",
        frames=window.video[: config.num_prompt_frames],
        control_hz=episode.control_hz / stride,
        followed=Followed(
            window=window, episode=episode, first=config.start * stride, stride=stride
        ),
    )


def record_scene(env: Tabletop, *, seed: int, num_steps: int) -> Episode:
    """An episode of the random policy in a fresh scene."""
    env.reset(seed=seed)
    policy = make_policy("random", seed=seed)
    images, actions, states = [], [], []
    for step in range(num_steps):
        images.append(_png(env.render()))
        states.append(env.padded_state().astype(np.float32))
        actions.append(np.zeros(7, np.float32))
        if step < num_steps - 1:
            actions[-1] = policy.act(env).astype(np.float32)
            env.advance(actions[-1])
    return Episode(
        episode_id=f"scene_{seed}",
        images={"primary": tuple(images)},
        bgr_cameras=frozenset(),
        robot_actions=np.stack(actions),
        action_mask=np.ones(7, dtype=bool),
        end_effector_pose=None,
        pose_mask=np.zeros(7, dtype=bool),
        sim_state=np.stack(states),
        scene=env.scene.to_json(),
        instruction=env.scene.instruction,
        control_hz=env.scene.control_hz,
    )


def picture_prompt(windows: WindowDataset, config: ImagineConfig) -> Prompt:
    """Pictures of any size, cropped about their centre to the model's shape and scaled.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A file is neither PNG nor JPEG or damaged, or a setting is about episodes.
    """
    paths = [Path(str(path)) for path in _as_list(config.prompt)]
    if not paths:
        raise ValueError("prompt=[] names no picture; give prompt=FILE or prompt=[FILE,FILE]")
    if config.start or config.num_prompt_frames not in (1, len(paths)):
        raise ValueError(
            f"prompt={config.prompt} gives {len(paths)} prompt frame(s), so start={config.start} "
            f"and num_prompt_frames={config.num_prompt_frames}, which cut episodes, cannot be "
            "followed; leave them out"
        )
    stem = re.sub(r"[^A-Za-z0-9_-]", "_", paths[0].stem)
    frames = [read_picture(path, image_size=windows.image_size) for path in paths]
    return Prompt(
        name=f"picture_{stem}",
        title=f"Picture {', '.join(path.name for path in paths)}",
        frames=np.stack(frames),
        control_hz=0.0,
        followed=None,
    )


def read_picture(path: Path, *, image_size: tuple[int, int]) -> UInt8[np.ndarray, "h w c"]:
    """A picture of any size as a frame of the model's.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no PNG or JPEG, or damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"prompt={path} is not there: prompt is episode, simulator or a PNG or JPEG file"
        )
    try:
        return decode_frames([path.read_bytes()], image_size=image_size, resize=Resize.crop)[0]
    except ValueError as error:
        raise ValueError(
            f"prompt={path} wants a PNG or JPEG picture, but this file is damaged or something "
            "else; convert it, or give another"
        ) from error


def cut(window: Window, *, first: int, num_frames: int) -> Window:
    """The frames first .. first + num_frames - 1 of a window, and the actions between them."""
    last = first + num_frames
    return replace(
        window,
        start=window.start + first,
        video=window.video[first:last],
        robot_actions=window.robot_actions[first : last - 1],
        is_pad=window.is_pad[first:last],
    )


def _as_list(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _png(frame: UInt8[np.ndarray, "h w c"]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, format="png")
    return buffer.getvalue()
