"""The three ways in which a latent action comes to the tokens of its frame."""

import pytest
import torch

from genie_robo.models.action_input import ActionInput
from genie_robo.models.settings import Joining

JOININGS = list(Joining)


@pytest.fixture
def tokens():
    return torch.randn(2, 3, 5, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def action():
    return torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(1))


def test_additive_is_the_sum_at_every_token(tokens, action):
    joined = ActionInput(Joining.additive, dim=8)(tokens, action)

    assert torch.equal(joined[1, 2, 3], tokens[1, 2, 3] + action[1, 2])
    assert not list(ActionInput(Joining.additive, dim=8).parameters())


def test_concatenated_is_a_linear_map_of_token_and_action(tokens, action):
    model = ActionInput(Joining.concatenated, dim=8)

    expected = model.mix.weight @ torch.cat([tokens[1, 2, 3], action[1, 2]])

    torch.testing.assert_close(model(tokens, action)[1, 2, 3], expected)


def test_prepended_is_one_more_token_that_drop_takes_off(tokens, action):
    model = ActionInput(Joining.prepended, dim=8)
    joined = model(tokens, action)

    assert joined.shape == (2, 3, 6, 8)
    assert torch.equal(joined[:, :, 0], action)
    assert torch.equal(model.drop(joined), tokens)


@pytest.mark.parametrize("joining", JOININGS)
def test_a_frame_that_no_action_leads_to_is_joined_with_zeros(joining, tokens):
    model = ActionInput(joining, dim=8)

    assert torch.equal(model(tokens, None), model(tokens, torch.zeros(2, 3, 8)))
    assert model.drop(model(tokens, None)).shape == tokens.shape
