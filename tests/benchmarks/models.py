"""Models of the sizes whose speed docs/results.md states."""

import math
from dataclasses import dataclass

from genie_robo.models.dynamics import DynamicsModel
from genie_robo.models.genie import Genie
from genie_robo.models.latent_action_tokens import TokenActionModel
from genie_robo.models.quantizer import VectorQuantizer
from genie_robo.models.settings import Backend, DecoderView, Joining, LatentActionDesign
from genie_robo.models.tokenizer import VideoTokenizer
from genie_robo.models.transformer import STTransformer

NUM_TOKENS, ACTION_DIM = 1024, 32
"""As in the paper: its codebook and its latent actions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicsSize:
    """What time and memory depend on."""

    dim: int = 256
    num_blocks: int = 6
    num_heads: int = 8
    tokens_per_frame: int = 64
    num_frames: int = 16
    """In the window, the frame that is decoded included."""
    clean_past: bool = False
    """As in DynamicsConfig; without, the past is masked as in the paper, and in the plain model."""
    copies: bool = False
    """As in DynamicsConfig; not in the paper."""
    relative_places: bool = False
    """As in DynamicsConfig, for square frames; not in the paper."""


def build_dynamics(size: DynamicsSize, *, backend: Backend = Backend.auto) -> DynamicsModel:
    """Untrained: what a step costs does not depend on what the model knows."""
    side = math.isqrt(size.tokens_per_frame)
    return DynamicsModel(
        num_tokens=NUM_TOKENS,
        tokens_per_frame=size.tokens_per_frame,
        latent_dim=ACTION_DIM,
        actions=Joining.additive,
        transformer=STTransformer(
            num_blocks=size.num_blocks,
            dim=size.dim,
            num_heads=size.num_heads,
            head_dim=size.dim // size.num_heads,
            backend=backend,
            grid=(side, side) if size.relative_places else None,
        ),
        copies=size.copies,
        clean_past=size.clean_past,
    )


def small_genie(num_frames: int) -> Genie:
    """All three models, so small that ten thousand frames take a minute."""

    def stack() -> STTransformer:
        return STTransformer(num_blocks=1, dim=32, num_heads=2, head_dim=16)

    def codebook(num_codes: int) -> VectorQuantizer:
        return VectorQuantizer(num_codes=num_codes, code_dim=8, commitment=0.25, reset_after=50)

    tokenizer = VideoTokenizer(
        image_size=(16, 16),
        patch_size=4,
        encoder=stack(),
        decoder=stack(),
        quantizer=codebook(64),
    )
    latent_action = TokenActionModel(
        num_tokens=tokenizer.num_codes,
        tokens_per_frame=tokenizer.tokens_per_frame,
        encoder=stack(),
        decoder=stack(),
        quantizer=codebook(8),
        design=LatentActionDesign(decoder_view=DecoderView.history),
        actions=Joining.additive,
    )
    dynamics = DynamicsModel(
        num_tokens=tokenizer.num_codes,
        tokens_per_frame=tokenizer.tokens_per_frame,
        latent_dim=latent_action.code_dim,
        actions=Joining.additive,
        transformer=stack(),
    )
    return Genie(
        tokenizer=tokenizer,
        latent_action=latent_action,
        dynamics=dynamics,
        num_frames=num_frames,
        takes_latents=False,
    ).eval()
