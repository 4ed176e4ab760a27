"""Latent action model: what happens between two frames, as one of a few codes (section 2.1)."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from genie_robo.models.action_input import ActionInput
from genie_robo.models.quantizer import CodeUse, JointQuantizer, Quantizer
from genie_robo.models.settings import DecoderView, Joining, LatentActionDesign
from genie_robo.models.transformer import STTransformer
from genie_robo.ranks import Ranks


class LatentActions(NamedTuple):
    """Latent actions of the transitions between frames: i goes from frame i to i + 1."""

    indices: Int[Tensor, "b t-1"]
    continuous: Float[Tensor, "b t-1 e"]
    """The bounded encoding before quantisation, for probes: what a decoder that is not quantised
    gets, and what codes are clusters of."""


class LatentActionOutput(NamedTuple):
    """Latent actions and the unreduced losses of every transition."""

    steering: Float[Tensor, "b t-1 e"]
    """Input of the dynamics, without a gradient: the code, or the encoding during warm-up."""
    bounded: Float[Tensor, "b t-1 e"]
    """The encoding in the space of the codes, without a gradient: the other input."""
    indices: Int[Tensor, "b t-1"]
    continuous: Float[Tensor, "b t-1 e"]
    """The encoding before quantisation."""
    error: Float[Tensor, "b t-1"]
    """Error of the predicted next frame: mean over pixels, or nats per token."""
    vq_loss: Float[Tensor, "b t-1"]


class LatentActionModel(nn.Module, ABC):
    """An autoencoder of frame transitions with a small codebook as bottleneck.

        a_t = VQ(encoder(x_1..t+1)),   prediction of x_t+1 = decoder(x_1..t, a_1..t)

    With `decoder_view=previous_frame` the decoder gets x_t and a_t only. The latent action is the
    decoder's only information about x_t+1. Subclasses define x: pixels or tokens.
    """

    reads_tokens: bool
    """Whether frames are tokens instead of pixels."""

    def __init__(
        self,
        *,
        embed: Callable[[int, int], nn.Module],
        num_places: int,
        encoder: STTransformer,
        decoder: STTransformer,
        quantizer: Quantizer,
        design: LatentActionDesign,
        actions: Joining,
        decoder_sees_code: bool,
    ) -> None:
        """Make encoder and decoder.

        Args:
            embed: Makes an embedding of frames from its number of input views and its width.
            num_places: Patches or tokens of a frame.
            encoder: Stack of the encoder.
            decoder: Stack of the decoder.
            quantizer: Codebook of one action token.
            design: Inputs and outputs of both.
            actions: How latent actions condition the decoder.
            decoder_sees_code: Whether the decoder's layers are conditioned on the code.
        """
        super().__init__()
        num_tokens = design.codes_per_transition
        self.design = design
        self.encoder, self.decoder = encoder, decoder
        self.quantizer = quantizer if num_tokens == 1 else JointQuantizer(quantizer, num_tokens)
        self.embed = embed(2 if design.sees_difference else 1, encoder.dim)
        self.encoder_position = nn.Parameter(torch.randn(num_places, encoder.dim) * 0.02)
        self.action_token = nn.Parameter(torch.randn(num_tokens, encoder.dim).squeeze(0) * 0.02)
        self.to_code = nn.Linear(encoder.dim, quantizer.code_dim)
        self.decoder_embed = embed(1, decoder.dim)
        self.decoder_position = nn.Parameter(torch.randn(num_places, decoder.dim) * 0.02)
        self.from_code = nn.Linear(self.code_dim, decoder.dim) if decoder_sees_code else None
        self.action_input = ActionInput(actions, dim=decoder.dim)

    @property
    def num_codes(self) -> int:
        """Latent actions are 0 .. num_codes - 1."""
        return self.quantizer.num_codes

    @property
    def code_dim(self) -> int:
        """Width of the code of a latent action."""
        return self.quantizer.code_dim

    def forward(
        self,
        video: Float[Tensor, "b t h w c"],
        tokens: Int[Tensor, "b t s"] | None = None,
        *,
        valid: Bool[Tensor, "b t-1"] | None = None,
        noise: Float[Tensor, "b t-1 e"] | None = None,
    ) -> LatentActionOutput:
        """Infer latent actions and predict frames 2..T from them.

        Args:
            video: Frames in [0, 1].
            tokens: Their tokens, for a model that reads tokens.
            valid: False for transitions that lead to padding.
            noise: As in `Quantizer.forward`.

        Raises:
            ValueError: A model that reads tokens got none.
        """
        frames = self.to_frames(video, tokens)
        valid = torch.ones_like(frames[:, 1:].flatten(2)[..., 0]).bool() if valid is None else valid
        if self.training:
            self._measure(frames, valid)
        encoded = self._encode(frames)
        quantized = self.quantizer(encoded, valid, noise)
        error = self._errors(frames, quantized.codes)
        bounded = self.quantizer.bound(encoded.detach().float())
        return LatentActionOutput(
            quantized.chosen, bounded, quantized.indices, encoded.float(), error, quantized.loss
        )

    def encode(
        self, video: Float[Tensor, "b t h w c"], tokens: Int[Tensor, "b t s"] | None = None
    ) -> LatentActions:
        """The latent action of every transition; `Genie.infer_actions` computes the tokens.

        Raises:
            ValueError: A model that reads tokens got none.
        """
        continuous = self._encode(self.to_frames(video, tokens))
        bounded = self.quantizer.bound(continuous.float())
        return LatentActions(self.quantizer.nearest(bounded), bounded)

    def nearest(self, latents: Float[Tensor, "*n e"]) -> Int[Tensor, "*n"]:
        """The latent action whose code is nearest to a bounded encoding."""
        return self.quantizer.nearest(latents)

    def codes(self, indices: Int[Tensor, "*n"]) -> Float[Tensor, "*n e"]:
        """The codebook vectors of latent actions."""
        return self.quantizer.lookup(indices)

    def finish_step(self, ranks: Ranks, generator: torch.Generator) -> CodeUse:
        """Update statistics after an optimizer step; returns how the codes were used."""
        return self.quantizer.finish_step(ranks, generator)

    @abstractmethod
    def error_unit(self, video: Float[Tensor, "b t h w c"]) -> Float[Tensor, "b t-1"]:
        """Per-transition loss normaliser."""

    @abstractmethod
    def decode(
        self, video: Float[Tensor, "b t h w c"], indices: Int[Tensor, "b t"]
    ) -> Float[Tensor, "b t h2 w2 c"]:
        """Predict the frame after each given frame, at the model's resolution.

        Raises:
            ValueError: The model predicts tokens.
        """

    @abstractmethod
    def to_frames(self, video: Float[Tensor, "b t h w c"], tokens: Tensor | None) -> Tensor:
        """The model's input frames."""

    @abstractmethod
    def predict(self, frames: Tensor, codes: Float[Tensor, "b t e"]) -> Tensor:
        """Predict the frame after each given one, under the given codes."""

    def _measure(self, frames: Tensor, valid: Bool[Tensor, "b n"]) -> None:
        """Update statistics of the input from the frames of a training step."""
        del frames, valid

    @abstractmethod
    def _errors(self, frames: Tensor, codes: Float[Tensor, "b t-1 e"]) -> Float[Tensor, "b t-1"]:
        """How wrong the prediction of every transition is."""

    @abstractmethod
    def _embed_for_encoder(self, frames: Tensor) -> Float[Tensor, "b t s d"]: ...

    def _encode(self, frames: Tensor) -> Float[Tensor, "b n e"]:
        x = self._embed_for_encoder(frames) + self.encoder_position
        num_tokens = self.design.codes_per_transition
        action = self.action_token.expand(*x.shape[:2], num_tokens, -1).to(x.dtype)
        x = self.encoder(torch.cat([action, x], dim=2))
        return self.to_code(x[:, 1:, :num_tokens]).flatten(2)

    def _decode(
        self, embedded: Float[Tensor, "b t s d"], codes: Float[Tensor, "b t e"]
    ) -> Float[Tensor, "b t s d"]:
        action = self.from_code(codes) if self.from_code else None
        x = self.action_input(embedded + self.decoder_position, action)
        if self.design.decoder_view is DecoderView.previous_frame:
            alone = rearrange(x, "b t s d -> (b t) 1 s d")
            x = rearrange(self.decoder(alone), "(b t) 1 s d -> b t s d", b=len(x))
        else:
            x = self.decoder(x)
        return self.action_input.drop(x)
