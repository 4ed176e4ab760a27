"""Video tokenizer: ST-ViViT VQ-VAE (paper section 2.1, "Video tokenizer")."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from genie_robo.models.patches import patch_grid, patchify, unpatchify
from genie_robo.models.quantizer import VectorQuantizer
from genie_robo.models.transformer import KVCache, STTransformer


class TokenizerOutput(NamedTuple):
    """A reconstruction and the loss of its codes."""

    video: Float[Tensor, "b t h w c"]
    tokens: Int[Tensor, "b t s"]
    vq_loss: Float[Tensor, ""]
    perplexity: Float[Tensor, ""]


class VideoTokenizer(nn.Module):
    """Video in [0, 1] to discrete tokens z and back, each frame seeing only the past."""

    def __init__(
        self,
        *,
        image_size: tuple[int, int],
        patch_size: int,
        encoder: STTransformer,
        decoder: STTransformer,
        quantizer: VectorQuantizer,
    ) -> None:
        super().__init__()
        self.image_size = image_size
        self.patch_size = patch_size
        self.grid = patch_grid(image_size, patch_size, setting="model.tokenizer.patch_size")
        pixels, code_dim = 3 * patch_size**2, quantizer.codebook.shape[1]
        self.encoder, self.decoder, self.quantizer = encoder, decoder, quantizer
        self.embed = nn.Linear(pixels, encoder.dim)
        self.encoder_position = nn.Parameter(torch.randn(self.tokens_per_frame, encoder.dim) * 0.02)
        self.to_code = nn.Linear(encoder.dim, code_dim)
        self.from_code = nn.Linear(code_dim, decoder.dim)
        self.decoder_position = nn.Parameter(torch.randn(self.tokens_per_frame, decoder.dim) * 0.02)
        self.to_pixels = nn.Linear(decoder.dim, pixels)

    @property
    def tokens_per_frame(self) -> int:
        """Number of patches, one token each."""
        return self.grid[0] * self.grid[1]

    @property
    def num_codes(self) -> int:
        """Tokens are 0 .. num_codes - 1."""
        return self.quantizer.num_codes

    def forward(
        self, video: Float[Tensor, "b t h w c"], valid: Bool[Tensor, "b t"] | None = None
    ) -> TokenizerOutput:
        """Reconstruct, with gradients; frames where `valid` is False do not count."""
        encoded = self._encode(video)
        if valid is not None:
            valid = valid[..., None].expand(encoded.shape[:-1])
        quantized = self.quantizer(encoded, valid)
        reconstruction = self._decode(quantized.codes, cache=None)
        return TokenizerOutput(
            reconstruction, quantized.indices, quantized.loss, quantized.perplexity
        )

    def encode(self, video: Float[Tensor, "b t h w c"]) -> Int[Tensor, "b t s"]:
        """The token of every patch of every frame."""
        return self.quantizer.nearest(self._encode(video))

    def decode(
        self, tokens: Int[Tensor, "b t s"], cache: KVCache | None = None
    ) -> Float[Tensor, "b t h w c"]:
        """Tokens to frames in [0, 1]; with a cache, `tokens` follow the cached frames."""
        video = self._decode(self.quantizer.lookup(tokens), cache)
        if cache:
            cache.finish(tokens.shape[1])
        return video.float().clamp(0.0, 1.0)

    def _encode(self, video: Float[Tensor, "b t h w c"]) -> Float[Tensor, "b t s e"]:
        x = self.embed(patchify(video, self.patch_size) - 0.5) + self.encoder_position
        return self.to_code(self.encoder(x))

    def _decode(
        self, codes: Float[Tensor, "b t s e"], cache: KVCache | None
    ) -> Float[Tensor, "b t h w c"]:
        x = self.decoder(self.from_code(codes) + self.decoder_position, cache)
        return unpatchify(self.to_pixels(x).float() + 0.5, self.patch_size, self.grid)
