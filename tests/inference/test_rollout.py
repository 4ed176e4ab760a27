import copy
import math

import pytest
import torch

from genie_robo.build import build_genie
from genie_robo.inference.rollout import imagine, mean_steering
from genie_robo.inference.sampler import decode_frame, token_entropy
from genie_robo.inference.settings import Order, Sampler
from genie_robo.models.dynamics import DynamicsModel
from genie_robo.settings import Precision
from genie_robo.types import video_to_bytes, video_to_float
from tests.models.conftest import toy_config

SAMPLER = Sampler(num_steps=3)


@pytest.fixture(scope="module")
def genie():
    torch.manual_seed(0)
    return build_genie(toy_config()).eval()


@pytest.fixture
def prompt():
    generator = torch.Generator().manual_seed(2)
    return torch.randint(256, (2, 1, 16, 32, 3), generator=generator).byte()


def test_rollout_holds_the_prompt_and_one_frame_per_action(genie, prompt):
    actions = torch.tensor([[0, 1, 2], [3, 4, 0]])

    rollout = imagine(genie, prompt, actions, seeds=[1, 2], sampler=SAMPLER)

    assert rollout.tokens.shape == (2, 4, 8)
    assert rollout.video.shape == (2, 4, 16, 32, 3)
    assert torch.equal(rollout.latent_actions, actions)
    assert torch.equal(rollout.tokens[:, :1], genie.tokenizer.encode(video_to_float(prompt)))
    assert rollout.tokens.max() < genie.tokenizer.num_codes


def test_same_seed_same_rollout_whatever_the_batch(genie, prompt):
    actions = torch.tensor([[0, 1, 2], [3, 4, 0]])

    together = imagine(genie, prompt, actions, seeds=[1, 2], sampler=SAMPLER)
    alone = imagine(genie, prompt[1:], actions[1:], seeds=[2], sampler=SAMPLER)
    other = imagine(genie, prompt[1:], actions[1:], seeds=[3], sampler=SAMPLER)

    assert torch.equal(together.tokens[1:], alone.tokens)
    assert not torch.equal(alone.tokens, other.tokens)


@pytest.mark.parametrize("order", list(Order))
def test_the_batch_does_not_matter_with_every_option_on(genie, prompt, order):
    actions = torch.tensor([[0, 1, 2], [3, 4, 0]])
    sampler = Sampler(num_steps=3, temperature=1.5, order=order, top_k=5, guidance=2.5)

    together = imagine(genie, prompt, actions, seeds=[1, 2], sampler=sampler)
    alone = imagine(genie, prompt[1:], actions[1:], seeds=[2], sampler=sampler)

    assert torch.equal(together.tokens[1:], alone.tokens)


def test_precision_reaches_every_product_of_dynamics_and_decoder(genie, prompt):
    genie = copy.deepcopy(genie)
    seen = set()
    for stack in (genie.dynamics.transformer, genie.tokenizer.decoder):
        stack.blocks[0].ff[0].register_forward_hook(lambda _, x, y: seen.add(y.dtype))
    actions = torch.tensor([[0, 1, 2], [3, 4, 0]])

    def tokens(precision):
        seen.clear()
        sampler = Sampler(num_steps=3, temperature=0.0, precision=precision)
        return imagine(genie, prompt, actions, seeds=[1, 2], sampler=sampler).tokens

    in_fp32 = tokens(Precision.fp32)
    assert seen == {torch.float32}
    in_bf16 = tokens(Precision.bf16)
    assert seen == {torch.bfloat16}
    assert torch.equal(in_fp32[:, 0], in_bf16[:, 0])  # prompts are encoded in fp32
    assert in_bf16.max() < genie.tokenizer.num_codes


def test_given_actions_are_used(genie, prompt):
    zeros, ones = torch.zeros(2, 2, dtype=torch.long), torch.ones(2, 2, dtype=torch.long)
    with torch.no_grad():
        genie.dynamics.embed_action.weight.mul_(200)
    first = imagine(genie, prompt, zeros, seeds=[1, 2], sampler=SAMPLER)
    second = imagine(genie, prompt, ones, seeds=[1, 2], sampler=SAMPLER)
    with torch.no_grad():
        genie.dynamics.embed_action.weight.div_(200)

    assert not torch.equal(first.tokens, second.tokens)


def test_actions_inside_a_longer_prompt_are_inferred(genie):
    prompt = torch.randint(256, (1, 3, 16, 32, 3)).byte()

    rollout = imagine(genie, prompt, torch.tensor([[4]]), seeds=[0], sampler=SAMPLER)

    inferred = genie.latent_action.encode(video_to_float(prompt)).indices
    assert torch.equal(rollout.latent_actions[:, :2], inferred)
    assert rollout.latent_actions[0, 2] == 4
    assert rollout.num_prompt_frames == 3


def test_rollout_goes_on_beyond_the_window(genie, prompt):
    actions = torch.zeros(2, 3 * genie.num_frames, dtype=torch.long)

    rollout = imagine(genie, prompt, actions, seeds=[1, 2], sampler=SAMPLER)

    assert rollout.tokens.shape[1] == 3 * genie.num_frames + 1


@pytest.mark.parametrize(
    ("order", "asked"), [(Order.random, [2, 3, 5, 6]), (Order.confidence, [16, 16, 16, 16])]
)
def test_decode_frame_reveals_what_the_schedule_says_and_asks_for_no_more(order, asked):
    hidden, places_asked = [], []

    def logits(tokens, places):
        hidden.append((tokens == 4).sum(1).tolist())
        places_asked.append(places.shape[1])
        return torch.randn(2, places.shape[1], 4)

    tokens, entropy = decode_frame(
        logits,
        torch.full((2, 16), 4),
        sampler=Sampler(num_steps=4, order=order),
        generators=[torch.Generator().manual_seed(seed) for seed in (0, 1)],
    )

    assert hidden == [[16] * 2, [14] * 2, [11] * 2, [6] * 2]
    assert places_asked == asked
    assert tokens.max() < 4
    assert ((entropy > 0) & (entropy <= math.log(4))).all()


@pytest.mark.parametrize("order", list(Order))
def test_known_tokens_never_change(order):
    frames = []

    def logits(tokens, places):
        frames.append(tokens)
        return torch.randn(1, places.shape[1], 8)

    last = decode_frame(
        logits,
        torch.full((1, 30), 8),
        sampler=Sampler(num_steps=7, order=order),
        generators=[torch.Generator().manual_seed(3)],
    ).tokens
    for before in frames:
        known = before != 8
        assert torch.equal(last[known], before[known])


def test_pixels_round_trip_through_floats():
    pixels = torch.arange(256).byte().reshape(1, 1, 16, 16, 1)

    assert torch.equal(video_to_bytes(video_to_float(pixels)), pixels)


def test_refusals_name_what_was_found(genie, prompt):
    with pytest.raises(ValueError, match=r"must be 0\.\.4.*from 0 to 5"):
        imagine(genie, prompt, torch.tensor([[0], [5]]), seeds=[1, 2])
    with pytest.raises(ValueError, match=r"2 rows of latent actions and 1 seeds"):
        imagine(genie, prompt, torch.tensor([[0], [1]]), seeds=[1])
    with pytest.raises(ValueError, match=r"2 prompts and 3 seeds"):
        imagine(genie, prompt, torch.zeros(3, 1, dtype=torch.long), seeds=[1, 2, 3])
    with pytest.raises(ValueError, match=r"the prompt has 8x32 pixels.*trained on 16x32"):
        imagine(genie, prompt[:, :, :8], torch.tensor([[0], [1]]), seeds=[1, 2])
    with pytest.raises(ValueError, match=r"num_steps=0"):
        Sampler(num_steps=0)
    with pytest.raises(ValueError, match=r"top_k=-1 must be at least 0 .*guidance=1.0"):
        Sampler(top_k=-1)
    with pytest.raises(ValueError, match=r"guidance=-0.5 at least 0"):
        Sampler(guidance=-0.5)


@pytest.mark.parametrize("guidance", [0.0, 2.0])
def test_guidance_goes_from_the_mean_code_past_the_given_one(genie, prompt, guidance):
    """The logits that a frame is decoded from, against two whole windows without a cache."""
    code = genie.latent_action.codes(torch.tensor([[3], [4]]))
    past = genie.tokenizer.encode(video_to_float(prompt))
    hidden = torch.full((2, 1, 8), genie.dynamics.mask_token)
    window = torch.cat([past, hidden], 1)
    free = genie.dynamics(window, mean_steering(genie).expand_as(code))[:, -1]
    wanted = free + guidance * (genie.dynamics(window, code)[:, -1] - free)

    sampler = Sampler(num_steps=1, temperature=0.0, guidance=guidance)
    rollout = imagine(genie, prompt, torch.tensor([[3], [4]]), seeds=[0, 0], sampler=sampler)

    assert torch.equal(rollout.tokens[:, 1], wanted.argmax(-1))
    torch.testing.assert_close(rollout.token_entropy[:, 1], token_entropy(wanted))


def test_guidance_of_one_computes_nothing_more(genie, prompt, monkeypatch):
    calls = []
    computed = DynamicsModel.next_frame
    monkeypatch.setattr(
        DynamicsModel, "next_frame", lambda *args: calls.append(1) or computed(*args)
    )
    actions = torch.tensor([[0], [1]])

    for guidance in (1.0, 2.0):
        sampler = Sampler(num_steps=3, guidance=guidance)
        imagine(genie, prompt, actions, seeds=[0, 1], sampler=sampler)

    assert len(calls) == 3 + 2 * 3
