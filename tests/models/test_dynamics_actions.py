"""Dynamics with each way of joining a latent action to its frame."""

import pytest
import torch
import torch.nn.functional as F

from genie_robo.build import build_genie
from genie_robo.models.dynamics import DynamicsModel
from genie_robo.models.settings import Joining
from genie_robo.models.transformer import STTransformer
from genie_robo.train.stages import masked_token_loss
from tests.models.conftest import changed


@pytest.fixture(params=Joining)
def dynamics(request, config):
    config = changed(config, {"model.actions": request.param})
    torch.manual_seed(0)
    model = build_genie(config).dynamics.eval()
    torch.nn.init.normal_(model.embed_action.bias, std=0.1)
    torch.nn.init.normal_(model.to_copy.weight)
    return model


@pytest.fixture
def tokens():
    return torch.randint(20, (2, 6, 8), generator=torch.Generator().manual_seed(3))


@pytest.fixture
def actions():
    return torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(4))


def test_the_cache_gives_the_logits_of_the_full_window(dynamics, tokens, actions):
    full = dynamics(tokens, actions)
    cache, everywhere = dynamics.transformer.new_cache(6), torch.arange(8).expand(2, 8)

    frames = []
    for t in range(6):
        action, frame = actions[:, max(t - 1, 0) : t], tokens[:, t : t + 1]
        hidden = torch.full((2, 1, 8), dynamics.mask_token)
        dynamics.next_frame(hidden, action, cache, everywhere)  # leaves nothing behind
        frames.append(dynamics.next_frame(frame, action, cache, everywhere))
        dynamics.remember(frame, action, cache)

    torch.testing.assert_close(torch.stack(frames, 1), full, atol=1e-5, rtol=0)


def test_a_clean_past_trains_every_frame_as_it_is_imagined(dynamics, tokens, actions):
    everywhere = torch.arange(8).expand(2, 8)
    hidden = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(5)) < 0.6
    masked = tokens.masked_fill(hidden, dynamics.mask_token)
    trained = dynamics.features(tokens, actions, hidden)

    for t in range(1, 6):
        cache = dynamics.transformer.new_cache(6)
        dynamics.remember(tokens[:, :t], actions[:, : t - 1], cache)
        imagined = dynamics.next_frame(
            masked[:, t : t + 1], actions[:, t - 1 : t], cache, everywhere
        )
        logits = dynamics.logits(trained[:, t], tokens[:, t - 1])
        torch.testing.assert_close(logits, imagined, atol=1e-5, rtol=0)


def test_without_a_clean_past_hidden_tokens_are_hidden_from_all_frames(dynamics, tokens, actions):
    dynamics.clean_past = False
    hidden = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(5)) < 0.6

    trained = dynamics.features(tokens, actions, hidden)

    masked = tokens.masked_fill(hidden, dynamics.mask_token)
    assert torch.equal(trained, dynamics.features(masked, actions))


def test_tokens_with_equal_codes_begin_equally_far_from_where_they_were(dynamics):
    before = [w.detach().clone() for w in (dynamics.embed.weight, dynamics.to_logits.weight)]
    codes = F.normalize(torch.randn(10, 6, generator=torch.Generator().manual_seed(0)), dim=-1)

    dynamics.start_from_codes(codes.repeat(2, 1))

    embedded, output = (
        after.detach() - w
        for after, w in zip((dynamics.embed.weight, dynamics.to_logits.weight), before, strict=True)
    )
    assert not embedded[dynamics.mask_token].any()
    for moved, length in ((embedded[:-1], 2.0), (output, 1.0)):
        torch.testing.assert_close(moved[:10], moved[10:])
        assert moved.norm(dim=-1).mean().item() == pytest.approx(length, rel=0.2)
        assert (
            torch.corrcoef(
                torch.stack([(moved @ moved.T).flatten(), (codes @ codes.T).repeat(2, 2).flatten()])
            )[0, 1]
            > 0.8
        )


@pytest.mark.parametrize("clean_past", [False, True])
def test_recomputed_activations_change_no_gradient(dynamics, tokens, actions, clean_past):
    dynamics.clean_past, stack = clean_past, dynamics.transformer.train()
    hidden = torch.ones_like(tokens).bool()
    gradients = []
    for stack.checkpoint_activations in (False, True):
        dynamics.zero_grad()
        dynamics.features(tokens, actions, hidden).square().sum().backward()
        gradients.append([x.grad.clone() for x in stack.parameters()])

    for ours, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, recomputed)


def test_logits_come_for_the_places_asked_for(dynamics, tokens, actions):
    def first_frame(places):
        cache = dynamics.transformer.new_cache(6)
        return dynamics.next_frame(tokens[:, :1], actions[:, :0], cache, places)

    everywhere = first_frame(torch.arange(8).expand(2, 8))

    some = first_frame(torch.tensor([[7, 0], [3, 4]]))
    torch.testing.assert_close(some, torch.stack([everywhere[0, [7, 0]], everywhere[1, [3, 4]]]))
    assert first_frame(torch.zeros(2, 0).long()).shape == (2, 0, 20)


def test_an_action_moves_its_own_frame_and_later_ones(dynamics, tokens, actions):
    changed = actions.clone()
    changed[:, 2] += 5.0

    moved = (dynamics(tokens, actions) != dynamics(tokens, changed)).flatten(2).any(-1)

    assert moved.tolist() == [[False, False, False, True, True, True]] * 2


def test_no_later_frame_moves_an_earlier_one(dynamics, tokens, actions):
    changed = tokens.clone()
    changed[:, 4:] = dynamics.mask_token

    before, after = dynamics(tokens, actions), dynamics(changed, actions)

    assert torch.equal(before[:, :4], after[:, :4])


def test_gradient_reaches_every_parameter_and_the_actions(dynamics, tokens, actions):
    actions.requires_grad_()

    dynamics(tokens, actions).square().sum().backward()

    assert all(parameter.grad.any() for parameter in dynamics.parameters())
    assert actions.grad.any(dim=-1).all()


@pytest.mark.parametrize("joining", Joining)
def test_it_learns_what_an_action_does(joining):
    """The action names the tokens it leads to: only a model that hears it can know them."""
    torch.manual_seed(0)
    model = DynamicsModel(
        num_tokens=2,
        tokens_per_frame=3,
        latent_dim=2,
        actions=joining,
        transformer=STTransformer(num_blocks=1, dim=32, num_heads=2, head_dim=16),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    named = torch.randint(2, (32, 3))
    hidden = torch.full((32, 4, 3), model.mask_token)
    for _ in range(20):
        logits = model(hidden, F.one_hot(named, 2).float())[:, 1:]
        loss = F.cross_entropy(logits.flatten(0, 2), named.repeat_interleave(3))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    assert loss < 0.1


def test_the_token_before_gets_the_bonus_and_no_other(dynamics, tokens, actions):
    torch.nn.init.zeros_(dynamics.to_copy.weight)
    plain = dynamics(tokens, actions)
    torch.nn.init.constant_(dynamics.to_copy.bias, 3.0)

    bonus = dynamics(tokens, actions) - plain

    torch.testing.assert_close(bonus[:, 1:], 3.0 * F.one_hot(tokens[:, :-1], 20).float())
    assert not bonus[:, 0].any()


def test_nothing_is_copied_from_a_masked_token(dynamics, tokens, actions):
    masked = tokens.clone()
    masked[:, 2, :4] = dynamics.mask_token
    torch.nn.init.zeros_(dynamics.to_copy.weight)
    plain = dynamics(masked, actions)
    torch.nn.init.constant_(dynamics.to_copy.bias, 3.0)

    bonus = dynamics(masked, actions) - plain

    assert not bonus[:, 3, :4].any()
    assert bonus[:, 3, 4:].any()


def test_a_dynamics_that_copies_learns_to_stand_still():
    """Without it a model must learn which token to repeat for each of them."""
    torch.manual_seed(0)
    losses = {}
    for copies in (False, True):
        model = DynamicsModel(
            num_tokens=50,
            tokens_per_frame=4,
            latent_dim=1,
            actions=Joining.additive,
            transformer=STTransformer(num_blocks=1, dim=32, num_heads=2, head_dim=16),
            copies=copies,
        )
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        for _ in range(60):
            still = torch.randint(50, (16, 1, 4)).expand(16, 3, 4)
            hidden = torch.zeros(16, 3, 4, dtype=torch.bool)
            hidden[:, 1:] = True
            loss, _ = masked_token_loss(model, still, torch.zeros(16, 2, 1), hidden)
            optimizer.zero_grad()
            (loss / hidden.sum()).backward()
            optimizer.step()
        losses[copies] = float(loss.detach() / hidden.sum())

    assert losses[True] < 0.1 * losses[False]
