import math

import pytest
import torch

from genie_robo.build import build_genie
from genie_robo.config import PatchLayers
from genie_robo.inference.rollout import Imagination, imagine
from genie_robo.inference.sampler import decode_frame, disagreement, token_entropy
from genie_robo.inference.settings import Order, Sampler
from genie_robo.types import video_to_float
from tests.models.conftest import changed, toy_config
from tests.waiting_operations import Waits


def test_entropy_known_answers():
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [50.0, 0.0, 0.0, 0.0], [1.0, 1.0, -90.0, -90.0]])

    expected = torch.tensor([math.log(4), 0.0, math.log(2)])
    torch.testing.assert_close(token_entropy(logits), expected, atol=1e-5, rtol=0)


def test_disagreement_is_the_share_that_differs_from_the_mode():
    samples = torch.tensor([[7, 1], [7, 2], [7, 1], [7, 3]])

    assert disagreement(samples).tolist() == [0.0, 0.5]
    assert disagreement(samples[:, None]).shape == (1, 2)
    assert disagreement(torch.arange(5)[:, None]).tolist() == [pytest.approx(0.8)]


def draw_images(colors, count, generator):
    """Patches of random colours among those given."""
    chosen = colors[torch.randint(len(colors), (count, 1, 2, 4), generator=generator)]
    return (chosen.repeat_interleave(8, 2).repeat_interleave(8, 3) * 255).byte()


@pytest.fixture(scope="module")
def colors():
    return torch.rand(12, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def still_world(colors):
    """A genie whose dynamics learned that images in the first six colours never change."""
    torch.manual_seed(0)
    # Untrained, a linear tokenizer gives every colour its own token; convolutions blur them.
    config = changed(toy_config(), {"model.tokenizer.patch_layers": PatchLayers.linear})
    genie = build_genie(config).eval()
    optimizer = torch.optim.AdamW(genie.dynamics.parameters(), lr=3e-3)
    actions = genie.latent_action.codes(torch.zeros(32, 1, dtype=torch.long)).detach()
    generator = torch.Generator().manual_seed(1)
    for _ in range(120):
        video = video_to_float(draw_images(colors[:6], 32, generator))
        with torch.no_grad():
            tokens = genie.tokenizer.encode(video).repeat(1, 2, 1)
        rate = torch.rand(32, 1, generator=generator).clamp(min=0.5)
        is_hidden = torch.rand(32, 8, generator=generator) < rate
        seen = tokens.clone()
        seen[:, 1] = tokens[:, 1].masked_fill(is_hidden, genie.dynamics.mask_token)
        logits = genie.dynamics(seen, actions)[:, 1]
        loss = torch.nn.functional.cross_entropy(logits[is_hidden], tokens[:, 1][is_hidden])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return genie


def test_uncertainty_and_disagreement_rise_on_colours_never_seen(still_world, colors):
    def measure(some_colors):
        """Share of tokens that stay, uncertainty, disagreement of eight samples of each prompt."""
        prompts = draw_images(some_colors, 8, torch.Generator().manual_seed(2))
        rollout = imagine(
            still_world,
            prompts.repeat_interleave(8, 0),
            torch.zeros(64, 1, dtype=torch.long),
            seeds=range(64),
            sampler=Sampler(num_steps=4, temperature=1.0),
        )
        before, after = rollout.tokens.unbind(1)
        samples = after.reshape(8, 8, -1).transpose(0, 1)
        assert rollout.token_entropy.shape == rollout.tokens.shape
        return (
            (before == after).float().mean(),
            rollout.uncertainty[:, 1].mean(),
            disagreement(samples).mean(),
        )

    known, foreign = measure(colors[:6]), measure(colors[6:])

    assert known[0] > 0.98 > 0.85 > foreign[0]
    assert foreign[1] > 3 * known[1]
    assert foreign[2] > known[2] + 0.02


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("top_k", [0, 3])
def test_no_decode_step_waits_for_the_device(order, top_k):
    """On device `meta`, where nothing can be read back: noise is all that is copied to it."""
    hidden = torch.full((2, 8), 16, device="meta")
    with Waits() as waits:
        decoded = decode_frame(
            lambda known, places: torch.empty(*places.shape, 16, device="meta"),
            hidden,
            sampler=Sampler(num_steps=2, order=order, top_k=top_k),
            generators=[torch.Generator(), torch.Generator()],
        )
    assert decoded.tokens.shape == (2, 8)
    assert waits.found == []


@pytest.mark.parametrize("order", Order)
def test_no_imagined_frame_waits_for_the_device(order):
    genie = build_genie(toy_config()).eval()
    prompt = torch.zeros(2, 1, *genie.tokenizer.image_size, 3, dtype=torch.uint8)
    sampler = Sampler(num_steps=2, order=order)
    imagination = Imagination(genie, prompt, seeds=[0, 1], sampler=sampler)
    for code in range(genie.num_frames + 1):  # beyond the window, where caches restart
        with Waits() as waits:
            imagination.step(torch.tensor([code % 5, 0]))
        assert waits.found == []
