"""One optimizer step, and validation: on batches divided into parts and between processes."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from genie_robo.data.loader import collate
from genie_robo.data.windows import WindowDataset
from genie_robo.ranks import Ranks
from genie_robo.train.engine import reshard
from genie_robo.train.metrics import log_names
from genie_robo.train.optim import WeightAverage, evaluation_weights
from genie_robo.train.stages import Inputs, Sums, TrainingStage, step_generator
from genie_robo.types import EpisodeBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What a training step found, still on the device."""

    step: int
    """Training steps made before it."""
    sums: Sums
    """The loss, and what the stage describes."""
    numbers: Mapping[str, Tensor]
    """Further numbers: the gradient norm, the use of codebooks."""
    learning_rate: float
    episode_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainStep:
    """One optimizer step when called; nothing in it waits for the device."""

    fabric: Fabric
    ranks: Ranks
    stage: TrainingStage
    module: Any
    """The stage as the engine wrapped it."""
    optimizers: Sequence[torch.optim.Optimizer]
    average: WeightAverage | None
    learning_rate: Callable[[int], float]
    max_grad_norm: float
    num_parts: int
    """Parts into which each process divides its share of a batch."""
    seed: int

    def __call__(self, step: int, batches: Iterator[EpisodeBatch]) -> StepResult:
        """Learn from the next batch; `step` steps were made before."""
        rate = self.learning_rate(step)
        for group in (group for each in self.optimizers for group in each.param_groups):
            group["lr"] = rate
        drawn = [next(batches) for _ in range(self.num_parts)]
        parts = [self.stage.inputs(batch, self.fabric.device) for batch in drawn]
        totals = pool([self.stage.totals(part) for part in parts], self.ranks)
        found = [self._backward(part, totals, is_last=part is parts[-1]) for part in parts]
        norm = nn.utils.clip_grad_norm_(self.module.parameters(), self.max_grad_norm)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        if self.average:
            self.average.update(step)
        code_use = self.stage.finish_step(self.ranks, step_generator(self.seed, step))
        numbers = {"grad_norm": norm.full_tensor() if isinstance(norm, DTensor) else norm}
        for prefix, use in code_use.items():
            numbers |= log_names(prefix, use)
        return StepResult(
            step=step,
            sums=pool(found, self.ranks),
            numbers=numbers,
            learning_rate=rate,
            episode_ids=tuple(sorted({name for batch in drawn for name in batch.episode_ids})),
        )

    def read(self, results: Sequence[StepResult]) -> list[dict[str, float]]:
        """The numbers of some steps for the log, in one transfer from the device.

        Raises:
            ValueError: The loss or the gradient of a step is not finite.
        """
        tensors = [{**result.sums, **result.numbers} for result in results]
        rows = torch.stack([torch.stack([x.double() for x in each.values()]) for each in tensors])
        lines = []
        for result, row in zip(results, rows.tolist(), strict=True):
            values = dict(zip(tensors[0], row, strict=True))
            loss, sums = values["loss"], {name: values[name] for name in result.sums}
            sums.pop("loss")
            self._check_finite(result, loss, values["grad_norm"])
            further = {name: values[name] for name in result.numbers}
            described = {"loss": loss, **self.stage.describe(sums), **further}
            lines.append({**described, "learning_rate": result.learning_rate})
        return lines

    def _backward(self, part: Inputs, totals: Sums, *, is_last: bool) -> Sums:
        """Add the gradient of a part; DDP shares gradients after the last one."""
        # FSDP2 would hold unsharded gradients until then, so it reduces after every part.
        waits = not is_last and isinstance(self.fabric.strategy, DDPStrategy)
        with self.fabric.no_backward_sync(self.module, enabled=waits):
            loss, sums = compute_loss(self.module, part, totals)
            self.fabric.backward(loss * self.fabric.world_size)  # processes average gradients
        return {"loss": loss.detach(), **sums}

    def _check_finite(self, result: StepResult, loss: float, norm: float) -> None:
        if math.isfinite(loss) and math.isfinite(norm):
            return
        raise ValueError(
            f"training {self.stage.name} has a loss of {loss} and a gradient norm of {norm} at "
            f"step {result.step}, in windows of the episodes {', '.join(result.episode_ids)}. The "
            "last checkpoint is unaffected; try a lower learning rate or engine.precision=fp32"
        )


def compute_loss(module: nn.Module, inputs: Inputs, totals: Sums) -> tuple[Tensor, Sums]:
    """A part's share of the loss of its batch."""
    return module(totals, **inputs)


def pool(parts: Sequence[Sums], ranks: Ranks) -> Sums:
    """Sums over the parts of all processes."""
    names = list(parts[0])
    rows = torch.stack([torch.stack([part[name].double() for name in names]) for part in parts])
    return dict(zip(names, ranks.sum(rows.sum(0)).unbind(), strict=True))


def floats(sums: Sums) -> dict[str, float]:
    """Sums as plain numbers, in one transfer."""
    return dict(zip(sums, torch.stack(list(sums.values())).tolist(), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """The loss on a few fixed windows of validation episodes."""

    fabric: Fabric
    ranks: Ranks
    stage: TrainingStage
    module: nn.Module
    average: WeightAverage | None
    batches: Sequence[EpisodeBatch]
    """Batches of this process; every process has equally many."""

    @torch.no_grad()
    def __call__(self) -> dict[str, float]:
        """Loss and numbers with the prefix `val_`; of the averaged weights if there are any."""
        with evaluation_weights(self.module, self.average):
            parts = [self.stage.inputs(batch, self.fabric.device) for batch in self.batches]
            totals = pool([self.stage.totals(part) for part in parts], self.ranks)
            found = []
            for part in parts:
                loss, sums = compute_loss(self.module, part, totals)
                found.append({"loss": loss, **sums})
            sums = floats(pool(found, self.ranks))
            reshard(self.module)
        numbers = {"loss": sums.pop("loss"), **self.stage.describe(sums)}
        return {f"val_{name}": value for name, value in numbers.items()}


def fixed_batches(
    windows: WindowDataset, *, num_windows: int, batch_size: int, rank: int, world_size: int
) -> list[EpisodeBatch]:
    """Windows spread evenly over all validation windows, divided between processes.

    If there are too few, some are repeated so that every process has equally many.
    """
    count = -(-num_windows // world_size) * world_size
    chosen = np.linspace(0, len(windows) - 1, count).round().astype(int).tolist()
    share = count // world_size
    own = chosen[rank * share : (rank + 1) * share]
    return [
        collate(
            [windows[k] for k in own[first : first + batch_size]],
            first_position=rank * share + first,
        )
        for first in range(0, share, batch_size)
    ]
