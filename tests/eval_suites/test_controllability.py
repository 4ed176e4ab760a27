import numpy as np
import pytest
from eval_fakes import ToyEpisodes, ToyRobot, TransitionCodes, TruePhysics, make_context

from genie_robo.eval_suites import rollouts
from genie_robo.eval_suites.base import run_suite
from genie_robo.eval_suites.captions import CAPTIONS
from genie_robo.eval_suites.controllability import Controllability
from genie_robo.eval_suites.rollouts import infer_codes, stable_seed
from genie_robo.inference.world import HeldFrame, Step


def choose_clips(episodes, **settings):
    encoder = TransitionCodes(episodes.robot)
    context = make_context(episodes.robot, encoder=encoder, test=episodes, num_frames=20)
    return rollouts.choose_clips(context, name="test", **settings)


@pytest.fixture(scope="module")
def robot():
    return ToyRobot(12)


@pytest.fixture(scope="module")
def codes(robot):
    return TransitionCodes(robot)


@pytest.fixture(scope="module")
def physics(robot, codes):
    return TruePhysics(robot, codes.table)


def steer(robot, codes, world, **settings):
    context = make_context(robot, encoder=codes, world=world, num_fit=4)
    suite = Controllability(**{"num_clips": 8, "num_draws": 3, "horizon": 8} | settings)
    return run_suite(suite, context)


@pytest.fixture(scope="module")
def true_world(robot, codes, physics):
    return steer(robot, codes, physics)


def test_clips_hold_the_prompt_and_what_follows(robot):
    clips = choose_clips(
        ToyEpisodes(robot, range(12)), num_clips=12, num_prompt_frames=2, horizon=3
    )
    assert sorted(clip.number for clip in clips) == list(range(12))
    for clip in clips:
        video = robot.video(clip.number)
        start = clip.window.start
        np.testing.assert_array_equal(clip.prompt.frames, video[start : start + 2])
        np.testing.assert_array_equal(clip.future, video[start + 2 : start + 5])
        assert clip.prompt.start == start
        np.testing.assert_array_equal(
            clip.window.robot_actions, robot.actions[clip.number][start : start + 4]
        )


def test_inferred_codes_start_at_the_last_prompt_frame(robot, codes):
    clips = choose_clips(ToyEpisodes(robot, [3]), num_clips=1, num_prompt_frames=2, horizon=3)
    first = 3 * 19 + clips[0].window.start + 1
    assert infer_codes(codes, clips).tolist() == [[first, first + 1, first + 2]]


def test_more_clips_than_episodes_cut_episodes_twice(robot):
    clips = choose_clips(ToyEpisodes(robot, range(3)), num_clips=7, num_prompt_frames=1, horizon=4)
    assert len({clip.key for clip in clips}) == 7
    assert sorted(np.bincount([clip.number for clip in clips])) == [2, 2, 3]


def test_clips_never_reach_into_padding(robot):
    padded = ToyEpisodes(robot, range(3), num_pad=9)
    clips = choose_clips(padded, num_clips=99, num_prompt_frames=1, horizon=18)
    # 20 frames hold a clip of 19 twice.
    assert sorted(clip.window.start for clip in clips) == [0, 0, 0, 1, 1, 1]
    assert not any(clip.window.is_pad.any() for clip in clips)


def test_clips_depend_on_ids_and_not_on_order(robot):
    settings = {"num_clips": 4, "num_prompt_frames": 1, "horizon": 4}
    forward = choose_clips(ToyEpisodes(robot, range(4)), **settings)
    backward = choose_clips(ToyEpisodes(robot, range(3, -1, -1)), **settings)
    assert [clip.key for clip in forward] == [clip.key for clip in backward]


def test_stable_seed_is_stable():
    assert stable_seed("sampler", 0, "abc/3", 1) == 439108735
    assert stable_seed("a", 1) != stable_seed("a", 2)


def test_the_world_itself_reaches_the_cap(true_world):
    for t in range(1, 9):
        assert true_world.metrics[f"psnr/inferred/t{t}"].value == 100.0
    assert true_world.metrics["motion_ratio"].value == pytest.approx(1.0)


def test_the_world_itself_obeys(true_world):
    for law in ("uniform", "marginal", "permuted"):
        delta = true_world.metrics[f"delta_psnr/{law}/t4"]
        assert delta.ci95[0] > 20, law
        assert delta.n_units == 8


def test_a_world_that_stands_still_has_delta_exactly_zero(robot, codes):
    metrics = steer(robot, codes, HeldFrame()).metrics
    for law in ("uniform", "marginal", "permuted"):
        for t in range(1, 9):
            delta = metrics[f"delta_psnr/{law}/t{t}"]
            assert (delta.value, delta.ci95) == (0.0, (0.0, 0.0))
            assert delta.value == delta.baselines["copy_last"]
    assert metrics["motion_ratio"].value == 0.0


class NoisyWorld:
    """Ignores actions; its frames depend on nothing but the sampler's seed."""

    takes = TruePhysics.takes

    def start(self, prompts, seeds):
        self.rngs = [np.random.default_rng(seed) for seed in seeds]
        self.shape = prompts[0].frames.shape[1:]
        return self.step(None)

    def step(self, actions):
        frames = [rng.integers(256, size=self.shape).astype(np.uint8) for rng in self.rngs]
        return Step(frames=np.stack(frames), uncertainty=np.zeros(len(frames)))


def test_both_branches_share_the_sampler_seed(robot, codes):
    metrics = steer(robot, codes, NoisyWorld()).metrics
    assert metrics["delta_psnr/uniform/t4"].value == 0.0


def test_draws_have_different_sampler_seeds(robot, codes):
    seen = []

    class Spy(NoisyWorld):
        def start(self, prompts, seeds):
            seen.extend(seeds)
            return super().start(prompts, seeds)

    steer(robot, codes, Spy())
    assert len(set(seen)) == 8 * 3
    assert len(seen) == 4 * 8 * 3


def test_batch_size_changes_nothing(robot, codes, physics, true_world):
    other = steer(robot, codes, physics, batch_size=7)
    assert other.metrics == true_world.metrics


def test_mean_is_over_decibels(robot, codes, true_world):
    rows = true_world.per_episode
    mean = np.mean([row["psnr_inferred_t4"] - row["psnr_uniform_t4"] for row in rows])
    assert true_world.metrics["delta_psnr/uniform/t4"].value == pytest.approx(mean)


def test_horizon_stays_inside_the_window_of_the_model(robot, codes, physics):
    context = make_context(robot, encoder=codes, world=physics, num_frames=4)
    result = Controllability(num_clips=2, num_draws=1).evaluate(context)
    assert result.headline[0] == "delta_psnr/uniform/t3"
    assert "delta_psnr/uniform/t4" not in result.metrics


def test_a_single_prompt_has_no_sequence_to_permute(robot, codes, physics):
    result = steer(robot, codes, physics, num_clips=1)
    metric = result.metrics["delta_psnr/permuted/t4"]
    assert metric.value is None
    assert "no other prompt" in metric.reason
    assert result.metrics["delta_psnr/uniform/t4"].value is not None


def test_episodes_shorter_than_the_horizon_are_undefined_with_a_reason(codes, physics):
    result = steer(ToyRobot(6, num_frames=5), codes, physics)
    assert result.metrics["delta_psnr/uniform/t4"].value is None
    assert "lower suite.controllability.horizon" in result.notes[0]


def test_fast_takes_fewer_prompts(robot, codes, physics):
    context = make_context(robot, encoder=codes, world=physics, num_fit=4, fast=True)
    assert len(Controllability().evaluate(context).per_episode) == 6


def test_figures(true_world):
    assert set(true_world.figures) == {"delta_psnr", "psnr"} == set(CAPTIONS["controllability"])
