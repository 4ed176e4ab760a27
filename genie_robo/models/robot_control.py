"""Robot actions as what steers the dynamics, beside or instead of latent actions."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

FEATURE_LIMIT = 4.0
"""Standard deviations beyond which a feature is clipped: squares and products grow fast."""


class RobotControl(nn.Module):
    """The input of the dynamics for a robot action: a latent action, then the action itself.

        x = (clip(a) - centre) / scale        a robot action, standardised
        f = [x, x_i x_j for all i <= j]       its features
        i = [clip(W f + b), clip(f)]          latent action (by ridge regression), features

    For a latent action z it is i = [z, 0]. With `latent_dim=0` there are only features.
    Everything is fitted to labelled transitions and stored with the weights of the dynamics.
    """

    centre: Float[Tensor, " a"]
    scale: Float[Tensor, " a"]
    action_range: Float[Tensor, "2 a"]
    latent_range: Float[Tensor, "2 e"]
    weights: Float[Tensor, "e f"]
    bias: Float[Tensor, " e"]

    def __init__(self, *, action_dim: int, latent_dim: int) -> None:
        """Any action becomes zeros until `set_arrays` was called."""
        super().__init__()
        self.action_dim = action_dim
        self.num_features = action_dim * (action_dim + 3) // 2
        self.register_buffer("centre", torch.zeros(action_dim))
        self.register_buffer("scale", torch.ones(action_dim))
        self.register_buffer("action_range", torch.zeros(2, action_dim))
        self.register_buffer("latent_range", torch.zeros(2, latent_dim))
        self.register_buffer("weights", torch.zeros(latent_dim, self.num_features))
        self.register_buffer("bias", torch.zeros(latent_dim))

    def set_arrays(self, arrays: Mapping[str, Float[np.ndarray, "..."]]) -> None:
        """Take over what was fitted, by the names of the buffers; those left out stay."""
        for name, values in arrays.items():
            getattr(self, name).copy_(torch.from_numpy(np.ascontiguousarray(values)))

    def forward(self, actions: Float[Tensor, "*b a"]) -> Float[Tensor, "*b i"]:
        """Robot actions, in the units of the dataset, to inputs of the dynamics."""
        known = torch.minimum(torch.maximum(actions, self.action_range[0]), self.action_range[1])
        x = (known - self.centre) / self.scale
        first, second = torch.triu_indices(self.action_dim, self.action_dim, device=x.device)
        features = torch.cat([x, x[..., first] * x[..., second]], dim=-1)
        latent = features @ self.weights.T + self.bias
        latent = torch.minimum(torch.maximum(latent, self.latent_range[0]), self.latent_range[1])
        return torch.cat([latent, features.clamp(-FEATURE_LIMIT, FEATURE_LIMIT)], dim=-1)
