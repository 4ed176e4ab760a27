"""One class of a user's own: played, imagined, and stepped as an environment."""

import numpy as np
import pytest

from genie_robo.commands.imagine import imagine_prompts
from genie_robo.commands.play import make_game
from genie_robo.config import ImagineConfig, PlayConfig
from genie_robo.eval_context import find_world
from genie_robo.inference.world import World
from genie_robo.play.game import code_keys, robot_keys
from genie_robo.play.recording import view_session
from genie_robo.sim.imagined import Imagined, ImaginedVector
from tests.play import conftest as play

run, trained, prompts = play.run, play.trained, play.prompts
"""Fixtures: a run that was never trained."""

MINE = """
import numpy as np
from genie_robo.inference.world import RobotActions, Step


class Fading:
    takes = (RobotActions,)

    def start(self, prompts, seeds):
        self.frames = np.stack([prompt.frames[-1] for prompt in prompts])
        return Step(frames=self.frames, uncertainty=np.zeros(len(prompts)))

    def step(self, actions):
        upwards = actions.values[:, 2] > 0
        self.frames = self.frames // np.where(upwards, 1, 2)[:, None, None, None].astype(np.uint8)
        return Step(frames=self.frames, uncertainty=upwards.astype(float))
"""
NAME = "fading_worlds:Fading"
UP = np.array([0, 0, 0.01, 0, 0, 0, 1.0])
DOWN = np.array([0, 0, -0.01, 0, 0, 0, 1.0])


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "fading_worlds.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.fixture
def world(trained):
    return find_world(trained, NAME, genie=lambda: pytest.fail("the run's own is not asked for"))


def test_it_is_a_world(world):
    assert isinstance(world, World)


def test_it_is_played_by_robot_actions_next_to_mujoco(trained, prompts):
    prompt = prompts.episode(0).prompt
    game = make_game(trained, prompt, None, PlayConfig(run="unused", world_model=NAME))
    assert (code_keys(game), len(robot_keys(game))) == ([], 7)
    game.move("-z", DOWN[:3])
    game.move("-z", DOWN[:3])
    game.undo()
    game.move("+z", UP[:3])

    shown = np.stack([moment.frame for moment in game.moments])
    first = prompt.frames[0]
    assert (shown == np.stack([first, first // 2, first // 2])).all()
    assert [moment.uncertainty for moment in game.moments] == [0.0, 0.0, 1.0]
    view = view_session(game)
    assert (view.latent_actions, view.code_names) == (None, ())
    assert (view.true_video[0] == first).all()
    assert (view.replay.video == view.true_video).all()
    assert "World model: Fading." in view.summary
    game.close()


def test_it_is_imagined(trained):
    config = ImagineConfig(
        run=str(trained.folder.path),
        world_model=NAME,
        actions=[DOWN.tolist(), UP.tolist()],
        horizon=2,
        num_episodes=1,
    )
    (recording,) = imagine_prompts(config)
    with np.load(recording.with_suffix(".npz")) as saved:
        assert saved["uncertainty"].tolist() == [0.0, 0.0, 1.0]
        assert saved["robot_actions"].tolist() == [DOWN.tolist(), UP.tolist()]
        assert not {"tokens", "latent_actions"} & {*saved}


def test_it_is_an_environment(world, prompts):
    frame = prompts.episode(0).prompt.frames[0]
    env = Imagined(world, prompt=frame)
    obs, info = env.reset(seed=0)
    assert (obs["pixels"] == frame).all()
    assert info == {"uncertainty": 0.0, "is_success": False}
    obs, *_, info = env.step(DOWN)
    assert (obs["pixels"] == frame // 2).all()
    assert env.action_space.contains(UP.astype(np.float32))


def test_it_is_a_vector_environment_whose_parts_restart_alone(world, prompts):
    frame = prompts.episode(0).prompt.frames[0]
    envs = ImaginedVector(world, num_envs=2, prompt=frame)
    envs.reset(seed=0)
    envs.step(np.stack([DOWN, DOWN]))
    envs.reset(options={"reset_mask": np.array([True, False])})
    obs, *_, infos = envs.step(np.stack([DOWN, UP]))
    assert (obs["pixels"] == np.stack([frame // 2, frame // 2])).all()
    obs, *_, infos = envs.step(np.stack([UP, DOWN]))
    assert (obs["pixels"] == np.stack([frame // 2, frame // 4])).all()
    assert infos["uncertainty"].tolist() == [1.0, 0.0]
    assert "tokens" not in infos


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mujocco", "world_model=mujocco is not known; choose one of genie, mujoco, mujoco_scaled"),
        ("fading_worlds:Missing", "world_model=fading_worlds:Missing cannot be imported"),
        ("fractions:Fraction", "fractions:Fraction is a Fraction without takes, start and step"),
    ],
)
def test_what_is_no_world_is_refused(trained, name, message):
    with pytest.raises(ValueError, match=message):
        find_world(trained, name, genie=lambda: pytest.fail("not asked for"))
