"""Latent actions that predict the optical flow of patches, for video of real robots."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from genie_robo.models.latent_action_pixels import MOTION_SCALE, PixelActionModel, linear_in_code
from genie_robo.models.optical_flow import patch_flow, warp
from genie_robo.models.patches import unpatchify
from genie_robo.models.settings import Penalty

MOST_PIXELS = 4.0
"""Flows are cut to this: least squares on a patch with a single edge can explode."""


class FlowActionModel(PixelActionModel):
    """Latent actions that predict how every patch moves, in this transition and in the next.

        flow from x_t to x_t+1    = F(x_t) a_t
        flow from x_t+1 to x_t+2  = G(x_t) a_t

    Arms keep moving and noise of a camera does not, so a code that also predicts what comes next
    holds more of the arm. Weak texture counts as much as strong: an error of pixels would see
    edges only.
    """

    def _make_heads(self) -> None:
        self.to_flow = nn.Linear(self.decoder.dim, 2 * self.code_dim)
        self.to_next_flow = nn.Linear(self.decoder.dim, 2 * self.code_dim)
        for head in (self.to_flow, self.to_next_flow):
            nn.init.normal_(head.weight, std=0.05)
            nn.init.zeros_(head.bias)

    @torch.no_grad()
    def error_unit(
        self, video: Float[Tensor, "b t h w c"], valid: Bool[Tensor, "b t-1"]
    ) -> Float[Tensor, "b t-1"]:
        """The error of predicting no motion."""
        flow = self._flow(self.scale_down(video))
        return self._both(torch.zeros_like(flow), torch.zeros_like(flow), flow, valid)

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
        return self._motion(self.to_flow, self._decoded(frames, codes), codes)

    def _errors(
        self,
        frames: Float[Tensor, "b t h w c"],
        codes: Float[Tensor, "b t-1 e"],
        valid: Bool[Tensor, "b t-1"],
    ) -> Float[Tensor, "b t-1"]:
        x = self._decoded(frames[:, :-1], codes)
        now, then = (self._motion(head, x, codes) for head in (self.to_flow, self.to_next_flow))
        return self._both(now, then, self._flow(frames), valid)

    def _motion(
        self, head: nn.Module, x: Float[Tensor, "b t s d"], codes: Float[Tensor, "b t e"]
    ) -> Float[Tensor, "b t s 2"]:
        return linear_in_code(head(x), codes) * MOTION_SCALE * self.motion_size()

    @torch.no_grad()
    def _flow(self, frames: Float[Tensor, "b t h w c"]) -> Float[Tensor, "b t-1 s 2"]:
        flow = patch_flow(frames, self.patch_size)[:, 1:]
        return flow.clamp(-MOST_PIXELS, MOST_PIXELS)

    def _both(
        self,
        now: Float[Tensor, "b n s 2"],
        then: Float[Tensor, "b n s 2"],
        flow: Float[Tensor, "b n s 2"],
        valid: Bool[Tensor, "b n"],
    ) -> Float[Tensor, "b n"]:
        """Errors in both transitions; the one after the last, or in padding, counts nothing."""
        ahead = self._error(then[:, :-1], flow[:, 1:]) * valid[:, 1:]
        return self._error(now, flow) + F.pad(ahead, (0, 1))

    def _error(
        self, predicted: Float[Tensor, "b n s 2"], flow: Float[Tensor, "b n s 2"]
    ) -> Float[Tensor, "b n"]:
        """In units of the usual motion; absolute errors below half of that are squared."""
        usual = self.motion_size()
        predicted, flow = predicted / usual, flow / usual
        if self.design.penalty is Penalty.squared:
            return (predicted - flow).square().mean((2, 3))
        return F.smooth_l1_loss(predicted, flow, beta=0.5, reduction="none").mean((2, 3))
