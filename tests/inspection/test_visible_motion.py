"""The frame stride that `genie-robo inspect` proposes, from squares whose speed is known."""

import re
import shlex
from dataclasses import replace

import numpy as np
import pytest
import yaml
from inspect_files import F, composed, encode_image, make_dataset, make_features
from scipy.ndimage import gaussian_filter, shift

from genie_robo.config import DataConfig
from genie_robo.data.settings import Source
from genie_robo.inspection.entry import entry_text
from genie_robo.inspection.facts import inspect_dataset
from genie_robo.inspection.visible_motion import ENOUGH_PX, measure_motion

SIDE, SQUARE, NUM_STEPS = 64, 20, 80


@pytest.fixture(autouse=True)
def cache_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def square(step, speed):
    """A textured square that goes to and fro by `speed` px per step, 40 px far.

    It turns at step 80 at the slowest speed, so that it goes one way there.
    """
    noise = gaussian_filter(np.random.default_rng(0).random((SQUARE, SQUARE)), 1)
    picture = np.zeros((SIDE, SIDE))
    picture[20 : 20 + SQUARE, 2 : 2 + SQUARE] = 60 + 195 * (noise - noise.min()) / np.ptp(noise)
    there = 40 - abs(40 - speed * step % 80)
    moved = shift(picture, (0, there), order=1).clip(0, 255)
    return np.repeat(moved[..., None], 3, axis=-1).astype(np.uint8)


def dataset(tmp_path, speed, *, num_steps=NUM_STEPS):
    """Two episodes of a square that moves by `speed` px per step, the second a step shorter."""
    image = {"front": F.Image(shape=(SIDE, SIDE, 3), encoding_format="png")}
    features = make_features(observation=image)
    episodes = [
        {"steps": [step(t, speed, is_last=t == num_steps - 1) for t in range(first, num_steps)]}
        for first in (0, 1)
    ]
    return make_dataset(tmp_path, episodes, features=features)


def step(t, speed, *, is_last):
    return {
        "observation": {"front": encode_image(square(t, speed))},
        "action": np.sin(np.arange(7) + t).astype(np.float32) / 100,
        "language_instruction": "slide",
        "is_last": is_last,
        "is_terminal": is_last,
    }


def source(control_hz=30.0):
    return Source(camera="observation/front", control_hz=control_hz)


def measured(folder, given, **settings):
    index = inspect_dataset(folder, given).index
    return measure_motion(index, given, DataConfig(**settings))


@pytest.mark.parametrize(("speed", "stride"), [(0.5, 4), (0.75, 3), (2.5, 1)])
def test_the_smallest_stride_that_shows_enough_motion(tmp_path, speed, stride):
    found = measured(dataset(tmp_path, speed), source())
    assert found.pixels[1] == pytest.approx(speed, rel=0.2)
    assert found.stride == stride
    assert found.pixels[stride] >= ENOUGH_PX - 0.05
    assert found.hz == 30.0 / stride


def test_pixels_are_those_of_the_size_trained_on(tmp_path):
    found = measured(dataset(tmp_path, 1.0), source(), image_height=32, image_width=32)
    assert found.image_size == (32, 32)
    assert found.pixels[1] == pytest.approx(0.5, rel=0.2)
    assert found.stride == 4
    assert measured(tmp_path, source(), image_height=8, image_width=64) is None


@pytest.mark.parametrize(
    ("control_hz", "num_steps", "most"), [(6.0, NUM_STEPS, 2), (0.0, 49, 3), (5.0, NUM_STEPS, 1)]
)
def test_rate_and_length_bound_the_stride(tmp_path, control_hz, num_steps, most):
    found = measured(dataset(tmp_path, 0.5, num_steps=num_steps), source(control_hz))
    assert (max(found.pixels), found.stride) == (most, most)
    assert found.hz == control_hz / most


def test_a_still_camera_has_no_stride(tmp_path):
    found = measured(dataset(tmp_path, 0.0), source())
    assert found.stride == 1
    assert max(found.pixels.values()) < 0.01


def test_the_stride_is_said_and_in_the_words(tmp_path):
    folder = dataset(tmp_path, 0.5)
    facts = inspect_dataset(folder, source()).facts
    found = stride_note(facts)
    assert "data.frame_stride=4 (7.5 frames per second) makes it 2 px" in found
    assert re.search(r"the fastest pixels move 0\.5\d? px at 64 x 64, too little", found)
    assert "data.frame_stride=4" in shlex.split(facts.words)
    assert composed(facts.words) == source()
    slow = inspect_dataset(folder, source(6.0)).facts
    assert "px; not 2, because a larger one leaves fewer than 3 frames" in stride_note(slow)


def test_settings_as_a_file(tmp_path):
    folder = dataset(tmp_path, 0.5)
    found = inspect_dataset(folder, source())
    text = entry_text(found)
    assert "# from step to step the fastest pixels move 0.5" in text
    written = {"camera": "observation/front", "control_hz": 30.0}
    assert yaml.safe_load(text) == {"path": str(folder), "frame_stride": 4, "source": written}
    address = "https://example.org/robots/1.0.0"
    remote = replace(found, facts=replace(found.facts, folder=address))
    assert yaml.safe_load(entry_text(remote))["path"] == address


def stride_note(facts):
    return next(note.text for note in facts.notes if note.kind == "frame_stride")


def test_a_given_stride_is_kept(run_cli, tmp_path):
    folder = dataset(tmp_path, 0.5)
    words = ["data=rlds", "data.source.camera=observation/front", "data.frame_stride=2"]
    out = run_cli("inspect", f"path={folder}", *words).out
    assert "too little to tell actions by" not in out
    assert "data.frame_stride=2" in out
    out = run_cli("inspect", f"path={folder}", *words[:2], "data.image_height=96").out
    assert "px at 96 x 64" in out
    assert "data.frame_stride=4" in out
    assert "data.image_height=96" in out
