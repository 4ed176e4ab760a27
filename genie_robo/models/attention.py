"""Space-time attention and the one place where its backend is chosen."""

import ctypes
import math
from functools import cache
from importlib import util
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Backend = Literal["auto", "xformers", "sdpa", "matmul"]

MATMUL_MAX_LENGTH = 128
"""On a CPU explicit matmul trains faster than fused attention up to about this many keys."""


class Attention(nn.Module):
    """Projections of multi-head self-attention with QK norm (paper section 2.1).

    Queries and keys are layer-normalised per head without gain; one learned gain per head sets
    the temperature. Heads times head dimension need not equal the width.
    """

    def __init__(self, *, dim: int, num_heads: int, head_dim: int, backend: Backend) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = head_dim
        self.backend: Backend = backend
        self.to_qkv = nn.Linear(dim, 3 * num_heads * head_dim, bias=False)
        self.gain = nn.Parameter(torch.ones(num_heads, 1))
        self.to_out = nn.Linear(num_heads * head_dim, dim, bias=False)

    def project(
        self, x: Float[Tensor, "*n d"]
    ) -> tuple[Float[Tensor, "*n 2 heads e"], Float[Tensor, "*n heads e"]]:
        """Normalised queries and keys stacked, and values, of every position."""
        joint = self.to_qkv(x).unflatten(-1, (3, self.num_heads, self.head_dim))
        queries_keys, values = joint[..., :2, :, :], joint[..., 2, :, :]
        return F.layer_norm(queries_keys, (self.head_dim,)).to(values.dtype), values

    def attend(
        self,
        query: Float[Tensor, "*n q heads e"],
        key: Float[Tensor, "*n k heads e"],
        value: Float[Tensor, "*n k heads e"],
        *,
        causal: bool,
    ) -> Float[Tensor, "*n q d"]:
        """Attend, join the heads and project back to the width."""
        query = query * self.gain.to(query.dtype)
        attended = attend(query, key, value, causal=causal, backend=self.backend)
        return self.to_out(attended.flatten(-2))


def attend(
    query: Float[Tensor, "*n q heads e"],
    key: Float[Tensor, "*n k heads e"],
    value: Float[Tensor, "*n k heads e"],
    *,
    causal: bool,
    backend: Backend,
) -> Float[Tensor, "*n q heads e"]:
    """Softmax attention with scale 1 / sqrt(e).

    `causal` lets position i see positions 0..i and needs as many queries as keys.

    Raises:
        ValueError: `xformers` was asked for where it has no kernel.
    """
    match choose_backend(backend, query, num_keys=key.shape[-3]):
        case "xformers":
            q, k, v = query.flatten(0, -4), key.flatten(0, -4), value.flatten(0, -4)
            return xformers_attention(q, k, v, causal=causal).view(query.shape)
        case "sdpa":
            q, k, v = query.transpose(-2, -3), key.transpose(-2, -3), value.transpose(-2, -3)
            return F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(-2, -3)
        case _:
            return matmul_attention(query, key, value, causal=causal)


def choose_backend(backend: Backend, query: Tensor, *, num_keys: int) -> Backend:
    """The backend that `auto` stands for, by device, dtype and length; else the one asked for.

    Raises:
        ValueError: `xformers` was asked for on a device without its kernels.
    """
    if backend == "xformers" and query.device.type != "cuda":
        raise ValueError(
            f"model.attention=xformers needs a CUDA device, but the tensors are on "
            f"{query.device.type}: xformers has no kernels there. Use model.attention=auto, "
            "or engine.device=cuda on a machine with a GPU."
        )
    if backend != "auto":
        return backend
    if query.device.type == "cuda":
        return "xformers" if xformers_works() else "sdpa"
    fused_is_faster = query.dtype == torch.float32 and num_keys > MATMUL_MAX_LENGTH
    return "sdpa" if fused_is_faster else "matmul"


def matmul_attention(
    query: Float[Tensor, "*n q heads e"],
    key: Float[Tensor, "*n k heads e"],
    value: Float[Tensor, "*n k heads e"],
    *,
    causal: bool,
) -> Float[Tensor, "*n q heads e"]:
    """Attention as two matrix products; torch's softmax accumulates in fp32."""
    query = query.transpose(-2, -3) / math.sqrt(query.shape[-1])
    scores = query @ key.transpose(-2, -3).transpose(-1, -2)
    if causal:
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(future, -torch.inf)
    return (scores.softmax(-1) @ value.transpose(-2, -3)).transpose(-2, -3)


def xformers_attention(
    query: Float[Tensor, "n q heads e"],
    key: Float[Tensor, "n k heads e"],
    value: Float[Tensor, "n k heads e"],
    *,
    causal: bool,
    op: Any = None,
) -> Float[Tensor, "n q heads e"]:
    """Xformers memory-efficient attention (Rabe and Staats 2021; Lefaudeux et al. 2022).

    `op` picks a forward and backward operator pair; None lets xformers dispatch.
    """
    fmha = load_xformers()
    bias = fmha.attn_bias.LowerTriangularMask() if causal else None
    return fmha.memory_efficient_attention(query, key, value, attn_bias=bias, op=op)


@cache
def load_xformers() -> Any:
    """The module `xformers.ops.fmha`, with the CUDA 12 runtime its kernels link against.

    torch >= 2.11 ships CUDA 13 while xformers wheels are built for CUDA 12.8: without
    libcudart.so.12 already in the process xformers refuses every CUDA tensor.

    Raises:
        ValueError: xformers is not installed.
    """
    if util.find_spec("xformers") is None:
        raise ValueError(
            "model.attention=xformers was asked for, but xformers is not installed. Install it "
            "with `pip install 'genie-robo[cuda]'`, or use model.attention=auto."
        )
    runtime = util.find_spec("nvidia.cuda_runtime") if util.find_spec("nvidia") else None
    for folder in runtime.submodule_search_locations or () if runtime else ():
        for library in Path(folder).glob("lib/libcudart.so.12*"):
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    from xformers.ops import fmha

    return fmha


@cache
def xformers_works() -> bool:
    """Whether xformers runs a small causal attention, forward and backward, on this GPU."""
    if not torch.cuda.is_available() or util.find_spec("xformers") is None:
        return False
    probe = torch.zeros(1, 8, 1, 32, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    try:
        xformers_attention(probe, probe, probe, causal=True).sum().backward()
    except (NotImplementedError, RuntimeError, OSError):
        return False
    return True
