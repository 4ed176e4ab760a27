import sys

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

from genie_robo.models import attention
from genie_robo.models.attention import (
    MATMUL_MAX_LENGTH,
    all_but_the_past,
    attend,
    choose_backend,
    dense_bias,
    later_frames,
    load_xformers,
    xformers_attention,
    xformers_works,
)
from genie_robo.models.settings import Backend
from genie_robo.models.sizes import check_head_dim

CPU = torch.device("cpu")
UNSEEN = [None, "later", later_frames(10, 3, CPU), all_but_the_past(5, CPU)]
NAMES_OF_UNSEEN = ["nothing", "later", "later_frames", "all_but_the_past"]
"""Masks of ten positions."""


def tensors(length=8, dtype=torch.float32, seed=0, size=(2, 3)):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(*size, length, 8, generator=generator).to(dtype).requires_grad_()
        for _ in range(3)
    ]


def test_auto_on_a_cpu_goes_by_dtype_and_length():
    def choice(dtype, num_keys):
        return choose_backend(Backend.auto, torch.zeros(1, 1, 4, 8, dtype=dtype), num_keys=num_keys)

    assert choice(torch.bfloat16, 64) == "matmul"
    assert choice(torch.bfloat16, 1024) == "matmul"
    assert choice(torch.float32, 16) == "matmul"
    assert choice(torch.float32, MATMUL_MAX_LENGTH + 1) == "sdpa"
    with torch.no_grad():
        assert choice(torch.float32, MATMUL_MAX_LENGTH + 1) == "matmul"


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("num_queries", [1, 7, 8])
def test_tiles_give_what_one_piece_gives(monkeypatch, dtype, tolerance, num_queries):
    query, key, value = tensors(8, dtype)
    query = query[..., :num_queries, :]
    whole = attention.matmul_attention(query, key, value)
    one_query = 2 * 3 * 8 * query.element_size()
    for num_bytes in (1, one_query, 3 * one_query):
        monkeypatch.setattr(attention, "TILE_BYTES", num_bytes)
        with torch.no_grad():
            tiled = attention.matmul_attention(query, key, value)

        torch.testing.assert_close(tiled, whole.detach(), atol=tolerance, rtol=tolerance)


def test_auto_passes_over_xformers_where_it_has_no_kernel(monkeypatch):
    monkeypatch.setattr(attention, "xformers_is_fastest", lambda: True)
    with FakeTensorMode():
        heads = {size: torch.empty(1, 1, 4, size, device="cuda") for size in (12, 16)}

        assert choose_backend(Backend.auto, heads[12], num_keys=4) == "sdpa"
        assert choose_backend(Backend.auto, heads[16], num_keys=4) == "xformers"


@pytest.mark.parametrize("is_faster", [True, False])
def test_auto_on_a_gpu_takes_what_is_faster_there(monkeypatch, is_faster):
    times = {Backend.xformers: 1.0 if is_faster else 3.0, Backend.sdpa: 2.0}
    monkeypatch.setattr(attention, "xformers_works", lambda: True)
    monkeypatch.setattr(attention, "time_backends", lambda device: times)
    attention._xformers_wins.cache_clear()
    with FakeTensorMode():
        query = torch.empty(1, 1, 4, 16, device="cuda")

        expected = "xformers" if is_faster else "sdpa"
        assert choose_backend(Backend.auto, query, num_keys=4) == expected
    attention._xformers_wins.cache_clear()


@pytest.mark.parametrize("context", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_whether_xformers_works_does_not_depend_on_who_asks_first(monkeypatch, context):
    """A CPU and a product stand in for the GPU and the kernel."""
    zeros = torch.zeros
    monkeypatch.setattr(attention.util, "find_spec", lambda name: name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "zeros", lambda *size, device, **kind: zeros(*size, **kind))
    monkeypatch.setattr(attention, "xformers_attention", lambda q, k, v, unseen: q * k * v)
    xformers_works.cache_clear()
    with context():
        assert xformers_works()
    xformers_works.cache_clear()


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_every_backend_of_a_cpu_is_timed(context):
    with context():
        times = attention.time_backends(torch.device("cpu"))

    assert set(times) == {"matmul", "sdpa"}
    assert min(times.values()) > 0


def test_head_dimensions_without_a_kernel_are_refused_without_importing_xformers(monkeypatch):
    monkeypatch.setitem(sys.modules, "xformers", None)

    for backend in Backend:
        check_head_dim(16, backend)
        with pytest.raises(ValueError, match=r"head_dim=7 does not fit.*multiple of \d"):
            check_head_dim(7, backend)
    check_head_dim(12, Backend.auto)
    with pytest.raises(ValueError, match=r"head_dim=12.*multiple of 8 \(8, 16, 32, 64.*=auto"):
        check_head_dim(12, Backend.xformers)
    with pytest.raises(ValueError, match=r"head_dim=0 .*multiple of 2 \(2, 4, 8, 16"):
        check_head_dim(0, Backend.auto)


def test_later_frames_hide_what_lies_in_them():
    by_frame = later_frames(4, 2, CPU)

    assert by_frame.int().tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert torch.equal(later_frames(5, 1, CPU), torch.ones(5, 5).bool().triu(1))


def test_what_follows_the_past_sees_the_past_before_it_and_itself():
    seen = (~all_but_the_past(3, CPU)).int()

    past = [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert seen[:3].tolist() == [[*row, 0, 0, 0] for row in past]
    assert seen[3:].tolist() == [[1, 0, 0, 1, 0, 0], [1, 1, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1]]


@pytest.mark.parametrize("unseen", UNSEEN, ids=NAMES_OF_UNSEEN)
def test_backends_agree_forward_and_backward(unseen):
    outputs, gradients = [], []
    for backend in (Backend.sdpa, Backend.matmul):
        query, key, value = tensors(length=10, seed=3)
        out = attend(query, key, value, unseen=unseen, backend=backend)
        out.square().sum().backward()
        outputs.append(out)
        gradients.append(query.grad)

    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)


def test_xformers_on_a_cpu_is_a_clear_error():
    with pytest.raises(ValueError, match=r"model\.attention=xformers needs a CUDA device.*cpu"):
        attend(*tensors(), backend=Backend.xformers)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("frame_size", [0, 1, 3, 4, "past"])
def test_xformers_equals_sdpa_on_a_gpu(frame_size):
    assert xformers_works()
    device = torch.device("cuda")
    unseen = {0: None, 1: "later", "past": all_but_the_past(30, device)}
    unseen |= {size: later_frames(60, size, device) for size in (3, 4)}
    results = []
    for backend in (Backend.xformers, Backend.sdpa):
        torch.manual_seed(0)
        query, key, value = (
            torch.randn(4, 4, 60, 32, device="cuda", dtype=torch.bfloat16, requires_grad=True)
            for _ in range(3)
        )
        out = attend(query, key, value, unseen=unseen[frame_size], backend=backend)
        out.float().square().sum().backward()
        results.append((out, query.grad, value.grad))

    for ours, reference in zip(*results, strict=True):
        torch.testing.assert_close(ours, reference, atol=3e-2, rtol=3e-2)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("unseen", UNSEEN, ids=NAMES_OF_UNSEEN)
def test_xformers_real_entry_point_with_a_reference_operator(unseen):
    """The real validation, bias classes and autograd of xformers, around a reference kernel."""
    pytest.importorskip("xformers")
    fmha = load_xformers()
    operator = reference_operator(fmha)

    ours = tensors(length=10, seed=5)
    positions_first = [x.transpose(1, 2) for x in ours]
    out = xformers_attention(*positions_first, unseen=unseen, op=operator)
    out.square().sum().backward()

    expected = tensors(length=10, seed=5)
    hidden = later_frames(10, 1, CPU) if unseen == "later" else unseen
    seen = None if hidden is None else ~hidden
    reference = F.scaled_dot_product_attention(*expected, attn_mask=seen, scale=1.0)
    reference.square().sum().backward()

    torch.testing.assert_close(out.transpose(1, 2), reference)
    for mine, theirs in zip(ours, expected, strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_kernel_of_xformers_takes_the_bias_of_frames(dtype):
    """What its CUDA kernel says against these inputs is about the machine, not about the bias."""
    pytest.importorskip("xformers")
    fmha = load_xformers()
    query = torch.zeros(2, 15, 3, 16, dtype=dtype)
    bias = dense_bias(query, later_frames(15, 5, CPU))

    def objections(attn_bias):
        inputs = fmha.Inputs(query=query, key=query, value=query, attn_bias=attn_bias)
        kernels = (fmha.cutlass.FwOp, fmha.cutlass.BwOp)
        return [text for k in kernels for text in k.not_supported_reasons(inputs) if "bias" in text]

    assert objections(bias) == []
    assert objections(bias.contiguous()) != []


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
        "SUPPORTED_ATTN_BIAS_TYPES": (
            type(None),
            torch.Tensor,
            fmha.attn_bias.LowerTriangularMask,
        ),
        "SUPPORTS_DROPOUT": False,
        "SUPPORTS_CUSTOM_SCALE": True,
        "OPERATOR": staticmethod(lambda: None),
        "NAME": "reference",
    }

    def softmax_of(inp):
        scale = inp.query.shape[-1] ** -0.5 if inp.scale is None else inp.scale
        query, key = (x.transpose(1, 2) for x in (inp.query, inp.key))
        scores = query @ key.transpose(-1, -2) * scale
        if isinstance(inp.attn_bias, torch.Tensor):
            scores = scores + inp.attn_bias
        elif inp.attn_bias is not None:
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
