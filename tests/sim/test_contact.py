import json

import numpy as np
import pytest

from genie_robo import cli
from genie_robo.config import RecordConfig
from genie_robo.sim.contact import CLIP_ACTIONS, box_centres, moves_a_box
from genie_robo.sim.record import RECORDING_FILE, record_dataset
from genie_robo.sim.restore import recorded_boxes, restore


def test_a_clip_counts_when_one_of_its_boxes_moves_two_centimetres():
    boxes = np.zeros((8, 3, 3))
    boxes[3:, 0, 0] = 0.015  # too little
    boxes[5:, 1, 2] = 0.021
    # Clips of three actions begin at steps 0 to 4 and hold four frames.
    assert moves_a_box(boxes, num_actions=3).tolist() == [False, False, True, True, True]


def test_a_box_that_comes_back_has_moved():
    boxes = np.zeros((4, 1, 3))
    boxes[1:3, 0, 1] = 0.05
    assert moves_a_box(boxes, num_actions=3).tolist() == [True]


def test_no_clip_where_an_episode_is_too_short():
    assert moves_a_box(np.zeros((10, 2, 3))).shape == (0,)


def test_recorded_boxes_are_those_of_the_simulator(episodes):
    episode = episodes[0]
    boxes = recorded_boxes(episode)
    assert boxes.shape[::2] == (episode.num_steps, 3)
    env = restore(episode, 4)
    np.testing.assert_allclose(boxes[4], box_centres(env))
    env.close()


@pytest.fixture(scope="module")
def share(tmp_path_factory):
    folder = tmp_path_factory.mktemp("contact")
    words = [f"path={folder}", "num_episodes=3", "num_steps=16", "num_workers=1", "random=0"]
    assert cli.main(["record", *words]) == cli.OK
    return folder / "tabletop" / "1.0.0"


def test_record_and_inspect_say_the_same_share(share, capfd):
    made_by = json.loads((share / RECORDING_FILE).read_text())
    recorded = made_by["share_of_clips_that_move_a_box"]
    assert 0 < recorded < 1

    assert cli.main(["inspect", f"path={share}"]) == cli.OK

    line = f"{100 * recorded:.0f} % of clips of {CLIP_ACTIONS} actions move a box"
    assert line in capfd.readouterr().out


def test_no_share_without_simulator_states(share, capfd):
    words = ["data=tabletop", "data.source.sim_state=''"]
    assert cli.main(["inspect", f"path={share}", *words]) == cli.OK
    assert "move a box" not in capfd.readouterr().out


@pytest.mark.slow
def test_a_third_of_the_clips_of_the_default_mix_move_a_box(tmp_path):
    config = RecordConfig(path=str(tmp_path), num_episodes=12, image_size=16, num_workers=1)
    made_by = json.loads((record_dataset(config) / RECORDING_FILE).read_text())
    assert {counts["episodes"] for counts in made_by["policies"].values()} == {3}
    # 0.70 to 0.75 over four seeds.
    assert made_by["share_of_clips_that_move_a_box"] >= 1 / 3
