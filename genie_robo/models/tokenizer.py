"""Video tokenizer: a VQ-VAE of video (paper section 2.1, "Video tokenizer")."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from genie_robo.models.cache import KVCache
from genie_robo.models.patches import ConvEmbedding, ConvPixels, LinearEmbedding, LinearPixels
from genie_robo.models.quantizer import Quantizer
from genie_robo.models.settings import PatchLayers, TokenizerKind
from genie_robo.models.sizes import tokenizer_grid
from genie_robo.models.skip import changed_patches, hold, keep_pixels, keep_tokens, last_change
from genie_robo.models.transformer import Layout, STTransformer

TOKENIZER_LAYOUTS: dict[TokenizerKind, tuple[Layout, Layout]] = {
    TokenizerKind.st_vivit: ("space_time", "space_time"),
    TokenizerKind.vit: ("space", "space"),
    TokenizerKind.c_vivit: ("space_then_full", "full_then_space"),
}
"""Encoder and decoder of the paper's tokenizer ablation: ST-ViViT, ViT and C-ViViT."""


class TokenizerOutput(NamedTuple):
    """A reconstruction with its tokens and losses."""

    video: Float[Tensor, "b t h w c"]
    tokens: Int[Tensor, "b t s"]
    vq_loss: Float[Tensor, "b t s"]


class VideoTokenizer(nn.Module):
    """Video x in [0, 1] to discrete tokens z and back, causal in time.

    z_t = VQ(encoder(x_1..t)),   reconstruction y_t = decoder(z_1..t)

    With `skips`, which is not in the paper, a patch that does not change keeps its token, and a
    token that stays keeps its pixels:

        z_t = z_t-1 where x_t = x_t-1 in the whole patch,   y_t = y_t-1 where z_t = z_t-1
    """

    def __init__(
        self,
        *,
        image_size: tuple[int, int],
        patch_size: int,
        patch_layers: PatchLayers = PatchLayers.linear,
        encoder: STTransformer,
        decoder: STTransformer,
        quantizer: Quantizer,
        skips: bool = False,
    ) -> None:
        super().__init__()
        self.skips = skips
        self.image_size = image_size
        self.patch_size = patch_size
        self.grid = tokenizer_grid(image_size, patch_size)
        is_linear = patch_layers is PatchLayers.linear
        embedding = LinearEmbedding if is_linear else ConvEmbedding
        pixels = LinearPixels if is_linear else ConvPixels
        self.encoder, self.decoder, self.quantizer = encoder, decoder, quantizer
        self.embed = embedding(patch_size=patch_size, dim=encoder.dim)
        self.encoder_position = nn.Parameter(torch.randn(self.tokens_per_frame, encoder.dim) * 0.02)
        self.to_code = nn.Linear(encoder.dim, quantizer.code_dim)
        self.from_code = nn.Linear(quantizer.code_dim, decoder.dim)
        self.decoder_position = nn.Parameter(torch.randn(self.tokens_per_frame, decoder.dim) * 0.02)
        self.to_pixels = pixels(patch_size=patch_size, dim=decoder.dim)

    @property
    def tokens_per_frame(self) -> int:
        """One token per patch."""
        return self.grid[0] * self.grid[1]

    @property
    def num_codes(self) -> int:
        """Tokens are 0 .. num_codes - 1."""
        return self.quantizer.num_codes

    def codes(self) -> Float[Tensor, "k e"]:
        """The code of every token."""
        device = self.from_code.weight.device
        return self.quantizer.lookup(torch.arange(self.num_codes, device=device))

    def forward(
        self,
        video: Float[Tensor, "b t h w c"],
        valid: Bool[Tensor, "b t"] | None = None,
        noise: Float[Tensor, "b t s e"] | None = None,
    ) -> TokenizerOutput:
        """Reconstruct; `valid` and `noise` are those of the quantizer, for every frame."""
        encoded = self._encode(video)
        chosen = None if valid is None else valid[..., None].expand(encoded.shape[:-1])
        if not self.skips:
            quantized = self.quantizer(encoded, chosen, noise)
            video = self._decode(quantized.codes, cache=None)
            return TokenizerOutput(video, quantized.indices, quantized.loss)
        changed = changed_patches(video, self.patch_size)
        chosen = changed if chosen is None else chosen & changed
        codes, _, tokens, loss = self.quantizer(encoded, chosen, noise)
        since = last_change(changed)
        codes = codes.gather(1, since[..., None].expand_as(codes))
        painted = hold(self._decode(codes, cache=None), since, self.patch_size)
        return TokenizerOutput(painted, tokens.gather(1, since), loss.gather(1, since))

    def encode(self, video: Float[Tensor, "b t h w c"]) -> Int[Tensor, "b t s"]:
        """The token of every patch of every frame."""
        tokens = self.quantizer.nearest(self.quantizer.bound(self._encode(video).float()))
        return keep_tokens(tokens, video, self.patch_size) if self.skips else tokens

    def decode(self, tokens: Int[Tensor, "b t s"]) -> Float[Tensor, "b t h w c"]:
        """A whole window of tokens to frames in [0, 1]."""
        video = self.paint(tokens)
        return keep_pixels(video, tokens, self.patch_size) if self.skips else video

    def paint(
        self, tokens: Int[Tensor, "b t s"], cache: KVCache | None = None
    ) -> Float[Tensor, "b t h w c"]:
        """What the decoder makes of tokens, in [0, 1], with no pixels held from frame to frame.

        With a cache, tokens are those of the frames after the cached ones.
        """
        video = self._decode(self.quantizer.lookup(tokens), cache).clamp(0.0, 1.0)
        if cache:
            cache.finish(tokens.shape[1])
        return video

    def _encode(self, video: Float[Tensor, "b t h w c"]) -> Float[Tensor, "b t s e"]:
        x = self.embed(video - 0.5) + self.encoder_position
        return self.to_code(self.encoder(x))

    def _decode(
        self, codes: Float[Tensor, "b t s e"], cache: KVCache | None
    ) -> Float[Tensor, "b t h w c"]:
        x = self.decoder(self.from_code(codes) + self.decoder_position, cache)
        return self.to_pixels(x, self.grid).float() + 0.5
