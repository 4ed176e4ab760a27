from dataclasses import replace

import numpy as np
import pytest
from eval_fakes import FakeEncoder, ToyEpisodes, ToyRobot, TransitionCodes, make_context
from undrawn import undrawn, without_flow

from genie_robo.data.dataset import BadEpisodeError
from genie_robo.eval_suites.base import LOOKED_UP, run_suite
from genie_robo.eval_suites.behaviour_cloning import BehaviourCloning
from genie_robo.eval_suites.encoders import ENCODERS
from genie_robo.eval_suites.latent_probe import LatentProbe
from genie_robo.eval_suites.latent_structure import LatentStructure
from genie_robo.eval_suites.latent_transfer import LatentTransfer
from genie_robo.eval_suites.plug_names import check_plugs
from genie_robo.eval_suites.plugs import WORLDS, plug, plug_notes
from genie_robo.eval_suites.rollouts import frame_size
from genie_robo.inference.world import HeldFrame, Prompt, code_steps, robot_steps, roll_out

MINE = """
import numpy as np

from genie_robo.inference.world import Codes, Step

class Dark:
    takes = (Codes,)

    def start(self, prompts, seeds):
        frames = np.zeros((len(prompts), *prompts[0].frames.shape[1:]), np.uint8)
        self.dark = Step(frames=frames, uncertainty=np.zeros(len(prompts)))
        return self.dark

    def step(self, actions):
        return self.dark

class One:
    def __init__(self, num_codes):
        self.num_codes = num_codes

    @classmethod
    def from_context(cls, context):
        return cls(context.encoder.num_codes + 1)

    def encode(self, window):
        raise NotImplementedError
"""


@pytest.fixture
def context():
    robot = ToyRobot(12)
    return make_context(robot, encoder=FakeEncoder(8, lambda w: np.arange(len(w.video) - 1) % 8))


@pytest.fixture
def my_module(tmp_path, monkeypatch):
    (tmp_path / "plugged_models.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    return "plugged_models"


def test_genie_is_left_in_place(context):
    assert plug(context) == context
    assert plug_notes(world_model="genie", encoder="genie") == ()


def test_a_class_of_the_users_own_is_built(context, my_module):
    context = replace(context, code_names=lambda: ("0 up",))
    plugged = plug(context, world_model=f"{my_module}:Dark", encoder=f"{my_module}:One")
    assert plugged.code_names is None, "the run's action map is not about another encoder"
    prompt = Prompt(frames=np.full((1, 4, 4, 3), 7, np.uint8))
    imagined = roll_out(plugged.world, [prompt], code_steps(np.zeros((1, 3), int)), seeds=[0])
    assert (imagined.shape, imagined.max()) == ((1, 3, 4, 4, 3), 0)
    assert plugged.encoder.num_codes == 9
    assert not plugged.takes_robot_actions
    assert plugged.test is context.test


@pytest.mark.parametrize("setting", ["world_model", "encoder"])
def test_unknown_names_are_refused_with_the_known_ones(context, my_module, setting):
    known = WORLDS if setting == "world_model" else ENCODERS
    names = {"world_model": "genie", "encoder": "genie"}
    with pytest.raises(ValueError, match=", ".join(["genie", *known])):
        check_plugs(**names | {setting: "mujocco"})
    for missing in ("no_such_module:A", f"{my_module}:Missing", ":A"):
        with pytest.raises(ValueError, match="cannot be imported"):
            check_plugs(**names | {setting: missing})
    with pytest.raises(ValueError, match="without"):
        plug(context, **{setting: "fractions:Fraction"})


@pytest.mark.parametrize(("name", "frame"), [("copy_first", 0), ("copy_last", 2)])
def test_held_frames_stay(context, name, frame):
    plugged = plug(context, world_model=name)
    prompt = Prompt(frames=ToyRobot(1).video(0)[:3])
    codes, actions = code_steps(np.zeros((1, 4), int)), robot_steps(np.zeros((1, 4, 7)))
    imagined = roll_out(plugged.world, [prompt], codes, seeds=[0])
    assert imagined.shape == (1, 4, 32, 32, 3)
    assert (imagined == prompt.frames[frame]).all()
    assert plugged.takes_robot_actions
    assert (roll_out(plugged.world, [prompt], actions, seeds=[0]) == imagined).all()


def test_mujoco_refuses_real_episodes(context):
    with pytest.raises(ValueError, match="simulator state"):
        plug(context, world_model="mujoco")
    assert "ignores the codes" in plug_notes(world_model="mujoco", encoder="genie")[1]


def test_oracle_codes_reach_their_ceiling(context):
    with without_flow():
        metrics = LatentProbe(num_random_draws=2).evaluate(plug(context, encoder="oracle")).metrics
    assert metrics["achieved/xyz/fraction_of_ceiling"].value == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("name", ["random", "shuffled"])
def test_random_and_shuffled_codes_explain_nothing(context, name):
    robot = ToyRobot(40)
    informed = TransitionCodes(robot)
    context = make_context(robot, encoder=informed, num_fit=20)
    coarse = FakeEncoder(8, lambda w: informed.encode(w).codes % 8)
    plugged = plug(make_context(robot, encoder=coarse, num_fit=20), encoder=name)
    with without_flow(), undrawn():
        metrics = LatentProbe(num_random_draws=2).evaluate(plugged).metrics
    assert metrics["achieved/xyz/r2"].value < 0.03
    assert plug(context, encoder=name).encoder.num_codes == informed.num_codes


@pytest.mark.parametrize("name", sorted(ENCODERS))
@pytest.mark.parametrize("stride", [1, 2])
def test_a_transition_has_one_code_in_every_window(name, stride):
    robot = ToyRobot(6)
    sides = {
        "fit": ToyEpisodes(robot, range(3), frame_stride=stride),
        "test": ToyEpisodes(robot, range(3, 6), frame_stride=stride),
    }
    base = FakeEncoder(4, lambda w: np.arange(len(w.video) - 1) % 4)
    encoder = plug(make_context(robot, encoder=base, **sides), encoder=name).encoder
    whole = sides["test"].whole_episode(1)
    part = replace(
        whole,
        start=3 * stride,
        video=whole.video[3:8],
        robot_actions=whole.robot_actions[3:7],
        is_pad=whole.is_pad[3:8],
    )
    assert (encoder.encode(part).codes == encoder.encode(whole).codes[3:7]).all()
    assert encoder.encode(part).codes.shape == (4,)


def test_the_oracle_needs_transitions():
    robot = ToyRobot(4)
    context = make_context(robot, encoder=FakeEncoder(500, lambda w: []), num_fit=1)
    with pytest.raises(ValueError, match="500 codes, but there are 19 in 1 episodes"):
        plug(context, encoder="oracle")


def test_shuffling_needs_another_episode():
    robot = ToyRobot(4)
    context = make_context(robot, encoder=FakeEncoder(4, lambda w: []), num_fit=1)
    with pytest.raises(ValueError, match="a side of the split has 1"):
        plug(context, encoder="shuffled")


def test_shuffling_passes_over_episodes_without_a_transition():
    robot, stride = ToyRobot(4, num_frames=9), 8
    short = ToyRobot(4, num_frames=stride)
    robot.actions[2], robot.poses[2] = short.actions[2], short.poses[2]

    class Cut(ToyRobot):
        def __getitem__(self, e):
            return short[e] if e == 2 else robot[e]

    context = replace(
        make_context(robot, encoder=TransitionCodes(robot)),
        dataset=Cut(4),
        fit=ToyEpisodes(robot, range(2), frame_stride=stride),
        test=ToyEpisodes(robot, range(1, 4), frame_stride=stride),
    )
    encoder = plug(context, encoder="shuffled").encoder
    own = TransitionCodes(robot).encode(context.test.whole_episode(2)).codes
    assert encoder.encode(context.test.whole_episode(0)).codes.tolist() == own.tolist()


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_codes_that_are_looked_up_are_undefined_for_other_frames(context, name):
    plugged = plug(context, world_model="copy_last", encoder=name)
    transfer = run_suite(LatentTransfer(num_permutations=10), plugged).metrics
    structure = run_suite(LatentStructure(), plugged)
    cloning = run_suite(BehaviourCloning(), plugged).metrics
    for metric in (
        transfer["demo_transfer/code_agreement"],
        structure.metrics["forward_backward/agreement"],
        structure.metrics["forward_backward/involution"],
        structure.metrics["endpoint_swap/r2"],
        *cloning.values(),
    ):
        assert (metric.value, metric.reason) == (None, LOOKED_UP)
    assert transfer["eta_squared"].value is not None
    assert structure.metrics["codes/perplexity"].value is not None
    assert "forward_backward" not in structure.figures
    assert not any("backward" in column for column in structure.per_episode[0])


class DamagedRobot(ToyRobot):
    """One episode whose steps cannot be read, and one whose frames cannot be decoded."""

    steps, frames = 2, 7

    def __getitem__(self, e):
        if e == self.steps:
            raise BadEpisodeError(self.name(e), "a quaternion of length zero")
        return super().__getitem__(e)


class DamagedEpisodes(ToyEpisodes):
    def whole_episode(self, e):
        if self.episodes[e] in (DamagedRobot.steps, DamagedRobot.frames):
            raise BadEpisodeError(self.robot.name(self.episodes[e]), "damaged")
        return super().whole_episode(e)


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_a_damaged_episode_is_left_out_by_plugged_encoders(name):
    robot = DamagedRobot(12)
    sides = {
        "fit": DamagedEpisodes(robot, range(6)),
        "test": DamagedEpisodes(robot, [7, 6, 8, 9, 10, 11]),
    }
    encoder = FakeEncoder(8, lambda w: np.arange(len(w.video) - 1) % 8)
    plugged = plug(make_context(robot, encoder=encoder, **sides), encoder=name)
    with without_flow(), undrawn():
        metrics = LatentProbe().evaluate(plugged).metrics
    assert metrics["codes/perplexity"].n_units == 5
    assert frame_size(plugged.test) == (32, 32)


def test_frames_of_no_size_are_refused():
    with pytest.raises(ValueError, match="none of the 2 test episodes can be read"):
        frame_size(DamagedEpisodes(DamagedRobot(12), [2, 7]))


def test_a_plugged_world_is_built_for_the_plugged_encoder(context, my_module):
    found = []
    worlds = {"seen": lambda given: found.append(given.encoder.num_codes) or HeldFrame(0)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genie_robo.eval_suites.plugs._WORLDS", worlds)
        plug(context, world_model="seen", encoder=f"{my_module}:One")
    assert found == [9]
