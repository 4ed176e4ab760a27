"""A new suite, world, robot and dataset, each with the files that docs/architecture.md lists."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import pytest
from hydra.utils import instantiate

from genie_robo.commands import compose
from genie_robo.commands.compose import compose_config, to_config
from genie_robo.commands.table import load_command
from genie_robo.config import RecordConfig
from genie_robo.data.rlds import RldsDataset
from genie_robo.eval_suites.base import EvalSuite, run_suite
from genie_robo.eval_suites.plugs import plug
from genie_robo.eval_suites.results import write_result
from genie_robo.eval_suites.rollouts import choose_clips, imagine, infer_codes, sampler_seeds
from genie_robo.sim import robots
from genie_robo.sim.record import record_dataset
from genie_robo.sim.robots import POINTING_DOWN, MenagerieRobot, attach_arm
from genie_robo.sim.tabletop import Tabletop

sys.path.insert(0, str(Path(__file__).parent / "eval_suites"))
from eval_fakes import FakeEncoder, ToyRobot, make_context

CONF = compose.conf_dir()
SUITE = """
from dataclasses import dataclass
import numpy as np
from genie_robo.eval_suites.base import SuiteResult
from genie_robo.eval_suites.table import Measurement, Table


@dataclass(frozen=True, kw_only=True)
class Brightness:
    name = "brightness"
    summary = "how bright the first frames of test episodes are"
    headline = {"brightness": "grey levels"}
    max_episodes: int = 100

    def evaluate(self, context):
        count = min(self.max_episodes, len(context.test.episodes))
        windows = [context.test.whole_episode(e) for e in range(count)]
        table = Table([window.episode_id for window in windows])
        column = table.add("first", np.array([window.video[0].mean() for window in windows]))
        found = Measurement(of=table.mean([column]), unit="grey levels", protocol="mean")
        return SuiteResult.of(
            {"brightness": found}, seed=context.seed, headline=list(self.headline), table=table
        )
"""
WORLD = """
import numpy as np
from genie_robo.inference.world import Codes, Step


class Dark:
    takes = (Codes,)

    def start(self, prompts, seeds):
        self.frames = np.zeros_like(np.stack([prompt.frames[-1] for prompt in prompts]))
        return Step(frames=self.frames, uncertainty=np.zeros(len(prompts)))

    def step(self, actions):
        return Step(frames=self.frames, uncertainty=np.ones(len(self.frames)))
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module that Python finds."""

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)

    return write


@pytest.fixture
def conf(tmp_path, monkeypatch):
    """A copy of conf/ that the command line reads."""
    folder = tmp_path / "conf"
    shutil.copytree(CONF, folder)
    monkeypatch.setattr(compose, "conf_dir", lambda: folder)
    return folder


def settings(name, *words):
    command = load_command(name)
    return to_config(command, compose_config(command, list(words)))


@pytest.fixture
def context():
    encoder = FakeEncoder(4, lambda window: np.arange(len(window.video) - 1) % 4)
    return make_context(ToyRobot(12), encoder=encoder)


def test_a_suite_is_a_class_and_a_yaml_file(module, conf, context, tmp_path):
    module("brightness_suite", SUITE)
    lines = "# @package suite.brightness\n_target_: brightness_suite.Brightness\n"
    (conf / "suite" / "brightness.yaml").write_text(lines)

    config = settings("eval", "run=x", "suite=brightness", "suite.brightness.max_episodes=5")
    suite = instantiate(config.suite["brightness"])
    result = run_suite(suite, context)
    write_result(tmp_path / "brightness", result, suite=suite)

    assert isinstance(suite, EvalSuite)
    first = [ToyRobot(12).video(e)[0].mean() for e in range(6, 11)]
    metric = result.metrics["brightness"]
    assert metric.value == pytest.approx(np.mean(first))
    assert metric.n_units == 5
    assert min(first) <= metric.ci95[0] < metric.value < metric.ci95[1] <= max(first)
    assert "| brightness |" in (tmp_path / "brightness" / "report.md").read_text()


def test_a_world_is_a_class(module, context):
    module("dark_world", WORLD)
    plugged = plug(context, world_model="dark_world:Dark")
    clips = choose_clips(plugged, num_clips=3, horizon=4, name="test")
    videos = imagine(
        plugged,
        [clip.prompt for clip in clips],
        infer_codes(plugged.encoder, clips),
        sampler_seeds(clips, 0),
        batch_size=2,
        description="test",
    )
    assert videos.shape == (3, 4, 32, 32, 3)
    assert videos.max() == 0


@pytest.fixture
def mini(tmp_path, monkeypatch):
    """A robot of another maker: an MJCF file, and an entry in robots.py."""
    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    robot = attach_arm(spec)
    for equality in spec.equalities:
        spec.delete(equality)
    for site in spec.sites:
        spec.delete(site)
    (tmp_path / "mini").mkdir()
    (tmp_path / "mini" / "robot.xml").write_text(spec.to_xml())
    entry = MenagerieRobot(
        file="mini/robot.xml",
        robot=replace(robot, name="mini"),
        base=(0.0, 0.0, 0.0),
        hand="hand",
        tool=(0.15, 0.0, 0.0),
        tool_quat=POINTING_DOWN,
        stiffness=8000.0,
        force=400.0,
        finger_stiffness=400.0,
        finger_force=12.0,
    )
    monkeypatch.setenv("MENAGERIE_ROOT", str(tmp_path))
    monkeypatch.setitem(robots.MENAGERIE, "mini", entry)


@pytest.mark.usefixtures("mini")
def test_a_robot_is_an_entry_of_the_menagerie():
    env = Tabletop(robot="mini", task="explore", image_size=(16, 16))
    env.reset(seed=0)
    before = env.pose
    for _ in range(3):
        env.step(np.array([0.03, 0.0, 0.02, 0, 0, 0, 1.0]))
    assert env.pose[:3] - before[:3] == pytest.approx([0.09, 0.0, 0.06], abs=0.02)
    env.close()


def test_a_dataset_family_is_a_yaml_file(conf, tmp_path):
    recorded = RecordConfig(
        path=str(tmp_path / "set"), num_episodes=2, num_steps=5, image_size=16, num_workers=1
    )
    folder = record_dataset(recorded)
    (conf / "data" / "my_lab.yaml").write_text(
        "source:\n"
        "  camera: observation/image\n"
        "  action: {motion: pose_change}\n"
        "  pose: {position: 'observation/state[0:3]', gripper: 'observation/state[6]'}\n"
        "  control_hz: 3.0\n"
    )

    config = settings("train", "run=x", "data=my_lab", f"data.path={folder}")
    episode = RldsDataset(Path(config.data.path), config.data.source)[0]

    moved = np.diff(episode.end_effector_pose[:, :3], axis=0)
    assert np.allclose(episode.robot_actions[:-1, :3], moved, atol=1e-6)
    assert episode.action_mask.tolist() == [True] * 3 + [False] * 3 + [True]
