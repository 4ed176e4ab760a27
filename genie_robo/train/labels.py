"""Robot actions as labels: which transitions have them, and the loss of an ablation."""

import logging
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from genie_robo.data.dataset import EpisodeDataset
from genie_robo.data.windows import split_episodes
from genie_robo.train.label_checks import number_of_labels
from genie_robo.train.settings import TrainConfig
from genie_robo.types import EpisodeBatch, Split

_log = logging.getLogger(__name__)


class ActionLabels(nn.Module):
    """Labels of a few transitions for the latent action model.

    Actions are scaled as `genie_robo.data.statistics.normalize` does; dimensions that a dataset
    lacks are zero.
    """

    centre: Float[Tensor, " a"]
    reach: Float[Tensor, " a"]

    def __init__(
        self,
        *,
        centre: Float[Tensor, " a"],
        reach: Float[Tensor, " a"],
        code_dim: int,
        labelled: Collection[str],
        weight: float = 1.0,
    ) -> None:
        """Choose the labels.

        Args:
            centre: Action that becomes 0, by dimension.
            reach: Distance from it that becomes 1.
            code_dim: Width of the latent action's encoding, from which labels are read.
            labelled: Ids of the episodes whose transitions have labels.
            weight: Weight of the label loss.
        """
        super().__init__()
        self.labelled = frozenset(labelled)
        self.weight = weight
        self.register_buffer("centre", centre.float())
        self.register_buffer("reach", reach.float())
        self.read_action = nn.Linear(code_dim, len(centre))
        _log.warning(
            "ACTION LABELS of %d episodes are in the loss of this run's latent action model: its "
            "latent actions are not learned from video alone. Say so wherever its numbers are "
            "shown",
            len(self.labelled),
        )

    def inputs(self, batch: EpisodeBatch, device: torch.device) -> dict[str, Tensor]:
        """Scaled actions, and which of their numbers are labels."""
        known = _known(batch)
        chosen = torch.tensor([name in self.labelled for name in batch.episode_ids])
        scaled = (batch.robot_actions.to(device) - self.centre) / self.reach
        is_label = (known & chosen[:, None, None]).to(device)
        return {"actions": scaled * known.to(device), "is_label": is_label}

    def totals(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """How many action numbers of a batch are labels."""
        return {"labels": inputs["is_label"].sum().double()}

    def loss(
        self,
        continuous: Float[Tensor, "b t e"],
        totals: dict[str, Tensor],
        *,
        actions: Float[Tensor, "b t a"],
        is_label: Bool[Tensor, "b t a"],
    ) -> Float[Tensor, ""]:
        """Squared error of labelled actions predicted linearly from the latent ones."""
        error = (self.read_action(continuous).float() - actions).square() * is_label
        return self.weight * error.sum() / totals["labels"].clamp(min=1)


def _known(batch: EpisodeBatch) -> Bool[Tensor, "b t a"]:
    """Dimensions that the dataset has, in transitions that do not lead to padding."""
    return batch.action_mask[:, None] & ~batch.is_pad[:, 1:, None]


def labelled_episodes(config: TrainConfig, dataset: EpisodeDataset) -> tuple[int, ...]:
    """The first training episodes, as many as are labelled from the first to the last transition.

    None where there are fewer labels than the first episode has transitions.
    """
    episodes = training_episodes(config, dataset)
    wanted = number_of_labels(config)
    if wanted is None:
        return episodes
    lengths = (dataset.lengths[list(episodes)] - 1) // config.data.stride
    return episodes[: int((np.cumsum(lengths) <= wanted).sum())]


def training_episodes(config: TrainConfig, dataset: EpisodeDataset) -> tuple[int, ...]:
    """Their indices in the dataset, in the order of the split."""
    return split_episodes(dataset.episode_ids, **split_settings(config))[Split.train]


def validation_episodes(config: TrainConfig, dataset: EpisodeDataset) -> tuple[int, ...]:
    """Their indices in the dataset, in the order of the split."""
    return split_episodes(dataset.episode_ids, **split_settings(config))[Split.val]


def split_settings(config: TrainConfig) -> dict[str, Any]:
    """The settings of `split_episodes`."""
    names = ("val_fraction", "test_fraction", "fold")
    return {name: getattr(config.data, name) for name in names}
