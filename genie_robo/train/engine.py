"""Lightning Fabric: the same training code in one process or under torchrun."""

import logging
import os

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

from genie_robo.config import EngineConfig, Precision


def make_fabric(config: EngineConfig) -> Fabric:
    """The engine for this machine: device, precision and processes.

    Raises:
        ValueError: An unknown device, or cuda where there is none.
    """
    accelerator = _accelerator(config.device)
    if accelerator == "cpu":
        torch.set_num_threads(config.num_threads or os.cpu_count() or 1)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    num_processes = int(os.environ.get("WORLD_SIZE", "1"))
    local_processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    fabric = Fabric(
        accelerator=accelerator,
        devices=local_processes,
        num_nodes=num_processes // local_processes,
        strategy=DDPStrategy() if num_processes > 1 else "auto",
        precision="bf16-mixed" if _wants_bf16(config.precision, accelerator) else "32-true",
    )
    fabric.launch()
    return fabric


def _accelerator(device: str) -> str:
    has_cuda = torch.cuda.is_available()
    if device == "auto":
        return "cuda" if has_cuda else "cpu"
    if device not in ("cpu", "cuda"):
        raise ValueError(f"engine.device={device!r} must be auto, cpu or cuda")
    if device == "cuda" and not has_cuda:
        raise ValueError(
            "engine.device=cuda was asked for, but torch sees no CUDA device here; use "
            "engine.device=auto, or run `genie-robo doctor` to see what is missing"
        )
    return device


def _wants_bf16(precision: Precision, accelerator: str) -> bool:
    """Automatic: everywhere but on processors that would emulate bf16."""
    if precision is not Precision.auto:
        return precision is Precision.bf16
    if accelerator == "cuda":
        return torch.cuda.is_bf16_supported()
    return torch.cpu._is_avx512_bf16_supported()
