import pytest
import torch

from genie_robo.models.patches import (
    ConvEmbedding,
    ConvPixels,
    LinearEmbedding,
    LinearPixels,
    widths,
)

BOTH = [(LinearEmbedding, LinearPixels), (ConvEmbedding, ConvPixels)]


@pytest.mark.parametrize(("embedding", "pixels"), BOTH)
@pytest.mark.parametrize("patch_size", [2, 4, 8])
def test_frames_become_patches_and_come_back_in_size(embedding, pixels, patch_size):
    video = torch.rand(2, 3, 16, 24, 3)
    grid = (16 // patch_size, 24 // patch_size)

    patches = embedding(patch_size=patch_size, dim=20)(video)
    back = pixels(patch_size=patch_size, dim=20)(patches, grid)

    assert patches.shape == (2, 3, grid[0] * grid[1], 20)
    assert back.shape == video.shape


@pytest.mark.parametrize(("embedding", "pixels"), BOTH)
def test_frames_never_meet(embedding, pixels):
    video = torch.rand(1, 4, 16, 16, 3)
    changed = video.clone()
    changed[:, 2] += 0.5
    torch.manual_seed(0)
    there, back = embedding(patch_size=8, dim=16), pixels(patch_size=8, dim=16)

    before, after = there(video), there(changed)
    moved = (before != after).any(-1).any(-1)[0]

    assert moved.tolist() == [False, False, True, False]
    assert (back(before, (2, 2)) != back(after, (2, 2))).flatten(2).any(-1)[0].tolist() == [
        False,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(("embedding", "pixels"), BOTH)
def test_patches_lie_row_by_row(embedding, pixels):
    """Light in one corner of the frame moves the patch of that corner, and is drawn there."""
    video = torch.zeros(1, 1, 32, 32, 3)
    lit = video.clone()
    lit[:, :, :8, 24:] = 1.0
    torch.manual_seed(0)
    there, back = embedding(patch_size=8, dim=16), pixels(patch_size=8, dim=16)

    moved = (there(lit) - there(video)).abs().sum(-1)[0, 0]
    patches = torch.zeros(1, 1, 16, 16)
    at_corner = patches.clone()
    at_corner[:, :, 3] = 1.0
    drawn = (back(at_corner, (4, 4)) - back(patches, (4, 4))).abs().sum(-1)[0, 0]

    assert moved[3] > 0
    assert not moved[[0, 1, 4, 5, *range(8, 16)]].any()  # 2, 6 and 7 are neighbours
    by_patch = drawn.unflatten(0, (4, 8)).unflatten(2, (4, 8)).sum((1, 3)).flatten()
    assert by_patch.argmax() == 3


def test_convolutions_double_their_channels():
    assert widths(8, 128) == [3, 32, 64, 128]
    assert widths(8, 24) == [3, 16, 16, 24]
    assert widths(2, 128) == [3, 128]


@pytest.mark.parametrize("patch_size", [1, 6, 10])
def test_convolutions_halve(patch_size):
    with pytest.raises(ValueError, match=rf"patch_size={patch_size} must be 2, 4, 8.*=linear"):
        ConvEmbedding(patch_size=patch_size, dim=16)
