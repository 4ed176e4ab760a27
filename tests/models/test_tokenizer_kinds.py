"""The three tokenizers of the paper's ablation, each by one override."""

import pytest
import torch
import torch.nn.functional as F

from genie_robo.build import build_tokenizer
from genie_robo.models.settings import PatchLayers, TokenizerKind, TransformerConfig
from tests.models.conftest import changed

KINDS = list(TokenizerKind)


@pytest.fixture(
    params=[(kind, layers) for kind in KINDS for layers in PatchLayers],
    ids="_".join,
)
def tokenizer(request, config):
    torch.manual_seed(0)
    names = ("model.tokenizer.kind", "model.tokenizer.patch_layers")
    config = changed(config, dict(zip(names, request.param, strict=True)))
    return build_tokenizer(config.model, config.data).eval()


@pytest.fixture
def long_video():
    return torch.rand(2, 16, 16, 32, 3, generator=torch.Generator().manual_seed(2))


def test_frame_ten_of_sixteen_moves_none_before_it(tokenizer, long_video):
    changed = long_video.clone()
    changed[:, 10] = 1 - changed[:, 10]

    before, after = tokenizer(long_video), tokenizer(changed)

    assert torch.equal(before.tokens[:, :10], after.tokens[:, :10])
    assert torch.equal(before.video[:, :10], after.video[:, :10])
    assert (before.video[:, 10] != after.video[:, 10]).any()


def test_without_time_frames_do_not_meet(config, long_video):
    config = changed(config, {"model.tokenizer.kind": TokenizerKind.vit})
    tokenizer = build_tokenizer(config.model, config.data).eval()

    alone = torch.cat([tokenizer(frame).video for frame in long_video.split(1, dim=1)], dim=1)

    torch.testing.assert_close(alone, tokenizer(long_video).video, atol=1e-6, rtol=1e-5)


def test_decoding_frame_by_frame_gives_the_full_window(tokenizer, long_video):
    tokens = tokenizer.encode(long_video)
    cache = tokenizer.decoder.new_cache(16)

    frames = [tokenizer.paint(frame, cache) for frame in tokens.split(1, dim=1)]

    torch.testing.assert_close(torch.cat(frames, 1), tokenizer.paint(tokens), atol=1e-5, rtol=1e-5)


def test_twenty_steps_lower_the_loss_and_reach_every_parameter(tokenizer):
    coarse = torch.rand(18, 3, 2, 4, generator=torch.Generator().manual_seed(1))
    smooth = F.interpolate(coarse, size=(16, 32), mode="bilinear").permute(0, 2, 3, 1)
    video = smooth.unflatten(0, (3, 6))
    optimizer = torch.optim.AdamW(tokenizer.train().parameters(), lr=3e-3)
    losses, reached = [], dict.fromkeys(dict(tokenizer.named_parameters()), 0.0)
    for _ in range(20):
        output = tokenizer(video)
        error = (output.video - video).square().mean()
        (error + output.vq_loss.mean()).backward()
        for name, parameter in tokenizer.named_parameters():
            assert parameter.grad is not None, name
            reached[name] += float(parameter.grad.abs().sum())
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(error.detach()))

    assert losses[-1] < 0.9 * losses[0]
    assert min(reached.values()) > 0


@pytest.mark.parametrize("ff_multiplier", [2.0, 4.0])
@pytest.mark.parametrize(("num_heads", "num_blocks"), [(4, 1), (8, 6), (12, 5)])
def test_all_kinds_have_as_many_parameters(config, ff_multiplier, num_heads, num_blocks):
    """A block with one attention has the parameters of the second in its feed-forward."""
    stack = TransformerConfig(
        num_blocks=num_blocks,
        dim=128,
        num_heads=num_heads,
        head_dim=16,
        ff_multiplier=ff_multiplier,
    )
    stacks = {"model.tokenizer.encoder": stack, "model.tokenizer.decoder": stack}
    config = changed(config, stacks)
    counts = {}
    for kind in KINDS:
        config = changed(config, {"model.tokenizer.kind": kind})
        with torch.device("meta"):
            built = build_tokenizer(config.model, config.data)
        counts[kind] = sum(parameter.numel() for parameter in built.parameters())

    assert max(counts.values()) < 1.01 * min(counts.values())
