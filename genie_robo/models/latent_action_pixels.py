"""Latent actions from pixels, as in the paper (section 2.1)."""

from abc import abstractmethod

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from genie_robo.models.latent_action import LatentActionModel
from genie_robo.models.optical_flow import patch_flow, warp
from genie_robo.models.patches import patchify, unpatchify
from genie_robo.models.quantizer import CodeUse, Quantizer
from genie_robo.models.settings import Joining, LatentActionDesign, Penalty, Target
from genie_robo.models.sizes import latent_action_grid
from genie_robo.models.step_counter import StepCounter
from genie_robo.models.transformer import STTransformer
from genie_robo.ranks import Ranks

GREY_LEVEL = 1 / 255
"""Absolute errors below it are squared, so that the gradient is continuous at zero."""
CHANGE_SCALE, MOTION_SCALE = 3.0, 5.0
"""Decoder outputs of 1 mean this many `change_size` (pixels) and `motion_size` (flow)."""
MEASURED_STEPS = 20
"""Training steps over which `change_size` and `motion_size` are measured."""


class PixelActionModel(LatentActionModel):
    """Latent actions of frames that are pixels, scaled down by `downscale`.

    The encoder gets patches of pixels, their changes and their optical flow, as the design says.
    Changes and motions are divided by their RMS in the data. Subclasses say what is predicted.
    """

    reads_tokens = False

    def __init__(
        self,
        *,
        image_size: tuple[int, int],
        downscale: int,
        patch_size: int,
        encoder: STTransformer,
        decoder: STTransformer,
        quantizer: Quantizer,
        design: LatentActionDesign,
        actions: Joining,
    ) -> None:
        grid = latent_action_grid(image_size, downscale, patch_size)
        pixels = 3 * patch_size**2
        super().__init__(
            embed=lambda views, dim: nn.Linear(views * pixels, dim),
            num_places=grid[0] * grid[1],
            encoder=encoder,
            decoder=decoder,
            quantizer=quantizer,
            design=design,
            actions=actions,
            decoder_sees_code=design.decoder_sees_code,
        )
        self.downscale, self.patch_size, self.grid = downscale, patch_size, grid
        self.embed_flow = nn.Linear(2, encoder.dim, bias=False) if design.sees_flow else None
        self.change_size, self.motion_size = InitialRMS(0.1), InitialRMS(0.5)
        self._make_heads()

    def finish_step(self, ranks: Ranks, generator: torch.Generator) -> CodeUse:
        """Also update the RMS of changes and motions."""
        self.change_size.finish_step(ranks)
        self.motion_size.finish_step(ranks)
        return super().finish_step(ranks, generator)

    def to_frames(
        self, video: Float[Tensor, "b t h w c"], tokens: Tensor | None
    ) -> Float[Tensor, "b t h2 w2 c"]:
        """The video scaled down."""
        del tokens
        return self.scale_down(video)

    def scale_down(self, video: Float[Tensor, "b t h w c"]) -> Float[Tensor, "b t h2 w2 c"]:
        """Average over squares of `downscale` pixels."""
        if self.downscale == 1:
            return video
        frames = F.avg_pool2d(rearrange(video, "b t h w c -> (b t) c h w"), self.downscale)
        return rearrange(frames, "(b t) c h w -> b t h w c", b=len(video))

    @abstractmethod
    def _make_heads(self) -> None:
        """Make the layers that follow the decoder."""

    @torch.no_grad()
    def _measure(self, frames: Float[Tensor, "b t h w c"], valid: Bool[Tensor, "b t-1"]) -> None:
        if not self.change_size.is_measuring:
            return
        self.change_size.update(frames.diff(dim=1), valid)
        if self.design.flow or self.design.sees_flow:
            self.motion_size.update(patch_flow(frames, self.patch_size)[:, 1:], valid)

    def _decoded(
        self, frames: Float[Tensor, "b t h w c"], codes: Float[Tensor, "b t e"]
    ) -> Float[Tensor, "b t s d"]:
        """What the decoder makes of each patch."""
        return self._decode(self.decoder_embed(patchify(frames, self.patch_size) - 0.5), codes)

    def _embed_for_encoder(self, frames: Float[Tensor, "b t h w c"]) -> Float[Tensor, "b t s d"]:
        patches = patchify(frames, self.patch_size) - 0.5
        if self.design.sees_difference:
            change = torch.diff(frames, dim=1, prepend=frames[:, :1])
            change = change / (CHANGE_SCALE * self.change_size())
            patches = torch.cat([patches, patchify(change, self.patch_size)], dim=-1)
        x = self.embed(patches)
        if self.embed_flow:
            x = x + self.embed_flow(patch_flow(frames, self.patch_size) / self.motion_size())
        return x


class FrameActionModel(PixelActionModel):
    """Latent actions that predict the pixels of the next frame.

        target=change:  prediction of x_t+1 = warp(x_t, F a_t) + g
        target=frame:   prediction of x_t+1 = sigmoid(g), the paper's

    F and g are decoder outputs, functions of x_1..t, and of a_1..t with `decoder_sees_code`. F a_t
    is the flow from which every pixel is sampled. It is linear in the code, so twice the code is
    twice the motion. Small models find the action only with the flow and with an absolute instead
    of a squared error (docs/LOG.md).
    """

    def _make_heads(self) -> None:
        pixels, dim = 3 * self.patch_size**2, self.decoder.dim
        is_change = self.design.target is Target.change
        self.to_change = nn.Linear(dim, pixels)
        motions = 2 * self.patch_size**2 * self.code_dim
        self.to_flow = nn.Linear(dim, motions) if self.design.flow else None
        # Predictions start near the previous frame, or near a grey frame.
        nn.init.normal_(self.to_change.weight, std=0.0 if is_change else 0.02)
        nn.init.zeros_(self.to_change.bias)
        if self.to_flow:
            nn.init.normal_(self.to_flow.weight, std=0.01)
            nn.init.zeros_(self.to_flow.bias)

    @torch.no_grad()
    def error_unit(self, video: Float[Tensor, "b t h w c"]) -> Float[Tensor, "b t-1"]:
        """The error of predicting no change."""
        frames = self.scale_down(video)
        return self._error(frames[:, :-1], frames[:, 1:])

    def decode(
        self, video: Float[Tensor, "b t h w c"], indices: Int[Tensor, "b t"]
    ) -> Float[Tensor, "b t h2 w2 c"]:
        """Predict the frame after each given frame, at the model's resolution."""
        return self.predict(self.scale_down(video), self.codes(indices)).clamp(0.0, 1.0)

    def predict(
        self, frames: Float[Tensor, "b t h w c"], codes: Float[Tensor, "b t e"]
    ) -> Float[Tensor, "b t h w c"]:
        """Predict the frame after each given one, under the given codes."""
        x = self._decoded(frames, codes)
        change = self.to_change(x).float()
        change = unpatchify(change, self.patch_size, self.grid)
        if self.design.target is Target.frame:
            return change.sigmoid()
        if self.to_flow:
            flow = unpatchify(linear_in_code(self.to_flow(x), codes), self.patch_size, self.grid)
            frames = warp(frames, flow * MOTION_SCALE * self.motion_size())
        return frames + change * CHANGE_SCALE * self.change_size()

    def _errors(
        self, frames: Float[Tensor, "b t h w c"], codes: Float[Tensor, "b t-1 e"]
    ) -> Float[Tensor, "b t-1"]:
        return self._error(self.predict(frames[:, :-1], codes), frames[:, 1:])

    def _error(
        self, predicted: Float[Tensor, "b t h w c"], frames: Float[Tensor, "b t h w c"]
    ) -> Float[Tensor, "b t"]:
        if self.design.penalty is Penalty.squared:
            return (predicted - frames).square().mean((2, 3, 4))
        size = F.smooth_l1_loss(predicted, frames, beta=GREY_LEVEL, reduction="none")
        return size.mean((2, 3, 4))


def linear_in_code(
    matrices: Float[Tensor, "b t s pe"], codes: Float[Tensor, "b t e"]
) -> Float[Tensor, "b t s p"]:
    """Multiply the matrix F of every patch by the code of its frame."""
    rows = matrices.float().unflatten(-1, (-1, codes.shape[-1]))
    return torch.einsum("btspe,bte->btsp", rows, codes)


class InitialRMS(StepCounter):
    """Root mean square of a quantity over the first training steps; a guess before them.

    Motions and changes differ tenfold between robots' videos; divided by their RMS, network outputs
    are about 1 in all of them. Sums are pooled in `finish_step`, so the RMS is the same whether a
    batch was computed at once, in parts, or by several processes.
    """

    squares: Float[Tensor, ""]
    count: Float[Tensor, ""]
    pending: Float[Tensor, " 2"]

    def __init__(self, guess: float) -> None:
        super().__init__()
        self.guess = guess
        for name in ("squares", "count", "num_steps"):
            self.register_buffer(name, torch.zeros((), dtype=torch.float64))
        self.register_buffer("pending", torch.zeros(2, dtype=torch.float64), persistent=False)
        self._is_updated = False

    @property
    def is_measuring(self) -> bool:
        """Whether these are the first training steps."""
        return self.training and self.steps_made < MEASURED_STEPS

    @torch.no_grad()
    def update(self, values: Float[Tensor, "b t *n"], valid: Bool[Tensor, "b t"]) -> None:
        """Add valid values, during the first training steps."""
        if self.is_measuring:
            squares = values.double().square() * valid.view(*valid.shape, *[1] * (values.ndim - 2))
            self.pending += torch.stack([squares.sum(), valid.sum() * values[0, 0].numel()])
            self._is_updated = True

    @torch.no_grad()
    def finish_step(self, ranks: Ranks) -> None:
        """Pool the values of all processes in this step."""
        squares, count = ranks.sum(self.pending.clone())
        self.pending.zero_()
        self.squares += squares
        self.count += count
        if self._is_updated:
            self.count_step()
        self._is_updated = False

    def forward(self) -> Float[Tensor, ""]:
        """The RMS, above 0."""
        size = (self.squares / self.count.clamp(min=1)).sqrt().float()
        return torch.where(size > 0, size, torch.full_like(size, self.guess))
