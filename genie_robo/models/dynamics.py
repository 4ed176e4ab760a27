"""Dynamics: tokens of past frames and latent actions to the tokens of the next frame."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from genie_robo.models.action_input import ActionInput, Joining
from genie_robo.models.cache import KVCache
from genie_robo.models.transformer import STTransformer


class DynamicsModel(nn.Module):
    """MaskGIT over video tokens, steered by latent actions (paper section 2.1, "Dynamics").

    Frame t goes in with some of its tokens masked and comes out as logits for every token, given
    the frames before it. The code of the transition t-1 -> t joins the tokens of frame t; the
    paper adds it to every one of them.
    """

    def __init__(
        self,
        *,
        num_tokens: int,
        tokens_per_frame: int,
        action_dim: int,
        actions: Joining,
        transformer: STTransformer,
    ) -> None:
        super().__init__()
        self.num_tokens = num_tokens
        self.tokens_per_frame = tokens_per_frame
        self.transformer = transformer
        dim = transformer.dim
        self.embed = nn.Embedding(num_tokens + 1, dim)
        nn.init.normal_(self.embed.weight, std=0.02)
        self.position = nn.Parameter(torch.randn(tokens_per_frame, dim) * 0.02)
        self.embed_action = nn.Linear(action_dim, dim)
        self.action_input = ActionInput(actions, dim=dim)
        self.to_logits = nn.Linear(dim, num_tokens)

    @property
    def mask_token(self) -> int:
        """The token that stands for "not known yet"."""
        return self.num_tokens

    def forward(
        self, tokens: Int[Tensor, "b t s"], actions: Float[Tensor, "b t-1 e"]
    ) -> Float[Tensor, "b t s k"]:
        """Logits for every token of every frame; action i leads to frame i + 1."""
        return self.to_logits(self.features(tokens, actions))

    def features(
        self, tokens: Int[Tensor, "b t s"], actions: Float[Tensor, "b t-1 e"]
    ) -> Float[Tensor, "b t s d"]:
        """What the logits of every token are made of."""
        reached_by = self.embed_action(actions)
        unreached = reached_by.new_zeros(len(tokens), 1, self.transformer.dim)
        x = self._embed(tokens, torch.cat([unreached, reached_by], dim=1))
        return self.action_input.drop(self.transformer(x))

    def next_frame(
        self,
        tokens: Int[Tensor, "b 1 s"],
        actions: Float[Tensor, "b 1 e"] | None,
        cache: KVCache,
        places: Int[Tensor, "b r"],
    ) -> Float[Tensor, "b r k"]:
        """Logits at some places of the frame that follows those in the cache.

        The first frame of a video is reached by no action: `actions` None.
        """
        reached_by = None if actions is None else self.embed_action(actions)
        x = self.action_input.drop(self.transformer(self._embed(tokens, reached_by), cache))
        return self.to_logits(x[:, 0].take_along_dim(places[..., None], dim=1))

    def _embed(
        self, tokens: Int[Tensor, "b t s"], reached_by: Float[Tensor, "b t d"] | None
    ) -> Float[Tensor, "b t joined d"]:
        return self.action_input(self.embed(tokens) + self.position, reached_by)
