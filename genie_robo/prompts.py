"""Prompts for a run: its test episodes, fresh simulated scenes and image files."""

import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from genie_robo.data.actions import episode_actions
from genie_robo.data.images import FORMATS, TooLargeError, png_bytes
from genie_robo.data.settings import Resize
from genie_robo.data.transforms import decode_frames, picture_frame
from genie_robo.data.windows import WindowDataset
from genie_robo.inference.world import Prompt
from genie_robo.sim.policies import make_policy, roll_policy
from genie_robo.sim.restore import stored_scene
from genie_robo.sim.tabletop import Tabletop
from genie_robo.types import ACTION_NAMES, END_EFFECTOR, JOINTS, Episode, Window


class Cut(NamedTuple):
    """Which frames of an episode are used."""

    start: int = 0
    """First frame of the prompt, counted in frames of the model: step / frame stride."""
    num_prompt_frames: int = 1
    horizon: int = 0
    """Frames needed after the prompt."""

    @property
    def end(self) -> int:
        """Frames of the episode that are needed."""
        return self.start + self.num_prompt_frames + self.horizon


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A prompt, and the true frames that follow it where they are known."""

    prompt: Prompt
    window: Window | None = None
    """The prompt frames and those after them; None after an image."""
    file: str
    """Stem of its file names."""


class RunPrompts:
    """Prompts whose frames have the run's image size, resize rule and frame stride."""

    def __init__(self, windows: WindowDataset, *, renderer: str = "auto") -> None:
        """Take the windows of the run's test episodes, and the renderer of fresh scenes."""
        self._windows, self._renderer = windows, renderer

    @property
    def num_episodes(self) -> int:
        """Test episodes, numbered from 0."""
        return len(self._windows.episodes)

    def episode(self, number: int, cut: Cut | None = None) -> Clip:
        """A test episode, from its first frame unless it is cut otherwise.

        Raises:
            ValueError: There is no such episode, or it is too short.
        """
        cut = cut or Cut()
        if not 0 <= number < self.num_episodes:
            raise ValueError(
                f"episode={number} is not a test episode: there are {self.num_episodes}, numbered "
                "from 0"
            )
        window = self._windows.whole_episode(number)
        num_frames = int((~window.is_pad).sum())
        if num_frames < cut.end:
            raise ValueError(
                f"episode {number} ({window.episode_id}) has {num_frames} frames, but {cut.end} "
                "are needed; choose a later episode, an earlier start or a shorter horizon"
            )
        return self._clip(
            self._stored(number),
            window,
            cut,
            title=f"test episode {number}",
            file=f"episode_{number:03d}",
        )

    def scene(self, seed: int, cut: Cut | None = None) -> Clip:
        """A fresh scene moved by the random policy, with the run's own robot and rate."""
        cut, stride = cut or Cut(), self._windows.frame_stride
        size = self._windows.image_size
        episode = _fresh_episode(
            seed,
            num_steps=(cut.end - 1) * stride + 1,
            image_size=size,
            renderer=self._renderer,
            like=self._stored(0),
        )
        window = Window(
            episode_id=episode.episode_id,
            start=0,
            video=decode_frames(episode.images["primary"][::stride], image_size=size),
            robot_actions=episode_actions(episode, stride=stride),
            action_mask=episode.action_mask,
            is_pad=np.zeros(cut.end, dtype=bool),
        )
        return self._clip(episode, window, cut, title=f"scene {seed}", file=f"simulator_{seed:03d}")

    def images(self, files: Sequence[tuple[str, bytes]]) -> Clip:
        """Pictures of any format of `decode_picture`, as name and content, one frame each.

        Raises:
            ValueError: A file is too large, damaged, or no picture.
        """
        windows = self._windows
        return read_pictures(
            files,
            image_size=windows.image_size,
            resize=windows.resize,
            max_pixels=windows.max_image_pixels,
        )

    def _stored(self, number: int) -> Episode:
        return self._windows.dataset[self._windows.episodes[number]]

    def _clip(self, episode: Episode, whole: Window, cut: Cut, *, title: str, file: str) -> Clip:
        stride = self._windows.frame_stride
        prompt = Prompt(
            frames=whole.video[cut.start :][: cut.num_prompt_frames],
            name=episode.episode_id,
            title=title,
            start=cut.start * stride,
            stride=stride,
            recording=episode,
        )
        return Clip(prompt=prompt, window=_cut_window(whole, cut, stride), file=file)


def read_pictures(
    files: Sequence[tuple[str, bytes]],
    *,
    image_size: tuple[int, int],
    resize: Resize,
    max_pixels: int,
) -> Clip:
    """Pictures as a prompt; needs no dataset.

    Raises:
        ValueError: A file is too large, damaged, or no picture.
    """

    def frame(name: str, content: bytes) -> UInt8[np.ndarray, "h w c"]:
        try:
            return picture_frame(
                content, image_size=image_size, resize=resize, max_pixels=max_pixels
            )
        except TooLargeError as error:
            raise ValueError(f"{name} cannot be a prompt: {error}; scale it down") from error
        except ValueError as error:
            raise ValueError(
                f"{name} cannot be a prompt: {error}. Save it again as {FORMATS}, or give another"
            ) from error

    frames = np.stack([frame(name, content) for name, content in files])
    stem = re.sub(r"[^A-Za-z0-9_-]", "_", Path(files[0][0]).stem)
    name, title = f"picture_{stem}", ", ".join(name for name, _ in files)
    return Clip(prompt=Prompt(frames=frames, name=name, title=title), file=name)


def _cut_window(window: Window, cut: Cut, stride: int) -> Window:
    """The frames of a cut, and the actions between them."""
    return replace(
        window,
        start=window.start + cut.start * stride,
        video=window.video[cut.start : cut.end],
        robot_actions=window.robot_actions[cut.start : cut.end - 1],
        is_pad=window.is_pad[cut.start : cut.end],
    )


def _fresh_episode(
    seed: int,
    *,
    num_steps: int,
    image_size: tuple[int, int],
    renderer: str,
    like: Episode,
) -> Episode:
    """An episode named `scene_SEED`, with the robot and the rate of another simulated one.

    MuJoCo has no joint commands: where the other one has some, they are outside the mask.
    """
    scene = stored_scene(like) if like.is_simulated else None
    given = {"robot": scene.robot, "control_hz": scene.control_hz} if scene else {}
    policy = make_policy("random", seed=seed)
    env = Tabletop(task="explore", image_size=image_size, renderer=renderer, **given)
    with closing(env):
        env.reset(seed=seed)
        seen, actions = roll_policy(
            env,
            lambda env, _: policy.act(env).astype(np.float32),
            lambda env: (png_bytes(env.render()), env.padded_state().astype(np.float32)),
            num_actions=num_steps - 1,
        )
        images, states = zip(*seen, strict=True)
        width = len(like.action_mask)
        robot_actions = np.zeros((num_steps, width), np.float32)
        robot_actions[:-1, END_EFFECTOR] = np.reshape(actions, (-1, len(ACTION_NAMES)))
        return Episode(
            episode_id=f"scene_{seed}",
            images={"primary": images},
            bgr_cameras=frozenset(),
            robot_actions=robot_actions,
            action_mask=np.arange(width) < JOINTS.start,
            end_effector_pose=None,
            pose_mask=np.zeros(7, dtype=bool),
            joint_starts=np.zeros((num_steps, width - JOINTS.start))
            if width > JOINTS.start
            else None,
            sim_state=np.stack(states),
            scene=env.scene.to_json(),
            instruction=env.scene.instruction,
            control_hz=env.scene.control_hz,
        )
