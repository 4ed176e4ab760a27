"""The training engine: device, precision, single process, DDP or FSDP2, and stop signals."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision, Precision
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from genie_robo.build import build_device
from genie_robo.models.transformer import STTransformer
from genie_robo.precision import trains_in_bf16
from genie_robo.ranks import OneProcess, Ranks
from genie_robo.train.settings import EngineConfig, Strategy
from genie_robo.workers import end_with_launcher

_STOP_SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class StopRequest(threading.Event):
    """Set when this process is asked to stop."""

    by = "a signal to another process"
    """What asked."""


def make_fabric(config: EngineConfig) -> Fabric:
    """The engine for this machine: device, precision and processes.

    Processes are those that torchrun started; without it there is one.

    Raises:
        ValueError: An unknown device, cuda where there is none, or a strategy that needs more
            processes.
    """
    accelerator = _accelerator(config.device)
    if accelerator == "cpu":
        torch.set_num_threads(config.num_threads or os.cpu_count() or 1)
    for name in ("lightning_fabric", "lightning_fabric.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if "TORCHELASTIC_RUN_ID" in os.environ:
        end_with_launcher()
    is_bf16 = trains_in_bf16(config.precision, accelerator)
    num_processes = int(os.environ.get("WORLD_SIZE", "1"))
    local_processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    fabric = Fabric(
        accelerator=accelerator,
        devices=local_processes,
        num_nodes=num_processes // local_processes,
        strategy=_strategy(config.strategy, num_processes),
        plugins=_Autocast("bf16-mixed", accelerator) if is_bf16 else _AsGiven(),
    )
    fabric.launch()
    return fabric


class _AsGiven(Precision):
    """Inputs of a forward pass keep their precision: totals are sums in fp64."""

    def convert_input(self, data: Any) -> Any:
        return data


class _Autocast(MixedPrecision):
    """Products in bf16; inputs keep their precision, which Fabric would lower to bf16."""

    def convert_input(self, data: Any) -> Any:
        return data


def make_ranks(fabric: Fabric) -> Ranks:
    """Collective operations of this engine's processes."""
    return DistributedRanks(fabric) if fabric.world_size > 1 else OneProcess()


class DistributedRanks:
    """Several processes, whose parameters may be sharded."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of every process's tensor."""
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    def gather(self, tensor: Tensor) -> Tensor:
        """Every process's rows, one process after the other."""
        counts = [torch.zeros_like(_count(tensor)) for _ in range(self._fabric.world_size)]
        dist.all_gather(counts, _count(tensor))
        longest = max(int(count) for count in counts)
        padded = tensor.new_zeros(longest, *tensor.shape[1:])
        padded[: len(tensor)] = tensor
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[: int(n)] for part, n in zip(parts, counts, strict=True)])

    def read(self, parameter: nn.Parameter) -> Tensor:
        """The whole of a parameter."""
        value = parameter.detach()
        return value.full_tensor() if isinstance(value, DTensor) else value

    @torch.no_grad()
    def write(self, parameter: nn.Parameter, value: Tensor) -> None:
        """Every process takes its part of the value."""
        if isinstance(parameter, DTensor):
            value = distribute_tensor(value, parameter.device_mesh, parameter.placements)
        parameter.copy_(value)


def checkpoint_activations(module: nn.Module) -> None:
    """Keep only the inputs of blocks and recompute the rest in the backward pass."""
    for stack in _stacks(module):
        stack.checkpoint_activations = True


def compile_blocks(module: nn.Module) -> None:
    """Compile every transformer block; all blocks of a stack have equal shapes, one graph each."""
    for stack in _stacks(module):
        for block in stack.blocks:
            block.compile(dynamic=False)


def reshard(module: nn.Module) -> None:
    """Free gathered parameters, which a forward pass without a backward pass keeps."""
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()


def _shard(module: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """FSDP2: every block is gathered when it computes, the rest at the root."""
    for stack in _stacks(module):
        blocks = [fully_shard(block, mesh=mesh["data_parallel"]) for block in stack.blocks]
        for block, following in pairwise(blocks):  # gathered while the one before computes
            block.set_modules_to_forward_prefetch([following])
            following.set_modules_to_backward_prefetch([block])
    fully_shard(module, mesh=mesh["data_parallel"])
    return module


def _stacks(module: nn.Module) -> list[STTransformer]:
    return [part for part in module.modules() if isinstance(part, STTransformer)]


def _strategy(wanted: Strategy, num_processes: int) -> Any:
    if wanted is Strategy.auto:
        wanted = Strategy.ddp if num_processes > 1 else wanted
    elif num_processes == 1:
        raise ValueError(
            f"engine.strategy={wanted} shares the work between processes, but there is one. "
            "Start them with `torchrun --nproc-per-node N -m genie_robo train ...`, or use "
            "engine.strategy=auto"
        )
    match wanted:
        case Strategy.ddp:
            # Buffers are equal already.
            return DDPStrategy(forward_sync_buffers=False, gradient_as_bucket_view=True)
        case Strategy.fsdp:
            return ModelParallelStrategy(
                parallelize_fn=_shard, data_parallel_size=num_processes, tensor_parallel_size=1
            )
        case _:
            return "auto"


def _count(tensor: Tensor) -> Tensor:
    return torch.tensor(len(tensor), device=tensor.device)


def _accelerator(device: str) -> str:
    found = build_device(device, setting="engine.device")
    if found.index is not None:
        raise ValueError(
            f"engine.device={device} names one GPU, but each process of a training takes its own; "
            f"use engine.device=cuda with CUDA_VISIBLE_DEVICES={found.index} in the environment"
        )
    return found.type


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """An event that the first Ctrl-C or SIGTERM sets, for a graceful stop after the current step.

    A second signal acts as usual. Outside of the main thread signals cannot be caught.
    """
    requested = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield requested
        return
    usual = {number: signal.getsignal(number) for number in _STOP_SIGNALS}

    def request(number: int, frame: FrameType | None) -> None:
        del frame
        requested.by = _STOP_SIGNALS[signal.Signals(number)]
        requested.set()
        signal.signal(number, usual[signal.Signals(number)])

    for number in _STOP_SIGNALS:
        signal.signal(number, request)
    try:
        yield requested
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
