import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from genie_robo.build import build_genie
from genie_robo.inference.rollout import imagine
from genie_robo.inference.sampler import Sampler
from genie_robo.sim.imagined import Imagined
from tests.models.conftest import toy_config

SAMPLER = Sampler(num_steps=2)


@pytest.fixture(scope="module")
def genie():
    torch.manual_seed(0)
    return build_genie(toy_config())


@pytest.fixture
def prompt(genie) -> np.ndarray:
    size = (*genie.tokenizer.image_size, 3)
    return np.random.default_rng(0).integers(256, size=size, dtype=np.uint8)


def test_gymnasium_accepts_it(genie, prompt):
    check_env(Imagined(genie, prompt=prompt, sampler=SAMPLER), skip_render_check=True)


def test_it_imagines_what_a_rollout_does(genie, prompt):
    env = Imagined(genie, sampler=SAMPLER, max_steps=3)
    frames = [env.reset(seed=5, options={"prompt": prompt})[0]["pixels"]]
    results = [env.step(action) for action in (2, 0, 1)]
    frames += [result[0]["pixels"] for result in results]
    seed = int(np.random.default_rng(5).integers(2**31))
    video = torch.from_numpy(prompt)[None, None]
    rollout = imagine(genie, video, torch.tensor([[2, 0, 1]]), seeds=[seed], sampler=SAMPLER)
    assert np.array_equal(frames, rollout.video[0].numpy())
    assert [result[3] for result in results] == [False, False, True]
    assert {result[1] for result in results} == {0.0}


def test_same_seed_same_frames(genie, prompt):
    env = Imagined(genie, prompt=prompt, sampler=SAMPLER)
    rolls = []
    for seed in (1, 1, 2):
        env.reset(seed=seed)
        rolls.append([env.step(3)[0]["pixels"] for _ in range(2)])
    assert np.array_equal(rolls[0], rolls[1])
    assert not np.array_equal(rolls[0], rolls[2])


def test_missing_and_misfit_prompts_are_refused(genie, prompt):
    env = Imagined(genie)
    with pytest.raises(ValueError, match="starts from an image, but there is none; give"):
        env.reset()
    with pytest.raises(ValueError, match=r"uint8 image of shape \(.*\), .* it is float64 of shape"):
        env.reset(options={"prompt": prompt / 255})


def test_step_needs_a_reset_and_a_known_action(genie, prompt):
    env = Imagined(genie, prompt=prompt)
    with pytest.raises(RuntimeError, match="call reset before step"):
        env.step(0)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="latent action 99 is not one of this model's codes, 0 to"):
        env.step(99)
