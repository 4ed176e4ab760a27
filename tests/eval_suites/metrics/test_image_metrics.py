import numpy as np
import pytest

from genie_robo.eval_suites.metrics.image_metrics import (
    changed_pixels,
    changed_psnr,
    frame_psnr,
    frame_ssim,
    motion,
)


def test_psnr_hand_computed():
    true = np.zeros((2, 4, 4, 3), np.uint8)
    other = true.copy()
    other[0] = 51  # a fifth of the range everywhere: MSE 0.04
    other[1, 0, 0, 0] = 255  # one of 48 values wrong by the whole range
    expected = [-10 * np.log10(0.04), 10 * np.log10(48)]
    np.testing.assert_allclose(frame_psnr(true, other), expected)


def test_equal_frames_reach_the_cap():
    frames = np.full((3, 2, 2, 3), 7, np.uint8)
    np.testing.assert_array_equal(frame_psnr(frames, frames), [100.0, 100.0, 100.0])


def test_bytes_and_floats_give_the_same_psnr():
    rng = np.random.default_rng(0)
    true, other = rng.integers(256, size=(2, 5, 8, 8, 3)).astype(np.uint8)
    np.testing.assert_allclose(frame_psnr(true / 255.0, other / 255.0), frame_psnr(true, other))


def test_compared_videos_need_one_shape():
    with pytest.raises(ValueError, match=r"\(1, 2, 2, 3\) and \(2, 2, 2, 3\)"):
        frame_psnr(np.zeros((1, 2, 2, 3), np.uint8), np.zeros((2, 2, 2, 3), np.uint8))


def test_changed_pixels_literal():
    video = np.full((3, 2, 2, 3), 100, np.uint8)
    video[1, 0, 0] = (100, 111, 100)  # one channel by 11
    video[1, 1, 1] = (110, 110, 110)  # all channels by 10: not more than the threshold
    video[2] = video[1]
    video[2, 0, 1] = 0
    expected = [
        [[True, False], [False, False]],
        [[False, True], [False, False]],
    ]
    np.testing.assert_array_equal(changed_pixels(video), expected)


def test_changed_psnr_looks_at_changed_pixels_only():
    true = np.zeros((2, 2, 2, 3), np.uint8)
    other = true.copy()
    other[:, 0, 0] = 51
    changed = np.zeros((2, 2, 2), bool)
    changed[0, 0, :] = True  # one wrong and one right pixel: MSE 0.02
    other[0, 1, 1] = 255  # wrong, but not a changed pixel
    values = changed_psnr(true, other, changed)
    assert values[0] == pytest.approx(-10 * np.log10(0.02))
    assert np.isnan(values[1])


def test_ssim_known_answers():
    rng = np.random.default_rng(0)
    true = rng.integers(256, size=(2, 16, 16, 3)).astype(np.uint8)
    np.testing.assert_allclose(frame_ssim(true, true), [1.0, 1.0])
    assert (frame_ssim(true, 255 - true) < 0).all()


def test_motion_literal():
    video = np.zeros((3, 2, 2, 3), np.uint8)
    video[1:, 0, 0] = 255
    np.testing.assert_allclose(motion(video), [0.25, 0.0])
