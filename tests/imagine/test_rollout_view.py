"""An imagined rollout as its recording shows it: what is read, decoded, named and left out."""

from dataclasses import replace

import numpy as np
import pytest

from genie_robo.config import ImagineConfig, Sampler
from genie_robo.config.sim import Renderer
from genie_robo.data.rlds import RldsDataset
from genie_robo.eval_suites.simulated.pose_reading import PoseReaders
from genie_robo.imagine.files import write_episode
from genie_robo.imagine.prompts import find_prompts
from genie_robo.imagine.rollout import RolloutReaders, find_readers, imagine_prompt
from genie_robo.imagine.steering import Steering, steer
from genie_robo.imagine.view import ImaginedEpisode, make_view
from genie_robo.inference.action_map import (
    ActionDictionary,
    ActionMap,
    ActionMapReport,
    CodeRegressor,
    LatentRegressor,
    Measured,
)
from genie_robo.inference.world import GenieWorld
from genie_robo.sim.mujoco_world import MujocoWorld
from genie_robo.trained_run import TrainedRun
from tests.play import conftest as play

run, opened = play.run, play.trained
"""Fixtures: a run that was never trained."""
HORIZON = 3
NO_READERS = RolloutReaders(action_map=None, poses=None)
"""Of the five frames of an episode, one being the prompt."""


@pytest.fixture(scope="module")
def trained(opened) -> TrainedRun:
    return opened


@pytest.fixture(scope="module")
def config(trained):
    return ImagineConfig(
        run=str(trained.folder.path),
        num_episodes=1,
        horizon=HORIZON,
        sampler=Sampler(num_steps=2),
        renderer=Renderer.raycast,
        device="cpu",
        seed=7,
    )


@pytest.fixture(scope="module")
def clip(trained, config):
    (found,) = find_prompts(trained, config)
    return found


@pytest.fixture(scope="module")
def readers(trained):
    found = find_readers(trained, num_labels=4)
    return replace(found, action_map=action_map(trained))


def action_map(trained) -> ActionMap:
    codes = np.arange(trained.genie.latent_action.num_codes)
    actions = np.zeros((len(codes), 7))
    actions[:, 0] = 0.02 * (codes - 2)
    return ActionMap(
        dictionary=ActionDictionary.fit(codes, actions, num_codes=len(codes)),
        regressor=CodeRegressor.fit(actions, codes, num_codes=len(codes)),
        latents=LatentRegressor.fit(actions, actions[:, :2]),
        report=ActionMapReport(
            num_labels=len(codes),
            num_fit_episodes=1,
            num_test_steps=1,
            num_test_episodes=1,
            r2={"dx": Measured(None, None)},
            accuracy=Measured(None, None),
            majority=0.0,
            latent_r2=(),
        ),
        origin={},
    )


@pytest.fixture(scope="module")
def world(trained):
    return GenieWorld(trained.genie, sampler=Sampler(num_steps=2))


@pytest.fixture(scope="module")
def show(trained, config, world):
    """Imagine, and what is shown of it."""

    def run(clip, steering, readers, config=config, world=world) -> ImaginedEpisode:
        parts = imagine_prompt(
            trained, world, clip, steering, config, seed=7, advance=_nothing, readers=readers
        )
        return ImaginedEpisode(parts, make_view(parts, config, seed=7))

    return run


@pytest.fixture(scope="module")
def episode(trained, config, clip, readers, show) -> ImaginedEpisode:
    return show(clip, steer(trained, clip, config, 0), readers)


def _nothing(*args: object) -> None:
    del args


def test_everything_is_there_next_to_the_truth(episode, clip):
    view = episode.view
    np.testing.assert_array_equal(view.true_video, clip.window.video)
    np.testing.assert_allclose(view.robot_actions, clip.window.robot_actions)
    assert view.replay.positions.shape[0] == HORIZON + 1
    assert list(view.psnr) == ["imagined", "copy_last", "tokenizer"]
    np.testing.assert_array_equal(view.tokens.tokens, episode.parts.imagined.tokens[0])
    np.testing.assert_array_equal(view.tokens.tokens[0], view.tokens.true_tokens[0])
    np.testing.assert_allclose(view.tokens.entropy.mean(axis=1), view.uncertainty, rtol=1e-6)


def test_codes_are_named_and_decoded_by_the_action_map(episode):
    view = episode.view
    assert view.code_names == ("0 -x", "1 -x", "2 still", "3 +x", "4 +x")
    np.testing.assert_allclose(view.decoded_actions[:, 0], 0.02 * (view.latent_actions - 2))


def test_inferred_actions_have_chances(episode):
    chances = episode.view.code_chances
    assert chances.shape == (HORIZON, 5)
    assert (chances.argmax(axis=1) == episode.view.latent_actions).all()


def test_pose_error_is_the_distance_to_mujoco(episode, readers):
    view = episode.view
    assert list(view.read_path.error_mm) == ["imagined", "copy_last", "true_frames"]
    true = view.replay.end_effector
    read = readers.poses.decoded.read(view.imagined_video).tool
    expected = 1000 * np.linalg.norm(read - true, axis=1)
    np.testing.assert_allclose(view.read_path.error_mm["imagined"], expected)
    first = readers.poses.recorded.read(view.true_video[:1]).tool
    still = 1000 * np.linalg.norm(first - true, axis=1)
    np.testing.assert_allclose(view.read_path.error_mm["copy_last"], still)


def test_summary_says_run_checkpoint_seeds_sampler_and_protocol(episode, trained):
    summary = episode.view.summary
    steps = trained.config.tokenizer.num_steps, trained.config.world_model.num_steps
    assert f"tokenizer at step {steps[0]}, world model at step {steps[1]}" in summary
    assert f"**run**: {trained.folder.path.name}\n" in summary
    assert "**seeds**: training 0, rollout 7" in summary
    assert "1 given from step 0, 3 imagined" in summary
    assert "inferred from the true frames" in summary
    assert "MuJoCo, restored at the prompt, under the true robot actions" in summary
    assert "2 steps, temperature 0.25, random order, top_k 0, guidance 1" in summary
    assert str(trained.folder.path.parent) not in summary, "a moved run gives the same recording"


def test_without_readers_there_is_no_path_and_no_name(clip, episode, show):
    alone = show(clip, episode.parts.steering, NO_READERS)
    assert (alone.view.read_path, alone.view.decoded_actions) == (None, None)
    assert alone.view.code_names == ()
    np.testing.assert_array_equal(alone.view.imagined_video, episode.view.imagined_video)


def real(clip):
    """The same clip as if no simulator knew it."""
    recording = replace(clip.prompt.recording, sim_state=None)
    return replace(clip, prompt=replace(clip.prompt, recording=recording))


def test_codes_of_real_data_have_no_truth(config, clip, readers, show):
    """Nothing executes them: the dataset's frames were reached by other actions."""
    given = replace(config, actions=[0, 1, 2])
    steering = Steering(codes=np.array([0, 1, 2]), robot_actions=None, is_true=False)
    view = show(real(clip), steering, readers, config=given).view
    assert (view.true_video, view.robot_actions, view.replay) == (None, None, None)
    assert (view.psnr, view.code_chances, view.tokens.true_tokens) == ({}, None, None)
    assert view.read_path.error_mm == {}
    assert "none: what would have happened is unknown" in view.summary
    assert "**latent actions**: given codes" in view.summary


def test_true_actions_of_real_data_are_compared_with_its_own_frames(trained, config, clip, show):
    steering = steer(trained, clip, config, 0)
    view = show(real(clip), steering, NO_READERS).view
    np.testing.assert_array_equal(view.true_video, clip.window.video)
    assert view.replay is None
    assert "the dataset's own frames" in view.summary


def test_mujoco_in_place_of_the_model_shows_the_truth(trained, config, clip, readers, show):
    given = replace(config, world_model="mujoco", actions="robot")
    steering = steer(trained, clip, given, 0)
    episode = show(clip, steering, readers, config=given, world=MujocoWorld())
    view = episode.view
    np.testing.assert_array_equal(view.imagined_video, clip.window.video)
    assert (view.latent_actions, view.tokens) == (None, None)
    assert "**world model**: mujoco, not the run's own" in view.summary


def test_equal_rollouts_make_equal_files(episode, tmp_path):
    for name in ("a", "b"):
        write_episode(tmp_path / name, episode)
    first, second = (
        {path.name: path for path in sorted((tmp_path / name).iterdir())} for name in ("a", "b")
    )
    assert list(first) == [f"episode_000.{kind}" for kind in ("mp4", "npz", "png", "rrd")]
    for name in ("episode_000.npz", "episode_000.png"):
        assert first[name].read_bytes() == second[name].read_bytes()


def test_a_map_of_other_weights_is_fitted_again_and_a_damaged_one_is_left_out(trained):
    other = action_map(trained)
    other.save(trained.folder.action_map)
    found = find_readers(trained, num_labels=4, poses=False)
    assert found.poses is None
    assert found.action_map.origin != other.origin
    (trained.folder.action_map / "action_map.npz").write_bytes(b"damaged")
    assert find_readers(trained, num_labels=4, poses=False).action_map is None


def test_poses_are_read_only_where_the_simulator_knows_them(trained, monkeypatch, readers):
    assert isinstance(readers.poses, PoseReaders)
    read = RldsDataset.__getitem__
    monkeypatch.setattr(
        RldsDataset, "__getitem__", lambda self, i: replace(read(self, i), sim_state=None)
    )
    assert find_readers(trained, num_labels=4).poses is None
