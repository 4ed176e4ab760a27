"""How fast the dynamics trains, compared with a plain PyTorch model of the same shape.

    python tests/benchmarks/training.py

Forward, backward and AdamW on random tokens with the cross-entropy of hidden ones: 6 blocks of
width 256, 4 windows of 16 frames, 64 and 256 tokens per frame, on the GPU where there is one. Each
way of computing runs in a fresh process: attention `auto`, `matmul`, `sdpa` (and `xformers` on a
GPU) and the plain model, in fp32 and, where the device has it, in bf16. docs/results.md has the
numbers.

Goals: 3 times the plain model in fp32 at 64 tokens per frame, 2.5 times at 256. A median over a few
steps, no interval: other work on the machine changes processor time by half.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from models import ACTION_DIM, NUM_TOKENS, DynamicsSize, build_dynamics
from plain_model import PlainDynamics
from table import print_table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from genie_robo.eval_suites.timing import (
    BETAS,
    LEARNING_RATE,
    NUM_WARM_UP,
    WEIGHT_DECAY,
    Lap,
    MaskedTokens,
    median_lap,
    peak_memory_mb,
    random_batch,
    run_alone,
)
from genie_robo.models.attention import xformers_works
from genie_robo.models.dynamics import DynamicsModel
from genie_robo.models.settings import Backend
from genie_robo.precision import supports_bf16
from genie_robo.train.optim import build_optimizers
from genie_robo.train.stages import masked_token_loss

TOKENS_PER_FRAME = (64, 256)
PLAIN = "plain_fp32"
"""The baseline: F.scaled_dot_product_attention in fp32."""


class Peak(NamedTuple):
    """Dense bf16 products with accumulation in fp32, TFLOP/s."""

    data_sheet: float
    """At the power limit the card is sold with."""
    in_practice: float | None = None
    """Of large products through torch: 8192 x 8192 random numbers reach 770 to 800 on an H200."""


PEAKS = {
    "B200": Peak(2250),
    "H200": Peak(989, 790),
    "GH200": Peak(989, 790),
    "H100": Peak(989, 790),
    "H100 PCIe": Peak(756),
    "H100 NVL": Peak(835),
    "A100": Peak(312),
    "L40S": Peak(362),
    "L4": Peak(121),
    "RTX 4090": Peak(165),
    "RTX 3090": Peak(71),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingTask(DynamicsSize):
    """One model of one size, computed in one way."""

    attention: Backend | None = Backend.auto
    """None trains the plain model."""
    is_bf16: bool = False
    """Autocast, else fp32 throughout."""
    batch_size: int = 4
    num_steps: int = 5
    num_warm_up_steps: int = NUM_WARM_UP
    device: str = "cpu"
    seed: int = 0


class Training(NamedTuple):
    """What it took; times are medians over the steps."""

    lap: Lap
    num_tokens: int
    """Of one step."""
    num_parameters: int
    peak_memory_mb: float
    """Of the GPU's memory where there is one, else of the process."""
    last_loss: float

    @property
    def tokens_per_cpu_s(self) -> float:
        return self.num_tokens / self.lap.cpu_s

    @property
    def tokens_per_s(self) -> float:
        return self.num_tokens / self.lap.wall_s


def main(words: Sequence[str] | None = None) -> dict[tuple[int, str], Training]:
    """Measure every way of computing and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--num-blocks", type=int, default=6)
    parser.add_argument("--num-heads", type=int, default=8)
    parser.add_argument("--num-frames", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--num-steps", type=int, default=5)
    parser.add_argument("--tokens-per-frame", type=int, nargs="+", default=TOKENS_PER_FRAME)
    parser.add_argument("--only", nargs="*", default=(), help=f"ways, besides {PLAIN}")
    options = vars(parser.parse_args(words))
    sizes, only = options.pop("tokens_per_frame"), options.pop("only")
    task = TrainingTask(device=default_device(), **options)
    tasks = {
        (tokens, name): replace(task, tokens_per_frame=tokens, attention=attention, is_bf16=is_bf16)
        for tokens in sizes
        for name, (attention, is_bf16) in choose_ways(task.device).items()
        if not only or name in (PLAIN, *only)
    }
    found = {key: run_alone(train, way) for key, way in tasks.items()}
    print_table(training_table(tasks, found))
    return found


def default_device() -> str:
    """The GPU when there is one, as engine.device=auto."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def choose_ways(device: str) -> dict[str, tuple[Backend | None, bool]]:
    """Attention, or None for the plain model, and whether in bf16; the default way is the first.

    bf16 is left out where it would be emulated, xformers where it has no kernel.
    """
    models: dict[str, Backend | None] = {
        name: name for name in (Backend.auto, Backend.matmul, Backend.sdpa)
    }
    if device == "cuda" and xformers_works():
        models["xformers"] = Backend.xformers
    models["plain"] = None
    precisions = {"bf16": True, "fp32": False} if supports_bf16(device) else {"fp32": False}
    return {
        f"{model}_{precision}": (attention, is_bf16)
        for model, attention in models.items()
        for precision, is_bf16 in precisions.items()
    }


def train(task: TrainingTask) -> Training:
    """Train for a few steps on one random batch: forward, backward, AdamW."""
    torch.manual_seed(task.seed)
    with torch.device(task.device):  # a large model takes a while to draw on a CPU
        model = build_model(task)
    optimizer = _build_optimizer(model)
    batch = make_batch(task)
    losses = []

    def step() -> None:
        loss = masked_loss(model, batch, task)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))

    lap = median_lap(step, task.num_steps, num_warm_up=task.num_warm_up_steps, device=task.device)
    return Training(
        lap=lap,
        num_tokens=batch.tokens.numel(),
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        peak_memory_mb=peak_memory_mb(task.device),
        last_loss=losses[-1],
    )


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


def make_batch(task: TrainingTask) -> MaskedTokens:
    """The batch of every way of computing."""
    with torch.device(task.device):
        ours = build_dynamics(task)
    return random_batch(ours, (task.batch_size, task.num_frames), seed=task.seed)


def _build_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of our training, or AdamW as it comes."""
    if isinstance(model, PlainDynamics):
        return torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    (adamw,) = build_optimizers(
        model, learning_rate=LEARNING_RATE, betas=BETAS, weight_decay=WEIGHT_DECAY
    )
    return adamw


def masked_loss(model: nn.Module, batch: MaskedTokens, task: TrainingTask) -> Float[Tensor, ""]:
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

    Counted without computing anything; attention as explicit products, causal or not. Of frames
    that `clean_past` computes twice, as in docs/scaling.py, the last feed-forward gets one.
    """
    size = (task.batch_size, task.num_frames, task.tokens_per_frame)
    with torch.device("meta"):
        model = build_dynamics(task, backend=Backend.matmul)
        tokens = torch.zeros(size, dtype=torch.long)
        actions = torch.zeros(size[0], size[1] - 1, ACTION_DIM)
        with FlopCounterMode(display=False) as counter:
            features = model.features(tokens, actions, torch.zeros(size, dtype=torch.bool))
            model.logits(features, model.before(tokens)).sum().backward()
    return counter.get_total_flops()


def peak_of(device_name: str) -> Peak | None:
    """What a GPU reaches by its name; None when it is unknown."""
    words = f" {device_name.replace('-', ' ')} "
    known = [name for name in PEAKS if f" {name} " in words]
    return PEAKS[max(known, key=len)] if known else None


def training_table(
    tasks: Mapping[tuple[int, str], TrainingTask], found: Mapping[tuple[int, str], Training]
) -> list[dict[str, Any]]:
    """A row for each size and way; a GPU is compared by the clock, a CPU by processor time."""
    on_gpu = next(iter(tasks.values())).device == "cuda"
    speed = {key: f.tokens_per_s if on_gpu else f.tokens_per_cpu_s for key, f in found.items()}
    peak = peak_of(torch.cuda.get_device_name()) if on_gpu else None
    return [
        {
            "tokens per frame": tokens,
            "way": name,
            "parameters": training.num_parameters,
            "tokens per CPU-second": training.tokens_per_cpu_s,
            "tokens per second": training.tokens_per_s,
            "times plain_fp32": speed[tokens, name] / speed[tokens, PLAIN],
            "GPU memory (MB)" if on_gpu else "memory (MB)": training.peak_memory_mb,
            "bf16 peak (%)": count_flops(tasks[tokens, name])
            / (training.lap.wall_s * peak.data_sheet * 1e10)
            if peak and tasks[tokens, name].attention
            else "",
        }
        for (tokens, name), training in found.items()
    ]


if __name__ == "__main__":
    main()
