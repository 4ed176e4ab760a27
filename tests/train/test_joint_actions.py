"""A run on robot actions that are wider than seven numbers: trained, stepped and exported."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from joint_episodes import ARM, HAND, stored, write_joints

import genie_robo
from genie_robo.build import build_dataset
from genie_robo.checkpoint import load_genie, load_robot_genie
from genie_robo.config import (
    ActionSource,
    DataConfig,
    DatasetConfig,
    EngineConfig,
    LatentActionLabelsConfig,
    OptimConfig,
    Precision,
    RobotControlConfig,
    Source,
    Stage,
    StageConfig,
    Steering,
    TrainConfig,
)
from genie_robo.inference.world import GenieWorld, Prompt, RobotActions
from genie_robo.run_folder import RunFolder
from genie_robo.train.run import train


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    episodes = [stored(8, seed=n) for n in range(6)]
    return write_joints(tmp_path_factory.mktemp("joints"), episodes)


@pytest.fixture
def wide(config, folder) -> TrainConfig:
    """Two steps of every stage, on nine joints alone."""
    stage = StageConfig(
        num_steps=2,
        batch_size=2,
        num_frames=3,
        validation_windows=2,
        optim=OptimConfig(warmup_steps=1),
    )
    return replace(
        config,
        data=DataConfig(path=str(folder), source=ARM, image_height=32, image_width=32),
        tokenizer=stage,
        world_model=stage,
        robot_control=RobotControlConfig(
            num_steps=2, batch_size=2, validation_windows=2, min_labels=5
        ),
        engine=EngineConfig(precision=Precision.fp32, num_threads=1),
    )


def steps(genie, action):
    """Two frames under an action."""
    world = GenieWorld(genie)
    world.start([Prompt(frames=np.zeros((1, 32, 32, 3), np.uint8))], seeds=[0])
    return [world.step(RobotActions(action[None])) for _ in range(2)]


@pytest.mark.parametrize(("source", "width"), [(ARM, 16), (HAND, 9)])
def test_robot_control_is_as_wide_as_the_dataset(wide, source, width, tmp_path):
    config = replace(wide, data=replace(wide.data, source=source))
    train(config)
    train(replace(config, stage=Stage.robot_control))

    run = RunFolder.at(config.run)
    genie = load_robot_genie(run, load_genie(run))
    episode = build_dataset(config.data)[0]
    action = episode.robot_actions[0].astype(np.float64)
    assert action.shape == (genie.dynamics.robot.action_dim,) == (width,)
    moved = genie.dynamics.robot.action_range[1] > genie.dynamics.robot.action_range[0]
    assert moved[7:].all()  # fitted to joints that move
    seen = steps(genie, action)
    with pytest.raises(
        ValueError, match=rf"is {width} finite numbers, dx .* joint{width - 8}; got"
    ):
        steps(genie, np.zeros(7))

    genie.save_pretrained(tmp_path / "exported")
    described = json.loads((tmp_path / "exported" / "config.json").read_text())
    assert (described["robot_action_dim"], described["robot_control"]) == (width, True)
    loaded = genie_robo.Genie.from_pretrained(tmp_path / "exported")
    assert loaded.robot_action_dim == width
    again = steps(loaded, action)
    assert all(np.array_equal(a.frames, b.frames) for a, b in zip(seen, again, strict=True))


def test_joint_actions_alone_can_steer(wide):
    model = wide.model
    dynamics = replace(model.dynamics, steered_by=Steering.robot_actions)
    config = replace(wide, model=replace(model, dynamics=dynamics))
    train(config)
    genie = load_genie(RunFolder.at(config.run))
    assert genie.dynamics.robot.action_dim == 16
    assert len(steps(genie, np.zeros(16))) == 2


def test_joint_actions_as_labels_of_latent_actions(wide):
    config = replace(wide, latent_action_labels=LatentActionLabelsConfig(num_transitions=10))
    train(config)
    assert load_genie(RunFolder.at(config.run)) is not None


def test_a_mixture_with_a_narrower_set_trains(wide, small_dataset):
    other = DatasetConfig(path=str(small_dataset), source=Source(camera="observation/image"))
    config = replace(wide, data=replace(wide.data, mix={"tabletop": other}))
    train(config)
    assert load_genie(RunFolder.at(config.run)) is not None


def test_exports_of_before_have_seven_numbers(wide, tmp_path):
    data = replace(wide.data, source=replace(HAND, action=ActionSource()))
    genie = genie_robo.Genie(replace(wide, data=data), robot_control=True)
    genie.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    described = json.loads(path.read_text())
    del described["robot_action_dim"]
    path.write_text(json.dumps(described))
    loaded = genie_robo.Genie.from_pretrained(tmp_path)
    assert loaded.dynamics.robot.action_dim == 7
    weights = genie.state_dict()
    assert all(torch.equal(weights[name], t) for name, t in loaded.state_dict().items())


@pytest.mark.parametrize("width", [6, 10**9, "7", True, 7.0])
def test_a_width_that_is_none_is_refused(wide, tmp_path, width):
    genie_robo.Genie(wide).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"robot_action_dim": width}))
    with pytest.raises(ValueError, match=r"robot_action_dim is .*, not a number from 7 to 263"):
        genie_robo.Genie.from_pretrained(tmp_path)
