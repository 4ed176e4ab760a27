"""Latent actions of videos and imagined videos: the same by every way in, never from nonsense."""

import numpy as np
import pytest
import torch

import genie_robo
from genie_robo.api import loaded
from genie_robo.data.settings import Resize
from genie_robo.data.transforms import resize_frame
from genie_robo.eval_suites.adapters import GenieEncoder
from genie_robo.fit_action_map import saved_action_map
from genie_robo.inference.settings import Sampler
from genie_robo.inference.world import Prompt, code_steps, roll_out
from genie_robo.models.settings import Steering
from genie_robo.pretrained import Genie
from genie_robo.trained_run import open_run
from tests.models.conftest import changed, toy_config


def same(one, other):
    for name in ("codes", "latents", "robot_actions"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_shapes_types_and_ranges(genie, video):
    found = genie.actions(video)
    assert found.codes.shape == (9,)
    assert set(found.codes) <= set(range(genie.num_codes))
    assert found.latents.shape == (9, genie.latent_dim)
    assert found.robot_actions.shape == (9, 7) == (9, len(genie.action_names))
    assert genie.frames_per_second == 3.0
    assert "16x32 pixels, 5 codes, steered by Codes, Latents, RobotActions" in repr(genie)


def test_bytes_floats_tensors_and_batches_are_the_same_video(genie, video):
    wanted = genie.actions(video)
    floats = video.astype(np.float32) / 255
    for given in (floats, floats.astype(np.float64), torch.from_numpy(video), torch.tensor(floats)):
        same(genie.actions(given), wanted)
    batch = genie.actions(np.stack([video[::-1], video]))
    assert batch.codes.shape == (2, 9)
    np.testing.assert_array_equal(batch.codes[1], wanted.codes)
    np.testing.assert_array_equal(batch.latents[1], wanted.latents)
    np.testing.assert_array_equal(batch.robot_actions[1], wanted.robot_actions)


def test_robot_actions_are_the_mean_of_the_labelled_steps_of_the_code(genie, video):
    found = genie.actions(video)
    means = genie.action_map.dictionary.mean(np.arange(genie.num_codes))
    np.testing.assert_array_equal(found.robot_actions, means[found.codes])


def test_codes_have_the_names_of_the_figures_or_only_numbers(genie, run):
    trained = open_run(str(run.path), device="cpu")
    assert genie.code_names == saved_action_map(trained).code_names
    assert genie.code_names == genie_robo.load(run.path, device="cpu").code_names
    assert [name.split()[0] for name in genie.code_names] == ["0", "1", "2", "3", "4"]
    assert any(" " in name for name in genie.code_names)
    unnamed = genie_robo.LoadedGenie(genie.model)
    assert unnamed.code_names == ("0", "1", "2", "3", "4")


@pytest.mark.parametrize("length", [2, 5, 6, 7, 23])
def test_a_long_video_is_encoded_in_pieces_that_change_nothing(genie, video, monkeypatch, length):
    frames = np.resize(video, (length, 16, 32, 3))
    encoder = GenieEncoder(genie=genie.model, device=genie.device)
    whole = encoder.encode_video(frames)
    monkeypatch.setattr(loaded, "_CHUNKS", 1)
    pieces = genie.actions(frames)
    np.testing.assert_array_equal(pieces.codes, whole.codes)
    np.testing.assert_allclose(pieces.latents, whole.latents, atol=1e-6)


@pytest.mark.parametrize("rule", Resize)
def test_images_are_resized_by_the_rule_of_the_run(video, rule):
    genie = genie_robo.LoadedGenie(Genie(changed(toy_config(), {"data.resize": rule})))
    resized = [resize_frame(frame, image_size=(16, 32), resize=rule) for frame in video]
    found, wanted = genie.actions(video), genie.actions(np.stack(resized))
    np.testing.assert_array_equal(found.codes, wanted.codes)
    np.testing.assert_array_equal(found.latents, wanted.latents)


def test_imagined_frames_are_those_of_the_world(genie, video):
    codes = [3, 1, 0]
    found = genie.imagine(video[0], codes=codes, seed=7)
    prompt = Prompt(frames=genie._frame_size.frames(video[:1]))
    wanted = roll_out(genie.world, [prompt], code_steps(np.array([codes])), seeds=[7])[0]
    np.testing.assert_array_equal(found.frames, wanted)
    assert found.frames.dtype == np.uint8
    assert found.codes.tolist() == codes
    assert found.uncertainty.shape == (3,)
    assert ((found.trust > 0) & (found.trust <= 1)).all()  # measured for codes


def test_a_code_is_held_and_other_kinds_of_actions_have_no_trust(genie, video):
    held = genie.imagine(video[0], codes=2, num_frames=3)
    np.testing.assert_array_equal(held.frames, genie.imagine(video[0], codes=[2, 2, 2]).frames)
    latents = genie.imagine(video[0], latents=np.zeros((3, genie.latent_dim)))
    robot = genie.imagine(video[0], robot_actions=np.zeros((3, 7)), num_frames=3)
    assert latents.trust is None
    assert robot.trust is None
    assert robot.frames.shape == (3, 16, 32, 3)


def test_a_rollout_is_the_same_alone_and_in_a_batch(genie, video):
    codes = np.array([[0, 1], [4, 2]])
    alone = [genie.imagine(video[i], codes=codes[i], seed=i + 5).frames for i in range(2)]
    both = genie.imagine(video[:2], codes=codes, seed=[5, 6])
    np.testing.assert_array_equal(both.frames, np.stack(alone))
    shared = genie.imagine(video[0], codes=codes)
    np.testing.assert_array_equal(shared.frames[1], genie.imagine(video[0], codes=codes[1]).frames)
    held = genie.imagine(video[:2], codes=1, num_frames=2)
    assert held.frames.shape == (2, 2, 16, 32, 3)
    assert held.trust.shape == held.uncertainty.shape == held.codes.shape == (2, 2)


def test_a_prompt_may_have_several_frames(genie, video):
    longer = genie.imagine(video[None, :4], codes=1, num_frames=2)
    np.testing.assert_array_equal(
        longer.frames[0],
        roll_out(
            genie.world,
            [Prompt(frames=genie._frame_size.frames(video[:4]))],
            code_steps(np.array([[1, 1]])),
            seeds=[0],
        )[0],
    )


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "exactly one of codes=, latents= and robot_actions=; got none"),
        ({"codes": 1, "latents": np.zeros((1, 3))}, "got codes and latents"),
        ({"codes": 1}, r"codes=1 is held, but for how long\? Give num_frames="),
        ({"codes": 5, "num_frames": 2}, "latent action 5 is not one of this model's codes, 0 to 4"),
        ({"codes": [-1]}, "latent action -1 is not one"),
        ({"codes": []}, "codes are integers"),
        ({"codes": [0.5]}, "codes are integers, but these are float64"),
        ({"codes": [True]}, "codes are integers, but these are bool"),
        ({"codes": np.zeros((1, 2, 3), int)}, r"shape \(n\) or \(b n\).*\(1, 2, 3\)"),
        ({"codes": [1, 2], "num_frames": 3}, "num_frames=3, but there are codes for 2 frames"),
        ({"codes": 1, "num_frames": 0}, "num_frames=0 must be at least 1"),
        ({"latents": np.zeros((4, 2))}, r"\(n 3\) or \(b n 3\).*z0 z1 z2; got \(4, 2\)"),
        ({"latents": np.zeros(3)}, r"got \(3,\)"),
        ({"latents": [["a", "b", "c"]]}, "latents are numbers"),
        (
            {"latents": np.full((1, 3), np.nan)},
            r"latents must be finite, but latents\[0, 0\] is nan",
        ),
        ({"robot_actions": np.zeros((4, 8))}, r"\(n 7\).*dx dy dz.*gripper; got \(4, 8\)"),
        ({"robot_actions": np.full((1, 7), np.inf)}, r"robot_actions\[0, 0\] is inf"),
        ({"robot_actions": np.zeros((0, 7))}, "robot_actions are empty"),
        ({"codes": [1], "seed": -1}, "seed=-1 must be an int from 0 on"),
        ({"codes": [1], "seed": [1, 2]}, "one for each of 1 rollouts"),
    ],
)
def test_wrong_actions_are_named(genie, video, given, reason):
    with pytest.raises((ValueError, TypeError), match=reason):
        genie.imagine(video[0], **given)


def test_robot_actions_in_another_unit_are_reported(genie, video, caplog):
    usual = genie.action_map.dictionary.mean(np.arange(2))
    genie.imagine(video[0], robot_actions=usual)
    assert caplog.text == ""
    genie.imagine(video[0], robot_actions=usual * [1000, 1, 1, 1, 1, 1, 1])
    assert "robot actions have dx from" in caplog.text
    assert "dy" not in caplog.text


def test_batches_of_different_sizes_are_named(genie, video):
    with pytest.raises(ValueError, match="3 frames to start from, but codes for 2 rollouts"):
        genie.imagine(video[:3], codes=[[1], [2]])


def test_actions_that_do_not_steer_the_model_are_named(video):
    codes_only = genie_robo.LoadedGenie(
        Genie(changed(toy_config(), {"model.dynamics.latents_share": 0.0}))
    )
    with pytest.raises(ValueError, match="trained on codes alone"):
        codes_only.imagine(video[0], latents=np.zeros((1, 3)))
    with pytest.raises(ValueError, match="nothing maps robot actions to the latent actions"):
        codes_only.imagine(video[0], robot_actions=np.zeros((1, 7)))
    assert codes_only.actions(video).robot_actions is None
    steered = changed(toy_config(), {"model.dynamics.steered_by": Steering.robot_actions})
    robot_only = genie_robo.LoadedGenie(Genie(steered))
    with pytest.raises(ValueError, match="robot actions alone steer this model"):
        robot_only.imagine(video[0], codes=1, num_frames=1)
    found = robot_only.imagine(video[0], robot_actions=np.zeros((2, 7)))
    assert found.codes is None


def test_the_sampler_can_be_chosen_and_trust_is_of_the_measured_one(exported, video):
    slow = genie_robo.load(exported, device="cpu", sampler=Sampler(num_steps=3))
    assert slow.imagine(video[0], codes=1, num_frames=1).trust is None
