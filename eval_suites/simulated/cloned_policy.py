"""Behaviour cloning: a small network from frame and goal to latent or robot actions."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from genie_robo.eval_suites.simulated.cloning_task import COLOUR
from genie_robo.progress import Advance

BATCH_SIZE, LEARNING_RATE = 64, 1e-3
CHANNELS = (16, 32, 64)
"""Channels of the convolutions; the first two halve the image."""
HIDDEN = 128
SAME_COLOUR = 0.05
"""Squared distance at which a pixel's colour is 1/e as similar to the goal's."""

Loss = Callable[[Tensor, Tensor], Tensor]


class FrameNetwork(nn.Module):
    """Convolutions whose channels become points of the image (spatial softmax), then linear layers.

    How similar every pixel is to the goal's colour is one more channel of the image. The network
    works on frames of any size. Points in place of pixels: Levine et al. 2016, arXiv 1504.00702.
    """

    def __init__(self, *, goal_dim: int, num_outputs: int) -> None:
        super().__init__()
        few, some, many = CHANNELS
        self.convolutions = nn.Sequential(
            nn.Conv2d(4, few, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(few, some, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(some, many, 3, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Sequential(
            nn.Linear(2 * many + goal_dim, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, num_outputs),
        )

    def forward(
        self, frames: UInt8[Tensor, "b h w c"], goals: Float[Tensor, "b g"]
    ) -> Float[Tensor, "b o"]:
        """Logits of latent actions, or normalised robot actions."""
        pixels = frames.permute(0, 3, 1, 2).float() / 255
        apart = (pixels - goals[:, COLOUR, None, None]).square().sum(dim=1, keepdim=True)
        image = torch.cat([pixels - 0.5, (-apart / SAME_COLOUR).exp()], dim=1)
        points = _points(self.convolutions(image))
        return self.head(torch.cat([points, goals], dim=1))


def _points(features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b p"]:
    """Where each channel is active, x and y from -1 to 1."""
    height, width = features.shape[2:]
    weights = features.flatten(2).softmax(dim=-1).view_as(features)
    x, y = torch.linspace(-1, 1, width), torch.linspace(-1, 1, height)
    return torch.cat([weights.sum(dim=2) @ x, weights.sum(dim=3) @ y], dim=1)


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
    """A policy of robot actions: smooth absolute errors of standardised actions."""
    mean, spread = robot_actions.mean(0), robot_actions.std(0)
    scale = np.where(spread > 1e-6, spread, 1.0)
    targets = ((robot_actions - mean) / scale).astype(np.float32)
    network = _fit(
        (frames, goals, targets),
        F.smooth_l1_loss,
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
        network = FrameNetwork(goal_dim=goals.shape[1], num_outputs=num_outputs)
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
