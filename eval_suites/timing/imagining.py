"""How fast frames are imagined: with a cache, without one, and by the run's own model."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from matplotlib.figure import Figure

from eval_suites.base import EvalContext, Metric, Prompt, SuiteResult
from eval_suites.timing.figures import Bars, bars
from eval_suites.timing.imaginers import (
    Imagining,
    ImaginingTask,
    LongTask,
    Memory,
    imagine_frames,
    watch_memory,
)
from eval_suites.timing.process import run_alone, run_each_alone
from eval_suites.timing.settings import refuse_small_numbers
from eval_suites.timing.training import default_is_bf16

GOALS = {64: 9.0, 256: 16.0}
"""Tokens per frame that are measured, and how many times cheaper the cache is wanted there."""
PLAY_GOAL = 15.0
"""Frames per second that a person who plays is to see."""
FAST_DIM, FAST_BLOCKS, FAST_HEADS, FAST_DECODE_STEPS, FAST_LONG = 64, 2, 2, 4, 200
NUM_OWN_FRAMES, NUM_OWN_LAPS = 24, 3
"""More than a window of 16, so that the cost of beginning again is in the average."""
WAYS = {
    f"{way}_{precision}": (way == "cached", precision == "bf16")
    for way in ("cached", "recomputed")
    for precision in ("fp32", "bf16")
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImaginingSpeed:
    """Processor time of a frame, each way of computing it in a fresh process on the CPU."""

    dim: int = 256
    num_blocks: int = 6
    num_heads: int = 8
    num_frames: int = 16
    num_decode_steps: int = 25
    num_imagined: int = 3
    """Frames that are measured, after one that is not."""
    num_long: int = 10_000
    """Frames of a small model over which memory is watched."""
    num_threads: int = 0
    """0 takes all cores."""

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Imagine a few frames in every way, many frames of a small model, some of the run's.

        Raises:
            ValueError: A number of conf/suite/speed.yaml is too small.
        """
        refuse_small_numbers(self, "imagining")
        ways = {name: way for name, way in WAYS.items() if default_is_bf16("cpu") or not way[1]}
        tasks = {
            (tokens, name): self._task(way, tokens, context)
            for tokens in GOALS
            for name, way in ways.items()
        }
        found = run_each_alone(imagine_frames, tasks, description="speed: imagine")
        long = LongTask(
            num_frames=self.num_frames,
            num_imagined=min(self.num_long, FAST_LONG) if context.fast else self.num_long,
            seed=context.seed,
        )
        metrics = {
            **{
                name: metric
                for tokens in GOALS
                for name, metric in _of_size(tokens, tasks, found).items()
            },
            "imagining/memory_growth": _growth(long, run_alone(watch_memory, long)),
            "imagining/frames_per_second": _frames_per_second(context),
        }
        return SuiteResult(
            metrics=metrics,
            headline=tuple(metrics),
            per_episode=[
                {"way": name, "tokens_per_frame": tokens, **asdict(imagining)}
                for (tokens, name), imagining in found.items()
            ],
            figures={"imagining": _figure(list(ways), found)},
            notes=(
                "Wanted: a cached frame for a 9th of the processor time at 64 tokens and a 16th at "
                f"256, and {PLAY_GOAL:g} frames per second of the run's own model, for `play`.",
            ),
        )

    def _task(
        self, way: tuple[bool, bool], tokens_per_frame: int, context: EvalContext
    ) -> ImaginingTask:
        (is_cached, is_bf16), fast = way, context.fast
        return ImaginingTask(
            is_cached=is_cached,
            is_bf16=is_bf16,
            dim=FAST_DIM if fast else self.dim,
            num_blocks=FAST_BLOCKS if fast else self.num_blocks,
            num_heads=FAST_HEADS if fast else self.num_heads,
            tokens_per_frame=tokens_per_frame,
            num_frames=self.num_frames,
            num_decode_steps=FAST_DECODE_STEPS if fast else self.num_decode_steps,
            num_imagined=1 if fast else self.num_imagined,
            num_threads=self.num_threads,
            seed=context.seed,
        )


def _of_size(
    tokens: int,
    tasks: Mapping[tuple[int, str], ImaginingTask],
    found: Mapping[tuple[int, str], Imagining],
) -> dict[str, Metric]:
    task = tasks[tokens, "cached_fp32"]
    protocol = (
        f"one frame of {tokens} tokens in {task.num_decode_steps} MaskGIT steps, the window of "
        f"{task.num_frames} frames full: {task.num_blocks} blocks of width {task.dim}, "
        f"{task.num_heads} heads, batch 1, fp32; seconds of all threads, median of "
        f"{task.num_imagined} frames after one; each way in a fresh process"
    )
    costs = {name: imagining.cpu_s for (size, name), imagining in found.items() if size == tokens}
    cached = costs.pop("cached_fp32")
    return {
        f"imagining/cpu_seconds_per_frame/{tokens}": Metric(
            value=cached, n_units=0, unit="s", protocol=protocol, baselines=costs
        ),
        f"imagining/times_recomputed/{tokens}": Metric(
            value=costs["recomputed_fp32"] / cached,
            n_units=0,
            unit="times",
            protocol=f"cost of computing the whole window over the cached cost; {protocol}",
        ),
    }


def _growth(task: LongTask, memory: Memory) -> Metric:
    return Metric(
        value=memory.last - memory.first,
        n_units=0,
        unit="MB",
        protocol=(
            f"most memory of the process after {task.num_imagined} frames of one rollout, less "
            "after a tenth of them; a small Genie, pixels included"
        ),
    )


def _frames_per_second(context: EvalContext) -> Metric:
    """Of the run's model, sampler and device, pixels decoded; the prompt costs nothing."""
    window = context.test.whole_episode(0)
    prompt = Prompt(window.episode_id, window.start, window.video[:1])

    def seconds(num_frames: int) -> float:
        begin = time.perf_counter()
        context.world_model.imagine([prompt], np.zeros((1, num_frames), int), [context.seed])
        return time.perf_counter() - begin

    seconds(1)
    laps = [seconds(1 + NUM_OWN_FRAMES) - seconds(1) for _ in range(NUM_OWN_LAPS)]
    return Metric(
        value=NUM_OWN_FRAMES / max(float(np.median(laps)), 1e-9),
        n_units=0,
        unit="frames/s",
        protocol=(
            "the run's world model as it decodes here, batch 1, pixels included: time of "
            f"{1 + NUM_OWN_FRAMES} frames less that of one, median of {NUM_OWN_LAPS}"
        ),
    )


def _figure(names: list[str], found: Mapping[tuple[int, str], Imagining]) -> Figure:
    panels = [
        Bars(
            f"ms of processor time per frame,\n{tokens} tokens",
            [1000 * found[tokens, name].cpu_s for name in names],
        )
        for tokens in GOALS
    ]
    labels = [name.replace("_", " ") for name in names]
    return bars(labels, panels, is_ours=[name.startswith("cached") for name in names])
