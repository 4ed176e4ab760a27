"""Every kind of latent action model: what it may see, what learns, that it learns, refusals."""

from dataclasses import replace

import pytest
import torch

from genie_robo.build import build_genie
from genie_robo.config import LatentActionConfig, QuantizerConfig
from genie_robo.models.optical_flow import patch_flow, warp
from genie_robo.models.quantizer import VectorQuantizer
from genie_robo.models.settings import (
    DecoderView,
    Joining,
    LatentActionInput,
    PatchLayers,
    Penalty,
    QuantizerKind,
    Space,
    Target,
)
from genie_robo.ranks import OneProcess
from tests.models.conftest import changed

HISTORY = {"decoder_view": DecoderView.history}
SQUARED = {"penalty": Penalty.squared}
NO_FLOW = {"flow": False, "sees_flow": False, "decoder_sees_code": True}
FRAME = NO_FLOW | {"target": Target.frame}
PAPER = HISTORY | SQUARED | FRAME | {"sees_difference": False}
TOKENS = {"input": LatentActionInput.tokens}

KINDS = {
    "default": {},
    "paper": PAPER,
    "tokens": TOKENS,
    "paper_tokens": TOKENS | HISTORY | {"sees_difference": False},
    "history": HISTORY,
    "frame": FRAME,
    "no_difference": {"sees_difference": False},
    "squared": SQUARED,
    "flow": {"target": Target.flow, "sees_flow": False},
    "sees_code": {"decoder_sees_code": True},
    "no_patch_flow": {"sees_flow": False},
    "no_motion": SQUARED | {"flow": False, "decoder_sees_code": True},
    "concatenated": {"actions": Joining.concatenated},
    "prepended": {"actions": Joining.prepended},
    "prepended_history": HISTORY | {"actions": Joining.prepended},
    "two_codes": SQUARED | {"codes_per_transition": 2},
    "box": {"quantizer": QuantizerConfig(num_codes=5, code_dim=3, space=Space.box)},
    "fsq": SQUARED
    | {
        "flow": False,
        "decoder_sees_code": True,
        "quantizer": QuantizerConfig(kind=QuantizerKind.fsq, num_codes=8),
    },
    "continuous": {
        "quantizer": QuantizerConfig(kind=QuantizerKind.continuous, num_codes=5, code_dim=3)
    },
}
SEES_ONE_FRAME = [name for name, kind in KINDS.items() if "decoder_view" not in kind]


def build(config, name, *, steady=True):
    """A Genie with the named latent action model, its output heads away from their zero start."""
    changes = dict(KINDS[name])
    actions = changes.pop("actions", config.model.actions)
    latent_action = replace(config.model.latent_action, **changes)
    config = changed(config, {"model.actions": actions, "model.latent_action": latent_action})
    torch.manual_seed(0)
    genie = build_genie(config).eval()
    if steady and hasattr(genie.latent_action, "to_change"):
        torch.nn.init.normal_(genie.latent_action.to_change.weight, std=0.1)
    return genie


def moving_squares(num_videos=8, num_frames=4):
    """A square that moves in one direction in each video: left, right, up or down."""
    generator = torch.Generator().manual_seed(4)
    rows = torch.randint(5, 8, (num_videos,), generator=generator)
    columns = torch.randint(10, 18, (num_videos,), generator=generator)
    video = torch.zeros(num_videos, num_frames, 16, 32, 3)
    for index in range(num_videos):
        down, right = [(0, -2), (0, 2), (-1, 0), (1, 0)][index % 4]
        for t in range(num_frames):
            row, column = int(rows[index]) + down * t, int(columns[index]) + right * t
            video[index, t, max(row, 0) : row + 5, max(column, 0) : column + 5] = 1.0
    return video


def forward(genie, video):
    with torch.no_grad():
        tokens = genie.tokenizer.encode(video)
    return genie.latent_action(video, tokens)


@pytest.fixture(params=KINDS)
def genie(request, config):
    # Untrained, a linear tokenizer gives changed frames other tokens; convolutions blur them.
    config = changed(config, {"model.tokenizer.patch_layers": PatchLayers.linear})
    return build(config, request.param)


def test_shapes_and_ranges(genie, video):
    model, output = genie.latent_action, forward(genie, video)
    actions = genie.infer_actions(video)

    assert output.error.shape == output.vq_loss.shape == output.indices.shape == (3, 5)
    assert output.steering.shape == output.continuous.shape == (3, 5, model.code_dim)
    assert 0 <= output.indices.min() <= output.indices.max() < model.num_codes
    assert torch.equal(actions.indices, output.indices)
    assert torch.equal(actions.continuous, model.quantizer.bound(output.continuous))
    assert model.codes(actions.indices).shape == output.steering.shape
    assert (model.error_unit(video) > 0).all()
    assert genie.dynamics.embed_action.in_features == model.code_dim


def test_latent_action_i_sees_frames_0_to_i_plus_1_only(genie, video):
    changed = video.clone()
    changed[:, 4:] = 1 - changed[:, 4:]

    before, after = genie.infer_actions(video), genie.infer_actions(changed)

    assert torch.equal(before.continuous[:, :3], after.continuous[:, :3])
    assert (before.continuous[:, 3:] != after.continuous[:, 3:]).any(dim=-1).all()


def test_with_fixed_codes_a_prediction_sees_no_frame_after_its_own(genie, video):
    model = genie.latent_action
    changed = video.clone()
    changed[:, 3] = 1 - changed[:, 3]
    codes = torch.randn(3, 6, model.code_dim)

    before, after = (
        model.predict(model.to_frames(clip, genie.tokenizer.encode(clip)), codes)
        for clip in (video, changed)
    )

    assert torch.equal(before[:, :3], after[:, :3])
    assert (before[:, 3] != after[:, 3]).any()


def moved_predictions(config, name, video, *, frame=None, code=None):
    """Which predictions change when one frame or one code does."""
    model = build(config, name).latent_action
    codes = torch.randn(3, 6, model.code_dim)
    frames = torch.randint(20, (3, 6, 8)) if model.reads_tokens else model.scale_down(video)
    other_frames, other_codes = frames.clone(), codes.clone()
    if frame is not None:
        other_frames[:, frame] = 1 - frames[:, frame] if frames.is_floating_point() else 7
    if code is not None:
        other_codes[:, code] += 3.0
    moved = model.predict(frames, codes) != model.predict(other_frames, other_codes)
    return moved.flatten(2).any(-1).any(0).tolist()


@pytest.mark.parametrize("name", KINDS)
def test_which_predictions_a_frame_and_a_code_move(config, video, name):
    later = name not in SEES_ONE_FRAME

    by_frame = moved_predictions(config, name, video, frame=2)
    by_code = moved_predictions(config, name, video, code=2)

    assert by_frame == [False, False, True, later, later, later]
    remembered = later and build(config, name).latent_action.from_code is not None
    assert by_code == [False, False, True, remembered, remembered, remembered]


def test_gradient_reaches_every_parameter(genie):
    model, video = genie.latent_action.train(), moving_squares()

    output = forward(genie, video)
    (output.error.mean() + output.vq_loss.mean()).backward()

    alone = "history" not in model.design.decoder_view
    idle = ("temporal.gain",) if alone else ()  # one frame attends to itself whatever the gain
    silent = {
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    }
    if isinstance(model.quantizer, VectorQuantizer) and model.quantizer.continuous:
        silent.remove("quantizer.codebook")  # it follows without a gradient
    assert all(name.startswith("decoder.") and name.endswith(idle) for name in silent), silent
    assert all(parameter.grad is None for parameter in genie.tokenizer.parameters())


@pytest.mark.parametrize("name", KINDS)
def test_the_error_falls_in_twenty_steps(config, name):
    genie, video = build(config, name, steady=False), moving_squares()
    model, tokens = genie.latent_action.train(), genie.tokenizer.encode(video)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    errors = []
    for _ in range(21):
        output = model(video, tokens)
        error = output.error.sum() / model.error_unit(video).sum()
        (error + output.vq_loss.mean()).backward()
        optimizer.step()
        optimizer.zero_grad()
        model.finish_step(OneProcess(), torch.Generator().manual_seed(0))
        errors.append(error.item())

    assert errors[-1] < 0.9 * errors[0]


@pytest.mark.parametrize("name", ["default", "squared"])
def test_the_error_of_pixels_is_a_mean_and_its_unit_that_of_the_change(config, video, name):
    model = build(config, name).latent_action
    output, seen = model(video), model.scale_down(video)
    predicted = model.predict(seen[:, :-1], output.steering)

    def mean(difference):
        size = difference.abs()
        if name == "squared":
            return (size**2).mean()
        level = 1 / 255
        return torch.where(size < level, size**2 / (2 * level), size - level / 2).mean()

    torch.testing.assert_close(output.error[1, 2], mean(predicted[1, 2] - seen[1, 3]))
    torch.testing.assert_close(model.error_unit(video)[1, 2], mean(seen[1, 3] - seen[1, 2]))


def test_the_error_of_tokens_is_the_cross_entropy_in_nats(config, video):
    genie = build(config, "tokens")
    model, tokens = genie.latent_action, genie.tokenizer.encode(video)
    output = model(video, tokens)
    logits = model.predict(tokens[:, :-1], output.steering)

    shares = logits.softmax(-1)[1, 2, torch.arange(8), tokens[1, 3]]

    torch.testing.assert_close(output.error[1, 2], -shares.log().mean())
    assert model.error_unit(video).tolist() == [[1.0] * 5] * 3


def test_the_frame_as_target_stays_between_black_and_white(config, video):
    model = build(config, "paper").latent_action
    torch.nn.init.normal_(model.to_change.weight, std=10.0)

    predicted = model.predict(model.scale_down(video), torch.randn(3, 6, model.code_dim))

    assert 0 <= predicted.min() < 0.1
    assert 0.9 < predicted.max() <= 1


def test_decoding_shows_pixels_at_the_resolution_that_the_model_sees(config, video):
    model = build(config, "default").latent_action
    indices = model.encode(video).indices

    decoded = model.decode(video[:, :-1], indices)

    predicted = model.predict(model.scale_down(video[:, :-1]), model.codes(indices))
    assert decoded.shape == (3, 5, 8, 16, 3)
    assert torch.equal(decoded, predicted.clamp(0, 1))


def test_without_tokens_a_model_that_reads_them_refuses(config, video):
    model = build(config, "tokens").latent_action

    with pytest.raises(ValueError, match=r"input=tokens and got a video of 6 frames without"):
        model(video)
    with pytest.raises(ValueError, match=r"input=tokens: it predicts tokens, not pixels"):
        model.decode(video, torch.zeros(3, 6).long())


def test_a_code_that_nothing_sees_is_refused():
    with pytest.raises(ValueError, match="decoder_sees_code=false leaves the code to the flow"):
        LatentActionConfig(flow=False, decoder_sees_code=False)


def test_without_layers_that_see_the_code_a_motion_is_linear_in_it(config, monkeypatch):
    """A ramp of colour changes by its motion; the added change does not depend on the code."""
    model = build(config, "default", steady=False).latent_action
    monkeypatch.setattr(type(model.motion_size), "forward", lambda self: torch.tensor(0.2))
    ramp = torch.linspace(0.2, 0.8, 16)[:, None].expand(3, 6, 8, 16, 3).contiguous()
    codes = torch.randn(3, 6, model.code_dim)

    none, once, twice = (model.predict(ramp, codes * n)[:, :, :, 4:-4] for n in (0, 1, 2))

    assert (once - none).abs().max() > 1e-4
    torch.testing.assert_close(twice - none, 2 * (once - none), atol=1e-5, rtol=1e-3)


def test_a_flow_needs_a_predicted_change():
    with pytest.raises(ValueError, match="flow=true moves the frame before, but target=frame"):
        LatentActionConfig(target=Target.frame, flow=True)


def test_a_flow_brings_pixels_from_where_it_points():
    frames = torch.rand(2, 3, 4, 6, 1)
    right, down = torch.zeros(2, 3, 4, 6, 2), torch.zeros(2, 3, 4, 6, 2)
    right[..., 0], down[..., 1] = 1, 1

    torch.testing.assert_close(warp(frames, torch.zeros_like(right)), frames)
    torch.testing.assert_close(warp(frames, right)[..., :-1, :], frames[..., 1:, :])
    torch.testing.assert_close(warp(frames, right)[..., -1, :], frames[..., -1, :])
    torch.testing.assert_close(warp(frames, down)[:, :, :-1], frames[:, :, 1:])


@pytest.mark.parametrize(("right", "down"), [(0.3, 0.0), (0.0, -0.4), (0.2, 0.5)])
def test_the_flow_of_patches_is_how_far_they_moved(right, down):
    y, x = torch.meshgrid(torch.arange(24.0), torch.arange(32.0), indexing="ij")

    def wave(t):
        return 0.5 + 0.5 * ((y - down * t) / 2.3).sin() + 0.5 * ((x - right * t) / 1.9).sin()

    video = torch.stack([wave(t) for t in range(3)])[None, ..., None].expand(2, -1, -1, -1, 3)
    flow = patch_flow(video, 4).unflatten(2, (6, 8))

    assert not flow[:, 0].any()
    moved = flow[:, 1:, 1:-1, 1:-1].flatten(0, 3).median(0).values
    torch.testing.assert_close(moved, torch.tensor([right, down]), atol=0.06, rtol=0)
    assert not patch_flow(torch.full((1, 3, 8, 8, 3), 0.3), 4).any()


def test_tokens_need_no_other_settings():
    """Settings of pixels only have no effect, so input=tokens suffices on a command line."""
    config = LatentActionConfig(input=LatentActionInput.tokens)

    assert config.flow
    assert config.target is Target.change


def flow_model(config):
    model = build(config, "flow").latent_action
    model.motion_size.guess = 0.5
    return model


def test_the_error_of_a_flow_is_in_units_of_the_usual_motion(config, video):
    model = flow_model(config)
    flow = patch_flow(model.scale_down(video), model.patch_size)[:, 1:].clamp(-4, 4) / 0.5

    def size(motion):
        distance = motion.abs()
        return torch.where(distance < 0.5, distance**2, distance - 0.25).mean()

    output = model(video)
    predicted = model.predict(model.scale_down(video)[:, :-1], output.steering) / 0.5
    torch.testing.assert_close(model.error_unit(video)[1, 2], size(flow[1, 2]))
    torch.testing.assert_close(output.error[1, 2], size(predicted[1, 2] - flow[1, 2]))


def test_a_predicted_flow_is_linear_in_the_code_and_moves_the_frame(config, video, monkeypatch):
    model = flow_model(config)
    frames, codes = model.scale_down(video), torch.randn(3, 6, model.code_dim)
    torch.testing.assert_close(model.predict(frames, -2 * codes), -2 * model.predict(frames, codes))

    indices = model.encode(video).indices
    decoded = model.decode(video[:, :-1], indices)
    assert decoded.shape == (3, 5, 8, 16, 3)
    right = torch.tensor([1.0, 0.0]).expand(3, 5, 2, 2)
    monkeypatch.setattr(model, "predict", lambda frames, codes: right)
    moved = model.decode(video[:, :-1], indices)
    torch.testing.assert_close(moved[..., 1:, :], frames[:, :-1, :, :-1])


def test_a_flow_as_target_needs_the_flow():
    with pytest.raises(ValueError, match="target=flow predicts a flow, but flow=false"):
        LatentActionConfig(target=Target.flow, flow=False, decoder_sees_code=True)
