"""One class of a user's own: played, imagined, stepped as an environment, and evaluated."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from genie_robo.commands.imagine import imagine_prompts
from genie_robo.commands.play import make_game
from genie_robo.config import ImagineConfig, PlayConfig
from genie_robo.data.settings import Resize
from genie_robo.eval_context import eval_context, find_world
from genie_robo.eval_suites.action_following import ActionFollowing
from genie_robo.eval_suites.base import run_suite
from genie_robo.eval_suites.plug_names import check_plugs
from genie_robo.eval_suites.plugs import plug
from genie_robo.eval_suites.video import VideoSuite
from genie_robo.imagine.rollout import imagine_rollouts
from genie_robo.inference.world import World
from genie_robo.play.game import Game, code_keys, robot_keys
from genie_robo.play.recording import view_session
from genie_robo.prompts import RunPrompts
from genie_robo.sim.imagined import Imagined, ImaginedVector
from genie_robo.types import Split
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
    game.act(game.move_action("-z", DOWN[:3]))
    game.act(game.move_action("-z", DOWN[:3]))
    game.undo()
    game.act(game.move_action("+z", UP[:3]))

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


def evaluate(trained, suite):
    return run_suite(suite, plug(eval_context(trained), world_model=NAME))


def test_it_is_evaluated_by_robot_actions(trained):
    suite = ActionFollowing(num_clips=1, horizon=2, min_move=0.0)
    metrics = evaluate(trained, suite).metrics
    assert np.isfinite([metrics[f"r2/{way}"].value for way in ("real", "robot", "copy_last")]).all()
    # The model of motion reads other things off fading frames than off a held one.
    assert metrics["r2/robot"].value != metrics["r2/copy_last"].value
    assert metrics["ratio/inferred"].value is None
    assert "takes robot actions only" in metrics["ratio/inferred"].reason


def test_suites_that_need_latent_actions_say_so(trained):
    result = evaluate(trained, VideoSuite(num_clips=1, horizon=2))
    assert {metric.value for metric in result.metrics.values()} == {None}
    assert result.notes == ("this world model takes robot actions only, no latent actions",)


def test_eval_accepts_its_name_and_refuses_a_missing_class():
    check_plugs(world_model=NAME, encoder="genie")
    with pytest.raises(ValueError, match="fading_worlds:Missing cannot be imported"):
        check_plugs(world_model="fading_worlds:Missing", encoder="genie")


@pytest.mark.parametrize("resize", Resize)
def test_an_image_gives_the_same_pixels_in_every_client(trained, world, resize):
    """`imagine`, `play` and the environment scale a prompt by the rule of the run."""
    image = np.random.default_rng(0).integers(256, size=(90, 200, 3), dtype=np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, format="png")
    data = replace(trained.data, resize=resize)
    prompts = RunPrompts(replace(trained, data=data).windows(Split.test))
    prompt = prompts.images([("cup.png", encoded.getvalue())]).prompt

    game = Game(world, prompt, num_codes=5)
    imagined = imagine_rollouts(world, prompt, [], seeds=[0], advance=lambda: None)
    env = Imagined(world, prompt=image, image_size=prompt.frames.shape[1:3], resize=resize)
    envs = ImaginedVector(
        world, num_envs=1, prompt=image, image_size=prompt.frames.shape[1:3], resize=resize
    )
    shown = [game.now.frame, imagined.video[0, 0], env.reset(seed=0)[0]["pixels"]]
    shown.append(envs.reset(seed=0)[0]["pixels"][0])
    for frame in shown:
        assert (frame == prompt.frames[0]).all()
    game.close()


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
