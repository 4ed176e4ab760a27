import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from genie_robo.build import build_genie
from genie_robo.inference.error_feedback import ErrorFeedback
from genie_robo.inference.trust import Usual, WatchedWorld
from genie_robo.inference.world import (
    Codes,
    GenieWorld,
    Latents,
    Prompt,
    Rewindable,
    RobotActions,
)
from tests.models.conftest import changed, toy_config


@pytest.fixture
def world() -> GenieWorld:
    torch.manual_seed(0)
    return GenieWorld(build_genie(changed(toy_config(), {"model.dynamics.latents_share": 0.5})))


def prompts(world, count=2):
    frames = np.random.default_rng(0).integers(256, size=(count, 1, *world.image_size, 3))
    return [Prompt(frames=frame.astype(np.uint8)) for frame in frames]


def latents(world, value, count=2):
    return Latents(np.full((count, world.latent_dim), value))


def test_usual_signals_are_trusted_and_strange_ones_are_not():
    rng = np.random.default_rng(0)
    usual = Usual.of(rng.normal(size=(100, 10, 3)))
    better, middle, strange = usual.trust(np.array([[-9.0] * 3, [0.0] * 3, [9.0] * 3]), 1)
    assert better == 1.0
    assert 0.5 < middle <= 1.0
    assert strange == 1 / 1001
    rising = usual.trust(np.linspace(0, 3, 9)[:, None] * np.array([0, 1, 0]), 1)
    assert (np.diff(rising) <= 0).all()


def test_one_signal_counts_for_three_spreads_at_most():
    usual = Usual.of(np.random.default_rng(0).normal(size=(100, 10, 3)))
    low = usual.median[0]
    found = usual.how_strange(low + usual.spread[0] * np.array([[99, 0, 0], [1, 2, -5]]), 1)
    np.testing.assert_allclose(found, [3.0, 3.0])


def test_frames_are_compared_with_those_after_as_many_actions():
    signals = np.zeros((3, 2, 3))
    signals[:, 0, 0], signals[:, 1, 0] = [0, 1, 2], [10, 11, 12]
    usual = Usual.of(signals)  # means after one frame: 0, 1, 2; after two: 5, 6, 7
    assert usual.median[:, 0].tolist() == [1.0, 6.0]
    same = np.array([[6.0, 0.0, 0.0]])
    assert usual.how_strange(same, 1) > 0
    for frame in (2, 3, 99):
        assert usual.how_strange(same, frame) == 0


def test_trust_is_the_share_of_validation_frames_as_strange():
    signals = np.zeros((4, 1, 3))
    signals[:, 0, 0] = [0.0, 1.0, 2.0, 3.0]
    usual = Usual.of(signals)
    found = usual.trust(np.array([[3.0, 0, 0], [2.0, 0, 0], [3.1, 0, 0]]), 1)
    np.testing.assert_allclose(found, [2 / 5, 3 / 5, 1 / 5])


def test_signals_are_averaged_over_the_frames_so_far():
    signals = np.zeros((1, 3, 3))
    signals[0, :, 1] = [1.0, 2.0, 6.0]
    usual = Usual.of(signals)
    assert usual.median.tolist() == [[0.0, 1.0, 0.0], [0.0, 1.5, 0.0], [0.0, 3.0, 0.0]]


def test_without_clips_nothing_is_usual():
    with pytest.raises(ValueError, match="no validation clip"):
        Usual.of(np.zeros((0, 5, 3)))
    with pytest.raises(ValueError, match="not finite"):
        Usual.of(np.full((2, 5, 3), np.nan))


def test_a_watched_world_shows_the_same_frames(world):
    watched = WatchedWorld(copy.copy(world), {})
    for one in (world, watched):
        one.start(prompts(world), [1, 2])
    plain, seen = (one.step(latents(world, 0.3)) for one in (world, watched))
    np.testing.assert_array_equal(plain.frames, seen.frames)
    assert seen.trust is None
    assert watched.num_codes == world.num_codes
    assert watched.takes == world.takes


def test_the_latent_signal_is_the_distance_to_what_is_inferred_back(world):
    watched = WatchedWorld(copy.copy(world), {})
    start = watched.start(prompts(world), [1, 2])
    step = watched.step(latents(world, 0.3))
    pair = torch.from_numpy(np.stack([start.frames, step.frames], axis=1)).float() / 255
    with torch.no_grad():
        inferred = world.genie.infer_actions(pair).continuous[:, 0].double().numpy()
    ((apart, entropy, _),) = (signals.T for signals in watched.signals)
    np.testing.assert_allclose(apart, np.linalg.norm(inferred - 0.3, axis=-1), rtol=1e-5)
    np.testing.assert_allclose(entropy, step.uncertainty)


def test_trust_is_part_of_the_step_and_falls_with_strange_actions(world):
    watched = WatchedWorld(copy.copy(world), {})
    watched.start(prompts(world), [1, 2])
    for _ in range(4):
        watched.step(latents(world, 0.0))
    usual = Usual.of(np.stack(watched.signals, axis=1))
    again = WatchedWorld(copy.copy(world), {Latents: usual})
    again.start(prompts(world), [1, 2])
    assert again.step(latents(world, 0.0)).trust.min() >= 1 / 9
    again.start(prompts(world), [1, 2])
    assert (again.step(latents(world, 50.0)).trust == 1 / 9).all()


def test_codes_and_robot_actions_are_compared_by_their_latents(world):
    table = np.linspace(-1, 1, world.latent_dim)
    watched = WatchedWorld(copy.copy(world), {}, to_latents=lambda a: np.tile(table, (len(a), 1)))
    robot = GenieWorld(world.genie, robot_map=lambda: lambda a: np.tile(table, (len(a), 1)))
    steered = WatchedWorld(robot, {}, to_latents=lambda a: np.tile(table, (len(a), 1)))
    for one, actions in (
        (watched, Latents(np.tile(table, (2, 1)))),
        (steered, RobotActions(np.zeros((2, 7)))),
    ):
        one.start(prompts(world), [1, 2])
        one.step(actions)
    np.testing.assert_allclose(watched.signals[0], steered.signals[0])
    watched.start(prompts(world), [1, 2])
    watched.step(Codes(np.array([0, 1])))
    assert np.isfinite(watched.signals[0]).all()


def test_frames_of_robot_actions_without_their_latents_are_not_judged(world):
    robot = GenieWorld(world.genie, robot_map=lambda: lambda a: np.zeros((len(a), 3)))
    usual = Usual.of(np.zeros((2, 3, 3)))
    watched = WatchedWorld(robot, {RobotActions: usual, Latents: usual})
    watched.start(prompts(world), [1, 2])
    assert watched.step(RobotActions(np.zeros((2, 7)))).trust is None
    assert watched.signals == []
    assert watched.step(latents(world, 0.1)).trust is not None


def test_each_kind_of_actions_is_compared_with_its_own(world):
    easy, hard = (Usual.of(np.full((2, 3, 3), level)) for level in (0.0, 99.0))
    watched = WatchedWorld(copy.copy(world), {Latents: easy, Codes: hard})
    watched.start(prompts(world), [1, 2])
    assert (watched.step(latents(world, 0.1)).trust == 1 / 7).all()
    assert (watched.step(Codes(np.array([0, 1]))).trust == 1).all()


def test_a_rollout_is_as_strange_as_its_strangest_frame():
    by_frame = np.array([[0.5, 0.7, 0.8, 1.0], [0.2, 0.4, 0.6, 1.0]])
    usual = replace(Usual.of(np.zeros((4, 2, 3))), least_trust=by_frame)
    least = np.array([1.0, 0.5, 0.4, 0.1])
    for trust in (
        np.stack([least, np.ones(4)], axis=1),
        np.stack([np.ones(4), least], axis=1),
        np.stack([least] * 5, axis=1),  # beyond the clips' frames all of theirs count
    ):
        np.testing.assert_allclose(usual.trust_in_rollouts(trust), [1, 3 / 5, 3 / 5, 1 / 5])
    signals = np.zeros((2, 2, 3))
    signals[0, 1] = 9.0
    least = Usual.of(signals).least_trust
    assert least[0].tolist() == [1.0, 1.0]
    assert least[1, 0] < least[1, 1] == 1.0


def test_short_rollouts_are_compared_with_as_short_beginnings_of_clips():
    """Clips from the same source are as usual as validation clips after any number of frames."""
    rng = np.random.default_rng(0)
    usual = Usual.of(rng.normal(size=(400, 15, 3)))
    others = rng.normal(size=(400, 15, 3))
    means = others.cumsum(axis=1) / np.arange(1, 16)[:, None]
    trust = np.stack([usual.trust(means[:, t], t + 1) for t in range(15)], axis=1)
    for num_frames in (1, 5, 15):
        found = usual.trust_in_rollouts(trust[:, :num_frames])
        assert (found < 0.05).mean() == pytest.approx(0.05, abs=0.03)
        assert np.median(found) == pytest.approx(0.5, abs=0.1)


def test_what_is_usual_survives_a_file():
    usual = Usual.of(np.random.default_rng(0).normal(size=(5, 4, 3)))
    again = Usual.from_numbers(json.loads(json.dumps(usual.numbers)))
    for name in ("median", "spread", "strangeness", "least_trust"):
        np.testing.assert_array_equal(getattr(again, name), getattr(usual, name))


@pytest.mark.parametrize(
    "damage",
    [
        {"median": [1.0, 2.0]},
        {"median": [[1.0, 2.0, 3.0]]},
        {"spread": [[1.0, 0.0, 1.0]] * 3},
        {"strangeness": 3.0},
        {"least_trust": [0.5, 1.0]},
        {"least_trust": [[0.5, 1.0]] * 2},
        {"median": "x"},
    ],
)
def test_other_numbers_are_refused(damage):
    numbers = Usual.of(np.zeros((2, 3, 3))).numbers
    with pytest.raises(ValueError, match=r"shapes|finite|could not convert"):
        Usual.from_numbers(numbers | damage)


def test_a_copy_is_independent(world):
    watched = WatchedWorld(copy.copy(world), {})
    watched.start(prompts(world), [1, 2])
    other = copy.copy(watched)
    other.start(prompts(world, 1), [3])
    other.step(latents(world, 0.1, 1))
    assert watched.signals == []
    assert len(watched.step(latents(world, 0.1)).frames) == 2


def test_a_world_goes_back_to_a_state_as_often_as_wanted(world):
    usual = Usual.of(np.random.default_rng(0).random((5, 4, 3)))
    watched = WatchedWorld(world, {Latents: usual})
    assert isinstance(watched, Rewindable)
    watched.start(prompts(world), [1, 2])
    watched.step(latents(world, 0.3))
    state = watched.get_state()
    values = (0.1, -0.2) * (world.genie.num_frames // 2 + 1)
    first = [watched.step(latents(world, value)) for value in values]
    for _ in range(2):
        watched.set_state(state)
        for value, expected in zip(values, first, strict=True):
            step = watched.step(latents(world, value))
            np.testing.assert_array_equal(step.frames, expected.frames)
            np.testing.assert_array_equal(step.trust, expected.trust)
    imagination = state.content[0].content[0]
    assert imagination.genie is world.genie, "a copy would double the memory"
    shared = {id(module) for module in world.genie.modules()}
    assert id(imagination._past._dynamics) in shared
    assert id(imagination._past._decoder._tokenizer) in shared


def test_the_residual_of_error_feedback_is_part_of_the_state(world):
    feedback = ErrorFeedback.to_nearest(np.linspace(-0.05, 0.05, 5)[:, None] * np.ones(7))
    steered = GenieWorld(world.genie, robot_map=lambda: feedback)
    steered.start(prompts(world, 1), [1])
    action = RobotActions(np.full((1, 7), 0.011))
    steered.step(action)
    state = steered.get_state()
    codes = [int(steered.step(action).codes[0]) for _ in range(6)]
    steered.set_state(state)
    assert [int(steered.step(action).codes[0]) for _ in range(6)] == codes
    assert len(set(codes)) == 2, "the residual changes the code"
