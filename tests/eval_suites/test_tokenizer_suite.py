import numpy as np
import pytest
from eval_fakes import FakeEncoder, LosslessTokenizer, ToyEpisodes, ToyRobot, make_context

from genie_robo.eval_suites.base import Reconstruction
from genie_robo.eval_suites.captions import CAPTIONS
from genie_robo.eval_suites.tokenizer import TokenizerSuite

NO_ENCODER = FakeEncoder(1, lambda window: np.zeros(len(window.video) - 1))


@pytest.fixture(scope="module")
def robot():
    return ToyRobot(12)


def measure(robot, tokenizer, **changes):
    context = make_context(robot, encoder=NO_ENCODER, tokenizer=tokenizer, **changes)
    return TokenizerSuite().evaluate(context)


@pytest.fixture(scope="module")
def lossless(robot):
    return measure(robot, LosslessTokenizer())


class OffByOne:
    """Every value one fifth of the range too bright; one token everywhere."""

    num_codes = 16

    def reconstruct(self, video):
        brighter = (video.astype(int) + 51).clip(0, 255).astype(np.uint8)
        return Reconstruction(np.zeros((len(video), 4), np.int64), brighter)


class Freeze:
    """Shows the frame before."""

    num_codes = 16

    def reconstruct(self, video):
        tokens = np.arange(len(video) * 4).reshape(-1, 4) % 4
        return Reconstruction(tokens, video[[0, *range(len(video) - 1)]])


def test_lossless_tokenizer_reaches_every_limit(lossless):
    assert lossless.metrics["psnr"].value == 100.0
    assert lossless.metrics["changed_psnr"].value == 100.0
    assert lossless.metrics["ssim"].value == pytest.approx(1.0)
    assert lossless.metrics["gain_over_copy_last/psnr"].ci95[0] > 0
    assert lossless.metrics["psnr"].n_units == 6


def test_a_constant_error_has_its_psnr():
    robot = ToyRobot(4)
    metrics = measure(robot, OffByOne()).metrics
    # No value of a toy frame but the square's can saturate.
    assert metrics["psnr"].value == pytest.approx(-10 * np.log10(0.04), abs=0.1)


def test_showing_the_frame_before_equals_the_baseline(robot):
    metrics = measure(robot, Freeze()).metrics
    for name in ("psnr", "ssim", "changed_psnr"):
        assert metrics[name].value == pytest.approx(metrics[name].baselines["copy_last"])
        assert metrics[f"gain_over_copy_last/{name}"].value == 0.0


def test_changed_pixels_are_harder_for_a_copy_than_all_pixels(lossless):
    copied = {name: lossless.metrics[name].baselines["copy_last"] for name in lossless.headline[:2]}
    assert copied["changed_psnr"] < copied["psnr"] - 5


def test_codebook_use(robot):
    one, four = (measure(robot, tokenizer).metrics for tokenizer in (OffByOne(), Freeze()))
    assert one["perplexity"].value == pytest.approx(1.0)
    assert one["used_codes"].value == 1 / 16
    assert four["perplexity"].value == pytest.approx(4.0)
    assert four["used_codes"].value == 4 / 16
    assert four["perplexity"].ceiling == 16
    assert "interval by jackknife" in four["perplexity"].protocol


def test_still_episodes_have_no_changed_pixels():
    robot = ToyRobot(4)
    for poses in robot.poses:
        poses[:] = poses[0]
    result = measure(robot, LosslessTokenizer())
    assert result.metrics["changed_psnr"].value is None
    assert "no pixel changes" in result.metrics["changed_psnr"].reason
    assert result.per_episode[0]["tokenizer_changed_psnr"] is None
    assert result.metrics["psnr"].value == 100.0


def test_padding_is_not_measured(robot, lossless):
    padded = measure(robot, LosslessTokenizer(), test=ToyEpisodes(robot, range(6, 12), num_pad=6))
    assert padded.metrics == lossless.metrics


def test_single_frames_are_refused():
    with pytest.raises(ValueError, match="none of the 2 test episodes has two frames"):
        measure(ToyRobot(4, num_frames=1), LosslessTokenizer())


def test_figures_and_rows(lossless):
    assert (
        set(lossless.figures)
        == {"reconstruction", "psnr", "code_usage"}
        == set(CAPTIONS["tokenizer"])
    )
    assert len(lossless.per_episode) == 6
    assert lossless.per_episode[0]["num_frames"] == 19


class PatchSums:
    """The token of a patch is the sum of its own pixels, or also those of the patch to its left."""

    num_codes = 64

    def __init__(self, *, sees_left: bool) -> None:
        self.sees_left = sees_left

    def reconstruct(self, video):
        t, height, width, _ = video.shape
        sums = video.astype(int).reshape(t, height // 8, 8, width // 8, 8, 3).sum((2, 4, 5))
        if self.sees_left:
            sums = sums + np.roll(sums, 1, axis=2)
        return Reconstruction(sums.reshape(t, -1) % self.num_codes, video)


def test_tokens_of_patches_that_stay_flip_only_if_they_see_further(robot):
    own = measure(robot, PatchSums(sees_left=False)).metrics
    assert own["flips/own_patch"].value == own["flips/neighbourhood"].value == 0.0
    wide = measure(robot, PatchSums(sees_left=True)).metrics
    assert 0 < wide["flips/own_patch"].value < 0.5


def test_flips_are_undefined_where_tokens_are_not_of_square_patches(robot):
    flips = measure(robot, ThreeTokens()).metrics["flips/own_patch"]
    assert flips.value is None
    assert "not one per square patch" in flips.reason


class Fading:
    """An error that grows by a constant amount from frame to frame."""

    num_codes = 2

    def __init__(self, per_frame: int) -> None:
        self.per_frame = per_frame

    def reconstruct(self, video):
        errors = self.per_frame * np.arange(len(video))[:, None, None, None]
        worse = np.where(video < 128, video + errors, video - errors).astype(np.uint8)
        return Reconstruction(np.zeros((len(video), 4), np.int64), worse)


def test_errors_that_grow_from_frame_to_frame_are_drift(robot):
    drift = measure(robot, Fading(2)).metrics["drift"]
    # Quarters of 19 frames: errors of 2 to 8 in the first four, of 32 to 38 in the last.
    first, last = (-20 * np.log10(np.array(e) / 255) for e in ((2, 4, 6, 8), (32, 34, 36, 38)))
    assert drift.value == pytest.approx((first - last).mean(), abs=1e-6)
    assert drift.ci95[0] > 0
    assert measure(robot, LosslessTokenizer()).metrics["drift"].value == 0.0


def test_no_drift_where_episodes_have_no_quarters():
    drift = measure(ToyRobot(4, num_frames=4), LosslessTokenizer()).metrics["drift"]
    assert drift.value is None
    assert "five frames" in drift.reason


class ThreeTokens:
    num_codes = 2

    def reconstruct(self, video):
        return Reconstruction(np.zeros((len(video), 3), np.int64), video)
