"""Programs that imagine frames and measure themselves."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from jaxtyping import Float, Int
from torch import Tensor

from eval_suites.timing.dynamics import ACTION_DIM, NUM_TOKENS, DynamicsSize, build_dynamics
from eval_suites.timing.process import peak_memory_mb
from genie_robo.inference.rollout import Imagination
from genie_robo.inference.sampler import Sampler, decode_frame
from genie_robo.models.dynamics import DynamicsModel
from genie_robo.models.genie import Genie
from genie_robo.models.latent_action import LatentActionDesign
from genie_robo.models.latent_action_tokens import TokenActionModel
from genie_robo.models.quantizer import VectorQuantizer
from genie_robo.models.tokenizer import VideoTokenizer
from genie_robo.models.transformer import STTransformer


@dataclass(frozen=True, slots=True, kw_only=True)
class ImaginingTask(DynamicsSize):
    """One way to decode frames with a dynamics model of one size, window always full."""

    is_cached: bool
    """Keys and values of finished frames are kept; else the whole window is computed each step."""
    is_bf16: bool
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
    for _ in range(1 + task.num_imagined):
        cpu, wall = time.process_time(), time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=task.is_bf16):
            decode(sampler, generators)
        laps.append((time.process_time() - cpu, time.perf_counter() - wall))
    return Imagining(
        cpu_s=median(cpu for cpu, _ in laps[1:]), wall_s=median(wall for _, wall in laps[1:])
    )


Decode = Callable[[Sampler, list[torch.Generator]], Tensor]


def cached_decoder(model: DynamicsModel, task: ImaginingTask) -> Decode:
    """A step computes one frame, a finished one enters the cache and the oldest slides out."""
    cache = model.transformer.new_cache(task.num_frames)
    past, codes = _past(task)
    model.remember(past, codes[:, :-1], cache)

    def decode(sampler: Sampler, generators: list[torch.Generator]) -> Tensor:
        code = codes[:, -1:]
        decoded = decode_frame(
            lambda known, places: model.next_frame(known[:, None], code, cache, places),
            _hidden(model),
            sampler=sampler,
            generators=generators,
        )
        model.remember(decoded.tokens[:, None], code, cache)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class LongTask:
    """A long rollout of a small Genie, as a user's simulator would ask for it."""

    num_frames: int
    """In the window."""
    num_imagined: int
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Of a process, at its most, in MB."""

    first: float
    """Up to the first tenth of the frames."""
    last: float
    """Up to the last."""


def watch_memory(task: LongTask) -> Memory:
    """Imagine frame after frame and look at the memory of this process twice."""
    torch.set_num_threads(1)
    torch.manual_seed(task.seed)
    genie = small_genie(task.num_frames)
    prompt = torch.zeros(1, 1, *genie.tokenizer.image_size, 3, dtype=torch.uint8)
    imagination = Imagination(genie, prompt, seeds=[task.seed], sampler=Sampler(num_steps=2))
    memory: list[float] = []
    for number in range(1 + task.num_imagined):
        imagination.step(torch.tensor([number % genie.latent_action.num_codes]))
        if number in (task.num_imagined // 10, task.num_imagined):
            memory.append(peak_memory_mb())
    return Memory(first=memory[0], last=memory[-1])


def small_genie(num_frames: int) -> Genie:
    """All three models, so small that ten thousand frames take a minute."""

    def stack() -> STTransformer:
        return STTransformer(num_blocks=1, dim=32, num_heads=2, head_dim=16)

    def codebook(num_codes: int) -> VectorQuantizer:
        return VectorQuantizer(num_codes=num_codes, code_dim=8, commitment=0.25, reset_after=50)

    tokenizer = VideoTokenizer(
        image_size=(16, 16),
        patch_size=4,
        encoder=stack(),
        decoder=stack(),
        quantizer=codebook(64),
    )
    latent_action = TokenActionModel(
        num_tokens=tokenizer.num_codes,
        tokens_per_frame=tokenizer.tokens_per_frame,
        encoder=stack(),
        decoder=stack(),
        quantizer=codebook(8),
        design=LatentActionDesign(
            sees_difference=True,
            decoder_sees_code=True,
            decoder_view="history",
            actions="additive",
            codes_per_transition=1,
        ),
    )
    dynamics = DynamicsModel(
        num_tokens=tokenizer.num_codes,
        tokens_per_frame=tokenizer.tokens_per_frame,
        action_dim=latent_action.code_dim,
        actions="additive",
        transformer=stack(),
    )
    return Genie(
        tokenizer=tokenizer, latent_action=latent_action, dynamics=dynamics, num_frames=num_frames
    ).eval()


def _past(task: ImaginingTask) -> tuple[Int[Tensor, "1 t s"], Float[Tensor, "1 t e"]]:
    """Random frames that fill the window but for one, and the codes between and after them."""
    random = torch.Generator().manual_seed(task.seed)
    size = (1, task.num_frames - 1, task.tokens_per_frame)
    tokens = torch.randint(NUM_TOKENS, size, generator=random)
    return tokens, torch.randn(*size[:2], ACTION_DIM, generator=random)


def _hidden(model: DynamicsModel) -> Int[Tensor, "1 s"]:
    return torch.full((1, model.tokens_per_frame), model.mask_token)
