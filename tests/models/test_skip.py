"""A tokenizer that neither codes nor paints again what stays."""

import pytest
import torch

from genie_robo.build import build_genie, build_tokenizer
from genie_robo.inference.frame_decoder import FrameDecoder
from genie_robo.inference.rollout import imagine
from genie_robo.inference.settings import Sampler
from genie_robo.models.skip import changed_patches, hold, keep_pixels, last_change
from tests.models.conftest import changed

PATCH = 8


@pytest.fixture
def config(config):
    return changed(config, {"model.tokenizer.skips": True})


def build(config):
    torch.manual_seed(0)
    tokenizer = build_tokenizer(config.model, config.data).eval()
    with torch.no_grad():  # fresh weights give every patch the same few tokens
        for weight in tokenizer.parameters():
            if weight.dim() > 1:
                weight.mul_(3)
    return tokenizer


@pytest.fixture
def tokenizer(config):
    return build(config)


@pytest.fixture
def video():
    """Forty frames of 2 x 4 patches; only the patch at row 0, column 1 changes, from frame 5 on."""
    frames = torch.rand(2, 1, 16, 32, 3, generator=torch.Generator().manual_seed(2))
    frames = frames.expand(2, 40, 16, 32, 3).clone()
    noise = torch.rand(2, 35, 8, 8, 3, generator=torch.Generator().manual_seed(3))
    frames[:, 5:, :8, 8:16] = noise
    return frames


def test_a_patch_changes_when_one_pixel_does_by_more_than_two_grey_levels():
    video = torch.full((1, 3, 16, 16, 3), 0.5)
    video[:, 1:, 3, 9, 1] += 2 / 255  # top right, too little
    video[:, 2, 12, 2, 0] += 3 / 255  # bottom left
    assert changed_patches(video, PATCH)[0].tolist() == [
        [True, True, True, True],
        [False, False, False, False],
        [False, False, True, False],
    ]


def test_last_change_is_the_latest_frame_so_far():
    changed = torch.tensor([[[True], [False], [True], [False], [True], [False]]])
    assert last_change(changed)[0, :, 0].tolist() == [0, 0, 2, 2, 4, 4]


def test_a_patch_keeps_its_pixels_while_its_token_stays():
    video = torch.arange(6.0)[None, :, None, None, None].expand(1, 6, 8, 8, 3)
    tokens = torch.tensor([[[5], [5], [7], [7], [5], [5]]])
    kept = keep_pixels(video, tokens, PATCH)
    assert kept[0, :, 0, 0, 0].tolist() == [0, 0, 2, 2, 4, 4]


def test_held_patches_are_those_of_their_last_change():
    video = torch.arange(3.0)[None, :, None, None, None].expand(1, 3, 16, 8, 3)
    since = torch.tensor([[[0, 0], [0, 1], [2, 1]]])
    held = hold(video, since, PATCH)
    assert held[0, :, 0, 0, 0].tolist() == [0, 0, 2]
    assert held[0, :, 8, 0, 0].tolist() == [0, 1, 1]


def test_tokens_stay_where_patches_do(tokenizer, video):
    tokens = tokenizer.encode(video[:, :10])
    assert (tokens[:, :5] == tokens[:, :1]).all()
    assert (tokens[:, 5:, 2:] == tokens[:, :1, 2:]).all()
    assert (tokens[:, 5:, 1] != tokens[:, 4:-1, 1]).any()
    assert torch.equal(tokenizer(video[:, :10]).tokens, tokens)


def test_without_skips_a_neighbour_makes_tokens_flip(config, video):
    config = changed(config, {"model.tokenizer.skips": False})
    tokens = build(config).encode(video[:, :10])
    assert (tokens[:, 5:, 2:] != tokens[:, 4:-1, 2:]).any()


def decode_all(tokenizer, tokens, seen=None):
    decoder = FrameDecoder(tokenizer, num_frames=6)
    first = decoder.decode(tokens[:, 0], seen)
    return torch.stack([first, *(decoder.decode(frame) for frame in tokens[:, 1:].unbind(1))], 1)


def test_pixels_of_a_seen_frame_are_held_exactly_over_forty_frames(tokenizer, video):
    tokens = torch.randint(20, (2, 1, 8)).repeat(1, 40, 1)
    tokens[:, 10:, 1] = (tokens[:, 10:, 1] + 1) % 20
    decoded = decode_all(tokenizer, tokens, video[:, 0])
    held = video[:, :1].expand_as(video)
    assert torch.equal(decoded[:, :10], held[:, :10])
    is_held = torch.ones(16, 32, dtype=bool)
    is_held[:8, 8:16] = False
    assert torch.equal(decoded[:, :, is_held], held[:, :, is_held])
    assert not torch.equal(decoded[:, 10, ~is_held], held[:, 10, ~is_held])
    assert torch.equal(decoded[:, 39], decoded[:, 10])


def test_frame_by_frame_gives_what_a_whole_window_gives(tokenizer, video):
    tokens = tokenizer.encode(video[:, 2:8])
    whole = tokenizer.decode(tokens)
    torch.testing.assert_close(decode_all(tokenizer, tokens), whole, rtol=1e-4, atol=1e-5)


def test_in_training_codes_and_pixels_of_the_last_change_stay(tokenizer, video):
    output = tokenizer(video[:, 2:8])
    assert torch.equal(output.video[:, :3], output.video[:, :1].expand(-1, 3, -1, -1, -1))
    assert (output.video[:, 3, :8, 8:16] != output.video[:, 2, :8, 8:16]).any()
    assert torch.equal(output.video[:, 3, 8:], output.video[:, 0, 8:])
    assert torch.equal(output.vq_loss[:, 1], output.vq_loss[:, 0])


def test_only_changes_count_as_use_of_a_code(config, video):
    tokenizer = build_tokenizer(config.model, config.data).train()
    tokenizer(video[:, :8])
    # Eight patches of the first frame, then one in each of three frames, in two videos.
    assert tokenizer.quantizer.use.sum() == 2 * (8 + 3)


def test_prompts_are_shown_as_they_are(config):
    torch.manual_seed(0)
    genie = build_genie(config).eval()
    prompt = torch.randint(256, (1, 2, 16, 32, 3)).byte()
    actions = torch.zeros(2, 9, dtype=torch.long)
    rollout = imagine(genie, prompt, actions, seeds=[0, 1], sampler=Sampler(num_steps=2))
    assert torch.equal(rollout.video[:, :2], prompt.expand(2, -1, -1, -1, -1))
    stays = (rollout.tokens[:, 2] == rollout.tokens[:, 1]).unflatten(1, (2, 4))
    stays = stays.repeat_interleave(8, 1).repeat_interleave(8, 2)
    assert torch.equal(rollout.video[:, 2][stays], rollout.video[:, 1][stays])
