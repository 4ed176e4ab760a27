import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genie_robo.models.maskgit import hidden_places, masked_counts, random_mask, sample_tokens


def test_cosine_schedule_of_16_tokens_in_4_steps_reveals_2_5_10_16():
    revealed = [16 - masked for masked in masked_counts(16, 4)]

    assert revealed == [2, 5, 10, 16]


def test_one_step_reveals_everything():
    assert masked_counts(1, 1) == (0,)
    assert masked_counts(64, 1) == (0,)


@given(st.integers(1, 300), st.integers(1, 40))
def test_schedule_never_hides_again_and_ends_with_nothing_hidden(num_tokens, num_steps):
    counts = masked_counts(num_tokens, num_steps)

    assert len(counts) == num_steps
    assert counts[-1] == 0
    assert all(a >= b for a, b in zip((num_tokens, *counts), counts, strict=False))


@pytest.mark.parametrize(("num_tokens", "num_steps"), [(0, 4), (16, 0)])
def test_schedule_refuses_nothing_to_do(num_tokens, num_steps):
    with pytest.raises(ValueError, match=f"{num_tokens} tokens in {num_steps} steps"):
        masked_counts(num_tokens, num_steps)


def test_random_mask_hides_where_noise_is_below_the_rate():
    mask = random_mask(torch.tensor([0.5, 1.0]), torch.tensor([[0.1, 0.6], [0.1, 0.999]]))

    assert mask.tolist() == [[True, False], [True, True]]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_temperature_divides_the_logits(temperature):
    logits = torch.tensor([0.0, 1.0, 2.0])
    noise = torch.rand(200_000, generator=torch.Generator().manual_seed(0))

    drawn = sample_tokens(logits.expand(200_000, 3), noise, temperature=temperature)

    frequency = torch.bincount(drawn, minlength=3) / 200_000
    torch.testing.assert_close(frequency, (logits / temperature).softmax(-1), atol=5e-3, rtol=0)


def test_temperature_zero_takes_the_best_whatever_the_noise():
    logits = torch.tensor([[0.0, 3.0, 2.0]])

    assert sample_tokens(logits, torch.rand(1), temperature=0.0).tolist() == [1]


def test_places_are_the_hidden_ones_of_highest_priority():
    is_hidden = torch.tensor([[True, False, True, True], [False, True, True, False]])
    priority = torch.tensor([[0.1, 0.95, 0.9, 0.5], [1.0, 0.2, 0.3, 0.9]])

    assert hidden_places(is_hidden, priority, count=2).tolist() == [[2, 3], [2, 1]]
    assert hidden_places(is_hidden, priority, count=0).shape == (2, 0)


def test_inverse_distribution_known_answers_and_ends():
    logits = torch.tensor([0.25, 0.0, 0.5, 0.25]).log().expand(6, 4)
    noise = torch.tensor([0.0, 0.249, 0.251, 0.749, 0.751, 1.0 - 2**-24])

    assert sample_tokens(logits, noise, temperature=1.0).tolist() == [0, 0, 2, 2, 3, 3]
