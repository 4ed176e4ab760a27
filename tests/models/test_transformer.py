import pytest
import torch

from genie_robo.models.attention import attend
from genie_robo.models.transformer import STTransformer, rotate

BACKENDS = ["sdpa", "matmul"]


def stack(backend="auto", **changes):
    torch.manual_seed(0)
    sizes = {"num_blocks": 3, "dim": 20, "num_heads": 3, "head_dim": 8} | changes
    return STTransformer(**sizes, backend=backend).eval()


@pytest.mark.parametrize("backend", BACKENDS)
def test_changing_a_frame_moves_no_earlier_output(backend):
    model, x = stack(backend), torch.randn(2, 7, 5, 20)
    changed = x.clone()
    changed[:, 4] = torch.randn(2, 5, 20)

    before, after = model(x), model(changed)

    assert torch.equal(before[:, :4], after[:, :4])
    assert (before[:, 4:] != after[:, 4:]).any(dim=-1).all()


def test_gradient_of_an_output_reaches_all_past_frames_and_no_future_one():
    x = torch.randn(1, 6, 4, 20, requires_grad=True)

    stack()(x)[:, 3].square().sum().backward()

    reached = x.grad.abs().sum((0, 2, 3)) > 0
    assert reached.tolist() == [True, True, True, True, False, False]


def test_batch_items_do_not_see_each_other():
    model, x = stack(), torch.randn(3, 4, 5, 20)
    alone = model(x[1:2])

    torch.testing.assert_close(model(x)[1:2], alone, atol=1e-6, rtol=1e-5)


def test_spatial_attention_mixes_patches_of_a_frame():
    model, x = stack(num_blocks=1), torch.randn(1, 1, 5, 20)
    changed = x.clone()
    changed[:, :, 0] = torch.randn(20)

    assert (model(x)[:, :, 4] != model(changed)[:, :, 4]).any()


@pytest.mark.parametrize("causal", [False, True])
def test_backends_agree_forward_and_backward(causal):
    outputs, gradients = [], []
    for backend in BACKENDS:
        torch.manual_seed(3)
        query, key, value = (torch.randn(2, 9, 3, 8, requires_grad=True) for _ in range(3))
        out = attend(query, key, value, causal=causal, backend=backend)
        out.square().sum().backward()
        outputs.append(out)
        gradients.append(query.grad)

    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)


def test_rotary_attention_depends_on_frame_distance_only():
    query, key = torch.randn(1, 1, 1, 1, 1, 8), torch.randn(1, 1, 1, 1, 1, 8)

    near = (rotate(query, first=5) * rotate(key, first=3)).sum()
    far = (rotate(query, first=105) * rotate(key, first=103)).sum()
    other = (rotate(query, first=5) * rotate(key, first=4)).sum()

    torch.testing.assert_close(near, far, atol=1e-4, rtol=1e-4)
    assert abs(near - other) > 1e-3


def test_projections_may_be_rectangular():
    model = stack(dim=20, num_heads=5, head_dim=16)

    assert model.blocks[0].spatial.to_qkv.weight.shape == (3 * 80, 20)
    assert model(torch.randn(1, 2, 3, 20)).shape == (1, 2, 3, 20)


@pytest.mark.parametrize("num_prompt", [1, 3])
def test_cache_gives_the_output_of_the_full_window(num_prompt):
    model, x = stack(), torch.randn(2, 8, 5, 20)
    full = model(x)
    cache = model.new_cache(max_frames=8)

    prompt = model(x[:, :num_prompt], cache)
    cache.finish(num_prompt)
    frames = [prompt]
    for t in range(num_prompt, 8):
        model(torch.randn(2, 1, 5, 20), cache)  # an unfinished look leaves nothing behind
        frames.append(model(x[:, t : t + 1], cache))
        cache.finish()

    torch.testing.assert_close(torch.cat(frames, dim=1), full, atol=1e-5, rtol=1e-5)


def test_cache_slides_and_does_not_grow():
    model = stack(num_blocks=1)
    x = torch.randn(1, 20, 2, 20)
    cache = model.new_cache(max_frames=4)
    for t in range(20):
        last = model(x[:, t : t + 1], cache)
        cache.finish()

    assert cache.blocks[0].keys.shape[2] == 4
    assert cache.blocks[0].num_kept == 3
    window = model(x[:, 16:])[:, -1:]
    torch.testing.assert_close(last, window, atol=1e-4, rtol=1e-4)
