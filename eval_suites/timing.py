"""Benchmarks of reading, training, imagining and recording, for use in fresh processes.

Processor time and peak memory are measured per process. The benchmarks are separate from the suite
because tests/benchmarks runs them with other models too.
"""

import importlib
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from genie_robo.data.formats import open_dataset
from genie_robo.data.loader import WindowLoader
from genie_robo.data.schema import Schema
from genie_robo.data.settings import Source
from genie_robo.data.windows import WindowDataset
from genie_robo.inference.rollout import Imagination
from genie_robo.inference.sampler import decode_frame
from genie_robo.inference.settings import Sampler
from genie_robo.inference.world import Prompt, World, code_steps, roll_out
from genie_robo.models.dynamics import DynamicsModel
from genie_robo.models.genie import Genie
from genie_robo.precision import imagines_in_bf16
from genie_robo.train.optim import build_optimizers
from genie_robo.train.stages import masked_token_loss
from genie_robo.workers import end_with_parent

P = ParamSpec("P")
Found = TypeVar("Found")

NUM_WARM_UP = 2
"""Unmeasured first batches or steps, which fill buffers and start threads."""
MASK_RATE = 0.75
"""Mean mask rate of the paper."""
NUM_ROLLED_OUT, NUM_ROLLOUTS = 24, 3
"""More frames than a window of 16, so that the average includes moving the window."""
LEARNING_RATE, BETAS, WEIGHT_DECAY = 1e-4, (0.9, 0.9), 1e-4


def run_alone(program: Callable[P, Found], *args: P.args, **kwargs: P.kwargs) -> Found:
    """Run a program in a fresh process and return its result."""
    with ProcessPoolExecutor(
        1, mp_context=get_context("spawn"), initializer=end_with_parent
    ) as process:
        return process.submit(program, *args, **kwargs).result()


class Lap(NamedTuple):
    """Processor and wall-clock time of some work."""

    cpu_s: float
    """Processor time over all threads."""
    wall_s: float


def time_once(work: Callable[[], object], *, device: str = "cpu") -> Lap:
    """Time some work; on a GPU, wait until it is done."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return Lap(time.process_time() - cpu, time.perf_counter() - wall)


def median_lap(
    work: Callable[[], object], num_laps: int, *, num_warm_up: int = 1, device: str = "cpu"
) -> Lap:
    """Median processor time and median wall-clock time of repetitions after a warm-up."""
    laps = [time_once(work, device=device) for _ in range(num_warm_up + num_laps)][num_warm_up:]
    return Lap(median(lap.cpu_s for lap in laps), median(lap.wall_s for lap in laps))


def peak_memory_mb(device: str = "cpu") -> float:
    """Peak resident memory of this process, or peak GPU memory that it allocated."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would include the peak of the parent process
        (line,) = (row for row in status.read_text().splitlines() if row.startswith("VmHWM"))
        return int(line.split()[1]) / 1000
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


class Reading(NamedTuple):
    """Time and memory used by reading some batches."""

    lap: Lap
    num_frames: int
    peak_memory_mb: float
    """Of the process since its start, including opening the dataset."""
    episodes_per_batch: float
    """Mean number of different episodes in a batch, a measure of shuffling."""

    @property
    def frames_per_cpu_s(self) -> float:
        """Frames delivered per second of processor time."""
        return self.num_frames / self.lap.cpu_s


def read_windows(
    folder: Path | Schema,
    source: Source,
    *,
    batch_size: int,
    num_batches: int,
    seed: int,
    rank: int = 0,
    world_size: int = 1,
    **windows: Any,
) -> Reading:
    """Time reading shuffled windows as in training, or as one process of `world_size` does.

    `windows` are settings of WindowDataset.
    """
    dataset = open_dataset(folder, source)
    loader = WindowLoader(
        WindowDataset(dataset, range(len(dataset)), **windows),
        batch_size=batch_size,
        seed=seed,
        rank=rank,
        world_size=world_size,
    )
    return measure_reading(((b.video.numpy(), b.episode_ids) for b in loader), num_batches)


def measure_reading(
    batches: Iterator[tuple[UInt8[np.ndarray, "b t h w c"], Sequence[Any]]], num_batches: int
) -> Reading:
    """Time reading batches of frames, each with the episode ids of its windows."""
    for _ in islice(batches, NUM_WARM_UP):
        pass
    sizes, distinct = [], []

    def read() -> None:
        for video, episodes in islice(batches, num_batches):
            sizes.append(video.shape[0] * video.shape[1])
            distinct.append(len(set(episodes)))

    lap = time_once(read)
    return Reading(lap, sum(sizes), peak_memory_mb(), sum(distinct) / num_batches)


class MaskedTokens(NamedTuple):
    """Random tokens and latent actions, and the mask of hidden tokens."""

    tokens: Int[Tensor, "b t s"]
    actions: Float[Tensor, "b t-1 e"]
    is_hidden: Bool[Tensor, "b t s"]


def train_dynamics(
    model: DynamicsModel,
    *,
    size: tuple[int, int],
    num_steps: int,
    device: str,
    is_bf16: bool,
    seed: int,
) -> Lap:
    """Median time of a training step: forward, backward and AdamW on a random batch.

    `size` is the number of windows and the number of frames of each.
    """
    batch = random_batch(model.to(device).train(), size, seed=seed)
    (optimizer,) = build_optimizers(
        model, learning_rate=LEARNING_RATE, betas=BETAS, weight_decay=WEIGHT_DECAY
    )

    def step() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=is_bf16):
            loss, _ = masked_token_loss(model, *batch)
        (loss / batch.is_hidden.sum()).backward()
        optimizer.step()
        optimizer.zero_grad()

    return median_lap(step, num_steps, num_warm_up=NUM_WARM_UP, device=device)


def random_batch(model: DynamicsModel, size: tuple[int, int], *, seed: int) -> MaskedTokens:
    """Random windows with MASK_RATE of the tokens hidden, none in the first frame."""
    shape, generator = (*size, model.tokens_per_frame), torch.Generator().manual_seed(seed)
    is_hidden = torch.rand(shape, generator=generator) < MASK_RATE
    is_hidden[:, 0] = False
    tokens = torch.randint(model.num_tokens, shape, generator=generator)
    width = model.embed_action.in_features
    actions = torch.randn(size[0], size[1] - 1, width, generator=generator)
    device = model.position.device
    return MaskedTokens(tokens.to(device), actions.to(device), is_hidden.to(device))


Decode = Callable[[Sequence[torch.Generator]], Int[Tensor, "1 s"]]
"""Decodes the next frame and appends it to the context."""


@torch.inference_mode()
def decode_frames(
    model: DynamicsModel,
    sampler: Sampler,
    *,
    is_cached: bool,
    num_frames: int,
    num_imagined: int,
    device: str,
    seed: int,
) -> Lap:
    """Median time to decode one frame into a full window, batch 1, after one warm-up frame.

    With and without cache, the decoded tokens are equal until the window slides.
    """
    past = random_batch(model.to(device).eval(), (1, num_frames), seed=seed)
    decode = (decode_with_cache if is_cached else decode_by_recomputing)(model, sampler, past)
    generators = [torch.Generator().manual_seed(seed)]
    is_bf16 = imagines_in_bf16(sampler.precision, device)
    with torch.autocast(device, torch.bfloat16, enabled=is_bf16):
        return median_lap(lambda: decode(generators), num_imagined, device=device)


def decode_with_cache(model: DynamicsModel, sampler: Sampler, past: MaskedTokens) -> Decode:
    """Compute one frame per MaskGIT step; add it to the KV cache when done, drop the oldest."""
    cache = model.transformer.new_cache(past.tokens.shape[1])
    model.remember(past.tokens[:, :-1], past.actions[:, :-1], cache)
    code, hidden = past.actions[:, -1:], torch.full_like(past.tokens[:, 0], model.mask_token)

    def compute(known: Int[Tensor, "1 s"], places: Int[Tensor, "1 r"]) -> Tensor:
        return model.next_frame(known[:, None], code, cache, places)

    def decode(generators: Sequence[torch.Generator]) -> Int[Tensor, "1 s"]:
        decoded = decode_frame(compute, hidden, sampler=sampler, generators=generators)
        model.remember(decoded.tokens[:, None], code, cache)
        return decoded.tokens

    return decode


def decode_by_recomputing(model: DynamicsModel, sampler: Sampler, past: MaskedTokens) -> Decode:
    """Compute the whole window at every MaskGIT step, logits only at the requested tokens."""
    window = [past.tokens[:, :-1]]
    hidden = torch.full_like(past.tokens[:, 0], model.mask_token)

    def compute(known: Int[Tensor, "1 s"], places: Int[Tensor, "1 r"]) -> Tensor:
        frames = torch.cat([window[0], known[:, None]], dim=1)
        features = model.features(frames, past.actions)[:, -1]
        before = window[0][:, -1].gather(1, places)
        return model.logits(features.take_along_dim(places[..., None], dim=1), before)

    def decode(generators: Sequence[torch.Generator]) -> Int[Tensor, "1 s"]:
        decoded = decode_frame(compute, hidden, sampler=sampler, generators=generators)
        window[0] = torch.cat([window[0][:, 1:], decoded.tokens[:, None]], dim=1)
        return decoded.tokens

    return decode


def frames_per_second(world: World, prompt: Prompt, *, seed: int) -> float:
    """Speed of a world at batch 1, pixels included, without starting from the prompt."""

    def seconds(num_frames: int) -> float:
        steps = code_steps(np.zeros((1, num_frames), int))
        return time_once(lambda: roll_out(world, [prompt], steps, seeds=[seed])).wall_s

    seconds(1)
    laps = [seconds(1 + NUM_ROLLED_OUT) - seconds(1) for _ in range(NUM_ROLLOUTS)]
    return NUM_ROLLED_OUT / max(median(laps), 1e-9)


def memory_growth_mb(
    genie: Genie, sampler: Sampler, *, num_imagined: int, device: str, seed: int
) -> float:
    """Peak memory after a long rollout minus peak memory after a tenth of it."""
    genie.to(device).eval()
    prompt = torch.zeros(1, 1, *genie.tokenizer.image_size, 3, dtype=torch.uint8, device=device)
    rollout = Imagination(genie, prompt, seeds=[seed], sampler=sampler)
    peaks = []
    for number in range(1 + num_imagined):
        rollout.step(torch.tensor([number % genie.latent_action.num_codes], device=device))
        if number in (num_imagined // 10, num_imagined):
            peaks.append(peak_memory_mb(device))
    return peaks[-1] - peaks[0]


class Recorded(NamedTuple):
    """Time and size of recording a rollout."""

    first_s: float
    """Wall-clock time of the first recording in the process."""
    lap: Lap
    """Median of the later recordings."""
    num_bytes: int


def record(writer: str, view: Mapping[str, Any], *, num_repeats: int) -> Recorded:
    """Time writing a rollout: the first time, then repeatedly.

    Args:
        writer: Module with RolloutView and write_rollouts. It is imported by name because
            eval_suites and viz must not depend on each other.
        view: Fields of the RolloutView.
        num_repeats: Number of recordings timed after the first one.

    Raises:
        ValueError: `writer` names no module that can write rollouts.
    """
    module = _find_writer(writer)
    shown = {"": module.RolloutView(**view)}
    with TemporaryDirectory() as folder:
        path = Path(folder, "rollout.rrd")

        def write() -> None:
            module.write_rollouts(path, shown, name="speed")

        first = time_once(write)
        return Recorded(
            first.wall_s, median_lap(write, num_repeats, num_warm_up=0), path.stat().st_size
        )


def _find_writer(name: str) -> Any:
    try:
        module: Any = importlib.import_module(name)
    except (ImportError, ValueError) as error:
        raise ValueError(f"suite.speed.writer={name} cannot be imported: {error}") from error
    missing = [part for part in ("RolloutView", "write_rollouts") if not hasattr(module, part)]
    if missing:
        raise ValueError(
            f"suite.speed.writer={name} has no {' and no '.join(missing)}; name a module like "
            "genie_robo.viz.rollout"
        )
    return module
