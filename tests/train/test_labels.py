"""Robot actions in training: only on demand, and loudly."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from genie_robo.build import build_dataset, build_genie
from genie_robo.checkpoint import load_genie
from genie_robo.config import DatasetConfig, LatentActionLabelsConfig, Stage, Steering
from genie_robo.data.statistics import dataset_statistics, normalize, scaling
from genie_robo.inference.rollout import imagine
from genie_robo.inference.world import GenieWorld, Prompt, RobotActions
from genie_robo.run_folder import RunFolder
from genie_robo.train.assemble import build_stage, check_stage
from genie_robo.train.engine import make_fabric
from genie_robo.train.labels import ActionLabels
from genie_robo.train.run import train


def labelled(config, *, num_steps=8):
    stage = replace(config.world_model, num_steps=num_steps, validation_windows=0)
    labels = LatentActionLabelsConfig(num_transitions=12, weight=1.0)
    return replace(config, world_model=stage, latent_action_labels=labels)


def steered(config):
    dynamics = replace(config.model.dynamics, steered_by=Steering.robot_actions)
    return replace(config, model=replace(config.model, dynamics=dynamics))


def test_labels_are_learned_and_loudly_announced(copy_of_trained, caplog, logged, tmp_path):
    config = labelled(copy_of_trained(tokenizer_only=True), num_steps=30)
    (RunFolder.at(config.run).config).unlink()
    with caplog.at_level(logging.WARNING):
        train(config)

    assert "ACTION LABELS of 2 episodes are in the loss" in caplog.text  # 9 transitions each
    losses = logged(config.run, "world_model", "label_loss")
    assert len(losses) == 30
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:5])
    genie = load_genie(RunFolder.at(config.run))
    assert not any("labels" in name for name in genie.state_dict())


def test_dynamics_steered_by_robot_actions_trains_loudly_and_is_rolled_out_by_them(
    copy_of_trained, caplog, logged
):
    config = steered(copy_of_trained(tokenizer_only=True))
    (RunFolder.at(config.run).config).unlink()
    with caplog.at_level(logging.WARNING):
        train(config)

    assert "ROBOT ACTIONS steer the dynamics of this run: an upper bound, not Genie" in caplog.text
    assert len(logged(config.run, "world_model")) == 8
    genie = load_genie(RunFolder.at(config.run))
    prompt = Prompt(frames=np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8))
    with pytest.raises(ValueError, match="robot actions alone steer this model"):
        imagine(genie, torch.from_numpy(prompt.frames[None]), torch.tensor([[0]]), seeds=[0])
    world = GenieWorld(genie)
    assert world.takes == (RobotActions,)
    ends = genie.dynamics.robot.action_range.double().numpy()
    assert (ends[1] - ends[0])[:3].min() > 0
    started = world.start([prompt] * 2, seeds=[0, 0])
    assert len(started.earlier) == 1
    step = world.step(RobotActions(ends))
    assert step.codes is None
    assert step.frames.shape == (2, 32, 32, 3)
    assert (step.token_entropy[0] != step.token_entropy[1]).any()


def test_by_default_nothing_is_said(trained, caplog, copy_of_trained):
    config = copy_of_trained(tokenizer_only=True)
    dataset = build_dataset(config.data)
    with caplog.at_level(logging.WARNING):
        stage = build_stage(
            Stage.world_model,
            RunFolder.at(config.run),
            config,
            {"": dataset},
            make_fabric(config.engine),
        )
    assert stage.labels is None
    assert stage.dynamics.robot is None
    assert not caplog.messages


@pytest.mark.parametrize("change", [labelled, steered])
def test_a_mixture_has_no_common_scale_of_actions(copy_of_trained, small_dataset, change):
    config = change(copy_of_trained(tokenizer_only=True))
    other = DatasetConfig(path=str(small_dataset), source=config.data.source)
    mixed = replace(config, data=replace(config.data, mix={"other": other}))
    dataset = build_dataset(config.data)
    message = r"need the scale of one dataset's actions, but data.mix has 1 more; train on one"
    with pytest.raises(ValueError, match=message):
        check_stage(
            Stage.world_model,
            RunFolder.at(config.run),
            mixed,
            {"": dataset, "other": dataset},
            make_fabric(config.engine),
        )


def test_actions_are_scaled_as_for_the_statistics(config):
    dataset = build_dataset(config.data)
    fractions = {"val_fraction": 0.15, "test_fraction": 0.15}
    commanded = dataset_statistics(dataset, **fractions).splits["train"].commanded
    centre, reach = (torch.from_numpy(array) for array in scaling(commanded))
    robot = ActionLabels(centre=centre, reach=reach, code_dim=4, labelled=["a"])
    actions = np.random.default_rng(0).normal(size=(3, 7)).astype(np.float32)

    scaled = (torch.from_numpy(actions) - robot.centre) / robot.reach

    np.testing.assert_allclose(scaled, normalize(actions, commanded), rtol=1e-4, atol=1e-4)


def test_only_labelled_episodes_have_a_label_loss(config):
    robot = ActionLabels(
        centre=torch.zeros(7), reach=torch.ones(7), code_dim=4, labelled=["a"], weight=2.0
    )
    torch.nn.init.zeros_(robot.read_action.weight)
    torch.nn.init.zeros_(robot.read_action.bias)
    actions = torch.full((2, 3, 7), 3.0)
    is_label = torch.zeros(2, 3, 7).bool()
    is_label[0, :2, :3] = True
    totals = {"labels": torch.tensor(12.0)}  # of the whole batch, six of them here

    found = robot.loss(torch.randn(2, 3, 4), totals, actions=actions, is_label=is_label)

    assert found.item() == pytest.approx(2.0 * 9.0 * 6 / 12)


def test_width_of_robot_actions(config):
    features = 7 + 7 * 8 // 2  # the numbers, their squares and products
    assert build_genie(steered(config)).dynamics.embed_action.in_features == features
