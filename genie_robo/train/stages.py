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
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from genie_robo.models.dynamics import DynamicsModel
from genie_robo.models.latent_action import LatentActionModel
from genie_robo.models.maskgit import random_mask
from genie_robo.models.quantizer import CodeUse, Quantizer
from genie_robo.models.tokenizer import VideoTokenizer
from genie_robo.ranks import Ranks
from genie_robo.train.labels import ActionLabels
from genie_robo.types import EpisodeBatch, move, video_to_float

STEP, MASK, ENCODING, STEERING = 1, 2, 3, 4
"""Purposes of random numbers. None is 0: numpy's SeedSequence ignores trailing zeros."""
STILL = 1e-6
"""Mean square change of a frame below which nothing moves: a quarter of a grey level."""

Inputs = dict[str, Tensor]
"""Keyword arguments of a stage's forward pass for a part of a batch, on the device."""
Sums = dict[str, Float[Tensor, ""]]
"""Sums over a part of a batch; the sums of all parts add up to those of the batch."""


@runtime_checkable
class TrainingStage(Protocol):
    """A module whose forward is the loss of a part of a batch.

    What the host can decide, such as masks and noise, is decided in `inputs`: nothing after it
    waits for the device.
    """

    name: str

    def inputs(self, batch: EpisodeBatch, device: torch.device) -> Inputs:
        """What the loss of a batch in the host's memory needs, on the device."""
        ...

    def totals(self, inputs: Inputs) -> Sums:
        """Denominators of the loss."""
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

    def inputs(self, batch: EpisodeBatch, device: torch.device) -> Inputs:
        """The video in [0, 1], the weights of its pixels, and noise for its encodings."""
        pixels, valid = video_on(device, batch), move(~batch.is_pad, device)
        quantizer, num_tokens = self.tokenizer.quantizer, self.tokenizer.tokens_per_frame
        noise = encoding_noise(quantizer, self.seed, batch, batch.video.shape[1], num_tokens)
        inputs = {"pixels": pixels, "valid": valid, "weights": self._weights(pixels)}
        return inputs | ({} if noise is None else {"noise": move(noise, device)})

    def totals(self, inputs: Inputs) -> Sums:
        """Valid frames, their weights, and the moments of the pixels."""
        pixels, valid = inputs["pixels"], inputs["valid"]
        return {
            "frames": valid.sum().double(),
            "weights": (inputs["weights"].mean((2, 3, 4)) * valid).sum().double(),
            "pixels": pixels.new_full((), pixels.numel(), dtype=torch.float64),
            "sum": pixels.sum(dtype=torch.float64),
            "squares": pixels.square().sum(dtype=torch.float64),
        }

    def forward(
        self,
        totals: Sums,
        pixels: Float[Tensor, "b t h w c"],
        valid: Bool[Tensor, "b t"],
        weights: Float[Tensor, "b t h w 1"],
        noise: Float[Tensor, "b t s e"] | None = None,
    ) -> tuple[Float[Tensor, ""], Sums]:
        """Reconstruction error in units of the pixel variance, plus the VQ loss."""
        output = self.tokenizer(pixels, valid, noise)
        errors = (output.video - pixels).square()
        mse = (errors.mean((2, 3, 4)) * valid).sum() / totals["frames"]
        weighted = (errors * weights).mean((2, 3, 4))
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

    def inputs(self, batch: EpisodeBatch, device: torch.device) -> Inputs:
        """The video in [0, 1], stored tokens, the mask, noise, and labels where they are used."""
        num_transitions = batch.video.shape[1] - 1
        noise = encoding_noise(self.latent_action.quantizer, self.seed, batch, num_transitions)
        steering = WindowNoise(self.seed, batch.positions, STEERING).uniform(1, 1)
        inputs = {
            "valid": ~batch.is_pad,
            **self.hide.inputs(batch),
            "by_latents": steering < self.latents_share,
            "noise": noise,
            "tokens": batch.tokens,
            "robot_actions": batch.robot_actions if self.dynamics.robot else None,
        }
        found = {name: move(value, device) for name, value in inputs.items() if value is not None}
        labels = self.labels.inputs(batch, device) if self.labels else {}
        return {"pixels": video_on(device, batch)} | found | labels

    def totals(self, inputs: Inputs) -> Sums:
        """Valid transitions, how much they change, and the masked tokens."""
        leads_to_valid = inputs["valid"][:, 1:]
        change = self.latent_action.error_unit(inputs["pixels"])
        totals = {
            "transitions": leads_to_valid.sum().double(),
            "change": (change.clamp(min=STILL) * leads_to_valid).sum().double(),
            "tokens": inputs["hidden"].sum().double(),
        }
        return totals | (self.labels.totals(inputs) if self.labels else {})

    def forward(
        self,
        totals: Sums,
        pixels: Float[Tensor, "b t h w c"],
        valid: Bool[Tensor, "b t"],
        hidden: Bool[Tensor, "b t s"],
        places: Int[Tensor, " n"],
        by_latents: Bool[Tensor, "b 1 1"],
        noise: Float[Tensor, "b t-1 e"] | None = None,
        tokens: Int[Tensor, "b t s"] | None = None,
        robot_actions: Float[Tensor, "b t-1 a"] | None = None,
        **labels: Tensor,
    ) -> tuple[Float[Tensor, ""], Sums]:
        """The sum of both losses; the dynamics sends no gradient to the latent actions."""
        if tokens is None:
            with torch.no_grad():
                tokens = self.encode_tokens(pixels)
        leads_to_valid = valid[:, 1:]
        action = self.latent_action(pixels, tokens, valid=leads_to_valid, noise=noise)
        unexplained = (action.error * leads_to_valid).sum() / totals["change"]
        vq_loss = (action.vq_loss * leads_to_valid).sum() / totals["transitions"]

        if robot_actions is None:
            steering = torch.where(by_latents, action.bounded, action.steering)
        else:
            steering = self.dynamics.by_robot(robot_actions)
        cross_entropy, correct = masked_token_loss(self.dynamics, tokens, steering, hidden, places)
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

    def inputs(self, batch: EpisodeBatch) -> Inputs:
        """`hidden`: True for the tokens to hide; `places`: their places among all tokens."""
        hidden = self(batch.positions, ~batch.is_pad)
        return {"hidden": hidden, "places": hidden.flatten().nonzero().flatten()}

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
    places: Int[Tensor, " n"] | None = None,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Cross-entropy of the hidden tokens (paper section 2.1) and the number of right guesses.

    `places` are those of the hidden tokens among all; a GPU that has to find them makes the host
    wait.
    """
    places = hidden.flatten().nonzero().flatten() if places is None else places
    features = model.features(tokens, actions, hidden)
    features, before, targets = (
        flat.index_select(0, places)
        for flat in (features.flatten(0, 2), model.before(tokens).flatten(), tokens.flatten())
    )
    logits = model.logits(features, before).float()
    loss = F.cross_entropy(logits, targets, reduction="sum")
    return loss, (logits.max(-1).indices == targets).float().sum()


def encoding_noise(
    quantizer: Quantizer, seed: int, batch: EpisodeBatch, *shape: int
) -> Float[Tensor, "b ..."] | None:
    """Noise for the encodings while a quantizer warms up without quantising; else None."""
    if not quantizer.adds_noise:
        return None
    return WindowNoise(seed, batch.positions, ENCODING).normal(*shape, quantizer.code_dim)


def video_on(device: torch.device, batch: EpisodeBatch) -> Float[Tensor, "b t h w c"]:
    """The video of a batch in [0, 1]; bytes are moved, the device converts them."""
    return video_to_float(move(batch.video, device))


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
        self._generators = [
            torch.Generator().manual_seed(_mix(seed, int(position), purpose))
            for position in positions.tolist()
        ]

    def uniform(self, *shape: int) -> Float[Tensor, "b ..."]:
        """Uniform in [0, 1), of this shape for every window."""
        drawn = [torch.rand(shape, generator=generator) for generator in self._generators]
        return torch.stack(drawn)

    def normal(self, *shape: int) -> Float[Tensor, "b ..."]:
        """Standard normal, of this shape for every window."""
        drawn = [torch.randn(shape, generator=generator) for generator in self._generators]
        return torch.stack(drawn)


def step_generator(seed: int, step: int) -> torch.Generator:
    """Random numbers of a training step, the same in every process."""
    return torch.Generator().manual_seed(_mix(seed, step, STEP))


def _mix(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
