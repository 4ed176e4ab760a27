"""The loss on windows of validation episodes, while training goes on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from genie_robo.data.loader import collate
from genie_robo.data.windows import WindowDataset
from genie_robo.ranks import Ranks
from genie_robo.train.average import WeightAverage
from genie_robo.train.engine import reshard
from genie_robo.train.stages import TrainingStage
from genie_robo.train.step import floats, pool
from genie_robo.types import EpisodeBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """A few fixed windows, the same at every step."""

    fabric: Fabric
    ranks: Ranks
    stage: TrainingStage
    module: nn.Module
    average: WeightAverage | None
    batches: Sequence[EpisodeBatch]
    """Of this process; every process has as many."""

    @torch.no_grad()
    def __call__(self) -> dict[str, float]:
        """Loss and numbers, `val_` before each name; of the averaged weights where there are."""
        self.module.eval()
        if self.average:
            self.average.swap()
        batches = [batch.to(self.fabric.device) for batch in self.batches]
        totals = pool([self.stage.totals(batch) for batch in batches], self.ranks)
        found = []
        for batch in batches:
            loss, sums = self.stage.loss(self.module, batch, totals)
            found.append({"loss": loss, **sums})
        sums = floats(pool(found, self.ranks))
        reshard(self.module)
        if self.average:
            self.average.swap()
        self.module.train()
        numbers = {"loss": sums.pop("loss"), **self.stage.describe(sums)}
        return {f"val_{name}": value for name, value in numbers.items()}


def fixed_batches(
    windows: WindowDataset, *, num_windows: int, batch_size: int, rank: int, world_size: int
) -> list[EpisodeBatch]:
    """Windows spread evenly over all validation windows, shared out between processes.

    Where there are fewer than wanted some come twice, so that every process has as many.
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
