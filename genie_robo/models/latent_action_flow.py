"""Latent actions that predict the optical flow of patches, for video of real robots."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from genie_robo.models.latent_action_pixels import MOTION_SCALE, PixelActionModel, linear_in_code
from genie_robo.models.optical_flow import patch_flow, warp
from genie_robo.models.patches import unpatchify
from genie_robo.models.settings import Penalty

MOST_PIXELS = 4.0
"""Flows are cut to this: least squares on a patch with a single edge can explode."""


class FlowActionModel(PixelActionModel):
    """Latent actions that predict how every patch moves.

        flow from x_t to x_t+1 = F(x_t) a_t

    An error of pixels counts a motion by the contrast of what moves, and light and noise as much as
    motion; an error of flow counts every motion alike.
    """

    def _make_heads(self) -> None:
        self.to_flow = nn.Linear(self.decoder.dim, 2 * self.code_dim)
        nn.init.normal_(self.to_flow.weight, std=0.05)
        nn.init.zeros_(self.to_flow.bias)

    @torch.no_grad()
    def error_unit(self, video: Float[Tensor, "b t h w c"]) -> Float[Tensor, "b t-1"]:
        """The error of predicting no motion."""
        flow = self._flow(self.scale_down(video))
        return self._error(torch.zeros_like(flow), flow)

    def decode(
        self, video: Float[Tensor, "b t h w c"], indices: Int[Tensor, "b t"]
    ) -> Float[Tensor, "b t h2 w2 c"]:
        """Each given frame, moved by the predicted flow, at the model's resolution."""
        frames = self.scale_down(video)
        flow = self.predict(frames, self.codes(indices))
        area = self.patch_size**2
        every_pixel = flow[..., None, :].expand(-1, -1, -1, area, -1).flatten(-2)
        return warp(frames, -unpatchify(every_pixel, self.patch_size, self.grid))

    def predict(
        self, frames: Float[Tensor, "b t h w c"], codes: Float[Tensor, "b t e"]
    ) -> Float[Tensor, "b t s 2"]:
        """How far every patch moves from each given frame to the next, right and down in pixels."""
        flow = linear_in_code(self.to_flow(self._decoded(frames, codes)), codes)
        return flow * MOTION_SCALE * self.motion_size()

    def _errors(
        self, frames: Float[Tensor, "b t h w c"], codes: Float[Tensor, "b t-1 e"]
    ) -> Float[Tensor, "b t-1"]:
        return self._error(self.predict(frames[:, :-1], codes), self._flow(frames))

    @torch.no_grad()
    def _flow(self, frames: Float[Tensor, "b t h w c"]) -> Float[Tensor, "b t-1 s 2"]:
        flow = patch_flow(frames, self.patch_size)[:, 1:]
        return flow.clamp(-MOST_PIXELS, MOST_PIXELS)

    def _error(
        self, predicted: Float[Tensor, "b n s 2"], flow: Float[Tensor, "b n s 2"]
    ) -> Float[Tensor, "b n"]:
        """In units of the usual motion; absolute errors below half of that are squared."""
        usual = self.motion_size()
        predicted, flow = predicted / usual, flow / usual
        if self.design.penalty is Penalty.squared:
            return (predicted - flow).square().mean((2, 3))
        return F.smooth_l1_loss(predicted, flow, beta=0.5, reduction="none").mean((2, 3))
