from pathlib import Path
from types import SimpleNamespace

import pytest
from eval_fakes import FakeEncoder, LosslessTokenizer

from genie_robo.config import PoseSource, Source
from genie_robo.data.dataset import BadEpisodeError
from genie_robo.data.rlds import RldsDataset
from genie_robo.data.windows import WindowDataset
from genie_robo.eval_suites.base import EvalContext, run_suite
from genie_robo.eval_suites.controllability import Controllability
from genie_robo.eval_suites.latent_probe import LatentProbe
from genie_robo.eval_suites.rollouts import read_episodes
from genie_robo.eval_suites.sim_rollout import SimRollout
from genie_robo.eval_suites.tokenizer import TokenizerSuite
from genie_robo.inference.world import HeldFrame

FOLDER = Path(__file__).parents[2].parent / "shared" / "data" / "octo_bridge_debug"


def by_direction(window):
    """Codes that know the sign of the commanded dx and dy and whether the gripper is open."""
    return (window.robot_actions[:, [0, 1, 6]] > [0, 0, 0.5]) @ [1, 2, 4]


@pytest.fixture(scope="module")
def bridge():
    if not FOLDER.exists():
        pytest.skip(f"no real robot episodes in {FOLDER}")
    source = Source(
        camera="observation/image_0",
        pose=PoseSource(
            position="observation/state[0:3]",
            rotation="observation/state[3:6]",
            gripper="observation/state[6]",
        ),
        control_hz=5.0,
    )
    dataset = RldsDataset(FOLDER, source)
    fit, test = (
        WindowDataset(dataset, range(*numbers), num_frames=8, image_size=(64, 64))
        for numbers in ((0, 12), (12, 25))
    )
    return EvalContext(
        encoder=FakeEncoder(8, by_direction),
        untrained_encoder=None,
        world=HeldFrame(),
        tokenizer=LosslessTokenizer(),
        dataset=dataset,
        fit=fit,
        test=test,
        num_frames=8,
    )


@pytest.mark.slow
@pytest.mark.real_data
def test_probe_of_real_episodes(bridge):
    metrics = LatentProbe().evaluate(bridge).metrics
    r2 = metrics["achieved/xyz/r2"]
    assert r2.n_units == 13
    assert 0.1 < r2.value < r2.ceiling
    # Real motion is smooth: the previous action alone predicts well.
    assert r2.baselines["previous_action"] > 0.2
    assert "achieved/all/r2/droll" in metrics
    assert metrics["commanded/xyz/r2"].value > 0.1


@pytest.mark.real_data
def test_other_suites_on_real_episodes(bridge):
    tokens = TokenizerSuite(max_episodes=2).evaluate(bridge).metrics
    assert 20 < tokens["psnr"].baselines["copy_last"] < 40
    steered = Controllability(num_clips=5, num_draws=1, horizon=4).evaluate(bridge).metrics
    assert steered["delta_psnr/uniform/t4"].value == 0.0
    assert run_suite(SimRollout(), bridge).metrics["tool_error"].value is None


def test_an_unreadable_episode_is_logged_and_left_out(caplog):
    class Damaged:
        episodes = (7, 8, 9)
        frame_stride = 1

        def whole_episode(self, e):
            if e == 1:
                raise BadEpisodeError("8", "it is damaged")
            return SimpleNamespace(episode_id=str(self.episodes[e]))

    with caplog.at_level("WARNING"):
        found = list(read_episodes(Damaged(), max_episodes=3, description="probe"))
    assert [e for e, _ in found] == [0, 2]
    assert "probe leaves an episode out: episode 8 cannot be read: it is damaged" in caplog.text
