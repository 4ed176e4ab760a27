"""What the atlas of a prompt is made of."""

import numpy as np
import pytest

from genie_robo.config import ImagineConfig
from genie_robo.imagine.files import Branches, make_atlas, write_branches
from genie_robo.imagine.rollout import Imagined, imagine_branches
from genie_robo.inference.action_map import (
    ActionDictionary,
    ActionMap,
    ActionMapReport,
    CodeRegressor,
    LatentRegressor,
    Measured,
)
from genie_robo.inference.world import HeldFrame, Prompt, RobotActions
from genie_robo.prompts import Clip
from genie_robo.viz.recording import check_recording

NUM_CODES, NUM_FRAMES = 3, 4
CLIP = Clip(
    prompt=Prompt(frames=np.zeros((1, 8, 8, 3), np.uint8), title="test episode 7"),
    file="episode_007",
)


def imagined():
    shape = (NUM_CODES, NUM_FRAMES)
    rng = np.random.default_rng(0)
    return Imagined(
        video=rng.integers(256, size=(*shape, 8, 8, 3), dtype=np.uint8),
        uncertainty=np.zeros(shape),
        num_prompt_frames=1,
        codes=np.arange(NUM_CODES)[:, None].repeat(NUM_FRAMES - 1, axis=1),
        tokens=np.zeros((*shape, 4), int),
        token_entropy=np.zeros((*shape, 4)),
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
        latents=LatentRegressor.fit(actions, actions[:, :2]),
        report=ActionMapReport(
            num_labels=4,
            num_fit_episodes=1,
            num_test_steps=0,
            num_test_episodes=0,
            r2={},
            accuracy=unknown,
            majority=0.5,
            latent_r2=(),
        ),
        origin={},
    )


def test_codes_are_named_and_moved_by_the_action_map():
    branches = Branches(CLIP, imagined(), fitted())
    atlas = make_atlas(branches)
    assert atlas.names == ("0 +x", "1 -z", "2")
    assert [seen.tolist() for seen in atlas.displacements] == [
        [[0.02, 0.0, 0.0], [0.04, 0.0, 0.0]],
        [[0.0, 0.0, -0.03]] * 2,
        [],
    ]
    np.testing.assert_array_equal(atlas.videos, branches.imagined.video)
    assert (atlas.title, atlas.control_hz, atlas.num_prompt_frames) == (
        "test episode 7",
        0.0,
        1,
    )


def test_without_an_action_map_codes_are_numbers():
    atlas = make_atlas(Branches(CLIP, imagined(), None))
    assert atlas.names == ("0", "1", "2")
    assert atlas.displacements is None


def test_branches_leave_recording_video_grid_and_archive(tmp_path):
    write_branches(tmp_path, Branches(CLIP, imagined(), fitted()))
    name = "episode_007_branches"
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{name}.{kind}" for kind in ("rrd", "mp4", "png", "npz")
    }
    check_recording(tmp_path / f"{name}.rrd")
    with np.load(tmp_path / f"{name}.npz") as saved:
        assert saved["latent_actions"].tolist() == [[code] * 3 for code in range(NUM_CODES)]


def test_a_world_without_latent_actions_has_no_branches():
    world, config = HeldFrame(), ImagineConfig(run="unused", world_model="mine:World", horizon=2)
    held = imagine_branches(world, CLIP, config, num_codes=2, seed=0, advance=lambda: None)
    assert held.codes.tolist() == [[0, 0], [1, 1]]
    assert (held.video == 0).all()
    world.takes = (RobotActions,)
    with pytest.raises(
        ValueError, match=r"branches=true .* world_model=mine:World takes robot act"
    ):
        imagine_branches(world, CLIP, config, num_codes=2, seed=0, advance=lambda: None)
