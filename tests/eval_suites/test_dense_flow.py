"""Dense flow of shifted pictures, whose motion is known."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from genie_robo.eval_suites.probes.dense_flow import dense_flow, has_dense_flow

pytestmark = pytest.mark.skipif(not has_dense_flow(), reason="opencv-python-headless is missing")


def texture(size):
    noise = np.random.default_rng(0).random((size, size))
    smooth = gaussian_filter(noise, 2, mode="wrap")
    grey = 255 * (smooth - smooth.min()) / np.ptp(smooth)
    return np.repeat(grey[..., None], 3, axis=-1).astype(np.uint8)


@pytest.mark.parametrize(("rows", "columns"), [(0, 2), (1, 0), (-2, 1)])
def test_a_shift_is_found_in_every_block(rows, columns):
    frame = texture(64)
    video = np.stack([frame, np.roll(frame, (rows, columns), axis=(0, 1)), frame])
    flow = dense_flow(video).reshape(2, 2, 8, 8)[..., 2:-2, 2:-2]
    np.testing.assert_allclose(flow[0, 0], columns, atol=0.3)  # columns first
    np.testing.assert_allclose(flow[0, 1], rows, atol=0.3)
    np.testing.assert_allclose(flow[1], -flow[0], atol=0.3)


def test_a_still_video_has_no_flow():
    assert np.abs(dense_flow(np.stack([texture(32)] * 3))).max() < 1e-3


def test_a_single_transition_and_other_shapes():
    assert dense_flow(np.zeros((2, 48, 64, 3), np.uint8)).shape == (1, 128)
