"""Space-time attention and the one place where its backend is chosen."""

import ctypes
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import util
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from genie_robo.models.settings import Backend
from genie_robo.models.sizes import HEAD_DIM_MULTIPLE
from genie_robo.precision import supports_bf16

Along = Literal["patches", "frames"]
"""The axis of attention: the patches of a frame, or the frames of a patch."""

Unseen = Literal["later"] | Bool[Tensor, "q k"] | None
"""What a query does not see: later positions, marked keys, or nothing."""

MATMUL_MAX_LENGTH = 128
"""On a CPU explicit matmul trains faster in fp32 than fused attention up to about this many keys;
without gradients it always is."""

TILE_BYTES = 2**23
"""Weights of more bytes are computed for some queries at a time where no gradient is needed: the
allocator hands memory of tens of megabytes back to the system, and new pages cost more than the
products."""

SHORT_ROW = 32
"""With fewer keys than this, torch's bf16 softmax is slower than its softmax in fp32."""

EPS = 1e-5
"""Of the norm of queries and keys, as in torch."""

NUM_LAPS = 5
"""Measurements of each backend, of which the fastest counts."""


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
        self, x: Float[Tensor, "b t s d"], *, along: Along
    ) -> tuple[Float[Tensor, "2 b group heads length e"], Float[Tensor, "b group heads length e"]]:
        """Normalised queries and keys, and values, of the sequences along one axis.

        Along `patches` a frame is a group, along `frames` a patch is one. The result is contiguous
        per head, as the matrix products of attention read it.
        """
        joint = self.to_qkv(x).unflatten(-1, (3, self.num_heads, self.head_dim))
        order = (3, 0, 1, 4, 2, 5) if along == "patches" else (3, 0, 2, 4, 1, 5)
        queries_keys, values = joint.permute(order).contiguous().split((2, 1))
        # Autocast would compute F.layer_norm in fp32; this one adds in fp32 by itself.
        normalised, _, _ = torch.native_layer_norm(queries_keys, (self.head_dim,), None, None, EPS)
        return normalised, values[0]

    def attend(
        self,
        query: Float[Tensor, "*n heads q e"],
        key: Float[Tensor, "*n heads k e"],
        value: Float[Tensor, "*n heads k e"],
        *,
        unseen: Unseen = None,
    ) -> Float[Tensor, "*n heads q e"]:
        """Attend with scale gain / sqrt(e); heads are not merged."""
        scale = (self.gain / math.sqrt(self.head_dim))[:, None].to(query.dtype)
        return attend(query * scale, key, value, unseen=unseen, backend=self.backend)


def attend(
    query: Float[Tensor, "*n heads q e"],
    key: Float[Tensor, "*n heads k e"],
    value: Float[Tensor, "*n heads k e"],
    *,
    backend: Backend,
    unseen: Unseen = None,
) -> Float[Tensor, "*n heads q e"]:
    """Softmax attention of queries that are already scaled.

    Raises:
        ValueError: `xformers` was requested where it has no kernel.
    """
    match choose_backend(backend, query, num_keys=key.shape[-2]):
        case "xformers":
            q, k, v = (x.flatten(0, -4).transpose(-2, -3) for x in (query, key, value))
            attended = xformers_attention(q, k, v, unseen=unseen)
            return attended.transpose(-2, -3).unflatten(0, query.shape[:-3])
        case "sdpa":
            return sdpa_attention(query, key, value, unseen=unseen)
        case _:
            return matmul_attention(query, key, value, unseen=unseen)


def sdpa_attention(
    query: Float[Tensor, "*n heads q e"],
    key: Float[Tensor, "*n heads k e"],
    value: Float[Tensor, "*n heads k e"],
    *,
    unseen: Unseen = None,
) -> Float[Tensor, "*n heads q e"]:
    """Attention by torch's `scaled_dot_product_attention`, which picks a kernel."""
    q, k, v = query, key, value
    if query.is_cuda:  # fused kernels take four dimensions there; on a CPU that is slower
        q, k, v = q.flatten(0, -4), k.flatten(0, -4), v.flatten(0, -4)
    seen = ~unseen if isinstance(unseen, Tensor) else None
    is_causal = seen is None and unseen is not None
    attended = F.scaled_dot_product_attention(
        q, k, v, attn_mask=seen, is_causal=is_causal, scale=1.0
    )
    return attended.view(query.shape)


def later_frames(num_positions: int, frame_size: int, device: torch.device) -> Bool[Tensor, "q k"]:
    """Whether key k lies in a later frame than query q; positions lie frame after frame."""
    frame = torch.arange(num_positions, device=device) // frame_size
    return frame > frame[:, None]


def past_then_next(num_past: int, device: torch.device) -> Int[Tensor, " t"]:
    """The times of frames 0..n-1, which are the past, and of frames 1..n, which follow them."""
    past = torch.arange(num_past, device=device)
    return torch.cat([past, past + 1])


def all_but_the_past(num_past: int, device: torch.device) -> Bool[Tensor, "q k"]:
    """Which keys are hidden from each query, both being the frames of `past_then_next`.

    Every frame sees itself and the frames of the past that are earlier than it, and nothing else.
    """
    time = past_then_next(num_past, device)
    is_past = torch.arange(len(time), device=device) < num_past
    itself = torch.eye(len(time), dtype=torch.bool, device=device)
    return ~(is_past & (time < time[:, None]) | itself)


def choose_backend(backend: Backend, query: Tensor, *, num_keys: int) -> Backend:
    """Resolve `auto`: on a GPU by measurement, on a CPU by dtype and length.

    Raises:
        ValueError: `xformers` was requested on a device without its kernels.
    """
    if backend is Backend.xformers and query.device.type != "cuda":
        raise ValueError(
            f"model.attention=xformers needs a CUDA device, but the tensors are on "
            f"{query.device.type}: xformers has no kernels there. Use model.attention=auto, "
            "or engine.device=cuda on a machine with a GPU."
        )
    if backend is not Backend.auto:
        return backend
    if query.device.type == "cuda":
        has_kernel = query.shape[-1] % HEAD_DIM_MULTIPLE == 0 and xformers_is_fastest()
        return Backend.xformers if has_kernel else Backend.sdpa
    is_long = query.dtype == torch.float32 and num_keys > MATMUL_MAX_LENGTH
    return Backend.sdpa if is_long and torch.is_grad_enabled() else Backend.matmul


def matmul_attention(
    query: Float[Tensor, "*n heads q e"],
    key: Float[Tensor, "*n heads k e"],
    value: Float[Tensor, "*n heads k e"],
    *,
    unseen: Unseen = None,
) -> Float[Tensor, "*n heads q e"]:
    """Attention as two matrix products; torch's softmax accumulates in fp32."""
    num_bytes = query.shape[:-1].numel() * key.shape[-2] * query.element_size()
    if num_bytes > TILE_BYTES and unseen is None and not torch.is_grad_enabled():
        return _attend_in_tiles(query, key, value, num_tiles=-(-num_bytes // TILE_BYTES))
    scores = query @ key.transpose(-1, -2)
    if unseen is not None:
        if not isinstance(unseen, Tensor):
            unseen = later_frames(scores.shape[-1], 1, scores.device)
        scores = scores + torch.zeros_like(unseen, dtype=scores.dtype).masked_fill_(
            unseen, -torch.inf
        )
    in_fp32 = scores.shape[-1] < SHORT_ROW
    weights = scores.softmax(-1, dtype=torch.float32 if in_fp32 else None)
    return weights.to(value.dtype) @ value


def _attend_in_tiles(
    query: Float[Tensor, "*n heads q e"],
    key: Float[Tensor, "*n heads k e"],
    value: Float[Tensor, "*n heads k e"],
    *,
    num_tiles: int,
) -> Float[Tensor, "*n heads q e"]:
    """Attention whose weights are computed in place, tile after tile, in one piece of memory."""
    tiles = query.split(-(-query.shape[-2] // num_tiles), dim=-2)
    memory = query.new_empty(tiles[0].shape[:-1].numel() * key.shape[-2])

    def attend_tile(tile: Tensor) -> Tensor:
        size = (*tile.shape[:-1], key.shape[-2])
        weights = memory[: math.prod(size)].view(size)
        torch.matmul(tile, key.transpose(-1, -2), out=weights)
        return torch.softmax(weights, -1, out=weights) @ value

    return torch.cat([attend_tile(tile) for tile in tiles], dim=-2)


def xformers_attention(
    query: Float[Tensor, "n q heads e"],
    key: Float[Tensor, "n k heads e"],
    value: Float[Tensor, "n k heads e"],
    *,
    unseen: Unseen = None,
    op: Any = None,
) -> Float[Tensor, "n q heads e"]:
    """Xformers memory-efficient attention (Rabe and Staats 2021; Lefaudeux et al. 2022), scale 1.

    Other masks than the causal one become a dense bias, shared by batch and heads.
    `op` picks a forward and backward operator pair; None lets xformers dispatch.
    """
    fmha = load_xformers()
    bias = None
    if isinstance(unseen, Tensor):
        bias = dense_bias(query, unseen)
    elif unseen is not None:
        bias = fmha.attn_bias.LowerTriangularMask()
    return fmha.memory_efficient_attention(query, key, value, attn_bias=bias, scale=1.0, op=op)


def dense_bias(
    query: Float[Tensor, "n q heads e"], unseen: Bool[Tensor, "q k"]
) -> Float[Tensor, "n heads q k"]:
    """-inf where a key is unseen, else 0; the row stride is a multiple of 8."""
    num_sets, _, num_heads, _ = query.shape
    num_queries, num_keys = unseen.shape
    aligned = query.new_zeros(num_queries, -(-num_keys // 8) * 8)[:, :num_keys]
    bias = aligned.masked_fill_(unseen, -torch.inf)
    return bias.expand(num_sets, num_heads, -1, -1)


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
    try:
        with _gradients():
            probe = torch.zeros(1, 8, 1, 32, device="cuda", dtype=torch.bfloat16).requires_grad_()
            xformers_attention(probe, probe, probe, unseen="later").sum().backward()
    except (RuntimeError, OSError):  # no kernel for this GPU; no CUDA 12 runtime
        return False
    return True


@contextmanager
def _gradients() -> Iterator[None]:
    """Gradients wherever this is called from: the first attention of a process may need none."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        yield


@torch.compiler.assume_constant_result
def xformers_is_fastest() -> bool:
    """Whether xformers works on this GPU and beats torch's attention, measured once."""
    return xformers_works() and _xformers_wins()


@cache
def _xformers_wins() -> bool:
    times = time_backends(torch.device("cuda"))
    return times[Backend.xformers] <= times[Backend.sdpa]


def time_backends(device: torch.device) -> dict[Backend, float]:
    """Milliseconds of attention over frames, forward and backward, with every backend of a device.

    16 frames of 256 patches with 8 heads of 32, in bf16 where the device has it.
    """
    on_gpu = device.type == "cuda"
    dtype = torch.bfloat16 if supports_bf16(device.type) else torch.float32
    other = [Backend.xformers] * xformers_works() if on_gpu else [Backend.matmul]

    def milliseconds(backend: Backend) -> float:
        laps, heads = [], torch.zeros(16, 8, 256, 32, device=device, dtype=dtype).requires_grad_()
        for _ in range(NUM_LAPS):
            start = time.perf_counter()
            attend(heads, heads, heads, backend=backend).sum().backward()
            if on_gpu:
                torch.cuda.synchronize(device)
            laps.append(1e3 * (time.perf_counter() - start))
        return min(laps)

    with _gradients():
        return {backend: milliseconds(backend) for backend in (*other, Backend.sdpa)}
