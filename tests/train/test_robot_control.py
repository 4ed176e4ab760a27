"""Stage 3: robot actions steer a copy of the dynamics."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from genie_robo.build import build_dataset, build_genie, build_robot_genie, build_windows
from genie_robo.checkpoint import load_genie, load_robot_genie
from genie_robo.config import RobotControlConfig, Stage
from genie_robo.data.loader import collate
from genie_robo.inference.action_map import LatentRegressor
from genie_robo.inference.world import Codes, GenieWorld, Latents, Prompt, RobotActions
from genie_robo.models.robot_control import FEATURE_LIMIT, RobotControl
from genie_robo.pretrained import Genie
from genie_robo.run_folder import RunFolder
from genie_robo.train.assemble import build_stage
from genie_robo.train.engine import make_fabric
from genie_robo.train.labels import labelled_episodes
from genie_robo.train.robot_control import LabelledTransitions, fit_control, start_from
from genie_robo.train.run import train
from genie_robo.types import Split

ACTIONS = np.random.default_rng(0).normal([0, 1, 0, 0, 0, 0, 0.5], 0.3, size=(60, 7))
LATENTS = np.stack([ACTIONS[:, 0] * ACTIONS[:, 1], ACTIONS[:, 2] ** 2, -ACTIONS[:, 6]], axis=1)


def control(config, *, num_steps=8, labels="all"):
    stage = RobotControlConfig(
        num_steps=num_steps, batch_size=2, validation_windows=2, validate_every=20, min_labels=10
    )
    return replace(config, stage=Stage.robot_control, robot_control=stage, labels=labels)


@pytest.fixture(scope="module")
def controlled(trained, tmp_path_factory):
    """A run with all three stages; it is not changed."""
    folder = tmp_path_factory.mktemp("controlled") / "run"
    shutil.copytree(trained.run, folder)
    config = control(replace(trained, run=str(folder)), num_steps=40)
    train(config)
    return config


def prompt():
    return Prompt(frames=np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), np.uint8))


def test_input_of_the_dynamics_is_the_regressed_latent_and_the_features():
    robot = RobotControl(action_dim=7, latent_dim=3)
    fit_control(robot, LabelledTransitions(ACTIONS, LATENTS))
    fitted = LatentRegressor.fit(ACTIONS, LATENTS)
    beyond = np.concatenate([ACTIONS, ACTIONS * 3])  # outside the range of the labels

    found = robot(torch.from_numpy(beyond).float())

    np.testing.assert_allclose(found[:, :3], fitted.predict(beyond), atol=1e-5)
    x = (np.clip(beyond, *fitted.action_range) - fitted.centre) / fitted.scale
    np.testing.assert_allclose(found[:, 3:10], x.clip(-FEATURE_LIMIT, FEATURE_LIMIT), atol=1e-5)
    products = (x[:, 0] * x[:, 1]).clip(-FEATURE_LIMIT, FEATURE_LIMIT)
    np.testing.assert_allclose(found[:, 11], products, atol=1e-4)
    assert found.shape == (120, 3 + 7 + 28)


def test_without_latents_there_is_only_the_scale():
    robot = RobotControl(action_dim=2, latent_dim=0)
    fit_control(robot, LabelledTransitions(np.array([[1.0, 5.0], [3.0, 5.0]]), np.empty((2, 0))))
    found = robot(torch.tensor([[1.0, 5.0], [3.0, 5.0], [9.0, 5.0]]))
    np.testing.assert_allclose(found[:, :2], [[-1, 0], [1, 0], [1, 0]])


def test_not_finite_labels_are_refused():
    actions = ACTIONS.copy()
    actions[3, 1] = np.nan
    for latents in (LATENTS, np.empty((60, 0))):
        robot = RobotControl(action_dim=7, latent_dim=latents.shape[1])
        with pytest.raises(ValueError, match="robot actions must be finite"):
            fit_control(robot, LabelledTransitions(actions, latents))


def test_the_copy_begins_as_the_dynamics_under_the_regressed_latents(config):
    torch.manual_seed(0)
    genie = build_genie(config).eval()
    dynamics = build_robot_genie(config, genie).dynamics.eval()
    start_from(dynamics, genie.dynamics)
    labels = LabelledTransitions(ACTIONS, np.tanh(LATENTS @ np.ones((3, 4))))
    fit_control(dynamics.robot, labels)
    fitted = LatentRegressor.fit(*labels)
    tokens = torch.randint(16, (5, 3, 16))
    actions = torch.from_numpy(ACTIONS[:10].reshape(5, 2, 7)).float()
    latents = torch.from_numpy(fitted.predict(ACTIONS[:10]).reshape(5, 2, 4)).float()

    before = genie.dynamics(tokens, latents)
    torch.testing.assert_close(dynamics(tokens, dynamics.by_latents(latents)), before)
    torch.testing.assert_close(dynamics(tokens, dynamics.by_robot(actions)), before)


def test_only_a_copy_of_the_dynamics_is_trained(trained, controlled, weights, logged):
    before, after = weights(trained.run), weights(controlled.run)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    part = "robot_dynamics"
    copied = {name: value for name, value in after.items() if name.startswith(f"{part}/")}
    changed = [
        name
        for name, value in copied.items()
        if (old := before.get(name.replace(part, "dynamics"))) is None
        or old.shape != value.shape
        or not torch.equal(old, value)
    ]
    assert f"{part}/to_logits.weight" in changed
    features = copied[f"{part}/embed_action.weight"][:, 4:]
    assert features.abs().max() > 0
    losses = logged(controlled.run, "robot_control")
    assert np.mean(losses[-10:]) < np.mean(losses[:10])


def test_all_three_kinds_of_actions_steer_one_rollout(controlled):
    run = RunFolder.at(controlled.run)
    genie = load_robot_genie(run, load_genie(run))
    world = GenieWorld(genie)
    assert set(world.takes) == {Codes, Latents, RobotActions}
    ends = genie.dynamics.robot.action_range.double().numpy()

    def entropies(*, other):
        # One frame and three steps fit into the window, so nothing is forgotten on the way.
        one_frame = replace(prompt(), frames=prompt().frames[:1])
        world.start([one_frame] * 2, seeds=[0, 0])
        steps = [
            world.step(Codes(np.array([0, 1 if other == "codes" else 0]))),
            world.step(RobotActions(ends if other == "robot" else ends[[0, 0]])),
            world.step(Latents(np.array([[0.5] * 4, [-0.5 if other == "latents" else 0.5] * 4]))),
        ]
        assert all(step.codes.shape == (2,) for step in steps)
        return [bool((step.token_entropy[0] != step.token_entropy[1]).any()) for step in steps]

    assert entropies(other="codes") == [True, True, True]
    assert entropies(other="robot") == [False, True, True]
    assert entropies(other="latents") == [False, False, True]


def test_a_robot_action_of_another_width_is_refused(controlled):
    run = RunFolder.at(controlled.run)
    world = GenieWorld(load_robot_genie(run, load_genie(run)))
    world.start([prompt()], seeds=[0])
    for wrong in (np.zeros((1, 6)), np.full((1, 7), np.nan)):
        with pytest.raises(ValueError, match="a robot action of this model is 7 finite numbers"):
            world.step(RobotActions(wrong))


def test_few_labels_give_the_regression_alone(copy_of_trained, weights):
    config = control(copy_of_trained(), labels="9")
    train(config)
    found = weights(config.run)
    dynamics = {
        name for name in found if name.startswith("dynamics/") and "embed_action" not in name
    }
    assert all(torch.equal(found[name], found[f"robot_{name}"]) for name in dynamics)
    assert not found["robot_dynamics/embed_action.weight"][:, 4:].any()
    assert found["robot_dynamics/robot.weights"].abs().max() > 0


@pytest.mark.parametrize(
    ("labels", "num_episodes"),
    [("1", 0), ("8", 0), ("9", 1), ("10", 1), ("18", 2), ("all", 4), ("999", 4)],
)
def test_labels_are_those_of_the_first_training_episodes(config, labels, num_episodes):
    dataset = build_dataset(config.data)  # four training episodes of nine transitions
    everything = labelled_episodes(config, dataset)
    found = labelled_episodes(replace(config, labels=labels), dataset)
    assert found == everything[:num_episodes]


def test_labels_of_a_part_of_an_episode_are_not_trained_on(copy_of_trained, weights):
    config = control(copy_of_trained(), labels="8")
    free = replace(config, robot_control=replace(config.robot_control, min_labels=0))
    train(free)
    assert not weights(free.run)["robot_dynamics/embed_action.weight"][:, 4:].any()


def test_robot_actions_steer_labelled_windows_and_validation(copy_of_trained):
    config = control(copy_of_trained(), labels="9")
    run, dataset = RunFolder.at(config.run), build_dataset(config.data)
    fabric = make_fabric(config.engine)
    stage = build_stage(Stage.robot_control, run, config, {"": dataset}, fabric).eval()
    sides = {
        side: build_windows(config.data, dataset, side, num_frames=4)
        for side in (Split.train, Split.val)
    }
    labelled, other = sides[Split.train][0], sides[Split.train][len(sides[Split.train]) - 1]

    def matter(window):
        """Whether the loss depends on the robot actions of a window."""
        batch = collate([window], first_position=0)
        changed = replace(batch, robot_actions=batch.robot_actions + 0.02)
        inputs = [stage.inputs(each, torch.device("cpu")) for each in (batch, changed)]
        losses = [stage(stage.totals(each), **each)[0].item() for each in inputs]
        return losses[0] != losses[1]

    assert matter(labelled)
    assert matter(sides[Split.val][0])
    assert not matter(other)
    inputs = stage.inputs(collate([labelled], first_position=0), torch.device("cpu"))
    assert "by_latents" not in inputs  # so that no latent is inferred
    totals, by_latents = stage.totals(inputs), torch.tensor([[[True]]])
    inferred_too = stage(totals, **inputs, by_latents=by_latents)[0]
    assert stage(totals, **inputs)[0] == inferred_too


@pytest.mark.parametrize("labels", ["0", "-3", "some", "1.5"])
def test_labels_that_are_no_number_are_refused_before_anything_is_written(copy_of_trained, labels):
    config = control(copy_of_trained(), labels=labels)
    with pytest.raises(ValueError, match=f"labels={labels}: stage=robot_control needs labelled"):
        train(config)
    assert not RunFolder.at(config.run).path.joinpath("robot_control").exists()


def test_it_needs_both_stages_before_it(copy_of_trained, config):
    with pytest.raises(FileNotFoundError, match="has no trained tokenizer"):
        train(control(config))
    with pytest.raises(FileNotFoundError, match="has no trained latent_action"):
        train(control(copy_of_trained(tokenizer_only=True)))


def test_its_settings_are_free_until_it_has_begun(copy_of_trained):
    config = copy_of_trained()
    train(control(config, labels="9"))
    with pytest.raises(ValueError, match=r"another configuration \(labels: 9 -> 18\)"):
        train(control(config, labels="18"))
    shutil.rmtree(Path(config.run) / "robot_control")
    train(control(config, labels="18"))


@pytest.mark.slow
def test_an_interrupted_training_resumes_to_the_same_weights(tmp_path, controlled, weights):
    config = replace(controlled, run=str(tmp_path / "copy"))
    shutil.copytree(controlled.run, config.run)
    run = RunFolder.at(config.run)
    steps = sorted(run.checkpoints("robot_control").glob("step_*"))
    assert len(steps) > 1
    shutil.rmtree(steps[-1])
    run.weights("robot_control", "robot_dynamics").unlink()

    train(config)

    again, whole = weights(config.run), weights(controlled.run)
    assert all(torch.equal(again[name], whole[name]) for name in whole)


def test_exported_with_its_robot_control(controlled, tmp_path):
    run = RunFolder.at(controlled.run)
    genie = load_robot_genie(run, load_genie(run))
    genie.save_pretrained(tmp_path)
    loaded = Genie.from_pretrained(tmp_path)
    assert loaded.takes_robot_actions
    actions = torch.from_numpy(ACTIONS[:4]).float()
    torch.testing.assert_close(
        loaded.dynamics.by_robot(actions), genie.dynamics.by_robot(actions), rtol=0, atol=0
    )
