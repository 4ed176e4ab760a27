"""What the KV caches compute, against the same frames computed without one."""

import gc
from dataclasses import replace

import pytest
import torch

from genie_robo.build import build_genie
from genie_robo.config import TokenizerKind
from genie_robo.inference.rollout import Imagination, Past, imagine
from genie_robo.inference.settings import Sampler
from genie_robo.types import video_to_bytes, video_to_float
from tests.models.conftest import toy_config

SAMPLER = Sampler(num_steps=3, temperature=1.0)
WINDOW = 6


def build(seed=0, kind=TokenizerKind.st_vivit):
    torch.manual_seed(seed)
    config = toy_config()
    tokenizer = replace(config.model.tokenizer, kind=kind)
    genie = build_genie(replace(config, model=replace(config.model, tokenizer=tokenizer))).eval()
    assert genie.num_frames == WINDOW
    with torch.no_grad():  # attention of fresh weights is nearly uniform
        for name, weight in genie.named_parameters():
            if weight.dim() == 2 and not name.startswith("latent_action"):
                weight.mul_(3)
    return genie


@pytest.fixture(scope="module")
def genie():
    return build()


def draw_prompt(batch, num_frames=1):
    generator = torch.Generator().manual_seed(num_frames)
    return torch.randint(256, (batch, num_frames, 16, 32, 3), generator=generator).byte()


def steering_of(genie, prompt, rollout):
    """What led to every frame: in the prompt the latents, after it the codes that were given."""
    codes = genie.latent_action.codes(rollout.latent_actions)
    if prompt.shape[1] > 1:
        with torch.no_grad():
            latents = genie.infer_actions(video_to_float(prompt)).continuous
        codes[:, : latents.shape[1]] = latents
    return codes


def draw_actions(batch, count):
    return torch.randint(5, (batch, count), generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    ("num_prompt", "horizon"),
    [(prompt, horizon) for prompt in (1, 3) for horizon in range(1, WINDOW - prompt + 1)],
)
def test_logits_of_every_decode_step_are_those_of_the_whole_window(
    genie, monkeypatch, batch, num_prompt, horizon
):
    asked = []
    cached = genie.dynamics.next_frame

    def remember(tokens, code, cache, places):
        logits = cached(tokens, code, cache, places)
        asked.append((tokens, places, logits))
        return logits

    monkeypatch.setattr(genie.dynamics, "next_frame", remember)
    prompt, actions = draw_prompt(batch, num_prompt), draw_actions(batch, horizon)
    rollout = imagine(genie, prompt, actions, seeds=range(batch), sampler=SAMPLER)

    assert len(asked) == horizon * SAMPLER.num_steps
    codes = steering_of(genie, prompt, rollout)
    for number, (tokens, places, logits) in enumerate(asked):
        frame = num_prompt + number // SAMPLER.num_steps
        window = torch.cat([rollout.tokens[:, :frame], tokens], dim=1)
        full = genie.dynamics(window, codes[:, :frame])[:, -1]
        wanted = full.take_along_dim(places[..., None], dim=1)
        torch.testing.assert_close(logits, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", list(TokenizerKind))
@pytest.mark.parametrize("batch", [1, 3])
def test_decoded_pixels_are_those_of_the_whole_window(kind, batch):
    genie = build(kind=kind)
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randint(20, (batch, WINDOW, 8), generator=generator)
    cache = genie.tokenizer.decoder.new_cache(WINDOW)

    with torch.no_grad():
        frames = [genie.tokenizer.paint(frame[:, None], cache) for frame in tokens.unbind(1)]
        whole = genie.tokenizer.paint(tokens)

    for horizon in range(1, WINDOW + 1):
        torch.testing.assert_close(
            torch.cat(frames[:horizon], 1), whole[:, :horizon], atol=1e-5, rtol=0
        )


@pytest.mark.parametrize("num_prompt", [1, WINDOW + 2])
def test_beyond_the_window_logits_are_those_of_the_frames_since_the_last_beginning(
    genie, monkeypatch, num_prompt
):
    """A full window of 6 begins again with 3: a new frame has 3, 4, 5, 3, 4, 5, ... before it."""
    asked = []
    computed = Past.logits

    def remember(past, tokens, code, places):
        logits = computed(past, tokens, code, places)
        asked.append((tokens, places, logits))
        return logits

    monkeypatch.setattr(Past, "logits", remember)
    horizon = 3 * WINDOW
    prompt, actions = draw_prompt(2, num_prompt), draw_actions(2, horizon)
    rollout = imagine(genie, prompt, actions, seeds=[0, 1], sampler=SAMPLER)

    codes = steering_of(genie, prompt, rollout)
    lengths = []
    for step in range(horizon):
        frame = num_prompt + step
        first = 0 if frame < WINDOW else frame - 3 - (frame - WINDOW) % 3
        lengths.append(frame - first)
        tokens, places, logits = asked[step * SAMPLER.num_steps]
        window = torch.cat([rollout.tokens[:, first:frame], tokens[:, None]], dim=1)
        with torch.no_grad():
            full = genie.dynamics(window, codes[:, first:frame])[:, -1]
            painted = genie.tokenizer.paint(rollout.tokens[:, first : frame + 1])[:, -1]
        wanted = full.take_along_dim(places[..., None], dim=1)
        torch.testing.assert_close(logits, wanted, atol=1e-5, rtol=0)
        stays = (rollout.tokens[:, frame] == rollout.tokens[:, frame - 1]).unflatten(1, (2, 4))
        stays = stays.repeat_interleave(8, 1).repeat_interleave(8, 2)[..., None]
        pixels = torch.where(stays, rollout.video[:, frame - 1], video_to_bytes(painted))
        difference = rollout.video[:, frame].int() - pixels.int()
        assert difference.abs().max() <= 1  # where rounding to bytes is a tie
    assert max(lengths) == WINDOW - 1
    assert min(lengths[WINDOW:]) == 3


def logits_after(genie, tokens, codes):
    """Of the last frame, decoded behind the others through a cache of one window."""
    cache = genie.dynamics.transformer.new_cache(WINDOW)
    everywhere = torch.arange(8).expand(len(tokens), 8)
    with torch.no_grad():
        for t, frame in enumerate(tokens.unbind(1)):
            code = codes[:, max(t - 1, 0) : t]
            logits = genie.dynamics.next_frame(frame[:, None], code, cache, everywhere)
            genie.dynamics.remember(frame[:, None], code, cache)
    return logits


@pytest.fixture(scope="module")
def long_past(genie):
    generator = torch.Generator().manual_seed(5)
    tokens = torch.randint(20, (4, 3 * WINDOW, 8), generator=generator)
    return tokens, genie.latent_action.codes(draw_actions(4, 3 * WINDOW - 1))


@pytest.mark.parametrize(
    ("frames_back", "is_seen"), [(5, True), (6, True), (10, True), (11, False)]
)
def test_a_cache_that_slides_reaches_one_window_back_in_every_block(
    genie, long_past, frames_back, is_seen
):
    """Two blocks that look back five frames each: the tenth frame back is the last to matter."""
    tokens, codes = long_past
    changed = tokens.clone()
    changed[:, -1 - frames_back] = (changed[:, -1 - frames_back] + 7) % 20

    difference = logits_after(genie, tokens, codes) - logits_after(genie, changed, codes)

    assert (difference.abs().max() > 1e-6) == is_seen


def test_a_cache_that_slides_is_close_to_the_last_window_from_scratch_but_not_equal(
    genie, long_past
):
    tokens, codes = long_past
    with torch.no_grad():
        scratch = genie.dynamics(tokens[:, -WINDOW:], codes[:, 1 - WINDOW :])[:, -1]
        elsewhere = genie.dynamics(tokens[:, :WINDOW], codes[:, : WINDOW - 1])[:, -1]

    def moved(logits):
        """Total variation distance of the token distributions from those computed from scratch."""
        return (logits.softmax(-1) - scratch.softmax(-1)).abs().sum(-1).mean() / 2

    cached = moved(logits_after(genie, tokens, codes))
    assert 1e-4 < cached < 0.2 * moved(elsewhere)


def test_cache_stays_where_it_was_allocated(genie):
    imagination = Imagination(genie, draw_prompt(2), seeds=[0, 1], sampler=SAMPLER)

    def places():
        past = imagination._past
        blocks = past._cache.blocks + past._decoder._cache.blocks
        return [(block.keys.data_ptr(), block.values.data_ptr()) for block in blocks]

    before = places()
    for action in draw_actions(2, 3 * WINDOW).unbind(1):
        imagination.step(action)
        assert places() == before


@pytest.mark.parametrize("keep", [False, True])
def test_memory_grows_only_where_frames_are_kept(genie, keep):
    imagination = Imagination(genie, draw_prompt(2), seeds=[0, 1], sampler=SAMPLER, keep=keep)

    def num_tensors():
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    counts = []
    for _ in range(2):
        for _ in range(WINDOW):
            imagination.step(torch.tensor([1, 2]))
        counts.append(num_tensors())

    assert (counts[0] == counts[1]) == (not keep)


def test_without_keeping_the_last_frame_is_all_there_is(genie):
    prompt, actions = draw_prompt(2), draw_actions(2, 4)
    kept = imagine(genie, prompt, actions, seeds=[0, 1], sampler=SAMPLER)
    imagination = Imagination(genie, prompt, seeds=[0, 1], sampler=SAMPLER)
    assert torch.equal(imagination.frame, kept.video[:, 0])
    frames = [imagination.step(action) for action in actions.unbind(1)]

    assert torch.equal(torch.stack(frames, 1), kept.video[:, 1:])
    with pytest.raises(RuntimeError, match="keeps its last frame alone; make it with keep=True"):
        imagination.rollout()
    assert torch.equal(imagination.tokens, kept.tokens[:, -1])
    assert torch.equal(imagination.frame, kept.video[:, -1])
    assert torch.equal(imagination.uncertainty, kept.uncertainty[:, -1])
    assert kept.uncertainty.shape == (2, 5)
    assert (kept.uncertainty[:, 0] == 0).all()
    assert (kept.uncertainty[:, 1:] > 0).all()


@pytest.mark.parametrize("num_prompt", [1, 3])
def test_branches_from_one_prompt_are_the_rollouts_that_they_would_be_alone(
    genie, monkeypatch, num_prompt
):
    prompt, actions = draw_prompt(1, num_prompt), draw_actions(8, 4)
    encoded = []
    encode = genie.tokenizer.encode
    monkeypatch.setattr(
        genie.tokenizer, "encode", lambda video: encoded.append(len(video)) or encode(video)
    )
    together = imagine(genie, prompt, actions, seeds=range(8), sampler=SAMPLER)
    assert encoded == [1]

    for branch in range(8):
        alone = imagine(
            genie, prompt, actions[branch : branch + 1], seeds=[branch], sampler=SAMPLER
        )
        assert torch.equal(together.tokens[branch : branch + 1], alone.tokens)
        assert torch.equal(together.latent_actions[branch : branch + 1], alone.latent_actions)
        assert torch.equal(together.video[branch : branch + 1], alone.video)


def test_prompt_longer_than_the_window(genie):
    prompt = draw_prompt(1, WINDOW + 3)

    rollout = imagine(genie, prompt, draw_actions(1, 2), seeds=[0], sampler=SAMPLER)

    assert rollout.num_prompt_frames == WINDOW + 3
    with torch.no_grad():
        tokens = genie.tokenizer.encode(video_to_float(prompt))
    assert torch.equal(rollout.tokens[:, : WINDOW + 3], tokens)
