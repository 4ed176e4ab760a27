import pytest
import torch
import torch.nn.functional as F

from genie_robo.models.attention import (
    MATMUL_MAX_LENGTH,
    attend,
    choose_backend,
    load_xformers,
    xformers_attention,
    xformers_works,
)


def tensors(length=8, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(2, length, 3, 8, generator=generator).to(dtype).requires_grad_()
        for _ in range(3)
    ]


def test_auto_on_a_cpu_goes_by_dtype_and_length():
    def choice(dtype, num_keys):
        return choose_backend("auto", torch.zeros(1, 4, 1, 8, dtype=dtype), num_keys=num_keys)

    assert choice(torch.bfloat16, 64) == "matmul"
    assert choice(torch.bfloat16, 1024) == "matmul"
    assert choice(torch.float32, 16) == "matmul"
    assert choice(torch.float32, MATMUL_MAX_LENGTH + 1) == "sdpa"


def test_xformers_on_a_cpu_is_a_clear_error():
    with pytest.raises(ValueError, match=r"model\.attention=xformers needs a CUDA device.*cpu"):
        attend(*tensors(), causal=True, backend="xformers")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("causal", [False, True])
def test_xformers_equals_sdpa_on_a_gpu(causal):
    assert xformers_works()
    results = []
    for backend in ("xformers", "sdpa"):
        torch.manual_seed(0)
        query, key, value = (
            torch.randn(4, 64, 4, 32, device="cuda", dtype=torch.bfloat16, requires_grad=True)
            for _ in range(3)
        )
        out = attend(query, key, value, causal=causal, backend=backend)
        out.float().square().sum().backward()
        results.append((out, query.grad, value.grad))

    for ours, reference in zip(*results, strict=True):
        torch.testing.assert_close(ours, reference, atol=3e-2, rtol=3e-2)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("causal", [False, True])
def test_xformers_real_entry_point_with_a_reference_operator(causal):
    """The real validation, bias classes and autograd of xformers, around a reference kernel."""
    pytest.importorskip("xformers")
    fmha = load_xformers()
    operator = reference_operator(fmha)

    ours = tensors(seed=5)
    out = xformers_attention(*ours, causal=causal, op=operator)
    out.square().sum().backward()

    expected = tensors(seed=5)
    heads_first = [x.transpose(1, 2) for x in expected]
    reference = F.scaled_dot_product_attention(*heads_first, is_causal=causal).transpose(1, 2)
    reference.square().sum().backward()

    torch.testing.assert_close(out, reference)
    for mine, theirs in zip(ours, expected, strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)


def reference_operator(fmha):
    """A forward and backward pair in plain torch that xformers accepts on a CPU."""
    from xformers.ops.fmha.common import (
        AttentionBwOpBase,
        AttentionFwOpBase,
        Context,
        Gradients,
    )

    shared = {
        "SUPPORTED_DEVICES": {"cpu"},
        "SUPPORTED_DTYPES": {torch.float32},
        "SUPPORTED_MAX_K": 256,
        "SUPPORTED_ATTN_BIAS_TYPES": (type(None), fmha.attn_bias.LowerTriangularMask),
        "SUPPORTS_DROPOUT": False,
        "SUPPORTS_CUSTOM_SCALE": True,
        "OPERATOR": staticmethod(lambda: None),
        "NAME": "reference",
    }

    def softmax_of(inp):
        scale = inp.query.shape[-1] ** -0.5 if inp.scale is None else inp.scale
        query, key = (x.transpose(1, 2) for x in (inp.query, inp.key))
        scores = query @ key.transpose(-1, -2) * scale
        if inp.attn_bias is not None:
            scores = scores + inp.attn_bias.materialize(scores.shape)
        return scores, scale

    class Forward(AttentionFwOpBase):
        locals().update(shared)

        @classmethod
        def apply(cls, inp, needs_gradient):
            scores, _ = softmax_of(inp)
            out = (scores.softmax(-1) @ inp.value.transpose(1, 2)).transpose(1, 2)
            context = Context(lse=scores.logsumexp(-1), out=out) if needs_gradient else None
            return out, context

    class Backward(AttentionBwOpBase):
        locals().update(shared)

        @classmethod
        def apply(cls, ctx, inp, grad):
            scores, scale = softmax_of(inp)
            weights = scores.softmax(-1)
            grad = grad.transpose(1, 2)
            query, key, value = (x.transpose(1, 2) for x in (inp.query, inp.key, inp.value))
            d_value = weights.transpose(-1, -2) @ grad
            d_weights = grad @ value.transpose(-1, -2)
            d_scores = weights * (d_weights - (d_weights * weights).sum(-1, keepdim=True)) * scale
            d_query, d_key = d_scores @ key, d_scores.transpose(-1, -2) @ query
            return Gradients(
                dq=d_query.transpose(1, 2), dk=d_key.transpose(1, 2), dv=d_value.transpose(1, 2)
            )

    return Forward, Backward
