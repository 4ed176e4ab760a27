"""Latent actions from pixels, as in the paper (section 2.1)."""

from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from genie_robo.models.latent_action import LatentActionDesign, LatentActionModel
from genie_robo.models.patches import patch_grid, patchify, unpatchify
from genie_robo.models.quantizer import Quantizer
from genie_robo.models.transformer import STTransformer

Target = Literal["change", "frame"]


class PixelActionModel(LatentActionModel):
    """Latent actions of frames that are pixels, scaled down by `downscale`.

    The prediction is x_t + g(x_1..t, a_1..t) + J(x_1..t) a_t: beside the paper's g, a Jacobian J
    says how every pixel would change along each dimension of the code. With `target` frame it is
    sigmoid(g + J a_t), and as in the paper without `jacobian`. The change, the Jacobian and the
    scaling each made small models find the action where they had not (docs/LOG.md).
    """

    reads_tokens = False

    def __init__(
        self,
        *,
        image_size: tuple[int, int],
        downscale: int,
        patch_size: int,
        target: Target,
        jacobian: bool,
        encoder: STTransformer,
        decoder: STTransformer,
        quantizer: Quantizer,
        design: LatentActionDesign,
    ) -> None:
        grid = patch_grid(
            image_size,
            downscale * patch_size,
            setting="model.latent_action.downscale * patch_size",
        )
        pixels = 3 * patch_size**2
        super().__init__(
            embed=lambda views, dim: nn.Linear(views * pixels, dim),
            num_places=grid[0] * grid[1],
            encoder=encoder,
            decoder=decoder,
            quantizer=quantizer,
            design=design,
        )
        self.downscale, self.patch_size, self.grid = downscale, patch_size, grid
        self.target: Target = target
        self.to_change = nn.Linear(decoder.dim, pixels)
        self.to_jacobian = nn.Linear(decoder.dim, pixels * self.code_dim) if jacobian else None
        # Begin near "nothing changes", or near a grey frame.
        nn.init.normal_(self.to_change.weight, std=0.0 if target == "change" else 0.02)
        nn.init.zeros_(self.to_change.bias)
        if self.to_jacobian:
            nn.init.normal_(self.to_jacobian.weight, std=0.005)
            nn.init.zeros_(self.to_jacobian.bias)

    @torch.no_grad()
    def error_unit(self, video: Float[Tensor, "b t h w c"]) -> Float[Tensor, "b t-1"]:
        """Mean square of the frame change: the error of predicting that nothing changes."""
        return self.scale_down(video).diff(dim=1).square().mean((2, 3, 4))

    def decode(
        self, video: Float[Tensor, "b t h w c"], indices: Int[Tensor, "b t"]
    ) -> Float[Tensor, "b t h2 w2 c"]:
        """Predict the frame after each given frame, at the resolution that the model sees."""
        return self.predict(self.scale_down(video), self.codes(indices)).clamp(0.0, 1.0)

    def look(
        self, video: Float[Tensor, "b t h w c"], tokens: Tensor | None
    ) -> Float[Tensor, "b t h2 w2 c"]:
        """The video scaled down."""
        del tokens
        return self.scale_down(video)

    def scale_down(self, video: Float[Tensor, "b t h w c"]) -> Float[Tensor, "b t h2 w2 c"]:
        """The video as the model sees it: means over squares of `downscale` pixels."""
        if self.downscale == 1:
            return video
        frames = F.avg_pool2d(rearrange(video, "b t h w c -> (b t) c h w"), self.downscale)
        return rearrange(frames, "(b t) c h w -> b t h w c", b=len(video))

    def predict(
        self, frames: Float[Tensor, "b t h w c"], codes: Float[Tensor, "b t e"]
    ) -> Float[Tensor, "b t h w c"]:
        """The frame after each given one, under the given codes."""
        x = self._decode(self.decoder_embed(patchify(frames, self.patch_size) - 0.5), codes)
        change = self.to_change(x).float()
        if self.to_jacobian:
            jacobian = self.to_jacobian(x).float().unflatten(-1, (-1, self.code_dim))
            change = change + torch.einsum("btspe,bte->btsp", jacobian, codes)
        change = unpatchify(change, self.patch_size, self.grid)
        return frames + change if self.target == "change" else change.sigmoid()

    def _error(
        self, predicted: Float[Tensor, "b t h w c"], frames: Float[Tensor, "b t h w c"]
    ) -> Float[Tensor, "b t"]:
        return (predicted - frames).square().mean((2, 3, 4))

    def _embed_for_encoder(self, frames: Float[Tensor, "b t h w c"]) -> Float[Tensor, "b t s d"]:
        patches = patchify(frames, self.patch_size) - 0.5
        if self.design.sees_difference:
            change = torch.diff(frames, dim=1, prepend=frames[:, :1])
            patches = torch.cat([patches, patchify(change, self.patch_size)], dim=-1)
        return self.embed(patches)
