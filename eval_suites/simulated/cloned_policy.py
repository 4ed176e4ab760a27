"""Behaviour cloning: a small network from frame and goal to latent or robot actions."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from genie_robo.progress import Advance

BATCH_SIZE, LEARNING_RATE = 64, 1e-3
CHANNELS = (16, 32, 64, 64)
"""Channels of the convolutions, each of which halves the image."""

Loss = Callable[[Tensor, Tensor], Tensor]


class FrameNetwork(nn.Module):
    """Convolutions over the frame and two linear layers.

    The goal is appended to the channels of every pixel, so that pixels can be compared with the
    colour of the goal.
    """

    def __init__(self, *, image_size: tuple[int, int], goal_dim: int, num_outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise((3 + goal_dim, *CHANNELS)):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        with torch.no_grad():
            size = self.convolutions(torch.zeros(1, 3 + goal_dim, *image_size)).shape[1]
        self.head = nn.Sequential(nn.Linear(size, 128), nn.ReLU(), nn.Linear(128, num_outputs))

    def forward(
        self, frames: UInt8[Tensor, "b h w c"], goals: Float[Tensor, "b g"]
    ) -> Float[Tensor, "b o"]:
        """Logits of latent actions, or normalised robot actions."""
        pixels = frames.permute(0, 3, 1, 2).float() / 255
        expanded = goals[:, :, None, None].expand(-1, -1, *pixels.shape[2:])
        return self.head(self.convolutions(torch.cat([pixels, expanded], dim=1) - 0.5))


def clone_codes(
    frames: UInt8[np.ndarray, "n h w c"],
    goals: Float[np.ndarray, "n g"],
    codes: Int[np.ndarray, " n"],
    *,
    num_codes: int,
    num_steps: int,
    seed: int,
    advance: Advance,
) -> Callable[[np.ndarray, np.ndarray], int]:
    """A policy of latent actions: the most likely code of a frame and goal."""
    network = _fit(
        (frames, goals, codes),
        F.cross_entropy,
        num_outputs=num_codes,
        num_steps=num_steps,
        seed=seed,
        advance=advance,
    )
    return lambda frame, goal: int(_apply(network, frame, goal).argmax())


def clone_actions(
    frames: UInt8[np.ndarray, "n h w c"],
    goals: Float[np.ndarray, "n g"],
    robot_actions: Float[np.ndarray, "n 7"],
    *,
    num_steps: int,
    seed: int,
    advance: Advance,
) -> Callable[[np.ndarray, np.ndarray], Float[np.ndarray, " 7"]]:
    """A policy of robot actions: least squares on standardised actions."""
    mean, spread = robot_actions.mean(0), robot_actions.std(0)
    scale = np.where(spread > 1e-6, spread, 1.0)
    targets = ((robot_actions - mean) / scale).astype(np.float32)
    network = _fit(
        (frames, goals, targets),
        F.mse_loss,
        num_outputs=robot_actions.shape[1],
        num_steps=num_steps,
        seed=seed,
        advance=advance,
    )
    return lambda frame, goal: _apply(network, frame, goal).double().numpy() * scale + mean


def _fit(
    examples: Sequence[np.ndarray],
    loss: Loss,
    *,
    num_outputs: int,
    num_steps: int,
    seed: int,
    advance: Advance,
) -> FrameNetwork:
    """Train with Adam on random batches and a cosine schedule, with fixed hyperparameters."""
    frames, goals, targets = (torch.from_numpy(part) for part in examples)
    goals = goals.float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = FrameNetwork(
            image_size=(frames.shape[1], frames.shape[2]),
            goal_dim=goals.shape[1],
            num_outputs=num_outputs,
        )
        optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
        for _ in range(num_steps):
            rows = torch.randint(len(frames), (min(BATCH_SIZE, len(frames)),))
            optimizer.zero_grad()
            loss(network(frames[rows], goals[rows]), targets[rows]).backward()
            optimizer.step()
            schedule.step()
            advance()
    return network.eval()


@torch.no_grad()
def _apply(network: FrameNetwork, frame: np.ndarray, goal: np.ndarray) -> Float[Tensor, " o"]:
    return network(torch.from_numpy(frame)[None], torch.from_numpy(goal).float()[None])[0]
