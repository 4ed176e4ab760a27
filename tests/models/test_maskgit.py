import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from genie_robo.models.maskgit import (
    guide,
    hidden_places,
    masked_counts,
    random_mask,
    sample_tokens,
)


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


@pytest.mark.parametrize("temperature", [0.25, 1.0, 3.0])
@pytest.mark.parametrize("top_k", [0, 3])
def test_draws_follow_the_softmax_of_divided_logits(temperature, top_k):
    """Chi-square of 100,000 draws over 12 tokens, below its 99.9 % point."""
    logits = torch.randn(12, generator=torch.Generator().manual_seed(4)).double()
    noise = torch.rand(100_000, generator=torch.Generator().manual_seed(5)).double()

    drawn = sample_tokens(logits.expand(100_000, 12), noise, temperature=temperature, top_k=top_k)

    allowed = logits.topk(top_k or 12).indices
    chances = torch.zeros(12).double()
    chances[allowed] = (logits[allowed] / temperature).softmax(-1)
    counts = torch.bincount(drawn, minlength=12).double()
    expected = 100_000 * chances
    possible = expected > 0
    assert counts[~possible].sum() == 0
    chi_square = ((counts - expected)[possible] ** 2 / expected[possible]).sum()
    assert chi_square < chi2.ppf(0.999, df=int(possible.sum()) - 1)


@given(st.integers(0, 40), st.integers(0, 2**31 - 1))
def test_top_k_never_draws_outside(top_k, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(4, (50, 30), generator=generator).float()  # many ties
    noise = torch.rand(50, generator=generator)
    noise[0] = 1 - 2**-24

    drawn = sample_tokens(logits, noise, temperature=2.0, top_k=top_k)

    better = (logits > logits.gather(1, drawn[:, None])).sum(1)
    assert (better < (top_k or 30)).all()
    if 0 < top_k < 30:
        assert torch.equal(drawn, sample_tokens(logits, noise, temperature=2.0, top_k=top_k))
        allowed = logits.topk(top_k).indices
        assert (allowed == drawn[:, None]).any(1).all()
    else:
        assert torch.equal(drawn, sample_tokens(logits, noise, temperature=2.0))


def test_the_best_token_comes_the_more_often_the_colder():
    logits = torch.randn(16, generator=torch.Generator().manual_seed(8))
    noise = torch.rand(20_000, generator=torch.Generator().manual_seed(9))
    shares = [
        (sample_tokens(logits.expand(20_000, 16), noise, temperature=t) == logits.argmax())
        .float()
        .mean()
        .item()
        for t in (0.0, 0.1, 0.3, 1.0, 3.0, 1e4)
    ]

    assert shares[0] == 1.0
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == pytest.approx(1 / 16, abs=0.01)


def test_guidance_known_answers():
    conditioned, unconditioned = torch.tensor([2.0, 0.0]), torch.tensor([1.0, 1.0])

    assert guide(conditioned, unconditioned, guidance=0.0).tolist() == [1.0, 1.0]
    assert guide(conditioned, unconditioned, guidance=1.0).tolist() == [2.0, 0.0]
    assert guide(conditioned, unconditioned, guidance=3.0).tolist() == [4.0, -2.0]
