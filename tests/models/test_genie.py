"""The three models at toy size: shapes, causality, independence, gradients, refusals."""

from dataclasses import replace

import pytest
import torch

from genie_robo.build import build_genie, build_tokenizer
from genie_robo.inference.rollout import imagine
from genie_robo.models.patches import patchify, unpatchify
from genie_robo.models.settings import LatentActionInput
from genie_robo.models.sizes import patch_grid
from genie_robo.train.stages import WorldModelStage
from genie_robo.types import EpisodeBatch, video_to_float
from tests.models.conftest import changed

STAGES = ("tokenizer", "world_model")

CPU = torch.device("cpu")


@pytest.fixture
def genie(config):
    torch.manual_seed(0)
    return build_genie(config).eval()


def world_model(config, actions_from=LatentActionInput.pixels):
    config = changed(config, {"model.latent_action.input": actions_from})
    torch.manual_seed(0)
    genie = build_genie(config)
    genie.tokenizer.eval().requires_grad_(False)
    return WorldModelStage(
        genie.latent_action,
        genie.dynamics,
        encode_tokens=genie.tokenizer.encode,
        min_mask_rate=0.5,
        latents_share=0.5,
        seed=0,
    )


def as_batch(video, is_pad=None):
    num_windows, num_frames = video.shape[:2]
    return EpisodeBatch(
        episode_ids=("unused",) * num_windows,
        video=(video * 255).byte(),
        robot_actions=torch.zeros(num_windows, num_frames - 1, 7),
        action_mask=torch.ones(num_windows, 7).bool(),
        is_pad=torch.zeros(num_windows, num_frames).bool() if is_pad is None else is_pad,
        positions=torch.arange(num_windows),
    )


def gradients(model):
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


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
        (genie.latent_action(video).error, genie.latent_action(video[:1]).error),
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
        action, frame = actions[:, max(t - 1, 0) : t], tokens[:, t : t + 1]
        frames.append(dynamics.next_frame(frame, action, cache, everywhere))
        dynamics.remember(frame, action, cache)

    torch.testing.assert_close(torch.stack(frames, 1), full, atol=1e-5, rtol=1e-5)


def test_tokenizer_decoder_cache_equals_the_full_window(genie, video):
    tokens = genie.tokenizer.encode(video)
    cache = genie.tokenizer.decoder.new_cache(6)

    frames = [genie.tokenizer.paint(tokens[:, t : t + 1], cache) for t in range(6)]

    whole = genie.tokenizer.paint(tokens)
    torch.testing.assert_close(torch.cat(frames, 1), whole, atol=1e-5, rtol=1e-5)


def loss_of(stage, batch):
    inputs = stage.inputs(batch, CPU)
    return stage(stage.totals(inputs), **inputs)[0]


@pytest.mark.parametrize("actions_from", LatentActionInput)
def test_no_gradient_goes_from_the_dynamics_into_the_latent_action_model(
    config, video, actions_from
):
    stage = world_model(config, actions_from)
    batch = as_batch(video)
    inputs = stage.inputs(batch, CPU)
    totals = stage.totals(inputs)

    loss, sums = stage(totals, **inputs)
    loss.backward()
    of_both = gradients(stage.latent_action)
    stage.zero_grad()
    tokens = stage.encode_tokens(video_to_float(batch.video))
    action = stage.latent_action(video_to_float(batch.video), tokens)
    own_loss = action.error.sum() / totals["change"] + action.vq_loss.mean()
    own_loss.backward()

    assert sums["dynamics_loss"] > 0.1
    for name, gradient in gradients(stage.latent_action).items():
        torch.testing.assert_close(of_both[name], gradient, msg=name)
    assert of_both["quantizer.codebook"].any()


@pytest.mark.parametrize("actions_from", LatentActionInput)
def test_both_models_learn_and_the_tokenizer_does_not(config, video, actions_from):
    stage = world_model(config, actions_from)
    batch = as_batch(video)

    loss_of(stage, batch).backward()

    assert all(parameter.grad is not None for parameter in stage.parameters())
    assert all(parameter.grad.any() for parameter in stage.dynamics.parameters())
    assert all(parameter.grad is None for parameter in stage.encode_tokens.__self__.parameters())


def test_the_dynamics_sees_frame_one_whole_and_scores_what_it_does_not_see(
    config, video, monkeypatch
):
    stage, batch, seen = world_model(config), as_batch(video.repeat(14, 1, 1, 1, 1)), []
    features = stage.dynamics.features

    def watched(tokens, codes, hidden):
        seen.append((tokens, hidden))
        return features(tokens, codes, hidden)

    monkeypatch.setattr(stage.dynamics, "features", watched)
    inputs = stage.inputs(batch, CPU)
    totals = stage.totals(inputs)
    stage(totals, **inputs)

    (tokens, hidden), *_ = seen
    assert torch.equal(tokens, stage.encode_tokens(video_to_float(batch.video)))
    assert not hidden[:, 0].any()
    assert hidden.sum() == totals["tokens"]
    rate = hidden[:, 1:].float().mean((1, 2))
    assert rate.min() > 0.25
    assert 0.65 < rate.mean() < 0.85
    assert rate.std() > 0.1


@pytest.mark.parametrize("actions_from", LatentActionInput)
def test_padded_frames_change_no_loss(config, video, actions_from):
    stage, num_frames = world_model(config, actions_from), torch.tensor([4, 6, 4])
    is_pad = torch.arange(6) >= num_frames[:, None]
    changed = torch.where(is_pad[..., None, None, None], 1 - video, video)

    losses = []
    for candidate in (video, changed):
        batch = as_batch(candidate, is_pad)
        losses.append(loss_of(stage, batch))

    torch.testing.assert_close(*losses)


@pytest.mark.parametrize("actions_from", LatentActionInput)
def test_a_rollout_infers_the_actions_inside_its_prompt(config, video, actions_from):
    config = changed(config, {"model.latent_action.input": actions_from})
    genie = build_genie(config).eval()
    prompt = (video[:, :3] * 255).byte()

    rollout = imagine(genie, prompt, torch.tensor([[4], [0], [2]]), seeds=[0, 1, 2])

    inferred = genie.infer_actions(video_to_float(prompt)).indices
    assert torch.equal(rollout.latent_actions[:, :2], inferred)
    assert rollout.video.shape == (3, 4, 16, 32, 3)


def test_tokenizer_build_refuses_a_patch_that_does_not_fit(config):
    config = changed(config, {"model.tokenizer.patch_size": 7})

    with pytest.raises(ValueError, match=r"model\.tokenizer\.patch_size=7 does not divide"):
        build_tokenizer(config.model, config.data)


@pytest.mark.parametrize(("num_steps", "warmup"), [(31, 30), (30, 10), (1, 0)])
def test_a_short_training_starts_its_codebooks_in_time(config, num_steps, warmup):
    for part in ("tokenizer", "latent_action"):
        config = changed(config, {f"model.{part}.quantizer.warmup_steps": 30})
    stages = {name: replace(getattr(config, name), num_steps=num_steps) for name in STAGES}
    genie = build_genie(replace(config, **stages))

    assert genie.tokenizer.quantizer.warmup_steps == warmup
    assert genie.latent_action.quantizer.warmup_steps == warmup
    assert config.model.tokenizer.quantizer.warmup_steps == 30
