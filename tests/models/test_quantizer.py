import pytest
import torch
import torch.nn.functional as F

from genie_robo.models.quantizer import VectorQuantizer, code_information, perplexity, vq_loss


def quantizer(**changes):
    torch.manual_seed(0)
    settings = {"num_codes": 4, "code_dim": 3, "commitment": 0.25, "reset_after": 2} | changes
    return VectorQuantizer(**settings)


def set_codebook(model, rows):
    with torch.no_grad():
        model.codebook.copy_(torch.tensor(rows))


def test_nearest_is_the_highest_cosine_whatever_the_length():
    model = quantizer(num_codes=2, code_dim=2)
    set_codebook(model, [[10.0, 0.0], [0.0, 0.1]])

    assert model.nearest(torch.tensor([[0.3, 0.2], [5.0, 6.0]])).tolist() == [0, 1]


def test_codes_to_indices_and_back_is_a_round_trip():
    model = quantizer(num_codes=50)
    indices = torch.arange(50)

    assert torch.equal(model.nearest(model.lookup(indices)), indices)


def test_vq_loss_known_answer():
    encoded, code = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])

    assert vq_loss(encoded, code, beta=0.25).tolist() == [2.5]


def test_gradient_passes_straight_through_and_codes_learn_from_the_vq_loss():
    model = quantizer()
    encoded = torch.randn(6, 3, requires_grad=True)

    output = model(encoded)
    output.codes.sum().backward(retain_graph=True)
    assert model.codebook.grad is None
    assert encoded.grad.abs().sum() > 0

    output.loss.backward()
    assert model.codebook.grad[output.indices].abs().sum() > 0


def test_quantiser_computes_in_fp32_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = quantizer()(torch.randn(5, 3).bfloat16())

    assert output.codes.dtype == torch.float32
    assert output.loss.dtype == torch.float32


def test_padding_counts_neither_in_the_loss_nor_in_the_use():
    model = quantizer()
    encoded = torch.randn(8, 3)
    valid = torch.tensor([True] * 5 + [False] * 3)

    padded, cut = model(encoded, valid), model(encoded[:5])

    torch.testing.assert_close(padded.loss, cut.loss)
    torch.testing.assert_close(padded.perplexity, cut.perplexity)


def test_dead_codes_restart_at_live_codes_only():
    model = quantizer(reset_after=2)
    set_codebook(model, [[1.0, 0, 0], [0, 1.0, 0], [-1.0, 0, 0], [0, -1.0, 0]])
    live = torch.tensor([[0.9, 0.1, 0.0], [0.1, 0.9, 0.0]])

    model(live)
    assert model.reset_dead_codes() == 0
    model(live)
    assert model.reset_dead_codes() == 2

    cosines = F.normalize(model.codebook.detach(), dim=-1) @ model.codebook.detach()[:2].T
    assert cosines[2:].amax(-1).min() > 0.9
    assert model.age.tolist() == [0, 0, 0, 0]
    torch.testing.assert_close(model.codebook[0], torch.tensor([1.0, 0, 0]))


def test_nothing_restarts_while_no_code_is_live():
    model = quantizer(reset_after=1)
    model.age.fill_(5)

    assert model.reset_dead_codes() == 0


def test_evaluation_does_not_age_the_codes():
    model = quantizer().eval()
    model(torch.randn(10, 3))

    assert model.age.sum() == 0


def test_perplexity_known_answers():
    assert perplexity(torch.tensor([5, 0, 0, 0])) == pytest.approx(1.0)
    assert perplexity(torch.tensor([5, 5, 5, 5])) == pytest.approx(4.0)


def test_code_information_is_zero_when_collapsed_and_log_k_when_all_codes_are_used():
    sure = torch.eye(4) * 20

    assert code_information(sure[:1].expand(8, 4)) == pytest.approx(0.0, abs=1e-4)
    assert code_information(sure) == pytest.approx(torch.tensor(4.0).log().item(), abs=1e-3)
    assert code_information(torch.zeros(8, 4)) == pytest.approx(0.0, abs=1e-5)
