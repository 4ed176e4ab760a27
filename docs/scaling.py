"""Estimated memory and time of every model preset: prints the tables of docs/scaling.md.

    python docs/scaling.py

The presets are built on torch's meta device, which takes no memory; docs/scaling.md explains.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from genie_robo.build import build_genie
from genie_robo.commands.compose import compose_config, to_config
from genie_robo.commands.table import load_command
from genie_robo.models.attention import Attention
from genie_robo.models.dynamics import DynamicsModel
from genie_robo.models.genie import Genie
from genie_robo.models.transformer import STTransformer

PEAK, UTILISATION = 989e12, 0.4
"""Dense bf16 products of an H100 SXM per second, and the share of them that we assume."""
USABLE_GB = 72.0
"""Of 80 GB, after CUDA, NCCL and fragmentation."""
NUM_FRAMES = 16
GPU_COUNTS = (1, 8, 64)
DAY_S = 86_400


class Job(NamedTuple):
    """What a preset is trained for."""

    height: int
    width: int
    batch_size: int
    num_steps: int


SCALING = Job(96, 160, 256, 200_000)
SCALED = ["41m", "96m", "192m", "404m", "811m", "1b6", "2b3", "2b7"]
JOBS = {
    "tiny": Job(64, 64, 4, 1000),
    "coinrun": Job(64, 64, 36, 200_000),
    "robotics_1b": SCALING,
    "robotics_2b5": SCALING,
    **{f"scale_{size}": SCALING for size in SCALED},
    "scale_10b1": Job(96, 160, 512, 125_000),
}
TOKENIZER_JOBS = {
    "tiny": Job(64, 64, 2, 1250),  # as many frames as its 8 windows of 4
    "coinrun": Job(64, 64, 48, 300_000),
    "robotics_1b": Job(96, 160, 384, 300_000),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A stack of blocks that processes one window."""

    num_parameters: int
    num_blocks: int
    dim: int
    attention_dim: int
    """Heads times head dimension."""
    tokens_per_frame: int
    frames_computed: int
    """Of a window, whose frames a dynamics with a clean past computes twice but for two."""

    @property
    def num_tokens(self) -> int:
        """In a window."""
        return NUM_FRAMES * self.tokens_per_frame

    @property
    def tokens_computed(self) -> int:
        """Tokens that pass through the stack."""
        return self.frames_computed * self.tokens_per_frame

    @property
    def flops(self) -> int:
        """Forward and backward: 6 per parameter, 12 per block and pair of tokens that meet."""
        pairs = self.tokens_per_frame + self.frames_computed
        attention = 12 * self.num_blocks * self.attention_dim * pairs
        return self.tokens_computed * (6 * self.num_parameters + attention)

    @property
    def block_bytes(self) -> int:
        """Activations that one block keeps for the backward pass, in bf16 autocast."""
        return self.tokens_computed * (34 * self.dim + 48 * self.attention_dim)

    @property
    def checkpointed_bytes(self) -> int:
        """The fp32 inputs of all blocks, and one recomputed block."""
        return self.num_blocks * self.tokens_computed * 4 * self.dim + self.block_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One stage of training a preset."""

    name: str
    job: Job
    num_parameters: int
    """Trained."""
    num_frozen: int
    stacks: Sequence[Stack]
    num_scores: int
    """Logits or pixels that a window ends in."""

    @property
    def step_flops(self) -> float:
        """Of all windows of a batch."""
        return self.job.batch_size * sum(stack.flops for stack in self.stacks)

    @property
    def block_parameters(self) -> int:
        """Of the largest block."""
        return max(stack.num_parameters // stack.num_blocks for stack in self.stacks)

    def window_gb(self, *, checkpoint: bool) -> float:
        """Activations of one window: 16 bytes for each score."""
        kept = sum(
            s.checkpointed_bytes if checkpoint else s.num_blocks * s.block_bytes
            for s in self.stacks
        )
        return (kept + 16 * self.num_scores) / 1e9

    def state_gb(self, num_gpus: int, *, is_sharded: bool) -> float:
        """Weights, gradients, AdamW and bf16 copies on each GPU."""
        trained, frozen = self.num_parameters, 4 * self.num_frozen
        if is_sharded:
            return (16 * trained / num_gpus + 14 * self.block_parameters + frozen) / 1e9
        return (18 * trained + frozen) / 1e9

    def days(self, num_gpus: int, *, checkpoint: bool) -> float:
        """Checkpointing computes the forward pass twice: 4 / 3 of the operations."""
        flops = self.job.num_steps * self.step_flops * (4 / 3 if checkpoint else 1)
        return flops / (num_gpus * UTILISATION * PEAK) / DAY_S

    def plan(self, num_gpus: int) -> str:
        """The first way that fits, with as many windows at once as fit."""
        if self.job.batch_size % num_gpus:
            return "-"
        ways = ((False, False), (True, False), (False, True), (True, True))
        for is_sharded, checkpoint in ways[:: 1 if num_gpus > 1 else 2]:
            num_parts = self._num_parts(num_gpus, is_sharded=is_sharded, checkpoint=checkpoint)
            if num_parts:
                way = "FSDP2" if is_sharded else "DDP" if num_gpus > 1 else ""
                words = [way, "checkpointed" if checkpoint else ""]
                words += [f"/{num_parts}" if num_parts > 1 else ""]
                days = _time(self.days(num_gpus, checkpoint=checkpoint))
                return ", ".join(filter(None, [" ".join(filter(None, words)), days]))
        return "does not fit"

    def _num_parts(self, num_gpus: int, *, is_sharded: bool, checkpoint: bool) -> int:
        """The fewest parts of a GPU's share that fit one after the other; 0 when none does."""
        share = self.job.batch_size // num_gpus
        for num_parts in (n for n in range(1, share + 1) if share % n == 0):
            states = self.state_gb(num_gpus, is_sharded=is_sharded)
            activations = share // num_parts * self.window_gb(checkpoint=checkpoint)
            if states + activations <= USABLE_GB:
                return num_parts
        return 0


def _time(days: float) -> str:
    if days >= 1:
        return f"{days:.{0 if days >= 10 else 1}f} days"
    return f"{days * 24:.1f} h" if days > 1 / 24 else "< 1 h"


def _build(name: str, job: Job) -> Genie:
    train = load_command("train")
    overrides = [
        "run=-",
        "data.path=-",
        f"model={name}",
        f"data.image_height={job.height}",
        f"data.image_width={job.width}",
    ]
    config = to_config(train, compose_config(train, overrides))
    with torch.device("meta"):
        return build_genie(config)


def _world_model(name: str, job: Job, genie: Genie) -> Training:
    dynamics, actions = genie.dynamics, genie.latent_action
    num_places = len(actions.encoder_position)
    return Training(
        name=name,
        job=job,
        num_parameters=_count(dynamics) + _count(actions),
        num_frozen=_count(genie.tokenizer),
        stacks=[
            _stack(dynamics.transformer, genie.tokenizer.tokens_per_frame, dynamics),
            _stack(actions.encoder, num_places + 1),
            _stack(actions.decoder, num_places),
        ],
        num_scores=NUM_FRAMES * genie.tokenizer.tokens_per_frame * dynamics.num_tokens,
    )


def _tokenizer(name: str, job: Job, genie: Genie) -> Training:
    tokenizer = genie.tokenizer
    return Training(
        name=name,
        job=job,
        num_parameters=_count(tokenizer),
        num_frozen=0,
        stacks=[
            _stack(s, tokenizer.tokens_per_frame) for s in (tokenizer.encoder, tokenizer.decoder)
        ],
        num_scores=NUM_FRAMES * 3 * job.height * job.width,
    )


def _stack(
    transformer: STTransformer, tokens_per_frame: int, dynamics: DynamicsModel | None = None
) -> Stack:
    attention = next(m for m in transformer.modules() if isinstance(m, Attention))
    is_twice = dynamics is not None and dynamics.clean_past
    return Stack(
        num_parameters=_count(dynamics or transformer),
        num_blocks=len(transformer.blocks),
        dim=transformer.dim,
        attention_dim=attention.num_heads * attention.head_dim,
        tokens_per_frame=tokens_per_frame,
        frames_computed=2 * (NUM_FRAMES - 1) if is_twice else NUM_FRAMES,
    )


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def work_table(trainings: Sequence[Training]) -> list[str]:
    """Parameters, tokens and operations."""
    rows = []
    for training in trainings:
        dynamics, job = training.stacks[0], training.job
        step_tokens = job.batch_size * dynamics.num_tokens
        rows.append(
            (
                training.name,
                _millions(dynamics.num_parameters),
                _millions(training.num_parameters - dynamics.num_parameters),
                f"{dynamics.tokens_per_frame}",
                f"{job.batch_size}",
                f"{step_tokens / 1e6:.3g}",
                f"{job.num_steps:,}",
                f"{job.num_steps * step_tokens / 1e9:.3g}",
                f"{dynamics.flops / dynamics.num_tokens / 1e9:.3g}",
                f"{training.step_flops / 1e15:.3g}",
            )
        )
    return _table(
        "model | dynamics (M) | LAM (M) | tokens / frame | batch | M tokens / step | steps"
        " | G tokens | GFLOP / token | PFLOP / step",
        rows,
    )


def memory_table(trainings: Sequence[Training]) -> list[str]:
    """GB of the parts, per GPU."""
    rows = [
        (
            training.name,
            _millions(training.num_parameters),
            *(f"{training.num_parameters * n / 1e9:.1f}" for n in (4, 4, 8)),
            f"{training.state_gb(1, is_sharded=False):.1f}",
            *(f"{training.state_gb(n, is_sharded=True):.1f}" for n in GPU_COUNTS[1:]),
            f"{training.window_gb(checkpoint=False):.2f}",
            f"{training.window_gb(checkpoint=True):.2f}",
        )
        for training in trainings
    ]
    sharded = " | ".join(f"on {n}, FSDP2" for n in GPU_COUNTS[1:])
    return _table(
        f"model | trained (M) | weights | gradients | AdamW | on 1 GPU | {sharded} | a window"
        " | a window, checkpointed",
        rows,
    )


def plan_table(trainings: Sequence[Training]) -> list[str]:
    """How to train, and for how long."""
    rows = [(training.name, *map(training.plan, GPU_COUNTS)) for training in trainings]
    return _table("model | 1 GPU | " + " | ".join(f"{n} GPUs" for n in GPU_COUNTS[1:]), rows)


def _millions(number: int) -> str:
    return f"{number / 1e6:,.{0 if number >= 1e7 else 1}f}"


def _table(head: str, rows: Sequence[tuple[str, ...]]) -> list[str]:
    rule = " | ".join("---" for _ in head.split("|"))
    return [f"| {line} |" for line in (head, rule, *map(" | ".join, rows))]


def report() -> dict[str, str]:
    """The tables of docs/scaling.md by name."""
    models = [_world_model(name, job, _build(name, job)) for name, job in JOBS.items()]
    tokenizers = [_tokenizer(name, job, _build(name, job)) for name, job in TOKENIZER_JOBS.items()]
    tables = {
        "work": work_table(models),
        "memory": memory_table(models),
        "plan": plan_table(models),
        "tokenizer": plan_table(tokenizers),
    }
    return {name: "\n".join(lines) for name, lines in tables.items()}


if __name__ == "__main__":
    sys.stdout.write("\n\n".join(report().values()) + "\n")
