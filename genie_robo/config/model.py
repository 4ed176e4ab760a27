"""The three parts of Genie and their sizes."""

from dataclasses import dataclass, field
from enum import Enum


class Attention(Enum):
    """How attention is computed; `auto` picks by device, dtype and sequence length."""

    auto = "auto"
    xformers = "xformers"
    sdpa = "sdpa"
    matmul = "matmul"


@dataclass
class TransformerConfig:
    """A stack of space-time blocks."""

    num_blocks: int = 4
    dim: int = 128
    num_heads: int = 4
    head_dim: int = 32
    ff_multiplier: float = 4.0


@dataclass
class QuantizerConfig:
    """A vector-quantised codebook with cosine distance."""

    num_codes: int = 1024
    code_dim: int = 32
    commitment: float = 0.25
    reset_after: int = 50
    """Training steps without use after which a code restarts from a live one."""
    warmup_steps: int = 0
    """Training steps before encodings are quantised; the codebook then starts at their centres."""
    entropy_weight: float = 0.0
    """Weight of the joint code entropy term that works against collapse."""


@dataclass
class TokenizerConfig:
    """ST-ViViT VQ-VAE (paper section 2.1)."""

    patch_size: int = 8
    encoder: TransformerConfig = field(default_factory=lambda: TransformerConfig(num_blocks=2))
    decoder: TransformerConfig = field(default_factory=lambda: TransformerConfig(num_blocks=2))
    quantizer: QuantizerConfig = field(default_factory=lambda: QuantizerConfig(warmup_steps=350))


@dataclass
class LatentActionConfig:
    """Latent action model, from pixels (paper section 2.1)."""

    downscale: int = 4
    """Frames are scaled down by this before the model sees them."""
    patch_size: int = 4
    """In pixels of the scaled-down frame."""
    encoder: TransformerConfig = field(default_factory=lambda: TransformerConfig(2, 64, 4, 16))
    decoder: TransformerConfig = field(default_factory=lambda: TransformerConfig(2, 64, 4, 16))
    quantizer: QuantizerConfig = field(
        default_factory=lambda: QuantizerConfig(
            num_codes=8, code_dim=4, warmup_steps=250, entropy_weight=0.1
        )
    )


@dataclass
class DynamicsConfig:
    """MaskGIT dynamics (paper section 2.1)."""

    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    min_mask_rate: float = 0.5
    """Tokens of frames 2..T are masked at a rate drawn from U(min_mask_rate, 1)."""


@dataclass
class ModelConfig:
    """The three parts of Genie."""

    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    latent_action: LatentActionConfig = field(default_factory=LatentActionConfig)
    dynamics: DynamicsConfig = field(default_factory=DynamicsConfig)
    attention: Attention = Attention.auto
