"""The start of a codebook: unquantised first, then from the centres of the encodings."""

from functools import partial

import torch
import torch.nn.functional as F

from genie_robo.models.quantizer import WARMUP_NOISE, VectorQuantizer, cluster
from genie_robo.models.settings import Space
from genie_robo.ranks import OneProcess


def test_encodings_pass_with_a_little_noise_until_the_warm_up_ends():
    torch.manual_seed(0)
    model = VectorQuantizer(
        num_codes=4, code_dim=3, commitment=0.25, reset_after=50, warmup_steps=2
    )
    encoded = F.normalize(torch.randn(2000, 3), dim=-1).requires_grad_()

    outputs = []
    for step in range(3):
        outputs.append(model(encoded))
        model.finish_step(OneProcess(), torch.Generator().manual_seed(step))

    for output in outputs[:2]:
        distance = (output.codes - encoded).norm(dim=-1).square().mean().sqrt()
        assert abs(distance - WARMUP_NOISE) < 0.02
        assert not output.loss.any()
    chosen = outputs[2].codes.detach()
    torch.testing.assert_close(chosen, model.lookup(outputs[2].indices), atol=1e-5, rtol=0)


def test_warm_up_ends_with_codes_at_the_clusters():
    torch.manual_seed(0)
    directions = F.normalize(torch.randn(5, 6), dim=-1)
    samples = F.normalize(directions[torch.arange(500) % 5] + 0.05 * torch.randn(500, 6), dim=-1)

    on_sphere = partial(F.normalize, dim=-1)
    centres = cluster(samples, 8, torch.Generator().manual_seed(0), project=on_sphere)

    assert (samples @ centres.T).amax(-1).min() > 0.9
    torch.testing.assert_close(centres.norm(dim=-1), torch.ones(8))


def test_in_the_box_codes_start_at_the_means_of_their_encodings():
    torch.manual_seed(0)
    corners = torch.tensor([[0.8, 0.1], [0.2, 0.1], [-0.5, -0.6]])
    model = VectorQuantizer(
        num_codes=3, code_dim=2, commitment=0.25, reset_after=9, warmup_steps=1, space=Space.box
    )
    model(corners.repeat(40, 1).atanh())
    model.finish_step(OneProcess(), torch.Generator().manual_seed(0))

    codes = model.lookup(torch.arange(3))
    torch.testing.assert_close(codes[codes[:, 0].argsort(descending=True)], corners)


def test_evaluation_during_the_warm_up_passes_encodings():
    """Its codes mean nothing yet: numbers about them would mislead."""
    model = VectorQuantizer(
        num_codes=4, code_dim=3, commitment=0.25, reset_after=50, warmup_steps=9
    ).eval()
    encoded = torch.randn(10, 3)
    output = model(encoded, noise=torch.zeros(10, 3))

    torch.testing.assert_close(output.codes, model.bound(encoded))
    torch.testing.assert_close(output.chosen, output.codes)
    assert model.num_steps == 0
    assert not model._samples
