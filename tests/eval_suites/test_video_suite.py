import hashlib

import numpy as np
import pytest
import torch
from eval_fakes import ToyRobot, TransitionCodes, TruePhysics, make_context
from torch import nn

from genie_robo.eval_suites import video_features
from genie_robo.eval_suites.base import run_suite
from genie_robo.eval_suites.captions import CAPTIONS
from genie_robo.eval_suites.video import VideoSuite, halves
from genie_robo.eval_suites.video_features import (
    random_conv_distance,
    random_video_features,
)
from genie_robo.eval_suites.weights_file import check_weights
from genie_robo.inference.world import HeldFrame


@pytest.fixture(scope="module")
def robot():
    return ToyRobot(24)


def measure(robot, world=None, *, context=None, **settings):
    codes = TransitionCodes(robot)
    world = world or TruePhysics(robot, codes.table)
    made = make_context(robot, encoder=codes, world=world, **(context or {}))
    return run_suite(VideoSuite(**{"num_clips": 12, "horizon": 5} | settings), made)


@pytest.fixture(scope="module")
def perfect(robot):
    return measure(robot)


def test_the_world_itself_has_no_distance(perfect):
    metrics = perfect.metrics
    assert metrics["psnr"].value == 100.0
    assert metrics["ssim"].value == pytest.approx(1.0, abs=1e-6)
    assert metrics["random_conv_distance"].value == pytest.approx(0.0, abs=1e-9)
    for t in (1, 5):
        assert metrics[f"psnr/imagined/t{t}"].value == 100.0
        assert metrics[f"psnr/copy_last/t{t}"].value < 40
    assert metrics["psnr/gain_over_copy_last"].ci95[0] > 20
    assert metrics["psnr"].ceiling == 100.0


def test_distributions_of_the_world_itself_are_at_the_floor(perfect):
    for name in ("frechet/random_conv3d", "mmd/random_conv3d"):
        metric = perfect.metrics[name]
        assert metric.value == metric.ceiling == metric.baselines["real_against_real"]
        assert metric.value == metric.baselines["tokenizer"]
        assert "N = 6 and 6" in metric.protocol
        assert metric.ci95[0] < metric.value < metric.ci95[1]
    frechet = perfect.metrics["frechet/random_conv3d"]
    assert frechet.baselines["copy_last"] > frechet.value


def test_a_world_that_stands_still_is_copy_last(robot):
    metrics = measure(robot, HeldFrame()).metrics
    for name in ("psnr", "ssim", "random_conv_distance"):
        assert metrics[f"{name}/gain_over_copy_last"].value == 0.0
    frechet = metrics["frechet/random_conv3d"]
    assert frechet.value == frechet.baselines["copy_last"]


def test_no_number_under_a_famous_name_without_its_weights(perfect):
    for name in ("fvd", "lpips"):
        assert perfect.metrics[name].value is None
        assert "path is empty" in perfect.metrics[name].reason
    numbers = {n for n, metric in perfect.metrics.items() if metric.value is not None}
    assert not any("fvd" in n or "lpips" in n for n in numbers)


def test_wrong_weights_are_refused_before_anything_else(tmp_path):
    file = tmp_path / "i3d_torchscript.pt"
    with pytest.raises(FileNotFoundError, match="no weights for FVD"):
        VideoSuite(i3d_path=str(file))
    file.write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"sha256 is [0-9a-f]{64}, wanted bec6519f66"):
        VideoSuite(i3d_path=str(file))
    with pytest.raises(ValueError, match="is not the file that LPIPS"):
        VideoSuite(lpips_path=str(file), lpips_sha256="0" * 64)
    with pytest.raises(ValueError, match=r"needs suite\.video\.lpips_sha256"):
        VideoSuite(lpips_path=str(file))
    sha = hashlib.sha256(b"something else").hexdigest()
    assert check_weights(str(file), sha256=sha.upper(), name="x") == file


class TinyI3d(nn.Module):
    """Answers as the real file does: one row of features per video."""

    def forward(self, x: torch.Tensor, rescale: bool, resize: bool, return_features: bool):
        assert rescale
        assert resize
        assert return_features
        return torch.stack([x.mean(dim=[1, 2, 3, 4]), x.std(dim=[1, 2, 3, 4])], dim=1)


class TinyLpips(nn.Module):
    def forward(self, x: torch.Tensor, resize_images: bool, return_lpips: bool):
        assert not resize_images
        assert return_lpips
        return x.flatten(1) / 255.0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_given_weights_give_the_famous_numbers(robot, tmp_path, monkeypatch):
    paths = [tmp_path / name for name in ("i3d.pt", "vgg.pt")]
    for path, network in zip(paths, (TinyI3d(), TinyLpips()), strict=True):
        torch.jit.script(network).save(path)
    shas = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    monkeypatch.setattr("genie_robo.eval_suites.settings.I3D_SHA256", shas[0])
    weights = {"i3d_path": str(paths[0]), "lpips_path": str(paths[1]), "lpips_sha256": shas[1]}
    metrics = measure(robot, **weights).metrics
    assert metrics["lpips"].value == 0.0
    assert metrics["lpips"].baselines["copy_last"] > 1
    assert metrics["fvd"].value == metrics["fvd"].ceiling
    assert "mmd/i3d" in metrics


def test_random_networks_are_part_of_the_definition():
    video = np.random.default_rng(0).integers(256, size=(2, 4, 16, 16, 3), dtype=np.uint8)
    first, again = random_video_features(video), random_video_features(video)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(random_video_features(video[1:]), first[1:])
    assert first.shape == (2, 128)
    assert video_features.RANDOM_SEED == 20240223


def test_random_conv_distance_grows_with_the_change():
    rng = np.random.default_rng(0)
    video = rng.integers(60, 200, size=(3, 32, 32, 3)).astype(np.uint8)
    noise = rng.normal(size=video.shape)
    distances = [
        random_conv_distance(video, np.clip(video + scale * noise, 0, 255).astype(np.uint8)).mean()
        for scale in (0, 5, 20, 60)
    ]
    assert distances[0] == 0.0
    assert distances == sorted(distances)


def test_halves_share_no_episode():
    first, second = halves(np.array([0, 0, 1, 2, 2, 3]))
    assert first.tolist() == [0, 1, 3, 4]
    assert second.tolist() == [2, 5]


def test_single_videos_have_no_distribution(robot):
    metrics = measure(robot, context={"num_fit": 23}, num_clips=1).metrics
    assert metrics["frechet/random_conv3d"].value is None
    assert "cannot be cut in two" in metrics["frechet/random_conv3d"].reason
    assert metrics["psnr"].value == 100.0


def test_two_episodes_have_a_distance_but_no_interval(robot):
    metrics = measure(robot, context={"num_fit": 22}, num_clips=6).metrics
    frechet = metrics["frechet/random_conv3d"]
    assert frechet.value == frechet.ceiling
    assert (frechet.n_units, frechet.ci95) == (2, None)


def test_episodes_too_short_for_video_are_undefined(robot):
    result = measure(robot, horizon=25, context={"num_frames": 40})
    assert "lower suite.video.horizon" in result.metrics["psnr"].reason


def test_video_outputs(perfect):
    assert set(perfect.figures) == {"horizon", "strip"} == set(CAPTIONS["video"])
    assert set(perfect.headline) <= set(perfect.metrics)
    assert len(perfect.per_episode) == 12
