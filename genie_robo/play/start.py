"""Where an imagined episode begins: a recorded episode, a fresh simulated scene, or any image."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from genie_robo.data.settings import Resize
from genie_robo.data.transforms import decode_frames
from genie_robo.sim.scene import SceneSpec
from genie_robo.sim.tabletop import Tabletop
from genie_robo.types import Episode, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class SimState:
    """What MuJoCo has to be restored to."""

    scene: SceneSpec
    physics: Float[np.ndarray, " n"]
    """MuJoCo's integration state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A prompt frame and what is known about it."""

    name: str
    """As the page calls it."""
    episode_id: str
    """As recordings call it."""
    instruction: str
    frame: UInt8[np.ndarray, "h w c"]
    control_hz: float
    """Frames per second, 0 when unknown."""
    steps_per_frame: int = 1
    """Robot actions between two frames."""
    sim: SimState | None = None
    """None when no simulator knows this state."""


class Starts:
    """All prompts that a run can be played from."""

    def __init__(
        self,
        *,
        num_episodes: int,
        window: Callable[[int], Window],
        episode: Callable[[int], Episode],
        image_size: tuple[int, int],
        resize: Resize = Resize.stretch,
        frame_stride: int = 1,
        renderer: str = "auto",
    ) -> None:
        """Nothing is read yet.

        Args:
            num_episodes: Test episodes, numbered from 0.
            window: All frames of a test episode; raises ValueError for one that is not there.
            episode: The same episode as it is stored.
            image_size: Height and width of the model's frames.
            resize: How other images become that size.
            frame_stride: Steps between two frames.
            renderer: What draws fresh scenes.
        """
        self.num_episodes = num_episodes
        self.image_size = image_size
        self._window, self._episode = window, episode
        self._resize, self._stride, self._renderer = resize, frame_stride, renderer

    def episode(self, number: int) -> Start:
        """The first frame of a test episode.

        Raises:
            ValueError: There is no such episode.
        """
        window, episode = self._window(number), self._episode(number)
        return Start(
            name=f"test episode {number}",
            episode_id=window.episode_id,
            instruction=episode.instruction,
            frame=window.video[0],
            control_hz=episode.control_hz / self._stride,
            steps_per_frame=self._stride,
            sim=_stored_state(episode),
        )

    def scene(self, seed: int) -> Start:
        """A fresh simulated scene, with the robot and the rate of the run's own episodes."""
        like = _stored_state(self._episode(0))
        given = {"robot": like.scene.robot, "control_hz": like.scene.control_hz} if like else {}
        env = Tabletop(task="explore", image_size=self.image_size, renderer=self._renderer, **given)
        with closing(env):
            env.reset(seed=seed)
            return Start(
                name=f"scene {seed}",
                episode_id=f"scene_{seed}",
                instruction=env.scene.instruction,
                frame=env.render(),
                control_hz=env.scene.control_hz / self._stride,
                steps_per_frame=self._stride,
                sim=SimState(scene=env.scene, physics=env.state()),
            )

    def image(self, name: str, content: bytes) -> Start:
        """Any image, scaled as the run's own frames.

        Raises:
            ValueError: The file is neither JPEG nor PNG.
        """
        try:
            frame = decode_frames([content], image_size=self.image_size, resize=self._resize)[0]
        except ValueError as error:
            raise ValueError(
                f"{name} cannot be a prompt ({error}); choose a JPEG or PNG image"
            ) from error
        return Start(
            name=name, episode_id=f"image {name}", instruction="", frame=frame, control_hz=0.0
        )


def _stored_state(episode: Episode) -> SimState | None:
    if episode.sim_state is None or not episode.scene:
        return None
    return SimState(scene=SceneSpec.from_json(episode.scene), physics=episode.sim_state[0])
