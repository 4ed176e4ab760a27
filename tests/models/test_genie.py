"""The three models at toy size: shapes, causality, independence, gradients, refusals."""

import pytest
import torch

from genie_robo.build import build_genie, build_tokenizer
from genie_robo.models.patches import patch_grid, patchify, unpatchify
from genie_robo.train.stages import WorldModelStage, dynamics_loss, latent_action_loss


@pytest.fixture
def genie(config):
    torch.manual_seed(0)
    return build_genie(config).eval()


def changed_from(video, frame):
    changed = video.clone()
    changed[:, frame:] = 1 - changed[:, frame:]
    return changed


def test_patchify_round_trip_and_order():
    video = torch.arange(2 * 1 * 4 * 6 * 3).reshape(2, 1, 4, 6, 3).float()

    patches = patchify(video, 2)

    assert torch.equal(unpatchify(patches, 2, (2, 3)), video)
    assert torch.equal(patches[0, 0, 1], video[0, 0, 0:2, 2:4].flatten())


def test_patch_that_does_not_divide_the_image_names_what_fits():
    with pytest.raises(ValueError, match=r"patch_size=7 does not divide.*64x48.*\[4, 8, 16\]"):
        patch_grid((64, 48), 7, setting="model.x.patch_size")


def test_tokenizer_shapes_and_range(genie, video):
    tokens = genie.tokenizer.encode(video)
    decoded = genie.tokenizer.decode(tokens)

    assert tokens.shape == (3, 6, 8)
    assert genie.tokenizer.tokens_per_frame == 8
    assert 0 <= tokens.min() <= tokens.max() < genie.tokenizer.num_codes == 20
    assert decoded.shape == video.shape
    assert 0 <= decoded.min() <= decoded.max() <= 1


def test_tokenizer_sees_no_future(genie, video):
    changed = changed_from(video, 3)

    assert torch.equal(genie.tokenizer.encode(video)[:, :3], genie.tokenizer.encode(changed)[:, :3])
    before, after = genie.tokenizer(video).video, genie.tokenizer(changed).video
    assert torch.equal(before[:, :3], after[:, :3])
    assert (before[:, 3:] != after[:, 3:]).any()


def test_latent_action_i_sees_frames_0_to_i_plus_1_only(genie, video):
    model, changed = genie.latent_action, changed_from(video, 4)

    before, after = model.encode(video), model.encode(changed)

    assert before.indices.shape == (3, 5)
    assert torch.equal(before.continuous[:, :3], after.continuous[:, :3])
    assert (before.continuous[:, 3:] != after.continuous[:, 3:]).any(dim=-1).all()


def test_latent_action_prediction_sees_the_next_frame_through_the_code_only(genie, video):
    model = genie.latent_action
    codes = model.encode(video).indices

    prediction = model.decode(video[:, :-1], codes)
    other_future = model.decode(changed_from(video, 3)[:, :-1], codes)

    assert prediction.shape == (3, 5, 8, 16, 3)
    assert torch.equal(prediction[:, :3], other_future[:, :3])


def test_latent_action_width_is_its_own(genie):
    assert genie.latent_action.encoder.dim == 16
    assert genie.latent_action.decoder.dim == 32
    assert genie.latent_action.quantizer.codebook.shape == (5, 3)
    assert genie.tokenizer.encoder.dim == 24
    assert genie.dynamics.transformer.dim == 40
    assert genie.dynamics.embed_action.in_features == 3


def test_dynamics_frame_t_depends_on_its_own_action_and_no_later_one(genie):
    tokens = torch.randint(20, (2, 6, 8))
    actions = torch.randn(2, 5, 3)
    changed = actions.clone()
    changed[:, 3] += 5.0

    before, after = genie.dynamics(tokens, actions), genie.dynamics(tokens, changed)

    assert before.shape == (2, 6, 8, 20)
    assert torch.equal(before[:, :4], after[:, :4])
    assert (before[:, 4] != after[:, 4]).any()


def test_dynamics_sees_no_future_frame(genie):
    tokens, actions = torch.randint(20, (2, 6, 8)), torch.randn(2, 5, 3)
    changed = tokens.clone()
    changed[:, 4:] = genie.dynamics.mask_token

    before, after = genie.dynamics(tokens, actions), genie.dynamics(changed, actions)

    assert torch.equal(before[:, :4], after[:, :4])


def test_batch_items_do_not_see_each_other(genie, video):
    tokens, actions = torch.randint(20, (3, 6, 8)), torch.randn(3, 5, 3)
    pairs = [
        (genie.tokenizer(video).video, genie.tokenizer(video[:1]).video),
        (genie.latent_action(video).frames, genie.latent_action(video[:1]).frames),
        (genie.dynamics(tokens, actions), genie.dynamics(tokens[:1], actions[:1])),
    ]

    for together, alone in pairs:
        torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=1e-5)


def test_dynamics_next_frame_equals_the_full_window(genie):
    dynamics = genie.dynamics
    tokens, actions = torch.randint(20, (2, 6, 8)), torch.randn(2, 5, 3)
    full = dynamics(tokens, actions)
    cache, everywhere = dynamics.transformer.new_cache(6), torch.arange(8).expand(2, 8)

    frames = []
    for t in range(6):
        action = actions[:, t - 1 : t] if t else None
        frames.append(dynamics.next_frame(tokens[:, t : t + 1], action, cache, everywhere))
        cache.finish()

    torch.testing.assert_close(torch.stack(frames, 1), full, atol=1e-5, rtol=1e-5)


def test_tokenizer_decoder_cache_equals_the_full_window(genie, video):
    tokens = genie.tokenizer.encode(video)
    cache = genie.tokenizer.decoder.new_cache(6)

    frames = [genie.tokenizer.decode(tokens[:, t : t + 1], cache) for t in range(6)]

    torch.testing.assert_close(
        torch.cat(frames, 1), genie.tokenizer.decode(tokens), atol=1e-5, rtol=1e-5
    )


def test_no_gradient_goes_from_the_dynamics_into_the_latent_action_model(genie, video):
    stage = WorldModelStage(
        genie.latent_action.train(),
        genie.dynamics.train(),
        encode_tokens=genie.tokenizer.encode,
        min_mask_rate=0.5,
    )
    codes, _, _ = latent_action_loss(stage.latent_action, video, torch.ones(3, 6).bool())
    tokens = genie.tokenizer.encode(video)
    loss, _ = dynamics_loss(
        stage.dynamics, tokens, codes.detach(), torch.ones(3, 6).bool(), min_mask_rate=0.5
    )
    loss.backward()
    assert all(p.grad is None for p in stage.latent_action.parameters())

    stage.zero_grad()
    total, _ = stage((video * 255).byte(), torch.zeros(3, 6).bool())
    total.backward()
    assert stage.latent_action.quantizer.codebook.grad.abs().sum() > 0
    assert all(p.grad is not None for p in stage.parameters())
    assert all(p.grad is None for p in genie.tokenizer.parameters())


def test_dynamics_loss_never_hides_frame_one_and_scores_hidden_tokens_only(genie, monkeypatch):
    seen = []
    forward = genie.dynamics.forward

    def watched(tokens, codes):
        seen.append(tokens)
        return forward(tokens, codes)

    monkeypatch.setattr(genie.dynamics, "forward", watched)
    tokens, valid = torch.randint(20, (40, 6, 8)), torch.ones(40, 6).bool()
    dynamics_loss(genie.dynamics, tokens, torch.zeros(40, 5, 3), valid, min_mask_rate=0.5)

    hidden = seen[0] == genie.dynamics.mask_token
    assert not hidden[:, 0].any()
    assert torch.equal(seen[0][~hidden], tokens[~hidden])
    rate = hidden[:, 1:].float().mean((1, 2))
    assert rate.min() > 0.25
    assert 0.65 < rate.mean() < 0.85
    assert rate.std() > 0.1


def test_padded_frames_change_no_loss(genie, video):
    valid = torch.tensor([[True] * 4 + [False] * 2]).expand(3, 6)
    losses = [
        latent_action_loss(genie.latent_action, candidate, valid)[1]
        for candidate in (video, changed_from(video, 4))
    ]

    torch.testing.assert_close(*losses)


def test_tokenizer_build_refuses_a_patch_that_does_not_fit(config):
    config.model.tokenizer.patch_size = 7

    with pytest.raises(ValueError, match=r"model\.tokenizer\.patch_size=7 does not divide"):
        build_tokenizer(config.model, config.data)
