"""The arithmetic of the networks: fp32, or bf16 where the device has it."""

import torch

from genie_robo.settings import Precision


def supports_bf16(device: str) -> bool:
    """Whether a device, cpu or cuda, computes in bf16 natively."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported()
    return torch.cpu._is_avx512_bf16_supported()


def trains_in_bf16(precision: Precision, device: str) -> bool:
    """Whether a device, cpu or cuda, trains in bf16: with `auto` if it has it."""
    if precision is Precision.auto:
        return supports_bf16(device)
    return precision is Precision.bf16


def imagines_in_bf16(precision: Precision, device: str) -> bool:
    """Whether frames are imagined in bf16: with `auto` on GPUs that have it.

    On a CPU `auto` is fp32, because the products of small models are no faster in bf16.
    """
    is_fp32 = precision is Precision.auto and device == "cpu"
    return not is_fp32 and trains_in_bf16(precision, device)
