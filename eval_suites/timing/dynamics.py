"""The dynamics model whose training and imagining are measured."""

from dataclasses import dataclass

from genie_robo.models.attention import Backend
from genie_robo.models.dynamics import DynamicsModel
from genie_robo.models.transformer import STTransformer

NUM_TOKENS, ACTION_DIM = 1024, 32
"""As in the paper: its codebook and its latent actions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicsSize:
    """What time and memory depend on."""

    dim: int
    num_blocks: int
    num_heads: int
    tokens_per_frame: int
    num_frames: int
    """In the window, the frame that is decoded included."""


def build_dynamics(size: DynamicsSize, *, backend: Backend = "auto") -> DynamicsModel:
    """Untrained: what a step costs does not depend on what the model knows."""
    return DynamicsModel(
        num_tokens=NUM_TOKENS,
        tokens_per_frame=size.tokens_per_frame,
        action_dim=ACTION_DIM,
        actions="additive",
        transformer=STTransformer(
            num_blocks=size.num_blocks,
            dim=size.dim,
            num_heads=size.num_heads,
            head_dim=size.dim // size.num_heads,
            backend=backend,
        ),
    )
