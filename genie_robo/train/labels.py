"""Robot actions in the loss of the latent action model: an ablation, never by default."""

import logging
from collections.abc import Collection

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from genie_robo.types import EpisodeBatch

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

    def totals(self, batch: EpisodeBatch) -> dict[str, Tensor]:
        """How many action numbers of a batch are labels."""
        return {"labels": self._label_mask(batch).sum().double()}

    def inputs(self, batch: EpisodeBatch) -> dict[str, Tensor]:
        """Scaled actions, and which of their numbers are labels."""
        scaled = (batch.robot_actions - self.centre) / self.reach
        return {"actions": scaled * _known(batch), "is_label": self._label_mask(batch)}

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

    def _label_mask(self, batch: EpisodeBatch) -> Bool[Tensor, "b t a"]:
        chosen = torch.tensor([name in self.labelled for name in batch.episode_ids])
        known = _known(batch)
        return known & chosen.to(known.device)[:, None, None]


def _known(batch: EpisodeBatch) -> Bool[Tensor, "b t a"]:
    """Dimensions that the dataset has, in transitions that do not lead to padding."""
    return batch.action_mask[:, None] & ~batch.is_pad[:, 1:, None]
