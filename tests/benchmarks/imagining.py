"""What the KV cache saves when frames are imagined, and whether memory grows in a long rollout.

    python tests/benchmarks/imagining.py

Processor time of one frame in 25 MaskGIT steps, batch 1, with a full window of 16 frames: 6 blocks
of width 256, 64 and 256 tokens per frame, on the CPU, each way in a fresh process. Then the memory
of a small Genie, pixels included, over 10,000 frames of one rollout. docs/results.md has the
numbers; with OMP_NUM_THREADS=1 the cache saves more.

Goals: a cached frame for a 9th of the processor time at 64 tokens and a 16th at 256; flat memory.
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from models import DynamicsSize, build_dynamics, small_genie
from table import print_table

from genie_robo.eval_suites.timing import Lap, decode_frames, memory_growth_mb, run_alone
from genie_robo.inference.settings import Sampler
from genie_robo.precision import Precision, supports_bf16

TOKENS_PER_FRAME = (64, 256)
CACHED = "cached_fp32"
MEMORY_DECODE_STEPS = 2


class Imagining(NamedTuple):
    """What was found."""

    laps: Mapping[tuple[int, str], Lap]
    """Of one frame, by tokens per frame and way."""
    memory_growth_mb: float


def main(words: Sequence[str] | None = None) -> Imagining:
    """Measure every way of decoding and print a row for each; then watch memory."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--num-blocks", type=int, default=6)
    parser.add_argument("--num-heads", type=int, default=8)
    parser.add_argument("--num-frames", type=int, default=16, help="of the window")
    parser.add_argument("--num-decode-steps", type=int, default=25)
    parser.add_argument("--num-decoded", type=int, default=3, help="frames measured, after one")
    parser.add_argument("--num-long", type=int, default=10_000, help="frames to watch memory for")
    parser.add_argument("--tokens-per-frame", type=int, nargs="+", default=TOKENS_PER_FRAME)
    options = parser.parse_args(words)
    laps = {
        (tokens, name): run_alone(decode, options, tokens, is_cached=cached, precision=precision)
        for tokens in options.tokens_per_frame
        for name, (cached, precision) in choose_ways().items()
    }
    print_table(imagining_table(laps))
    growth = run_alone(watch_memory, options.num_frames, options.num_long)
    print(f"memory over {options.num_long} frames: {growth:.3f} MB more")
    return Imagining(laps, growth)


def choose_ways() -> dict[str, tuple[bool, Precision]]:
    """Whether each way keeps a cache, and its precision; bf16 is left out where emulated."""
    precisions = [Precision.fp32, *([Precision.bf16] if supports_bf16("cpu") else [])]
    return {
        f"{way}_{precision}": (way == "cached", precision)
        for way in ("cached", "recomputed")
        for precision in precisions
    }


def decode(
    options: argparse.Namespace, tokens_per_frame: int, *, is_cached: bool, precision: Precision
) -> Lap:
    """One frame of an untrained dynamics of the chosen size."""
    size = DynamicsSize(
        dim=options.dim,
        num_blocks=options.num_blocks,
        num_heads=options.num_heads,
        tokens_per_frame=tokens_per_frame,
        num_frames=options.num_frames,
    )
    return decode_frames(
        build_dynamics(size),
        Sampler(num_steps=options.num_decode_steps, precision=precision),
        is_cached=is_cached,
        num_frames=options.num_frames,
        num_imagined=options.num_decoded,
        device="cpu",
        seed=0,
    )


def watch_memory(num_frames: int, num_imagined: int) -> float:
    """What a small Genie needs more after all frames than after a tenth of them, in MB."""
    sampler = Sampler(num_steps=MEMORY_DECODE_STEPS)
    genie = small_genie(num_frames)
    return memory_growth_mb(genie, sampler, num_imagined=num_imagined, device="cpu", seed=0)


def imagining_table(laps: Mapping[tuple[int, str], Lap]) -> list[dict[str, Any]]:
    """A row for each size and way."""
    return [
        {
            "tokens per frame": tokens,
            "way": name,
            "CPU-seconds per frame": lap.cpu_s,
            "seconds per frame": lap.wall_s,
            "times the cached one": lap.cpu_s / laps[tokens, CACHED].cpu_s,
        }
        for (tokens, name), lap in laps.items()
    ]


if __name__ == "__main__":
    main()
