"""What the atlas of a prompt is made of."""

import numpy as np
import torch

from genie_robo.imagine.branches import Branches, make_atlas, write_branches
from genie_robo.imagine.prompts import Prompt
from genie_robo.inference.action_map import (
    ActionDictionary,
    ActionMap,
    ActionMapReport,
    CodeRegressor,
    Measured,
)
from genie_robo.types import Rollout
from viz.recording import check_recording

NUM_CODES, NUM_FRAMES = 3, 4
PROMPT = Prompt(
    name="episode_007",
    title="Episode abc",
    frames=np.zeros((1, 8, 8, 3), np.uint8),
    control_hz=3.0,
    followed=None,
)


def imagined():
    shape = (NUM_CODES, NUM_FRAMES)
    generator = torch.Generator().manual_seed(0)
    return Rollout(
        tokens=torch.zeros(*shape, 4, dtype=torch.long),
        video=torch.randint(256, (*shape, 8, 8, 3), generator=generator, dtype=torch.uint8),
        latent_actions=torch.arange(NUM_CODES)[:, None].repeat(1, NUM_FRAMES - 1),
        num_prompt_frames=1,
        token_entropy=torch.zeros(*shape, 4),
    )


def fitted():
    """Code 0 goes right, code 1 down, code 2 was never seen."""
    codes = np.array([0, 0, 1, 1])
    actions = np.zeros((4, 7))
    actions[:2, 0], actions[2:, 2], actions[:, 6] = (0.02, 0.04), -0.03, 1.0
    unknown = Measured(None, None)
    return ActionMap(
        dictionary=ActionDictionary.fit(codes, actions, num_codes=NUM_CODES),
        regressor=CodeRegressor.fit(actions, codes, num_codes=NUM_CODES),
        report=ActionMapReport(
            num_labels=4,
            num_fit_episodes=1,
            num_test_steps=0,
            num_test_episodes=0,
            r2={},
            accuracy=unknown,
            majority=0.5,
        ),
        origin={},
    )


def test_codes_are_named_and_moved_by_the_action_map():
    rollout = imagined()
    atlas = make_atlas(PROMPT, Branches(rollout=rollout, action_map=fitted()))
    assert atlas.names == ("0 +x", "1 -z", "2")
    assert [seen.tolist() for seen in atlas.displacements] == [
        [[0.02, 0.0, 0.0], [0.04, 0.0, 0.0]],
        [[0.0, 0.0, -0.03]] * 2,
        [],
    ]
    np.testing.assert_array_equal(atlas.videos, rollout.video.numpy())
    assert (atlas.title, atlas.control_hz, atlas.num_prompt_frames) == ("Episode abc", 3.0, 1)


def test_without_an_action_map_codes_are_numbers():
    atlas = make_atlas(PROMPT, Branches(rollout=imagined(), action_map=None))
    assert atlas.names == ("0", "1", "2")
    assert atlas.displacements is None


def test_branches_leave_recording_video_grid_and_archive(tmp_path):
    write_branches(tmp_path, PROMPT, Branches(rollout=imagined(), action_map=fitted()))
    name = "episode_007_branches"
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{name}.{kind}" for kind in ("rrd", "mp4", "png", "npz")
    }
    check_recording(tmp_path / f"{name}.rrd")
    with np.load(tmp_path / f"{name}.npz") as saved:
        assert saved["latent_actions"].tolist() == [[code] * 3 for code in range(NUM_CODES)]
