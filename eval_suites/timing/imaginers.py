"""Programs that imagine frames and measure themselves."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from jaxtyping import Float, Int
from torch import Tensor

from eval_suites.timing.process import peak_memory_mb
from eval_suites.timing.trainers import ACTION_DIM, NUM_TOKENS
from genie_robo.inference.sampler import Sampler, decode_frame
from genie_robo.models.dynamics import DynamicsModel
from genie_robo.models.transformer import STTransformer


@dataclass(frozen=True, slots=True, kw_only=True)
class ImaginingTask:
    """One way to decode frames with a dynamics model of one size, window always full."""

    is_cached: bool
    """Keys and values of finished frames are kept; else the whole window is computed each step."""
    is_bf16: bool
    dim: int
    num_blocks: int
    num_heads: int
    tokens_per_frame: int
    num_frames: int
    """In the window, the frame that is decoded included."""
    num_decode_steps: int
    num_imagined: int
    """Frames that are measured, after one that is not."""
    num_threads: int
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Imagining:
    """What it took."""

    cpu_s: float
    """Processor time of a frame over all threads, median."""
    wall_s: float
    first_memory_mb: float
    """Most memory of the process up to the first tenth of the frames."""
    last_memory_mb: float
    """Most memory up to the last."""


@torch.inference_mode()
def imagine_frames(task: ImaginingTask) -> Imagining:
    """Decode frame after frame on the CPU, in random order, batch 1.

    Both ways decode the same tokens as long as the window has not slid.
    """
    torch.set_num_threads(task.num_threads or os.cpu_count() or 1)
    model = build_dynamics(task)
    decode = cached_decoder(model, task) if task.is_cached else recomputing_decoder(model, task)
    generators = [torch.Generator().manual_seed(task.seed)]
    sampler = Sampler(num_steps=task.num_decode_steps)
    laps: list[tuple[float, float]] = []
    memory: list[float] = []
    for number in range(1 + task.num_imagined):
        cpu, wall = time.process_time(), time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=task.is_bf16):
            decode(sampler, generators)
        laps.append((time.process_time() - cpu, time.perf_counter() - wall))
        if number in (task.num_imagined // 10, task.num_imagined):
            memory.append(peak_memory_mb())
    return Imagining(
        cpu_s=median(cpu for cpu, _ in laps[1:]),
        wall_s=median(wall for _, wall in laps[1:]),
        first_memory_mb=memory[0],
        last_memory_mb=memory[-1],
    )


def build_dynamics(task: ImaginingTask) -> DynamicsModel:
    """Untrained: what a frame costs does not depend on what is in it."""
    torch.manual_seed(task.seed)
    return DynamicsModel(
        num_tokens=NUM_TOKENS,
        tokens_per_frame=task.tokens_per_frame,
        action_dim=ACTION_DIM,
        actions="additive",
        transformer=STTransformer(
            num_blocks=task.num_blocks,
            dim=task.dim,
            num_heads=task.num_heads,
            head_dim=task.dim // task.num_heads,
        ),
    ).eval()


Decode = Callable[[Sampler, list[torch.Generator]], Tensor]


def cached_decoder(model: DynamicsModel, task: ImaginingTask) -> Decode:
    """As `Imagination`: a step computes one frame, a finished one enters the cache."""
    cache = model.transformer.new_cache(task.num_frames)
    nowhere = torch.zeros(1, 0, dtype=torch.long)
    past, codes = _past(task)

    def finish(tokens: Int[Tensor, "1 s"], code: Float[Tensor, "1 1 e"] | None) -> None:
        model.next_frame(tokens[:, None], code, cache, nowhere)
        cache.finish()

    for number, tokens in enumerate(past.unbind(1)):
        finish(tokens, codes[:, number - 1 : number] if number else None)

    def decode(sampler: Sampler, generators: list[torch.Generator]) -> Tensor:
        code = codes[:, -1:]
        decoded = decode_frame(
            lambda known, places: model.next_frame(known[:, None], code, cache, places),
            _hidden(model),
            sampler=sampler,
            generators=generators,
        )
        finish(decoded.tokens, code)
        return decoded.tokens

    return decode


def recomputing_decoder(model: DynamicsModel, task: ImaginingTask) -> Decode:
    """The whole window at every MaskGIT step, logits of the new frame's asked places only."""
    past, codes = _past(task)
    window = [past]

    def decode(sampler: Sampler, generators: list[torch.Generator]) -> Tensor:
        def compute(known: Int[Tensor, "1 s"], places: Int[Tensor, "1 r"]) -> Tensor:
            seen = torch.cat([window[0], known[:, None]], dim=1)
            features = model.features(seen, codes)[:, -1]
            return model.to_logits(features.take_along_dim(places[..., None], dim=1))

        decoded = decode_frame(compute, _hidden(model), sampler=sampler, generators=generators)
        window[0] = torch.cat([window[0][:, 1:], decoded.tokens[:, None]], dim=1)
        return decoded.tokens

    return decode


def _past(task: ImaginingTask) -> tuple[Int[Tensor, "1 t s"], Float[Tensor, "1 t e"]]:
    """Random frames that fill the window but for one, and the codes between and after them."""
    random = torch.Generator().manual_seed(task.seed)
    size = (1, task.num_frames - 1, task.tokens_per_frame)
    tokens = torch.randint(NUM_TOKENS, size, generator=random)
    return tokens, torch.randn(*size[:2], ACTION_DIM, generator=random)


def _hidden(model: DynamicsModel) -> Int[Tensor, "1 s"]:
    return torch.full((1, model.tokens_per_frame), model.mask_token)
