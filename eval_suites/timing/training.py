"""How fast the dynamics trains, beside a plain PyTorch model of the same shape."""

from dataclasses import dataclass

import torch

from eval_suites.base import EvalContext, SuiteResult
from eval_suites.timing.process import run_each_alone
from eval_suites.timing.settings import refuse_small_numbers
from eval_suites.timing.trainers import TrainingTask, train
from eval_suites.timing.training_metrics import GOALS, PLAIN, TrainingMetrics
from genie_robo.models.attention import Backend, xformers_works

NUM_WARM_UP_STEPS = 2
FAST_DIM, FAST_BLOCKS, FAST_HEADS, FAST_STEPS, FAST_BATCH = 64, 2, 2, 2, 1

Way = tuple[Backend | None, bool]
"""Attention, or None for the plain model, and whether in bf16."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSpeed:
    """Tokens per second of forward, backward and AdamW, each way of computing in a fresh process.

    On the GPU when there is one, as in training; else on the CPU.
    """

    dim: int = 256
    num_blocks: int = 6
    num_heads: int = 8
    num_frames: int = 16
    batch_size: int = 4
    num_steps: int = 5
    """Measured; two more come before them."""
    num_threads: int = 0
    """Threads on a CPU; 0 takes all cores, as training does."""

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Train for a few steps in every way.

        Raises:
            ValueError: A number of conf/suite/speed.yaml is too small.
        """
        refuse_small_numbers(self, "training")
        device = default_device()
        default, ways = choose_ways(device)
        if context.fast:
            ways = {name: ways[name] for name in (default, PLAIN)}
        tasks = {
            (tokens, name): self._task(way, tokens, device=device, context=context)
            for tokens in GOALS
            for name, way in ways.items()
        }
        metrics = TrainingMetrics(
            default=default,
            tasks=tasks,
            found=run_each_alone(train, tasks, description="speed: train"),
            device_name=device_name(device),
        )
        return SuiteResult(
            metrics=metrics.all(),
            headline=metrics.headline(),
            per_episode=metrics.rows(),
            figures={"training": metrics.figure()},
            notes=metrics.notes(),
        )

    def _task(
        self, way: Way, tokens_per_frame: int, *, device: str, context: EvalContext
    ) -> TrainingTask:
        (attention, is_bf16), fast = way, context.fast
        return TrainingTask(
            attention=attention,
            is_bf16=is_bf16,
            dim=FAST_DIM if fast else self.dim,
            num_blocks=FAST_BLOCKS if fast else self.num_blocks,
            num_heads=FAST_HEADS if fast else self.num_heads,
            tokens_per_frame=tokens_per_frame,
            num_frames=self.num_frames,
            batch_size=FAST_BATCH if fast else self.batch_size,
            num_steps=FAST_STEPS if fast else self.num_steps,
            num_warm_up_steps=NUM_WARM_UP_STEPS,
            device=device,
            num_threads=self.num_threads,
            seed=context.seed,
        )


def default_device() -> str:
    """The GPU when there is one, as engine.device=auto."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def default_is_bf16(device: str) -> bool:
    """Where the device computes in bf16 itself, as engine.precision=auto."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported()
    return torch.cpu._is_avx512_bf16_supported()


def device_name(device: str) -> str:
    """As its maker calls it."""
    return torch.cuda.get_device_name() if device == "cuda" else "CPU"


def choose_ways(device: str) -> tuple[str, dict[str, Way]]:
    """The name of the default way, and every way by name: attention and precision.

    bf16 is left out where it would be emulated, xformers where it has no kernel.
    """
    backends: list[Backend] = ["auto", "matmul", "sdpa"]
    if device == "cuda" and xformers_works():
        backends.append("xformers")
    in_bf16 = default_is_bf16(device)
    precisions = {"fp32": False, "bf16": True} if in_bf16 else {"fp32": False}
    models: dict[str, Backend | None] = {**{name: name for name in backends}, "plain": None}
    ways: dict[str, Way] = {
        f"{model}_{precision}": (attention, is_bf16)
        for model, attention in models.items()
        for precision, is_bf16 in precisions.items()
    }
    return ("auto_bf16" if in_bf16 else "auto_fp32"), ways
