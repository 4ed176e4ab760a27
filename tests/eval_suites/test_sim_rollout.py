from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from eval_fakes import (
    LosslessTokenizer,
    ToyEpisodes,
    ToyRobot,
    TransitionCodes,
    TruePhysics,
    follow,
    make_context,
)

from eval_suites import sim_rollout
from eval_suites.adapters import CopyLast
from eval_suites.base import EvalContext, Transitions
from eval_suites.controllability import Controllability
from eval_suites.image_metrics import frame_psnr
from eval_suites.sim_rollout import SimRollout
from genie_robo.build import build_source
from genie_robo.config import PoseSourceConfig, SourceConfig
from genie_robo.data.rlds import RldsDataset
from genie_robo.data.windows import WindowDataset
from genie_robo.sim.record import RecordSpec, record_dataset
from genie_robo.sim.replay import replay


def toy_replay(episode, *, start, robot_actions, image_size, renderer):
    """The toy's physics in the place of MuJoCo's."""
    assert (image_size, renderer) == ((32, 32), "auto")
    pose = episode.sim_state[start]
    first = follow(pose, np.zeros((1, 7)))
    return SimpleNamespace(video=np.concatenate([first, follow(pose, robot_actions)]))


@pytest.fixture
def robot(monkeypatch):
    monkeypatch.setattr(sim_rollout, "replay", toy_replay)
    return ToyRobot(12, simulated=True)


def compare(robot, world_model=None, *, context=None, **settings):
    codes = TransitionCodes(robot)
    world_model = world_model or TruePhysics(robot, codes.table)
    context = make_context(robot, encoder=codes, world_model=world_model, **(context or {}))
    return SimRollout(**{"num_clips": 6, "horizon": 5} | settings).evaluate(context)


def test_the_world_itself_reaches_the_cap(robot):
    result = compare(robot)
    for name in ("psnr", "changed_psnr"):
        assert result.metrics[name].value == 100.0
        assert result.metrics[name].ceiling == 100.0
        assert result.metrics[f"{name}/gain_over_copy_last"].ci95[0] > 0
    assert result.metrics["replay_psnr"].value == 100.0
    assert result.metrics["psnr"].n_units == 6
    assert not any("bit for bit" in note for note in result.notes)


def test_a_world_that_stands_still_gains_nothing(robot):
    metrics = compare(robot, CopyLast()).metrics
    for name in ("psnr", "changed_psnr"):
        gain = metrics[f"{name}/gain_over_copy_last"]
        assert (gain.value, gain.ci95) == (0.0, (0.0, 0.0))
        assert metrics[name].value == metrics[name].baselines["copy_last"]


@pytest.mark.parametrize("num_prompt_frames", [1, 3])
def test_copy_last_holds_the_last_prompt_frame(robot, num_prompt_frames):
    result = compare(robot, num_prompt_frames=num_prompt_frames)
    for row in result.per_episode:
        e = int(row["episode_id"][4:], 16)
        last = row["start"] + num_prompt_frames - 1
        video = robot.video(e)
        for t in (1, 5):
            (expected,) = frame_psnr(video[[last + t]], video[[last]])
            assert row[f"psnr_copy_last_t{t}"] == pytest.approx(expected)
            assert row[f"psnr_recorded_t{t}"] == 100.0


def test_frames_and_steps_stay_aligned_under_a_stride(robot):
    class Still(TransitionCodes):
        num_codes = 1

        def encode(self, window):
            codes = np.zeros(len(window.video) - 1, int)
            return Transitions(codes, codes[:, None].astype(float))

    context = make_context(
        robot,
        encoder=Still(robot),
        world_model=CopyLast(),
        test=ToyEpisodes(robot, range(6, 12), frame_stride=2),
    )
    result = SimRollout(num_clips=6, horizon=5).evaluate(context)
    assert result.metrics["replay_psnr"].value == 100.0
    row = result.per_episode[0]
    video = robot.video(int(row["episode_id"][4:], 16))
    (expected,) = frame_psnr(video[[row["start"] + 6]], video[[row["start"]]])
    assert row["psnr_copy_last_t3"] == pytest.approx(expected)


def test_a_replay_that_differs_from_the_recording_is_named(robot, monkeypatch):
    def brighter(episode, **arguments):
        video = toy_replay(episode, **arguments).video
        return SimpleNamespace(video=np.clip(video.astype(int) + 20, 0, 255).astype(np.uint8))

    monkeypatch.setattr(sim_rollout, "replay", brighter)
    result = compare(robot)
    assert result.metrics["replay_psnr"].value < 30
    assert any("not the recording bit for bit" in note for note in result.notes)


def test_real_episodes_are_undefined_with_a_reason():
    result = compare(ToyRobot(4))
    for name in result.headline:
        assert result.metrics[name].value is None
        assert "no simulator state" in result.metrics[name].reason


def test_short_episodes_are_undefined_with_a_reason(robot):
    result = compare(robot, horizon=15, num_prompt_frames=9, context={"num_frames": 40})
    assert result.metrics["psnr"].value is None
    assert "lower suite.sim_rollout.horizon" in result.metrics["psnr"].reason


def test_fast_takes_fewer_prompts(robot):
    result = compare(robot, num_clips=36, context={"num_fit": 2, "fast": True})
    assert len(result.per_episode) == 6


def test_figures(robot):
    assert set(compare(robot).figures) == {"horizon", "strip"}


class MujocoCodes:
    """Every transition of a recorded dataset has a code of its own."""

    def __init__(self, dataset):
        self.first = dict(zip(dataset.episode_ids, np.cumsum(dataset.lengths), strict=True))
        self.table = np.concatenate([dataset[i].robot_actions for i in range(len(dataset))])
        self.num_codes = len(self.table)
        self.first = {name: end - dataset.lengths[0] for name, end in self.first.items()}

    def encode(self, window):
        first = self.first[window.episode_id] + window.start
        codes = first + np.arange(len(window.video) - 1)
        return Transitions(codes, codes[:, None].astype(float))


class MujocoWorld:
    """MuJoCo itself as a world model."""

    def __init__(self, dataset, table):
        self.dataset, self.table = dataset, table

    def imagine(self, prompts, latent_actions, seeds):
        videos = []
        for prompt, codes in zip(prompts, latent_actions, strict=True):
            episode = self.dataset[self.dataset.episode_ids.index(prompt.episode_id)]
            start = prompt.start + len(prompt.frames) - 1
            actions = self.table[codes]
            videos.append(replay(episode, start=start, robot_actions=actions).video[1:])
        return np.stack(videos)


@pytest.fixture(scope="module")
def mujoco_context(tmp_path_factory) -> EvalContext:
    path: Path = tmp_path_factory.mktemp("recorded")
    spec = RecordSpec(num_episodes=4, num_steps=8, image_size=(32, 32), num_workers=1)
    folder = record_dataset(path, spec)
    source = SourceConfig(
        camera="observation/image",
        pose=PoseSourceConfig(
            position="observation/state[0:3]",
            rotation="observation/state[3:6]",
            gripper="observation/state[6]",
        ),
        sim_state="observation/sim_state",
        control_hz=3.0,
    )
    dataset = RldsDataset(folder, build_source(source))
    codes = MujocoCodes(dataset)
    fit, test = (
        WindowDataset(dataset, numbers, num_frames=6, image_size=(32, 32))
        for numbers in ((0,), (1, 2, 3))
    )
    return EvalContext(
        encoder=codes,
        untrained_encoder=None,
        world_model=MujocoWorld(dataset, codes.table),
        tokenizer=LosslessTokenizer(),
        dataset=dataset,
        fit=fit,
        test=test,
        num_frames=6,
    )


def test_mujoco_as_world_model_reaches_the_cap(mujoco_context):
    result = SimRollout(num_clips=3).evaluate(mujoco_context)
    assert result.metrics["replay_psnr"].value == 100.0
    assert result.metrics["psnr"].value == 100.0
    assert result.metrics["psnr"].baselines["copy_last"] < 40


def test_mujoco_as_world_model_obeys(mujoco_context):
    metrics = Controllability(num_clips=3, num_draws=1, horizon=4).evaluate(mujoco_context).metrics
    assert metrics["psnr/inferred/t4"].value == 100.0
    assert metrics["delta_psnr/uniform/t4"].value > 20
    assert metrics["motion_ratio"].value == pytest.approx(1.0)
