"""Latent action model: what happened between two frames, as one of a few codes (section 2.1)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from genie_robo.models.patches import patch_grid, patchify, unpatchify
from genie_robo.models.quantizer import VectorQuantizer
from genie_robo.models.transformer import STTransformer


class LatentActions(NamedTuple):
    """Latent actions of the transitions between frames: i goes from frame i to i + 1."""

    indices: Int[Tensor, "b t-1"]
    continuous: Float[Tensor, "b t-1 e"]
    """The encoding before quantisation, for probes."""


class LatentActionOutput(NamedTuple):
    """What the model predicts of frames 2..T, and the losses of doing so."""

    frames: Float[Tensor, "b t-1 h w c"]
    """Predictions at the resolution that the model sees."""
    seen: Float[Tensor, "b t h w c"]
    """The video at that resolution."""
    codes: Float[Tensor, "b t-1 e"]
    indices: Int[Tensor, "b t-1"]
    vq_loss: Float[Tensor, ""]
    perplexity: Float[Tensor, ""]


class LatentActionModel(nn.Module):
    """An autoencoder of frame transitions with a tiny codebook in the middle.

    The encoder sees pixels x_1..t+1 and gives one code a_t per transition; the decoder sees x_t
    and the code and predicts x_t+1. Nothing else can tell the decoder what will happen, so the
    code must.

    The prediction is x_t + g(x_t, a_t) + J(x_t) a_t: beside the paper's additive embedding g, a
    Jacobian J says how every pixel would change along each dimension of the code. Differs from
    the paper in this, in that the encoder also sees the frame difference, in that the decoder
    sees one frame instead of all, and in that both work on frames scaled down by `downscale`.
    Each made small models find the action where they had not (docs/LOG.md).
    """

    def __init__(
        self,
        *,
        image_size: tuple[int, int],
        downscale: int,
        patch_size: int,
        encoder: STTransformer,
        decoder: STTransformer,
        quantizer: VectorQuantizer,
    ) -> None:
        super().__init__()
        self.downscale = downscale
        self.patch_size = patch_size
        self.grid = patch_grid(
            image_size,
            downscale * patch_size,
            setting="model.latent_action.downscale * patch_size",
        )
        num_patches, pixels = self.grid[0] * self.grid[1], 3 * patch_size**2
        code_dim = quantizer.codebook.shape[1]
        self.encoder, self.decoder, self.quantizer = encoder, decoder, quantizer
        self.embed = nn.Linear(2 * pixels, encoder.dim)
        self.encoder_position = nn.Parameter(torch.randn(num_patches, encoder.dim) * 0.02)
        self.action_token = nn.Parameter(torch.randn(encoder.dim) * 0.02)
        self.to_code = nn.Linear(encoder.dim, code_dim)
        self.decoder_embed = nn.Linear(pixels, decoder.dim)
        self.decoder_position = nn.Parameter(torch.randn(num_patches, decoder.dim) * 0.02)
        self.from_code = nn.Linear(code_dim, decoder.dim)
        self.to_change = nn.Linear(decoder.dim, pixels)
        self.to_jacobian = nn.Linear(decoder.dim, pixels * code_dim)
        for head, spread in ((self.to_change, 0.0), (self.to_jacobian, 0.005)):
            nn.init.normal_(head.weight, std=spread)  # begin near "nothing changes"
            nn.init.zeros_(head.bias)

    @property
    def num_codes(self) -> int:
        """Latent actions are 0 .. num_codes - 1."""
        return self.quantizer.num_codes

    def forward(
        self,
        video: Float[Tensor, "b t h w c"],
        valid: Bool[Tensor, "b t-1"] | None = None,
    ) -> LatentActionOutput:
        """Infer latent actions and predict frames 2..T from them, with gradients."""
        seen = self.scale_down(video)
        quantized = self.quantizer(self._encode(seen), valid)
        frames = self._predict(seen[:, :-1], quantized.codes)
        return LatentActionOutput(
            frames, seen, quantized.codes, quantized.indices, quantized.loss, quantized.perplexity
        )

    def encode(self, video: Float[Tensor, "b t h w c"]) -> LatentActions:
        """The latent action of every transition."""
        continuous = self._encode(self.scale_down(video))
        return LatentActions(self.quantizer.nearest(continuous), continuous.float())

    def decode(
        self, video: Float[Tensor, "b t h w c"], indices: Int[Tensor, "b t"]
    ) -> Float[Tensor, "b t h2 w2 c"]:
        """Predict the frame after each given frame, at the resolution that the model sees."""
        return self._predict(self.scale_down(video), self.codes(indices)).clamp(0.0, 1.0)

    def codes(self, indices: Int[Tensor, "*n"]) -> Float[Tensor, "*n e"]:
        """The codebook vectors of latent actions."""
        return self.quantizer.lookup(indices)

    def scale_down(self, video: Float[Tensor, "b t h w c"]) -> Float[Tensor, "b t h2 w2 c"]:
        """The video as the model sees it: means over squares of `downscale` pixels."""
        if self.downscale == 1:
            return video
        frames = F.avg_pool2d(rearrange(video, "b t h w c -> (b t) c h w"), self.downscale)
        return rearrange(frames, "(b t) c h w -> b t h w c", b=len(video))

    def _encode(self, video: Float[Tensor, "b t h w c"]) -> Float[Tensor, "b t-1 e"]:
        change = torch.diff(video, dim=1, prepend=video[:, :1])
        patches = torch.cat(
            [patchify(video, self.patch_size) - 0.5, patchify(change, self.patch_size)], dim=-1
        )
        x = self.embed(patches) + self.encoder_position
        action = self.action_token.expand(*x.shape[:2], 1, -1).to(x.dtype)
        x = self.encoder(torch.cat([action, x], dim=2))
        return self.to_code(x[:, 1:, 0])

    def _predict(
        self, video: Float[Tensor, "b t h w c"], codes: Float[Tensor, "b t e"]
    ) -> Float[Tensor, "b t h w c"]:
        x = self.decoder_embed(patchify(video, self.patch_size) - 0.5) + self.decoder_position
        x = x + self.from_code(codes)[:, :, None]
        alone = rearrange(x, "b t s d -> (b t) 1 s d")
        x = rearrange(self.decoder(alone), "(b t) 1 s d -> b t s d", b=len(video))
        jacobian = self.to_jacobian(x).float().unflatten(-1, (-1, codes.shape[-1]))
        change = self.to_change(x).float() + torch.einsum("btspe,bte->btsp", jacobian, codes)
        return video + unpatchify(change, self.patch_size, self.grid)
