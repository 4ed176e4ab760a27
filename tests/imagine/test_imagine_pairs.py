"""`genie-robo imagine run=[A,B]`: several models next to one truth, and refusals."""

from pathlib import Path

import numpy as np
import pytest
import rerun as rr

from genie_robo.config import ImagineConfig
from genie_robo.imagine.actions import check_one_truth
from genie_robo.imagine.files import short_names
from genie_robo.imagine.prompts import check_same_prompts
from genie_robo.inference.world import Prompt
from genie_robo.prompts import Clip
from genie_robo.types import Episode
from genie_robo.viz.recording import check_recording

FAST = ("horizon=2", "num_episodes=2", "sampler.num_steps=2", "renderer=raycast", "device=cpu")
ROBOT_ACTION = [0.0] * 7


def clip_of(frames, control_hz=3.0):
    episode = Episode(
        episode_id="a",
        images={"primary": (b"",)},
        bgr_cameras=frozenset(),
        robot_actions=np.zeros((1, 7)),
        action_mask=np.ones(7, bool),
        end_effector_pose=None,
        pose_mask=np.zeros(7, bool),
        sim_state=None,
        scene="",
        instruction="",
        control_hz=control_hz,
    )
    return Clip(prompt=Prompt(frames=frames, recording=episode), file="episode_000")


@pytest.fixture
def clip() -> Clip:
    return clip_of(np.zeros((1, 8, 8, 3), np.uint8))


def words(runs, folder):
    return (f"run=[{runs[0]},{runs[1]}]", f"output={folder}", *FAST)


@pytest.mark.parametrize("actions", ["inferred", "robot"])
def test_two_models_are_shown_next_to_one_truth(runs, run_cli, tmp_path, actions):
    result = run_cli("imagine", *words(runs, tmp_path), f"actions={actions}")

    assert result.status == 0, result.err
    recording = tmp_path / "rollouts" / "comparison.rrd"
    assert f"genie-robo view path={recording}" in result.out
    check_recording(recording)
    entities = {str(chunk.entity_path) for chunk in rr.chunk.RrdReader(recording).stream()}
    # The rollouts of the other parameter stay, if it ran before on these models.
    other = f"-actions_{actions}"
    suffix = other if any((runs[0] / "rollouts").glob(f"episode_000{other}.rrd")) else ""
    for episode in (f"episode_000{suffix}", f"episode_001{suffix}"):
        assert f"/{episode}/camera/true" in entities
        for run in runs:
            assert f"/{episode}/{run.name}/camera/imagined" in entities
            assert f"/{episode}/{run.name}/camera/true" not in entities
            assert (run / "rollouts" / f"{episode}.rrd").exists()
        for suffix in ("mp4", "png"):
            assert (tmp_path / "rollouts" / f"{episode}.{suffix}").stat().st_size > 0


@pytest.mark.parametrize(
    "changes",
    [
        {"actions": "random"},
        {"actions": [0, 1]},
        {"branches": True},
        {"prompt": "sketch.png"},
        {"prompt": ["one.png", "two.png"]},
    ],
)
def test_what_leads_models_to_different_truths_is_refused(changes):
    config = ImagineConfig(**{"run": ["runs/a", "runs/b"], "horizon": 2} | changes)
    with pytest.raises(ValueError, match=r"mean something else in every run.*Give actions=infe"):
        check_one_truth(config)


@pytest.mark.parametrize("actions", [None, "inferred", "robot", [ROBOT_ACTION, ROBOT_ACTION]])
def test_what_leads_models_to_one_truth(actions):
    config = ImagineConfig(run=["runs/a", "runs/b"], horizon=2, actions=actions)
    assert check_one_truth(config) is None


def test_robot_actions_after_an_image_lead_models_to_one_truth():
    actions = [ROBOT_ACTION, ROBOT_ACTION]
    config = ImagineConfig(run=["runs/a", "runs/b"], prompt="sketch.png", actions=actions)
    assert check_one_truth(config) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"control_hz": 5.0},
        {"frames": np.ones((1, 8, 8, 3), np.uint8)},
        {"frames": np.zeros((1, 4, 4, 3), np.uint8)},
    ],
)
def test_different_prompts_are_refused(clip, changes):
    check_same_prompts({"runs/a": [clip], "runs/b": [clip]})
    other = clip_of(**{"frames": clip.prompt.frames} | changes)
    with pytest.raises(ValueError, match="runs/a and runs/b start episode_000 from different fram"):
        check_same_prompts({"runs/a": [clip], "runs/b": [other]})


def test_a_run_with_fewer_test_episodes_is_refused(clip):
    with pytest.raises(ValueError, match="2 prompts and runs/b 1; give num_episodes=1 or less"):
        check_same_prompts({"runs/a": [clip, clip], "runs/b": [clip]})


def test_names_are_as_long_as_they_must_be():
    assert short_names(["runs/a", "runs/b"]) == ["a", "b"]
    assert short_names(["old/demo", "new/demo"]) == ["old_demo", "new_demo"]
    assert short_names([".", "runs/b"]) == [Path.cwd().name, "b"]
