"""Programs that train the dynamics for a few steps and measure themselves."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from eval_suites.timing.dynamics import ACTION_DIM, NUM_TOKENS, DynamicsSize, build_dynamics
from eval_suites.timing.plain_model import PlainDynamics
from eval_suites.timing.process import peak_memory_mb
from genie_robo.models.attention import Backend
from genie_robo.models.dynamics import DynamicsModel
from genie_robo.train.optim import build_optimizers
from genie_robo.train.stages import masked_token_loss

MASK_RATE = 0.75
"""The mean of the paper's."""
LEARNING_RATE, BETAS, WEIGHT_DECAY = 1e-4, (0.9, 0.9), 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingTask(DynamicsSize):
    """One model of one size, computed in one way."""

    attention: Backend | None
    """None trains the plain model."""
    is_bf16: bool
    """Autocast, else fp32 throughout."""
    batch_size: int
    num_steps: int
    num_warm_up_steps: int
    device: str
    num_threads: int
    """On a CPU; 0 takes all cores."""
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What it took; times are medians over the steps."""

    cpu_s: float
    """Processor time of a step, over all threads."""
    wall_s: float
    num_tokens: int
    """Of one step."""
    num_parameters: int
    peak_memory_mb: float
    """Of the GPU's memory where there is one, else of the process."""
    last_loss: float

    @property
    def tokens_per_cpu_s(self) -> float:
        """Tokens trained on per second of processor time."""
        return self.num_tokens / self.cpu_s

    @property
    def tokens_per_s(self) -> float:
        """Tokens trained on per second of the clock."""
        return self.num_tokens / self.wall_s


class Batch(NamedTuple):
    """Random tokens and latent actions; which tokens are hidden."""

    tokens: Int[Tensor, "b t s"]
    actions: Float[Tensor, "b t-1 e"]
    is_hidden: Bool[Tensor, "b t s"]


def train(task: TrainingTask) -> Training:
    """Train for a few steps on one random batch: forward, backward, AdamW."""
    if task.device == "cpu":
        torch.set_num_threads(task.num_threads or os.cpu_count() or 1)
    torch.manual_seed(task.seed)
    model = build_model(task).to(task.device)
    optimizer = _build_optimizer(model)
    batch = make_batch(task)

    def step() -> float:
        loss = masked_loss(model, batch, task)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    for _ in range(task.num_warm_up_steps):
        step()
    laps = [_lap(step, task.device) for _ in range(task.num_steps)]
    on_gpu = task.device == "cuda"
    return Training(
        cpu_s=median(lap.cpu_s for lap in laps),
        wall_s=median(lap.wall_s for lap in laps),
        num_tokens=batch.tokens.numel(),
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        peak_memory_mb=torch.cuda.max_memory_allocated() / 1e6 if on_gpu else peak_memory_mb(),
        last_loss=laps[-1].loss,
    )


class _Lap(NamedTuple):
    cpu_s: float
    wall_s: float
    loss: float


def _lap(step: Callable[[], float], device: str) -> _Lap:
    """One step; reading its loss waits for the GPU, its optimizer is waited for besides."""
    cpu, wall = time.process_time(), time.perf_counter()
    loss = step()
    if device == "cuda":
        torch.cuda.synchronize()
    return _Lap(time.process_time() - cpu, time.perf_counter() - wall, loss)


def build_model(task: TrainingTask) -> nn.Module:
    """Our dynamics, or the plain one of the same shape."""
    if task.attention is None:
        return PlainDynamics(
            num_tokens=NUM_TOKENS,
            tokens_per_frame=task.tokens_per_frame,
            num_frames=task.num_frames,
            action_dim=ACTION_DIM,
            num_blocks=task.num_blocks,
            dim=task.dim,
            num_heads=task.num_heads,
        )
    return build_dynamics(task, backend=task.attention)


def _build_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of our training, or AdamW as it comes."""
    if isinstance(model, PlainDynamics):
        return torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    (adamw,) = build_optimizers(
        model, learning_rate=LEARNING_RATE, betas=BETAS, weight_decay=WEIGHT_DECAY
    )
    return adamw


def make_batch(task: TrainingTask) -> Batch:
    """A random batch in which three of four tokens are hidden, in the first frame none."""
    size = (task.batch_size, task.num_frames, task.tokens_per_frame)
    random = torch.Generator().manual_seed(task.seed)
    is_hidden = torch.rand(size, generator=random) < MASK_RATE
    is_hidden[:, 0] = False
    tokens = torch.randint(NUM_TOKENS, size, generator=random)
    actions = torch.randn(size[0], size[1] - 1, ACTION_DIM, generator=random)
    return Batch(*(tensor.to(task.device) for tensor in (tokens, actions, is_hidden)))


def masked_loss(model: nn.Module, batch: Batch, task: TrainingTask) -> Float[Tensor, ""]:
    """Mean cross-entropy of the hidden tokens: as our training computes it, or plainly."""
    tokens, actions, is_hidden = batch
    with torch.autocast(task.device, torch.bfloat16, enabled=task.is_bf16):
        if isinstance(model, DynamicsModel):
            total, _ = masked_token_loss(model, tokens, actions, is_hidden)
            return total / is_hidden.sum()
        logits = model(tokens.masked_fill(is_hidden, NUM_TOKENS), actions)[is_hidden]
        return F.cross_entropy(logits.float(), tokens[is_hidden])


def count_flops(task: TrainingTask) -> int:
    """Floating-point operations of matrix products in one forward and backward pass.

    Counted without computing anything; attention as explicit products, causal or not.
    """
    size = (task.batch_size, task.num_frames, task.tokens_per_frame)
    with torch.device("meta"):
        model = build_model(replace(task, attention="matmul"))
        tokens = torch.zeros(size, dtype=torch.long)
        actions = torch.zeros(size[0], size[1] - 1, ACTION_DIM)
        with FlopCounterMode(display=False) as counter:
            model(tokens, actions).sum().backward()
    return counter.get_total_flops()
