"""Prompts of a run: test episodes, fresh scenes and image files, with frames as its own."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from genie_robo.data.settings import Resize
from genie_robo.prompts import Cut, RunPrompts
from genie_robo.sim.restore import restore, stored_scene
from genie_robo.types import Split
from tests.data.image_files import png_bomb
from tests.play import conftest as play

run, trained, prompts = play.run, play.trained, play.prompts
"""Fixtures: a run that was never trained."""


def at_stride(trained, stride, resize=Resize.stretch):
    """Prompts as if the run had been trained on every stride-th step."""
    data = replace(trained.data, frame_stride=stride, resize=resize)
    return RunPrompts(replace(trained, data=data).windows(Split.test))


def encoded(image, kind="PNG", mode="RGB", **options):
    buffer = io.BytesIO()
    Image.fromarray(image).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def test_an_episode_starts_with_its_first_frame_and_state(prompts, trained):
    clip = prompts.episode(0)
    window = trained.windows(Split.test).whole_episode(0)

    assert prompts.num_episodes == 1
    assert (clip.prompt.title, clip.prompt.name) == ("test episode 0", window.episode_id)
    assert clip.file == "episode_000"
    assert (clip.prompt.frames == window.video[:1]).all()
    env = restore(clip.prompt.recording, clip.prompt.last_step, image_size=(64, 64))
    assert (env.render() == clip.prompt.frames[-1]).all()


def test_a_cut_keeps_the_frames_and_actions_after_the_prompt(prompts, trained):
    clip = prompts.episode(0, Cut(start=1, num_prompt_frames=2, horizon=1))
    whole = trained.windows(Split.test).whole_episode(0)
    assert (clip.prompt.frames == whole.video[1:3]).all()
    assert (clip.window.video == whole.video[1:4]).all()
    assert (clip.window.robot_actions == whole.robot_actions[1:3]).all()
    assert (clip.prompt.start, clip.prompt.last_step) == (1, 2)


def test_an_episode_that_is_not_there_or_too_short(prompts):
    with pytest.raises(ValueError, match="episode=1 is not a test episode: there are 1"):
        prompts.episode(1)
    with pytest.raises(ValueError, match="has 5 frames, but 9 are needed"):
        prompts.episode(0, Cut(horizon=8))


def test_a_scene_is_fixed_by_its_seed(prompts):
    first, again, other = (prompts.scene(seed, Cut(horizon=2)) for seed in (3, 3, 4))

    scenes = [stored_scene(clip.prompt.recording) for clip in (first, again, other)]
    assert scenes[0] == scenes[1] != scenes[2]
    assert (first.window.video == again.window.video).all()
    assert (first.window.robot_actions == again.window.robot_actions).all()
    assert np.abs(first.window.robot_actions[:, :3]).max() > 0
    assert (first.prompt.control_hz, first.prompt.instruction) == (3.0, "explore the table")
    assert (first.prompt.title, first.file) == ("scene 3", "simulator_003")


def test_a_longer_cut_of_a_scene_starts_like_a_shorter_one(prompts):
    short, long = prompts.scene(3), prompts.scene(3, Cut(horizon=2))
    assert (short.prompt.frames == long.prompt.frames).all()


def test_a_frame_may_span_several_steps(trained):
    slower = at_stride(trained, 2)
    for clip in (slower.episode(0), slower.scene(0)):
        assert (clip.prompt.stride, clip.prompt.control_hz) == (2, 1.5)
    clip = slower.scene(0, Cut(start=1, horizon=1))
    env = restore(clip.prompt.recording, 4, image_size=(64, 64))
    assert (env.render() == clip.window.video[1]).all()
    assert clip.prompt.start == clip.window.start == 2


@pytest.mark.parametrize(
    ("kind", "mode"), [("JPEG", "RGB"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "RGB")]
)
def test_an_image_of_any_size_and_colour_is_scaled_as_the_run_scales_its_own(trained, kind, mode):
    """The middle third is red: the whole frame after a crop, a third of it after a stretch."""
    image = np.zeros((100, 300, 3), np.uint8)
    image[:, 100:200] = (255, 0, 0)
    lossless = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    files = [("cup.png", encoded(image, kind, mode, **lossless))]
    red = {}
    for resize in Resize:
        prompt = at_stride(trained, 1, resize).images(files).prompt
        assert prompt.frames.shape == (1, 64, 64, 3)
        assert (prompt.title, prompt.recording, prompt.control_hz) == ("cup.png", None, 0.0)
        red[resize] = (np.abs(prompt.frames[0].astype(int) - (255, 0, 0)).max(-1) <= 3).mean()
    assert red["crop"] > 0.85
    assert red["stretch"] == pytest.approx(1 / 3, abs=0.04)
    assert red["letterbox"] == pytest.approx(1 / 9, abs=0.03)


def test_several_images_are_several_frames(prompts):
    colours = [np.full((8, 8, 3), level, np.uint8) for level in (10, 200)]
    clip = prompts.images([("a b.png", encoded(c)) for c in colours])
    assert [frame.max() for frame in clip.prompt.frames] == [10, 200]
    assert (clip.file, clip.window) == ("picture_a_b", None)


def test_files_that_are_no_images_are_refused(prompts):
    noise = np.random.default_rng(0).integers(256, size=(9, 9, 3), dtype=np.uint8)
    for content, reason in ((b"a cup", "it is no PNG, JPEG"), (encoded(noise)[:-40], "it is cut")):
        with pytest.raises(
            ValueError, match=rf"cup\.png cannot be a prompt: {reason}.* Save it ag"
        ):
            prompts.images([("cup.png", content)])
    with pytest.raises(ValueError, match=r"cup\.png cannot be a prompt: it has 9000 x 9000 pixels"):
        prompts.images([("cup.png", png_bomb(9000, 9000))])
