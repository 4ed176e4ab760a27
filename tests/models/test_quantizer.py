import math

import pytest
import torch
import torch.nn.functional as F

from genie_robo.models.quantizer import (
    VectorQuantizer,
    closeness,
    code_information,
    perplexity,
    vq_loss,
)
from genie_robo.models.settings import Space
from genie_robo.ranks import OneProcess


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


def test_in_the_box_nearest_is_the_smallest_distance_and_sizes_differ():
    model = quantizer(num_codes=2, code_dim=2, space=Space.box)
    set_codebook(model, [[0.9, 0.0], [0.1, 0.0]])

    encoded = torch.tensor([[0.2, 0.0], [3.0, 0.0]])
    assert model.nearest(model.bound(encoded)).tolist() == [1, 0]
    output = model(torch.tensor([[0.1, 0.2]]))
    torch.testing.assert_close(output.codes, torch.tensor([[0.1, 0.0]]))
    squared = (torch.tensor([[0.1, 0.2]]).tanh() - output.codes).square().sum(-1)
    torch.testing.assert_close(output.loss, 1.25 * squared)


def test_closeness_on_the_sphere_is_the_cosine_less_one():
    points, codes = (F.normalize(torch.randn(n, 3), dim=-1) for n in (6, 4))

    torch.testing.assert_close(closeness(points, codes), points @ codes.T - 1)


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

    output.loss.mean().backward()
    assert model.codebook.grad[output.indices].abs().sum() > 0


def test_quantiser_computes_in_fp32_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = quantizer()(torch.randn(5, 3).bfloat16())

    assert output.codes.dtype == torch.float32
    assert output.loss.dtype == torch.float32


def finish(model, seed=0):
    return model.finish_step(OneProcess(), torch.Generator().manual_seed(seed))


def test_padding_is_not_counted():
    padded, cut = quantizer(), quantizer()
    encoded = torch.randn(8, 3)
    padded(encoded, torch.tensor([True] * 5 + [False] * 3))
    cut(encoded[:5])

    assert padded.use.tolist() == cut.use.tolist()
    assert finish(padded) == finish(cut)


def test_a_batch_in_parts_ends_in_the_same_step():
    whole, parts = (quantizer(reset_after=1, warmup_steps=2, entropy_weight=0.1) for _ in range(2))
    for step in range(5):
        encoded = torch.randn(40, 3, generator=torch.Generator().manual_seed(step)) + 1
        whole(encoded)
        parts(encoded[:10])
        parts(encoded[10:])
        assert str(finish(whole, step)) == str(finish(parts, step))  # NaN while warming up
        assert torch.equal(whole.codebook, parts.codebook)
        torch.testing.assert_close(whole.marginal, parts.marginal)


def test_dead_codes_restart_at_live_codes_only():
    model = quantizer(reset_after=2)
    set_codebook(model, [[1.0, 0, 0], [0, 1.0, 0], [-1.0, 0, 0], [0, -1.0, 0]])
    live = torch.tensor([[0.9, 0.1, 0.0], [0.1, 0.9, 0.0]])

    model(live)
    assert finish(model) == (pytest.approx(2.0), 0, 0)
    model(live)
    assert finish(model) == (pytest.approx(2.0), 2, 2)

    cosines = F.normalize(model.codebook.detach(), dim=-1) @ model.codebook.detach()[:2].T
    assert cosines[2:].amax(-1).min() > 0.9
    assert model.age.tolist() == [0, 0, 0, 0]
    torch.testing.assert_close(model.codebook[0], torch.tensor([1.0, 0, 0]))


def test_nothing_restarts_or_ages_in_a_step_without_codes():
    model = quantizer(reset_after=1)
    model.age.fill_(5)

    use = finish(model)

    assert math.isnan(use.perplexity)
    assert (use.num_dead, use.num_restarted) == (0, 0)
    assert model.age.tolist() == [5, 5, 5, 5]


def test_the_codebook_starts_at_the_centres_of_the_last_step_of_the_warmup():
    model = quantizer(num_codes=3, warmup_steps=2)
    model(torch.randn(30, 3))
    finish(model)
    corners = torch.eye(3).repeat(20, 1) + torch.randn(60, 3) * 0.01
    output = model(corners)
    assert not torch.equal(output.codes, model.lookup(output.indices))  # not quantised yet
    assert output.loss.abs().sum() == 0
    finish(model)

    assert model.nearest(torch.eye(3)).sort().values.tolist() == [0, 1, 2]
    assert (model.lookup(model.nearest(torch.eye(3))) - torch.eye(3)).abs().max() < 0.02
    output = model(corners)
    torch.testing.assert_close(output.codes, model.lookup(output.indices))


def test_a_continuous_bottleneck_passes_encodings_and_codes_are_their_means():
    model = quantizer(continuous=True)
    encoded = torch.randn(50, 3, requires_grad=True)
    output = model(encoded, noise=torch.zeros(50, 3))

    torch.testing.assert_close(output.codes, F.normalize(encoded, dim=-1))
    torch.testing.assert_close(output.chosen, model.lookup(output.indices))
    assert not output.chosen.requires_grad
    output.loss.sum().backward()
    assert encoded.grad is None or not encoded.grad.any()


def test_codes_of_a_continuous_bottleneck_are_the_means_of_their_clusters():
    model = quantizer(num_codes=2, code_dim=2, continuous=True, space=Space.box, reset_after=900)
    set_codebook(model, [[-0.1, 0.0], [0.1, 0.0]])
    left, right = torch.tensor([-0.8, 0.3]), torch.tensor([0.4, -0.5])
    spread = torch.tensor([[0.1, 0.0], [-0.1, 0.0], [0.0, 0.1], [0.0, -0.1]])
    encoded = torch.cat([left + spread, right + spread]).atanh()
    for _ in range(3):
        model(encoded)
        finish(model)

    torch.testing.assert_close(model.codebook.detach(), torch.stack([left, right]))
    model.eval()
    model(-encoded)
    finish(model)
    torch.testing.assert_close(model.codebook.detach(), torch.stack([left, right]))


def test_evaluation_does_not_age_the_codes():
    model = quantizer().eval()
    model(torch.randn(10, 3))

    assert model.age.sum() == 0


def test_perplexity_known_answers():
    assert perplexity(torch.tensor([5, 0, 0, 0])) == pytest.approx(1.0)
    assert perplexity(torch.tensor([5, 5, 5, 5])) == pytest.approx(4.0)


def test_code_information_known_answers():
    sure, unsure, even = torch.eye(4), torch.full((4, 4), 0.25), torch.full((4,), 0.25)

    assert code_information(sure, even).tolist() == pytest.approx([math.log(4)] * 4)
    assert code_information(unsure, even).tolist() == pytest.approx([0.0] * 4)
    collapsed = torch.tensor([1.0, 0.0, 0.0, 0.0])
    assert code_information(sure[:1], collapsed).tolist() == pytest.approx([0.0])


def test_mean_code_information_is_the_mutual_information():
    assignment = torch.randn(100, 5).mul(3).softmax(-1)
    marginal = assignment.mean(0)
    joint = assignment / len(assignment)
    independent = marginal / len(assignment)

    mutual_information = (joint * (joint / independent).log()).sum()
    torch.testing.assert_close(code_information(assignment, marginal).mean(), mutual_information)


def test_the_nearest_code_is_found_in_full_precision():
    quantizer = VectorQuantizer(num_codes=256, code_dim=8, commitment=0.25, reset_after=5)
    encoded = torch.randn(4096, 8, generator=torch.Generator().manual_seed(0))
    found = quantizer.nearest(encoded)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(quantizer.nearest(encoded), found)
