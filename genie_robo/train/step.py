"""One optimizer step, and validation: on batches divided into parts and between processes."""

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
from genie_robo.models.quantizer import CodeUse
from genie_robo.ranks import Ranks
from genie_robo.train.engine import reshard
from genie_robo.train.optim import WeightAverage, evaluation_weights
from genie_robo.train.stages import Sums, TrainingStage, step_generator
from genie_robo.types import EpisodeBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """Logged numbers of a training step, and the use of each codebook."""

    numbers: Mapping[str, float]
    code_use: Mapping[str, CodeUse]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainStep:
    """One optimizer step when called."""

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
        """Learn from the next batch; `step` steps were made before.

        Raises:
            ValueError: The loss or the gradient is not finite; nothing was changed.
        """
        rate = self.learning_rate(step)
        for group in (group for each in self.optimizers for group in each.param_groups):
            group["lr"] = rate
        parts = [next(batches).to(self.fabric.device) for _ in range(self.num_parts)]
        totals = pool([self.stage.totals(part) for part in parts], self.ranks)
        found = [self._backward(part, totals, is_last=part is parts[-1]) for part in parts]
        sums = floats(pool(found, self.ranks))
        norm = self._clip(step, sums["loss"], parts)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        if self.average:
            self.average.update(step)
        code_use = self.stage.finish_step(self.ranks, step_generator(self.seed, step))
        loss = sums.pop("loss")
        numbers = {"loss": loss, **self.stage.describe(sums), "grad_norm": norm}
        return StepResult(numbers={**numbers, "learning_rate": rate}, code_use=code_use)

    def _backward(self, part: EpisodeBatch, totals: Sums, *, is_last: bool) -> Sums:
        """Add the gradient of a part; DDP shares gradients after the last one."""
        # FSDP2 would hold unsharded gradients until then, so it reduces after every part.
        waits = not is_last and isinstance(self.fabric.strategy, DDPStrategy)
        with self.fabric.no_backward_sync(self.module, enabled=waits):
            loss, sums = compute_loss(self.stage, self.module, part, totals)
            self.fabric.backward(loss * self.fabric.world_size)  # processes average gradients
        return {"loss": loss.detach(), **sums}

    def _clip(self, step: int, loss: float, parts: Sequence[EpisodeBatch]) -> float:
        """Clip the gradient norm; raise before a non-finite step."""
        norm = nn.utils.clip_grad_norm_(self.module.parameters(), self.max_grad_norm)
        total = float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
        if not (torch.isfinite(torch.tensor([total, loss])).all()):
            episodes = sorted({name for part in parts for name in part.episode_ids})
            raise ValueError(
                f"training {self.stage.name} has a loss of {loss} and a gradient norm of {total} "
                f"at step {step}, in windows of the episodes {', '.join(episodes)}. The last "
                "checkpoint is unaffected; try a lower learning rate or engine.precision=fp32"
            )
        return total


def compute_loss(
    stage: TrainingStage, module: nn.Module, batch: EpisodeBatch, totals: Sums
) -> tuple[Tensor, Sums]:
    """A part's share of the loss of its batch; the stage chooses the inputs of the module."""
    return stage.loss(module, batch, totals)


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
        batches = [batch.to(self.fabric.device) for batch in self.batches]
        with evaluation_weights(self.module, self.average):
            totals = pool([self.stage.totals(batch) for batch in batches], self.ranks)
            found = []
            for batch in batches:
                loss, sums = self.stage.loss(self.module, batch, totals)
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
