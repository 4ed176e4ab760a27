"""Stage 3: robot actions steer a copy of the dynamics, learned from labelled transitions.

    s = [W f(a) + b, f(a)]          W, b by ridge regression onto the latent actions of stage 2
    embed_action(s) = E [W f(a) + b] + F f(a)          E from stage 2, F from zero

With few labels that is all. With many, the copy is then trained by its own loss: robot actions
steer the windows that have labels, latent actions the others, as in stage 2.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from genie_robo.data.dataset import BadEpisodeError
from genie_robo.data.windows import WindowDataset, overlapping_chunks
from genie_robo.inference.action_map import LatentRegressor, standardisation
from genie_robo.models.dynamics import DynamicsModel
from genie_robo.models.genie import Genie
from genie_robo.models.latent_action import LatentActionModel, LatentActions
from genie_robo.models.quantizer import CodeUse
from genie_robo.models.robot_control import RobotControl
from genie_robo.progress import progress_bar
from genie_robo.ranks import Ranks
from genie_robo.train.stages import (
    STEERING,
    Inputs,
    Sums,
    TokenMask,
    WindowNoise,
    detached,
    masked_token_loss,
    video_on,
)
from genie_robo.types import EpisodeBatch, move, video_to_float

MAX_FITTED = 20_000
"""Labelled transitions that the regression is fitted to, at most."""

_log = logging.getLogger(__name__)


class RobotControlStage(nn.Module):
    """Stage 3: the masked-token loss of a dynamics that robot actions steer too."""

    name = "robot_control"

    def __init__(
        self,
        robot_dynamics: DynamicsModel,
        *,
        encode_tokens: Callable[[Float[Tensor, "b t h w c"]], Int[Tensor, "b t s"]],
        latent_action: LatentActionModel,
        labelled: Collection[str],
        latents_share: float,
        min_mask_rate: float,
        seed: int,
    ) -> None:
        """Only the dynamics is trained.

        Args:
            robot_dynamics: The copy, with the regression in `robot`.
            encode_tokens: The tokenizer of stage 1.
            latent_action: The latent action model of stage 2.
            labelled: Ids of the episodes whose robot actions are used.
            latents_share: Share of the other windows that latents steer, not codes.
            min_mask_rate: As in stage 2.
            seed: Of all random numbers.
        """
        super().__init__()
        self.robot_dynamics = robot_dynamics
        self.encode_tokens = encode_tokens
        self._infer = latent_action.encode
        self._codes = latent_action.codes
        self.labelled = frozenset(labelled)
        self.latents_share, self.seed = latents_share, seed
        self.hide = TokenMask(
            num_tokens=robot_dynamics.tokens_per_frame, min_rate=min_mask_rate, seed=seed
        )

    def inputs(self, batch: EpisodeBatch, device: torch.device) -> Inputs:
        """The video in [0, 1], stored tokens, the mask, and which windows have labels."""
        steering = WindowNoise(self.seed, batch.positions, STEERING).uniform(1, 1)
        is_labelled = torch.tensor([name in self.labelled for name in batch.episode_ids])
        inputs = {
            **self.hide.inputs(batch),
            "robot_actions": batch.robot_actions,
            "is_labelled": is_labelled,
            "by_latents": None if is_labelled.all() else steering < self.latents_share,
            "tokens": batch.tokens,
        }
        found = {name: move(value, device) for name, value in inputs.items() if value is not None}
        return {"pixels": video_on(device, batch)} | found

    def totals(self, inputs: Inputs) -> Sums:
        """The masked tokens."""
        return {"tokens": inputs["hidden"].sum().double()}

    def forward(
        self,
        totals: Sums,
        pixels: Float[Tensor, "b t h w c"],
        hidden: Bool[Tensor, "b t s"],
        places: Int[Tensor, " n"],
        robot_actions: Float[Tensor, "b t-1 a"],
        is_labelled: Bool[Tensor, " b"],
        by_latents: Bool[Tensor, "b 1 1"] | None = None,
        tokens: Int[Tensor, "b t s"] | None = None,
    ) -> tuple[Float[Tensor, ""], Sums]:
        """Cross-entropy of the masked tokens; without `by_latents` all windows have labels."""
        with torch.no_grad():
            tokens = self.encode_tokens(pixels) if tokens is None else tokens
            steering = self.robot_dynamics.by_robot(robot_actions)
            if by_latents is not None:
                inferred = self._inferred(self._infer(pixels, tokens), by_latents)
                steering = torch.where(is_labelled[:, None, None], steering, inferred)
        cross_entropy, correct = masked_token_loss(
            self.robot_dynamics, tokens, steering, hidden, places
        )
        loss = cross_entropy / totals["tokens"]
        sums = {"dynamics_loss": loss, "dynamics_accuracy": correct / totals["tokens"]}
        return loss.float(), detached(sums)

    def describe(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Loss and accuracy on masked tokens."""
        return dict(sums)

    def finish_step(self, ranks: Ranks, generator: torch.Generator) -> dict[str, CodeUse]:
        """Nothing: no codebook is trained."""
        return {}

    def _inferred(
        self, inferred: LatentActions, by_latents: Bool[Tensor, "b 1 1"]
    ) -> Float[Tensor, "b n i"]:
        """Latents or codes, one kind for each window."""
        latents = torch.where(by_latents, inferred.continuous, self._codes(inferred.indices))
        return self.robot_dynamics.by_latents(latents)


class LabelledTransitions(NamedTuple):
    """Robot actions and, where a model infers them, latent actions of the same transitions."""

    robot_actions: Float[np.ndarray, "n a"]
    latents: Float[np.ndarray, "n e"]


def start_from(robot_dynamics: DynamicsModel, trained: DynamicsModel) -> None:
    """Copy a trained dynamics; features of robot actions have no effect yet."""
    weights = trained.state_dict()
    weight = robot_dynamics.embed_action.weight.new_zeros(robot_dynamics.embed_action.weight.shape)
    weight[:, : trained.latent_dim] = weights["embed_action.weight"]
    robot = {name: value for name, value in robot_dynamics.state_dict().items() if "robot." in name}
    robot_dynamics.load_state_dict({**weights, **robot, "embed_action.weight": weight})


def fit_control(robot: RobotControl, labels: LabelledTransitions) -> None:
    """Fit the scale of the actions, and the regression where latent actions steer too.

    Raises:
        ValueError: An action is not finite.
    """
    actions, latents = labels
    if latents.shape[1]:
        fitted = LatentRegressor.fit(actions, latents)
        robot.set_arrays({name: getattr(fitted, name) for name, _ in robot.named_buffers()})
    else:
        centre, scale = standardisation(actions)
        action_range = np.stack([actions.min(0), actions.max(0)])
        robot.set_arrays({"centre": centre, "scale": scale, "action_range": action_range})


@torch.no_grad()
def read_labels(
    windows: WindowDataset, genie: Genie, *, device: torch.device, max_labels: int
) -> LabelledTransitions:
    """The first labelled transitions of some episodes, with their latent actions.

    Raises:
        ValueError: No episode can be read, or its dataset has no robot actions.
    """
    actions, latents, num_found = [], [], 0
    total = len(windows.episodes)
    with progress_bar("labelled transitions", total=total, unit="episodes") as advance:
        for e in range(total):
            if num_found >= max_labels:
                break
            try:
                window = windows.whole_episode(e)
            except BadEpisodeError as error:
                windows.dataset.skip(windows.episodes[e], error.reason)
                continue
            num = min(len(window.robot_actions), max_labels - num_found)
            if not window.action_mask.any():
                raise ValueError(
                    "the dataset has no robot actions (data.source.action), so nothing can be "
                    "learned from them"
                )
            if num:
                actions.append(window.robot_actions[:num])
                latents.append(_latents(genie, window.video, device)[:num])
            num_found += num
            advance()
    if not num_found:
        raise ValueError("there is no labelled transition in the training episodes")
    _log.info("robot control: %d labelled transitions", num_found)
    return LabelledTransitions(
        np.concatenate(actions).astype(np.float64), np.concatenate(latents).astype(np.float64)
    )


def _latents(
    genie: Genie, video: UInt8[np.ndarray, "t h w c"], device: torch.device
) -> Float[np.ndarray, "t-1 e"]:
    """Latent actions of all transitions of an episode; none where robot actions alone steer."""
    if not genie.takes_codes:
        return np.empty((len(video) - 1, 0))
    chunks = overlapping_chunks(video, num_frames=genie.num_frames)
    inferred = genie.infer_actions(video_to_float(torch.from_numpy(chunks).to(device)))
    return inferred.continuous.flatten(0, 1)[: len(video) - 1].cpu().double().numpy()
