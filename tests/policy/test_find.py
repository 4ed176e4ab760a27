import json
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
import torch

from genie_robo.policy.find import find_policy
from genie_robo.policy.interface import Observation, actors
from genie_robo.policy.names import check_policy

SEEN = Observation(
    pixels=np.full((32, 32, 3), 255, np.uint8),
    instruction="reach the red box",
    agent_pos=np.arange(7.0),
)


@pytest.fixture
def module(monkeypatch):
    """A user's module that Python finds."""
    mine = types.ModuleType("mine")

    class Still:
        def reset(self, instruction, seed):
            pass

        def act(self, observation):
            return [0, 0, 0, 0, 0, 0, 1]

    mine.Still = Still
    mine.make = lambda: Still()
    mine.nothing = dict
    monkeypatch.setitem(sys.modules, "mine", mine)


@pytest.mark.parametrize("name", ["mine:Still", "mine:make"])
def test_a_class_or_a_function_gives_a_policy(module, name):
    assert find_policy(name).act(SEEN) == [0, 0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("unknown", "policy=unknown is not known; choose one of expert, or give your own"),
        ("mine:missing", "policy=mine:missing cannot be imported"),
        ("no.such.module:make", "cannot be imported"),
        ("mine:nothing", "mine:nothing is a dict without reset and act"),
    ],
)
def test_what_is_no_policy_is_refused(module, name, message):
    with pytest.raises(ValueError, match=message):
        find_policy(name, known=["expert"])


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("unknown", ValueError, "policy=unknown is not known; choose one of expert"),
        ("mine:missing", ValueError, "policy=mine:missing cannot be imported"),
        ("lerobot:gone", FileNotFoundError, "gone holds no LeRobot policy"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused_before_a_policy_is_made(module, name, error, message):
    with pytest.raises(error, match=message):
        check_policy(name, known=["expert"])


def test_a_checked_name_makes_no_policy(module, monkeypatch):
    made = []
    monkeypatch.setattr(sys.modules["mine"], "make", lambda: made.append("a policy"))
    for name in ("expert", "mine:make"):
        check_policy(name, known=["expert"])
    assert made == []


class StandIn(torch.nn.Module):
    """The part of a LeRobot policy that is used, with its names and shapes."""

    def __init__(self, config):
        super().__init__()
        self.config, self.batches, self.resets = config, [], 0
        self.model = torch.nn.Identity()
        self.scale = torch.nn.Parameter(torch.ones(1))
        self.register_buffer("mean", torch.zeros(3))

    @classmethod
    def from_pretrained(cls, folder, *, config):
        return cls(config)

    def reset(self):
        self.resets += 1

    def select_action(self, batch):
        self.batches.append(batch)
        return torch.full((1, 7), 0.5)


def feature(*shape):
    return types.SimpleNamespace(shape=shape)


@pytest.fixture
def lerobot(monkeypatch, tmp_path):
    """A stand-in of the package, and a folder with a policy; returns what its config is."""
    config = types.SimpleNamespace(
        type="act",
        device="cuda",
        image_features={"observation.images.top": feature(3, 48, 64)},
        robot_state_feature=feature(7),
        action_feature=feature(7),
    )
    (tmp_path / "config.json").write_text(json.dumps({"type": "act"}))
    configs, factory = types.ModuleType("configs"), types.ModuleType("factory")
    configs.PreTrainedConfig = types.SimpleNamespace(from_pretrained=lambda folder: config)
    factory.get_policy_class = {"act": StandIn}.__getitem__

    def processors(given, *, pretrained_path, preprocessor_overrides):
        assert given is config
        assert preprocessor_overrides == {"device_processor": {"device": "cpu"}}
        return (lambda batch: batch | {"seen": True}), (lambda action: action * 2)

    factory.make_pre_post_processors = processors
    monkeypatch.setitem(sys.modules, "lerobot.configs.policies", configs)
    monkeypatch.setitem(sys.modules, "lerobot.policies.factory", factory)
    return config


def test_a_lerobot_policy_gets_what_it_was_trained_on(lerobot, tmp_path):
    policy = find_policy(f"lerobot:{tmp_path}")
    policy.reset(SEEN.instruction, seed=1)
    action = policy.act(SEEN)
    (batch,) = policy._policy.batches
    assert policy._policy.resets == 1
    assert lerobot.device == "cpu"
    assert batch["seen"]
    assert batch["task"] == ["reach the red box"]
    assert batch["observation.images.top"].shape == (1, 3, 48, 64)
    assert batch["observation.images.top"].unique().tolist() == [1.0]
    assert batch["observation.state"].tolist() == [[0, 1, 2, 3, 4, 5, 6]]
    np.testing.assert_array_equal(action, np.full(7, 1.0))


def test_lerobot_policies_of_a_batch_have_queues_of_their_own(lerobot, tmp_path, monkeypatch):
    def reset(self):
        self.queue = [0.0, 0.01, 0.02]

    def select_action(self, batch):
        return torch.full((1, 7), self.queue.pop(0)) / 2 + 0 * torch.rand(1)

    monkeypatch.setattr(StandIn, "reset", reset)
    monkeypatch.setattr(StandIn, "select_action", select_action)
    before = torch.random.get_rng_state()
    batch = actors(find_policy(f"lerobot:{tmp_path}"), ["a", "b"], [1, 2], name="it")
    found = [[actor.act(SEEN)[0] for actor in batch] for _ in range(3)]
    np.testing.assert_allclose(found, [[0, 0], [0.01, 0.01], [0.02, 0.02]], atol=1e-7)
    assert torch.equal(before, torch.random.get_rng_state())


class Ensembler:
    """As that of ACT's temporal ensembling: the policy's reset changes it in place."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.sum, self.count = torch.zeros(1, 7), 0

    def update(self, action):
        self.sum += action
        self.count += 1
        return self.sum / self.count


def test_state_that_reset_changes_in_place_is_not_shared(lerobot, tmp_path, monkeypatch):
    build = StandIn.__init__

    def with_ensemble(self, config):
        build(self, config)
        self.ensembler = Ensembler()

    monkeypatch.setattr(StandIn, "__init__", with_ensemble)
    monkeypatch.setattr(StandIn, "reset", lambda self: self.ensembler.reset())
    monkeypatch.setattr(
        StandIn,
        "select_action",
        lambda self, batch: self.ensembler.update(batch["observation.state"]),
    )
    policy = find_policy(f"lerobot:{tmp_path}")
    batch = actors(policy, ["a", "b"], [1, 2], name="it")
    poses = [np.full(7, 0.001), np.full(7, 0.004)]
    for _ in range(3):
        for actor, pose in zip(batch, poses, strict=True):
            np.testing.assert_allclose(actor.act(replace(SEEN, agent_pos=pose))[:3], pose[:3] * 2)
    inner = [actor._policy._policy for actor in batch]
    for part in ("model", "scale", "mean", "config"):
        assert getattr(inner[0], part) is getattr(inner[1], part) is getattr(policy._policy, part)
    assert policy._policy.ensembler.count == 0


class Smoother:
    """A processor that remembers the episode, as steps of lerobot's pipelines may."""

    def __init__(self):
        self.last = None

    def reset(self):
        self.last = None

    def __call__(self, action):
        self.last = action if self.last is None else (self.last + action) / 2
        return self.last


def test_state_of_processors_is_not_shared(lerobot, tmp_path, monkeypatch):
    factory, smoother = sys.modules["lerobot.policies.factory"], Smoother()
    monkeypatch.setattr(
        factory, "make_pre_post_processors", lambda *given, **how: (lambda batch: batch, smoother)
    )
    monkeypatch.setattr(StandIn, "select_action", lambda self, batch: batch["observation.state"])
    policy = find_policy(f"lerobot:{tmp_path}")
    for _ in range(2):  # a second trial begins anew
        batch = actors(policy, ["a", "b"], [1, 2], name="it")
        for first, second, expected in ((0.004, -0.004, 0.004), (0.0, 0.0, 0.002)):
            given = [replace(SEEN, agent_pos=np.full(7, n)) for n in (first, second)]
            found = [actor.act(seen)[0] for actor, seen in zip(batch, given, strict=True)]
            np.testing.assert_allclose(found, [expected, -expected], atol=1e-7)
    policy.reset("a", 1)
    assert policy.act(replace(SEEN, agent_pos=np.full(7, 0.5)))[0] == 0.5
    policy.reset("a", 1)
    assert policy.act(replace(SEEN, agent_pos=np.full(7, 0.25)))[0] == 0.25


def test_a_lerobot_policy_of_another_robot_is_refused(lerobot, tmp_path):
    lerobot.action_feature = feature(14)
    with pytest.raises(ValueError, match=r"action of the policy .* has the shape \(14,\)"):
        find_policy(f"lerobot:{tmp_path}")
    lerobot.action_feature, lerobot.robot_state_feature = feature(7), feature(6)
    with pytest.raises(ValueError, match=r"state of the policy .* has the shape \(6,\)"):
        find_policy(f"lerobot:{tmp_path}")


def test_a_folder_without_a_policy_and_a_missing_package_are_named(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="holds no LeRobot policy"):
        find_policy(f"lerobot:{tmp_path}")
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "lerobot", None)
    with pytest.raises(ImportError, match="needs the package lerobot"):
        find_policy(f"lerobot:{tmp_path}")
