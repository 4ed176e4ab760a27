"""Dynamics: tokens of past frames and latent actions to the tokens of the next frame."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from genie_robo.models.action_input import ActionInput
from genie_robo.models.cache import KVCache, Places
from genie_robo.models.robot_control import RobotControl
from genie_robo.models.settings import Joining
from genie_robo.models.transformer import STTransformer


class DynamicsModel(nn.Module):
    """MaskGIT over video tokens, conditioned on latent actions (paper section 2.1, "Dynamics").

    p(z_t | z_1..t-1, masked z_t, a_1..t-1): the input is frame t with some of its tokens masked and
    all earlier frames, the output logits for every token. The code of the transition t-1 -> t is
    joined to the tokens of frame t; the paper adds it to all of them.

    With `copies` the token in the same place of the frame before gets a bonus that depends on the
    transformer's output h, so that what stays need not be generated (not in the paper; a pointer as
    of See et al. 2017):

        logit of token k = w_k h + b_k + [k = z_t-1] (g h + c)

    With `clean_past` a frame is predicted in training from earlier frames as they are, as in
    imagination; without it tokens of those are masked too, as in the paper.

    The latent action is `latent_dim` numbers. With `robot_dim` above 0 robot actions of that width
    steer too, or alone where `latent_dim` is 0; all inputs then have the form of RobotControl.
    """

    def __init__(
        self,
        *,
        num_tokens: int,
        tokens_per_frame: int,
        latent_dim: int,
        robot_dim: int = 0,
        actions: Joining,
        transformer: STTransformer,
        copies: bool = False,
        clean_past: bool = False,
    ) -> None:
        super().__init__()
        self.num_tokens = num_tokens
        self.tokens_per_frame = tokens_per_frame
        self.clean_past = clean_past
        self.transformer = transformer
        dim = transformer.dim
        self.embed = nn.Embedding(num_tokens + 1, dim)
        nn.init.normal_(self.embed.weight, std=0.02)
        self.position = nn.Parameter(torch.randn(tokens_per_frame, dim) * 0.02)
        self.latent_dim = latent_dim
        self.robot = (
            RobotControl(action_dim=robot_dim, latent_dim=latent_dim) if robot_dim else None
        )
        num_features = self.robot.num_features if self.robot else 0
        self.embed_action = nn.Linear(latent_dim + num_features, dim)
        self.action_input = ActionInput(actions, dim=dim)
        self.to_logits = nn.Linear(dim, num_tokens)
        self.to_copy = nn.Linear(dim, 1) if copies else None
        if self.to_copy is not None:
            nn.init.zeros_(self.to_copy.weight)
            nn.init.zeros_(self.to_copy.bias)

    @torch.no_grad()
    def start_from_codes(self, codes: Float[Tensor, "k e"]) -> None:
        """Before training, let tokens with similar codes begin with similar embeddings and logits.

        Random projections of the tokenizer's codes (of length 1) are added to the embeddings and to
        the output layer, so that what is learned about a frequent token also holds for similar rare
        ones. Not in the paper.
        """
        for weight, length in ((self.embed.weight[:-1], 2.0), (self.to_logits.weight, 1.0)):
            directions = torch.randn(codes.shape[1], weight.shape[1], device=codes.device)
            weight += length * codes @ F.normalize(directions, dim=-1)

    @property
    def mask_token(self) -> int:
        """The index of the mask token, after all others."""
        return self.num_tokens

    def by_latents(self, latents: Float[Tensor, "*b e"]) -> Float[Tensor, "*b i"]:
        """The input `actions` of the other methods for latent actions."""
        return F.pad(latents, (0, self.embed_action.in_features - latents.shape[-1]))

    def by_robot(self, robot_actions: Float[Tensor, "*b a"]) -> Float[Tensor, "*b i"]:
        """The input `actions` of the other methods for robot actions.

        Raises:
            ValueError: Only latent actions steer this dynamics.
        """
        if self.robot is None:
            raise ValueError(
                "only latent actions steer this dynamics; `genie-robo train stage=robot_control` "
                "trains one that takes robot actions too"
            )
        return self.robot(robot_actions)

    def forward(
        self, tokens: Int[Tensor, "b t s"], actions: Float[Tensor, "b t-1 e"]
    ) -> Float[Tensor, "b t s k"]:
        """Logits for every token of every frame; action i leads to frame i + 1."""
        return self.logits(self.features(tokens, actions), self.before(tokens))

    def features(
        self,
        tokens: Int[Tensor, "b t s"],
        actions: Float[Tensor, "b t-1 e"],
        hidden: Bool[Tensor, "b t s"] | None = None,
    ) -> Float[Tensor, "b t s d"]:
        """Transformer output for every token, those that are `hidden` masked.

        With `clean_past` there is none for a first frame, which nothing precedes: it is zeros.
        """
        shown = tokens if hidden is None else tokens.masked_fill(hidden, self.mask_token)
        if hidden is None or not self.clean_past:
            return self.action_input.drop(self.transformer(self._embed(shown, actions)))
        past = self._embed(tokens[:, :-1], actions[:, :-1])
        x = torch.cat([past, self._embed(shown[:, 1:], actions)], dim=1)
        features = self.action_input.drop(self.transformer(x, num_past=past.shape[1]))
        return F.pad(features, (0, 0, 0, 0, 1, 0))

    def before(self, tokens: Int[Tensor, "b t s"]) -> Int[Tensor, "b t s"]:
        """The token in the same place of the frame before; the mask token for the first frame."""
        return F.pad(tokens[:, :-1], (0, 0, 1, 0), value=self.mask_token)

    def logits(
        self, features: Float[Tensor, "*n d"], before: Int[Tensor, "*n"]
    ) -> Float[Tensor, "*n k"]:
        """Logits from the transformer's output and the token before, not copied if masked."""
        logits = self.to_logits(features)
        if self.to_copy is None:
            return logits
        is_known = (before != self.mask_token)[..., None]
        bonus = self.to_copy(features).to(logits.dtype) * is_known
        return logits.scatter_add(-1, before[..., None] * is_known, bonus)

    def next_frame(
        self,
        tokens: Int[Tensor, "b 1 s"],
        actions: Float[Tensor, "b n e"],
        cache: KVCache,
        places: Places,
    ) -> Float[Tensor, "b r k"]:
        """Logits at some places of the frame after the cached ones; the cache does not change.

        `actions` has one entry, or none for the first frame of a video.
        """
        x = self._embed(tokens, actions)
        features = self.transformer(x, cache, self.action_input.shift(places))[:, 0]
        before = torch.full_like(places, self.mask_token)
        if cache.last_tokens is not None:
            before = cache.last_tokens.gather(1, places)
        return self.logits(features, before)

    def remember(
        self, tokens: Int[Tensor, "b t s"], actions: Float[Tensor, "b n e"], cache: KVCache
    ) -> None:
        """Append decoded frames to the cache: several at once only when it is empty."""
        self.transformer.remember(self._embed(tokens, actions), cache)
        cache.last_tokens = tokens[:, -1]

    def _embed(
        self, tokens: Int[Tensor, "b t s"], actions: Float[Tensor, "b n e"]
    ) -> Float[Tensor, "b t joined d"]:
        """Tokens joined with their frame's action, zero for a first frame without one."""
        embedded = self.embed_action(actions)
        embedded = F.pad(embedded, (0, 0, tokens.shape[1] - actions.shape[1], 0))
        return self.action_input(self.embed(tokens) + self.position, embedded)
