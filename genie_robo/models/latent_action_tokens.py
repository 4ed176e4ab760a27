"""Latent actions from the tokenizer's tokens: the paper's ablation of the input (section 3.3)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from genie_robo.models.latent_action import LatentActionModel
from genie_robo.models.quantizer import Quantizer
from genie_robo.models.settings import Joining, LatentActionDesign
from genie_robo.models.transformer import STTransformer


class TokenActionModel(LatentActionModel):
    """Latent actions of frames of tokens: x_t = z_t, and the decoder gives logits of z_t+1.

    With `sees_difference` the encoder also gets the change of a second token embedding.
    """

    reads_tokens = True

    def __init__(
        self,
        *,
        num_tokens: int,
        tokens_per_frame: int,
        encoder: STTransformer,
        decoder: STTransformer,
        quantizer: Quantizer,
        design: LatentActionDesign,
        actions: Joining,
    ) -> None:
        super().__init__(
            embed=lambda views, dim: _new_embedding(num_tokens, views * dim),
            num_places=tokens_per_frame,
            encoder=encoder,
            decoder=decoder,
            quantizer=quantizer,
            design=design,
            actions=actions,
            decoder_sees_code=True,
        )
        self.to_logits = nn.Linear(decoder.dim, num_tokens)

    def error_unit(self, video: Float[Tensor, "b t h w c"]) -> Float[Tensor, "b t-1"]:
        """Ones: cross-entropy is not normalised."""
        return torch.ones_like(video[:, 1:, 0, 0, 0])

    def decode(
        self, video: Float[Tensor, "b t h w c"], indices: Int[Tensor, "b t"]
    ) -> Float[Tensor, "b t h2 w2 c"]:
        """Not supported: this model predicts tokens.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "this latent action model was built with model.latent_action.input=tokens: it predicts "
            "tokens, not pixels; take `predict`, or a model with model.latent_action.input=pixels"
        )

    def to_frames(
        self, video: Float[Tensor, "b t h w c"], tokens: Int[Tensor, "b t s"] | None
    ) -> Int[Tensor, "b t s"]:
        """The tokens.

        Raises:
            ValueError: There are none.
        """
        if tokens is None:
            raise ValueError(
                "this latent action model was built with model.latent_action.input=tokens and got "
                f"a video of {video.shape[1]} frames without its tokens; give those of the "
                "tokenizer, or call Genie.infer_actions, which computes them"
            )
        return tokens

    def predict(
        self, frames: Int[Tensor, "b t s"], codes: Float[Tensor, "b t e"]
    ) -> Float[Tensor, "b t s k"]:
        """Logits of the tokens of the frame after each given one."""
        return self.to_logits(self._decode(self.decoder_embed(frames), codes))

    def _errors(
        self, frames: Int[Tensor, "b t s"], codes: Float[Tensor, "b t-1 e"]
    ) -> Float[Tensor, "b t-1"]:
        logits, shown = self.predict(frames[:, :-1], codes), frames[:, 1:]
        nats = F.cross_entropy(logits.float().flatten(0, 2), shown.flatten(), reduction="none")
        return nats.view(shown.shape).mean(-1)

    def _embed_for_encoder(self, frames: Int[Tensor, "b t s"]) -> Float[Tensor, "b t s d"]:
        if not self.design.sees_difference:
            return self.embed(frames)
        shown, moved = self.embed(frames).chunk(2, dim=-1)
        return shown + torch.diff(moved, dim=1, prepend=moved[:, :1])


def _new_embedding(num_tokens: int, dim: int) -> nn.Embedding:
    embedding = nn.Embedding(num_tokens, dim)
    nn.init.normal_(embedding.weight, std=0.02)
    return embedding
