import io

import numpy as np
import pytest
from PIL import Image

from genie_robo.play.start import Starts
from genie_robo.sim.tabletop import Tabletop
from genie_robo.trained_run import choose_window
from genie_robo.types import Split


def test_episode_starts_with_its_first_frame_and_state(starts, trained):
    start = starts.episode(0)
    window = choose_window(trained.windows(Split.test), 0, min_frames=1)

    assert starts.num_episodes == 1
    assert (start.name, start.episode_id) == ("test episode 0", window.episode_id)
    assert (start.frame == window.video[0]).all()
    with Tabletop(scene=start.sim.scene) as env:
        env.restore(start.sim.scene, start.sim.physics)
        assert (env.render() == start.frame).all()


def test_episode_that_is_not_there(starts):
    with pytest.raises(ValueError, match="episode=1 is not a test episode: there are 1"):
        starts.episode(1)


def test_scene_is_the_seed_s_own(starts):
    first, again, other = starts.scene(3), starts.scene(3), starts.scene(4)

    assert first.sim.scene == again.sim.scene
    assert (first.frame == again.frame).all()
    assert first.sim.scene != other.sim.scene
    assert first.control_hz == 3.0
    assert first.instruction == "explore the table"


def test_a_frame_may_last_several_steps(starts, trained):
    windows = trained.windows(Split.test)
    slower = Starts(
        num_episodes=1,
        window=windows.whole_episode,
        episode=lambda number: trained.dataset[windows.episodes[number]],
        image_size=(64, 64),
        frame_stride=2,
    )
    for start in (slower.episode(0), slower.scene(0)):
        assert (start.steps_per_frame, start.control_hz) == (2, 1.5)


def test_image_is_scaled_like_the_run_s_own(starts):
    image = np.zeros((90, 120, 3), np.uint8)
    image[:, 60:] = (250, 0, 0)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")

    start = starts.image("cup.png", buffer.getvalue())

    assert start.frame.shape == (64, 64, 3)
    assert start.frame[:, :30].max() == 0
    assert (start.frame[:, 34:] == (250, 0, 0)).all()
    assert (start.name, start.sim, start.control_hz) == ("cup.png", None, 0.0)


def test_file_that_is_no_image(starts):
    with pytest.raises(ValueError, match=r"cup\.txt cannot be a prompt .*choose a JPEG or PNG"):
        starts.image("cup.txt", b"a cup")
