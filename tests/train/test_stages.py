"""Losses as sums over pooled totals: how a batch is divided changes nothing."""

from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from genie_robo.build import build_dataset, build_genie, build_windows
from genie_robo.data.loader import collate
from genie_robo.ranks import OneProcess
from genie_robo.train.stages import (
    ENCODING,
    MASK,
    STEERING,
    STEP,
    TokenizerStage,
    WindowNoise,
    WorldModelStage,
    step_generator,
)
from genie_robo.train.step import compute_loss, floats, pool
from genie_robo.types import EpisodeBatch, Split
from tests.models.conftest import changed

CPU = torch.device("cpu")
STAGES = ("tokenizer", "plain_tokenizer", "world_model")


@pytest.fixture
def batch(config) -> EpisodeBatch:
    """Four windows, of which two are padded, by one frame and by two."""
    windows = build_windows(config.data, build_dataset(config.data), Split.train, num_frames=4)
    batch = collate([windows[k] for k in (0, 3, 9, 11)], first_position=20)
    is_pad = batch.is_pad.clone()
    is_pad[1, 3:] = True
    is_pad[2, 2:] = True
    return replace(batch, is_pad=is_pad)


@pytest.fixture
def stage(config, request) -> TokenizerStage | WorldModelStage:
    torch.manual_seed(1)
    if request.param == "plain_tokenizer":
        plain = build_genie(changed(config, {"model.tokenizer.skips": False})).tokenizer
        return TokenizerStage(plain, seed=5).train()
    genie = build_genie(config)
    if request.param == "tokenizer":
        return TokenizerStage(genie.tokenizer, seed=5, colour_weight=3.0).train()
    return WorldModelStage(
        genie.latent_action,
        genie.dynamics,
        encode_tokens=genie.tokenizer.eval().encode,
        min_mask_rate=0.5,
        latents_share=0.5,
        seed=5,
    ).train()


def rows(batch: EpisodeBatch, *places: int) -> EpisodeBatch:
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    chosen = {k: v[list(places)] for k, v in values.items() if isinstance(v, Tensor)}
    return replace(batch, **chosen, episode_ids=tuple(batch.episode_ids[i] for i in places))


def learn(stage, parts) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Numbers and gradients of a batch that comes in parts."""
    stage.zero_grad()
    inputs = [stage.inputs(part, CPU) for part in parts]
    totals, found = pool([stage.totals(part) for part in inputs], OneProcess()), []
    for part in inputs:
        loss, sums = compute_loss(stage, part, totals)
        loss.backward()
        found.append({"loss": loss.detach(), **sums})
    gradients = {k: p.grad.clone() for k, p in stage.named_parameters() if p.grad is not None}
    return floats(pool(found, OneProcess())), gradients


@pytest.mark.parametrize("stage", STAGES, indirect=True)
@pytest.mark.parametrize("is_warm", [False, True])
def test_the_parts_of_a_batch_add_up_to_it(stage, batch, is_warm):
    if is_warm:
        for part in stage.modules():
            if hasattr(part, "warmup_steps"):
                part.num_steps.fill_(part.warmup_steps)
    numbers, gradients = learn(stage, [batch])
    for division in (((0, 1), (2, 3)), ((3,), (0,), (2,), (1,))):
        found, parts = learn(stage, [rows(batch, *places) for places in division])
        assert found == pytest.approx(numbers, rel=1e-6, abs=1e-6)
        assert parts.keys() == gradients.keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(parts[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("stage", STAGES, indirect=True)
def test_frames_of_padding_are_not_learned_from(stage, batch):
    """Changed where they are padding, the windows before them stay the same."""
    video = batch.video.clone()
    video[batch.is_pad] = 255 - video[batch.is_pad]
    totals = stage.totals(stage.inputs(batch, CPU))
    one, other = (
        compute_loss(stage, stage.inputs(candidate, CPU), totals)[0]
        for candidate in (batch, replace(batch, video=video))
    )
    torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("stage", ["plain_tokenizer"], indirect=True)
def test_the_tokenizers_loss_is_in_units_of_the_pixel_variance(stage, batch):
    stage.tokenizer.quantizer.warmup_steps = 0
    numbers, _ = learn(stage.eval(), [batch])
    pixels = batch.video.double() / 255
    with torch.no_grad():
        output = stage.tokenizer(pixels.float(), ~batch.is_pad)
    error = (output.video - pixels).square()[~batch.is_pad].mean()
    vq_loss = output.vq_loss[~batch.is_pad].mean()
    assert numbers["mse"] == pytest.approx(float(error), rel=1e-5)
    wanted = float(error / pixels.var(correction=0) + vq_loss)
    assert numbers["loss"] == pytest.approx(wanted, rel=1e-5)


def test_saturated_pixels_weigh_more(config, batch):
    """Red, of saturation 1, counts 1 + 3 where grey counts 1."""
    video = torch.full_like(batch.video, 128)
    video[..., : video.shape[3] // 2, :] = torch.tensor([255, 0, 0], dtype=torch.uint8)
    batch = replace(batch, video=video)
    torch.manual_seed(1)
    stage = TokenizerStage(build_genie(config).tokenizer, seed=5, colour_weight=3.0).eval()
    stage.tokenizer.quantizer.warmup_steps = 0
    numbers, _ = learn(stage, [batch])

    pixels = video.double() / 255
    with torch.no_grad():
        output = stage.tokenizer(pixels.float(), ~batch.is_pad)
    errors = (output.video - pixels).square()[~batch.is_pad]
    red, grey = errors.chunk(2, dim=2)
    vq_loss = output.vq_loss[~batch.is_pad].mean()
    weighted = (4 * red.mean() + grey.mean()) / 5
    wanted = float(weighted / pixels.var(correction=0) + vq_loss)
    assert numbers["loss"] == pytest.approx(wanted, rel=1e-5)
    assert numbers["mse"] == pytest.approx(float(errors.mean()), rel=1e-5)


@pytest.mark.parametrize("stage", ["world_model"], indirect=True)
def test_latent_actions_learn_from_their_own_loss_alone(stage, batch):
    """The codebook has a gradient, and none of it comes from the dynamics."""
    for part in stage.modules():
        if hasattr(part, "warmup_steps"):
            part.warmup_steps = 0
    _, gradients = learn(stage, [batch])
    codebook = gradients["latent_action.quantizer.codebook"]
    assert codebook.abs().sum() > 0
    assert gradients["dynamics.embed_action.weight"].abs().sum() > 0

    with torch.no_grad():  # dynamics that does something else altogether
        for parameter in stage.dynamics.parameters():
            parameter.mul_(3.0)
    _, others = learn(stage, [batch])
    for name in gradients:
        if name.startswith("latent_action."):
            assert torch.equal(gradients[name], others[name]), name


@pytest.mark.parametrize("stage", ["world_model"], indirect=True)
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_share_of_windows_is_steered_by_latents(stage, batch, share, monkeypatch):
    """The others by the codes of the same latents; a window is never steered by both."""
    for part in stage.modules():
        if hasattr(part, "warmup_steps"):
            part.warmup_steps = 0
    steering, forward = [], type(stage.dynamics).features

    def remember(model, tokens, actions, hidden):
        steering.append(actions)
        return forward(model, tokens, actions, hidden)

    monkeypatch.setattr(type(stage.dynamics), "features", remember)
    stage.latents_share = share
    learn(stage.eval(), [batch])
    with torch.no_grad():
        indices, latents = stage.latent_action.encode(batch.video.float() / 255)
    codes = stage.latent_action.codes(indices)
    draws = WindowNoise(5, batch.positions, STEERING).uniform(1)[:, 0]
    assert (draws < 0.5).any()
    assert (draws >= 0.5).any()
    for row, draw in enumerate(draws.tolist()):
        wanted = latents[row] if draw < share else codes[row]
        torch.testing.assert_close(steering[0][row], wanted, rtol=1e-5, atol=1e-6)
        assert not torch.allclose(latents[row], codes[row])
    assert not steering[0].requires_grad


def drawn(*positions: int, seed=0, purpose=MASK, shape=(3,)):
    return WindowNoise(seed, torch.tensor(positions), purpose).uniform(*shape)


def test_a_window_has_its_own_numbers_in_any_batch():
    together = drawn(4, 9, 2)
    assert torch.equal(together[1:2], drawn(9))
    assert torch.equal(together, drawn(2, 4, 9)[[1, 2, 0]])


def test_position_seed_and_purpose_change_them():
    found = [
        drawn(4),
        drawn(5),
        drawn(4, seed=5),
        drawn(5, seed=4),
        drawn(4, purpose=ENCODING),
        torch.rand(1, 3, generator=step_generator(0, 4)),
        torch.rand(1, 3, generator=step_generator(0, 5)),
    ]
    assert len({tuple(numbers.flatten().tolist()) for numbers in found}) == len(found)


def test_no_purpose_is_zero():
    """To numpy's SeedSequence (seed, position, 0) is (seed, position)."""
    assert 0 not in (STEP, MASK, ENCODING)


def test_a_generator_draws_on():
    noise = WindowNoise(0, torch.tensor([1]), MASK)
    assert not torch.equal(noise.uniform(3), noise.uniform(3))


def test_numbers_are_distributed_as_they_say():
    noise = WindowNoise(1, torch.arange(50), MASK)
    uniform, normal = noise.uniform(400), noise.normal(400)
    assert uniform.shape == normal.shape == (50, 400)
    assert 0 <= uniform.min() < 0.001
    assert 0.999 < uniform.max() < 1
    assert uniform.mean() == pytest.approx(0.5, abs=0.01)
    assert uniform.std() == pytest.approx(12**-0.5, abs=0.01)
    assert normal.mean() == pytest.approx(0.0, abs=0.03)
    assert normal.std() == pytest.approx(1.0, abs=0.03)
    assert abs(torch.corrcoef(normal)[0, 1:]).max() < 0.25  # windows are independent
