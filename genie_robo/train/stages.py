"""The loss of a batch, per stage. Robot actions never come in here."""

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from genie_robo.models.dynamics import DynamicsModel
from genie_robo.models.latent_action import LatentActionModel
from genie_robo.models.maskgit import random_mask
from genie_robo.models.tokenizer import VideoTokenizer
from genie_robo.types import video_to_float

Losses = tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]


class TrainingStage(Protocol):
    """A module whose forward is the loss of a batch."""

    name: str

    def __call__(
        self,
        video: UInt8[Tensor, "b t h w c"],
        is_pad: Bool[Tensor, "b t"],
        tokens: Int[Tensor, "b t s"] | None = None,
    ) -> Losses:
        """The loss of a batch, and numbers for the log; `tokens` when they were stored."""
        ...

    def after_step(self) -> Mapping[str, float]:
        """What has to happen after the optimizer step; returns numbers for the log."""
        ...


class TokenizerStage(nn.Module):
    """Stage 1: reconstruct video through discrete tokens."""

    name = "tokenizer"

    def __init__(self, tokenizer: VideoTokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer

    def forward(
        self,
        video: UInt8[Tensor, "b t h w c"],
        is_pad: Bool[Tensor, "b t"],
        tokens: Int[Tensor, "b t s"] | None = None,
    ) -> Losses:
        """Reconstruction error in units of the pixel variance, plus the VQ loss."""
        del tokens  # stored ones are of a tokenizer that is finished
        pixels, valid = video_to_float(video), ~is_pad
        output = self.tokenizer(pixels, valid)
        mse = _mean_over_valid((output.video - pixels).square().mean((2, 3, 4)), valid)
        loss = mse / pixels.var() + output.vq_loss
        metrics = {
            "psnr": -10 * mse.log10(),
            "vq_loss": output.vq_loss,
            "perplexity": output.perplexity,
        }
        return loss, _detached(metrics)

    def after_step(self) -> Mapping[str, float]:
        """Restart dead codes."""
        return {"code_resets": float(self.tokenizer.quantizer.reset_dead_codes())}


class WorldModelStage(nn.Module):
    """Stage 2: latent action model and dynamics, trained together on the same windows."""

    name = "world_model"

    def __init__(
        self,
        latent_action: LatentActionModel,
        dynamics: DynamicsModel,
        *,
        encode_tokens: Callable[[Float[Tensor, "b t h w c"]], Int[Tensor, "b t s"]],
        min_mask_rate: float,
    ) -> None:
        super().__init__()
        self.latent_action = latent_action
        self.dynamics = dynamics
        self.encode_tokens = encode_tokens
        self.min_mask_rate = min_mask_rate

    def forward(
        self,
        video: UInt8[Tensor, "b t h w c"],
        is_pad: Bool[Tensor, "b t"],
        tokens: Int[Tensor, "b t s"] | None = None,
    ) -> Losses:
        """The two losses added; no gradient goes from the dynamics to the latent actions."""
        pixels, valid = video_to_float(video), ~is_pad
        codes, action_loss, action_metrics = latent_action_loss(self.latent_action, pixels, valid)
        if tokens is None:
            with torch.no_grad():
                tokens = self.encode_tokens(pixels)
        token_loss, token_metrics = dynamics_loss(
            self.dynamics, tokens, codes.detach(), valid, min_mask_rate=self.min_mask_rate
        )
        return action_loss + token_loss, _detached(action_metrics | token_metrics)

    def after_step(self) -> Mapping[str, float]:
        """Restart dead latent actions."""
        return {"lam_code_resets": float(self.latent_action.quantizer.reset_dead_codes())}


def latent_action_loss(
    model: LatentActionModel, pixels: Float[Tensor, "b t h w c"], valid: Bool[Tensor, "b t"]
) -> tuple[Float[Tensor, "b t-1 e"], Float[Tensor, ""], dict[str, Tensor]]:
    """Share of the frame change left unexplained (1 = predicting no change), plus VQ loss."""
    output = model(pixels, valid[:, 1:])
    error = (output.frames - output.seen[:, 1:]).square().mean((2, 3, 4))
    change = output.seen.diff(dim=1).square().mean((2, 3, 4))
    unexplained = _mean_over_valid(error, valid[:, 1:]) / _mean_over_valid(change, valid[:, 1:])
    loss = unexplained + output.vq_loss
    metrics = {
        "lam_unexplained_change": unexplained,
        "lam_vq_loss": output.vq_loss,
        "lam_perplexity": output.perplexity,
    }
    return output.codes, loss, metrics


def dynamics_loss(
    model: DynamicsModel,
    tokens: Int[Tensor, "b t s"],
    codes: Float[Tensor, "b t-1 e"],
    valid: Bool[Tensor, "b t"],
    *,
    min_mask_rate: float,
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """Cross-entropy of the masked tokens of frames 2..T (paper section 2.1).

    Each window draws its own mask rate from U(min_mask_rate, 1). Frame 1 is never masked.
    """
    rate = torch.empty(len(tokens), 1, device=tokens.device).uniform_(min_mask_rate, 1.0)
    noise = torch.rand(tokens.shape, device=tokens.device)
    hidden = random_mask(rate.expand(tokens.shape[:2]), noise)
    hidden[:, 0] = False
    logits = model(tokens.masked_fill(hidden, model.mask_token), codes)
    scored = hidden & valid[..., None]
    scored_logits, targets = logits[scored].float(), tokens[scored]
    loss = F.cross_entropy(scored_logits, targets)
    accuracy = (scored_logits.argmax(-1) == targets).float().mean()
    return loss, {"dynamics_loss": loss, "dynamics_accuracy": accuracy}


def _mean_over_valid(values: Float[Tensor, "b t"], valid: Bool[Tensor, "b t"]) -> Float[Tensor, ""]:
    return (values * valid).sum() / valid.sum().clamp(min=1)


def _detached(metrics: Mapping[str, Tensor]) -> dict[str, Float[Tensor, ""]]:
    return {name: value.detach().float() for name, value in metrics.items()}
