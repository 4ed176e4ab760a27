"""The loss of a batch, per stage.

A loss is a sum over windows divided by totals of the whole batch, which are pooled before: the
losses of the parts of a batch, on one process or several, sum to the loss of the batch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from genie_robo.models.dynamics import DynamicsModel
from genie_robo.models.latent_action import LatentActionModel
from genie_robo.models.maskgit import random_mask
from genie_robo.models.quantizer import CodeUse, Quantizer
from genie_robo.models.tokenizer import VideoTokenizer
from genie_robo.ranks import Ranks
from genie_robo.train.labels import ActionLabels
from genie_robo.types import EpisodeBatch, video_to_float

STEP, MASK, ENCODING, STEERING = 1, 2, 3, 4
"""Purposes of random numbers. None is 0: numpy's SeedSequence ignores trailing zeros."""
STILL = 1e-6
"""Mean square change of a frame below which nothing moves: a quarter of a grey level."""

Sums = dict[str, Float[Tensor, ""]]
"""Sums over a part of a batch; the sums of all parts add up to those of the batch."""


@runtime_checkable
class TrainingStage(Protocol):
    """A module whose forward is the loss of a part of a batch."""

    name: str

    def totals(self, batch: EpisodeBatch) -> Sums:
        """Denominators of the loss."""
        ...

    def loss(self, module: nn.Module, batch: EpisodeBatch, totals: Sums) -> tuple[Tensor, Sums]:
        """Call `module`, this stage as wrapped by the engine, with its inputs from a batch."""
        ...

    def describe(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Numbers for the log, from sums over the whole batch."""
        ...

    def finish_step(self, ranks: Ranks, generator: torch.Generator) -> dict[str, CodeUse]:
        """Called after the optimizer step; returns the use of each codebook by its name."""
        ...


class TokenizerStage(nn.Module):
    """Stage 1: reconstruct video through discrete tokens.

    Squared errors of a pixel count 1 + colour_weight * (max - min of its channels), so that small
    coloured things are worth their tokens.
    """

    name = "tokenizer"

    def __init__(self, tokenizer: VideoTokenizer, *, seed: int, colour_weight: float = 0.0) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.seed = seed
        self.colour_weight = colour_weight

    def totals(self, batch: EpisodeBatch) -> Sums:
        """Valid frames, their weights, and the moments of the pixels."""
        pixels = video_to_float(batch.video).double()
        weights = self._weights(pixels).mean((2, 3, 4))
        return {
            "frames": (~batch.is_pad).sum().double(),
            "weights": (weights * ~batch.is_pad).sum(),
            "pixels": pixels.new_tensor(pixels.numel()),
            "sum": pixels.sum(),
            "squares": pixels.square().sum(),
        }

    def loss(self, module: nn.Module, batch: EpisodeBatch, totals: Sums) -> tuple[Tensor, Sums]:
        """The loss, from the video alone."""
        return module(batch.video, batch.is_pad, batch.positions, totals)

    def forward(
        self,
        video: UInt8[Tensor, "b t h w c"],
        is_pad: Bool[Tensor, "b t"],
        positions: Int[Tensor, " b"],
        totals: Sums,
    ) -> tuple[Float[Tensor, ""], Sums]:
        """Reconstruction error in units of the pixel variance, plus the VQ loss."""
        pixels, valid = video_to_float(video), ~is_pad
        quantizer, num_tokens = self.tokenizer.quantizer, self.tokenizer.tokens_per_frame
        noise = encoding_noise(quantizer, self.seed, positions, video.shape[1], num_tokens)
        output = self.tokenizer(pixels, valid, noise)
        errors = (output.video - pixels).square()
        mse = (errors.mean((2, 3, 4)) * valid).sum() / totals["frames"]
        weighted = (errors * self._weights(pixels)).mean((2, 3, 4))
        vq_loss = (output.vq_loss.mean(-1) * valid).sum() / totals["frames"]
        loss = (weighted * valid).sum() / totals["weights"] / _variance(totals) + vq_loss
        return loss.float(), detached({"mse": mse, "vq_loss": vq_loss})

    def _weights(self, pixels: Float[Tensor, "b t h w c"]) -> Float[Tensor, "b t h w 1"]:
        saturation = pixels.amax(-1, keepdim=True) - pixels.amin(-1, keepdim=True)
        return 1 + self.colour_weight * saturation

    def describe(self, sums: Mapping[str, float]) -> dict[str, float]:
        """PSNR of the mean error (dB), and the VQ loss."""
        return {
            "psnr": float(-10 * torch.tensor(sums["mse"]).log10()),
            "vq_loss": sums["vq_loss"],
        }

    def finish_step(self, ranks: Ranks, generator: torch.Generator) -> dict[str, CodeUse]:
        """Restart dead codes."""
        return {"": self.tokenizer.quantizer.finish_step(ranks, generator)}


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
        latents_share: float,
        seed: int,
        labels: ActionLabels | None = None,
    ) -> None:
        """Combine the two models.

        `labels` are robot actions for the latent action model, for ablations only; None, the
        default, keeps every robot action out of it. A dynamics whose `latent_dim` is 0 gets the
        robot actions themselves, another ablation.
        """
        super().__init__()
        self.latent_action = latent_action
        self.dynamics = dynamics
        self.encode_tokens = encode_tokens
        self.hide = TokenMask(
            num_tokens=dynamics.tokens_per_frame, min_rate=min_mask_rate, seed=seed
        )
        self.latents_share = latents_share
        self.seed = seed
        self.labels = labels

    def totals(self, batch: EpisodeBatch) -> Sums:
        """Valid transitions, how much they change, and the masked tokens."""
        valid = ~batch.is_pad
        change = self.latent_action.error_unit(video_to_float(batch.video))
        hidden = self.hide(batch.positions, valid)
        totals = {
            "transitions": valid[:, 1:].sum().double(),
            "change": (change.clamp(min=STILL) * valid[:, 1:]).sum().double(),
            "tokens": hidden.sum().double(),
        }
        return totals | (self.labels.totals(batch) if self.labels else {})

    def loss(self, module: nn.Module, batch: EpisodeBatch, totals: Sums) -> tuple[Tensor, Sums]:
        """The loss, from the video or the tokens stored for it."""
        extra = self.labels.inputs(batch) if self.labels else {}
        if self.dynamics.robot:
            extra["robot_actions"] = batch.robot_actions
        return module(batch.video, batch.is_pad, batch.positions, totals, batch.tokens, **extra)

    def forward(
        self,
        video: UInt8[Tensor, "b t h w c"],
        is_pad: Bool[Tensor, "b t"],
        positions: Int[Tensor, " b"],
        totals: Sums,
        tokens: Int[Tensor, "b t s"] | None = None,
        robot_actions: Float[Tensor, "b t-1 a"] | None = None,
        **labels: Tensor,
    ) -> tuple[Float[Tensor, ""], Sums]:
        """The sum of both losses; the dynamics sends no gradient to the latent actions."""
        pixels, valid = video_to_float(video), ~is_pad
        if tokens is None:
            with torch.no_grad():
                tokens = self.encode_tokens(pixels)
        num_transitions = video.shape[1] - 1
        quantizer = self.latent_action.quantizer
        noise = encoding_noise(quantizer, self.seed, positions, num_transitions)
        action = self.latent_action(pixels, tokens, valid=valid[:, 1:], noise=noise)
        unexplained = (action.error * valid[:, 1:]).sum() / totals["change"]
        vq_loss = (action.vq_loss * valid[:, 1:]).sum() / totals["transitions"]

        if robot_actions is None:
            noise = WindowNoise(self.seed, positions, STEERING)
            by_latents = noise.uniform(1, 1) < self.latents_share
            steering = torch.where(by_latents, action.bounded, action.steering)
        else:
            steering = self.dynamics.by_robot(robot_actions)
        cross_entropy, correct = masked_token_loss(
            self.dynamics, tokens, steering, self.hide(positions, valid)
        )
        token_loss = cross_entropy / totals["tokens"]
        sums = {
            "lam_unexplained_change": unexplained,
            "lam_vq_loss": vq_loss,
            "dynamics_loss": token_loss,
            "dynamics_accuracy": correct / totals["tokens"],
        }
        loss = unexplained + vq_loss + token_loss
        if self.labels:
            label_loss = self.labels.loss(action.continuous, totals, **labels)
            loss, sums = loss + label_loss, sums | {"label_loss": label_loss}
        return loss.float(), detached(sums)

    def describe(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Each part of the loss; for the latent action model 1 is predicting no change."""
        return dict(sums)

    def finish_step(self, ranks: Ranks, generator: torch.Generator) -> dict[str, CodeUse]:
        """Restart dead latent actions."""
        return {"lam_": self.latent_action.finish_step(ranks, generator)}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenMask:
    """Which tokens the dynamics has to predict: none of frame 1, none of padding.

    Each window draws its own mask rate from U(min_rate, 1) (paper section 2.1).
    """

    num_tokens: int
    """Tokens of a frame."""
    min_rate: float
    seed: int

    def __call__(
        self, positions: Int[Tensor, " b"], valid: Bool[Tensor, "b t"]
    ) -> Bool[Tensor, "b t s"]:
        """True for the tokens to hide, of windows at these positions of the stream."""
        noise = WindowNoise(self.seed, positions, MASK)
        rate = self.min_rate + (1 - self.min_rate) * noise.uniform(1)
        noises = noise.uniform(valid.shape[1], self.num_tokens)
        hidden = random_mask(rate.expand(valid.shape), noises)
        hidden[:, 0] = False
        return hidden & valid[..., None]


def masked_token_loss(
    model: DynamicsModel,
    tokens: Int[Tensor, "b t s"],
    actions: Float[Tensor, "b t-1 e"],
    hidden: Bool[Tensor, "b t s"],
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Cross-entropy of the hidden tokens (paper section 2.1) and the number of right guesses."""
    features = model.features(tokens.masked_fill(hidden, model.mask_token), actions)
    logits = model.logits(features[hidden], model.before(tokens)[hidden]).float()
    targets = tokens[hidden]
    loss = F.cross_entropy(logits, targets, reduction="sum")
    return loss, (logits.max(-1).indices == targets).float().sum()


def encoding_noise(
    quantizer: Quantizer, seed: int, positions: Int[Tensor, " b"], *shape: int
) -> Float[Tensor, "b ..."] | None:
    """Noise for the encodings while a quantizer warms up without quantising; else None."""
    if not quantizer.adds_noise:
        return None
    return WindowNoise(seed, positions, ENCODING).normal(*shape, quantizer.code_dim)


def _variance(totals: Sums) -> Float[Tensor, ""]:
    mean = totals["sum"] / totals["pixels"]
    return totals["squares"] / totals["pixels"] - mean.square()


def detached(sums: Sums) -> Sums:
    """Sums for the log, without gradients."""
    return {name: value.detach().float() for name, value in sums.items()}


class WindowNoise:
    """Random numbers for each window of a batch.

    They depend only on the seed, the window's position in the stream and the purpose, not on the
    process, the rest of the batch or a resume.
    """

    def __init__(self, seed: int, positions: Int[Tensor, " b"], purpose: int) -> None:
        self._device = positions.device
        self._generators = [
            torch.Generator().manual_seed(_mix(seed, int(position), purpose))
            for position in positions.tolist()
        ]

    def uniform(self, *shape: int) -> Float[Tensor, "b ..."]:
        """Uniform in [0, 1), of this shape for every window."""
        drawn = [torch.rand(shape, generator=generator) for generator in self._generators]
        return torch.stack(drawn).to(self._device)

    def normal(self, *shape: int) -> Float[Tensor, "b ..."]:
        """Standard normal, of this shape for every window."""
        drawn = [torch.randn(shape, generator=generator) for generator in self._generators]
        return torch.stack(drawn).to(self._device)


def step_generator(seed: int, step: int) -> torch.Generator:
    """Random numbers of a training step, the same in every process."""
    return torch.Generator().manual_seed(_mix(seed, step, STEP))


def _mix(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
