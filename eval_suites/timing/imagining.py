"""How fast frames are imagined: with a cache, without one, and by the run's own model."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from matplotlib.figure import Figure

from eval_suites.base import EvalContext, Metric, Prompt, SuiteResult
from eval_suites.timing.figures import Bars, bars
from eval_suites.timing.imaginers import Imagining, ImaginingTask, imagine_frames
from eval_suites.timing.process import run_alone
from eval_suites.timing.training import default_is_bf16
from genie_robo.progress import progress_bar

GOALS = {64: 9.0, 256: 16.0}
"""Tokens per frame that are measured, and how many times cheaper the cache is wanted there."""
PLAY_GOAL = 15.0
"""Frames per second that a person who plays is to see."""
FAST_DIM, FAST_BLOCKS, FAST_HEADS, FAST_DECODE_STEPS, FAST_LONG = 64, 2, 2, 4, 200
NUM_OWN_FRAMES, NUM_OWN_LAPS = 8, 3
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
        sizes = asdict(self)
        if sizes.pop("num_threads") < 0 or min(sizes.values()) < 1:
            raise ValueError(
                "every number of suite.speed.imagining must be at least 1, num_threads at least 0; "
                f"got {asdict(self)}"
            )
        ways = {name: way for name, way in WAYS.items() if default_is_bf16("cpu") or not way[1]}
        tasks = {
            (tokens, name): self._task(way, tokens, context)
            for tokens in GOALS
            for name, way in ways.items()
        }
        long = self._long(context)
        found: dict[tuple[int, str], Imagining] = {}
        with progress_bar("speed: imagine", total=len(tasks) + 1, unit="models") as advance:
            for key, task in tasks.items():
                found[key] = run_alone(imagine_frames, task)
                advance()
            watched = run_alone(imagine_frames, long)
            advance()
        own = _frames_per_second(context)
        metrics = {
            **{
                name: metric
                for tokens in GOALS
                for name, metric in _of_size(tokens, tasks, found).items()
            },
            "imagining/memory_growth": _growth(long, watched),
            "imagining/frames_per_second": own,
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

    def _long(self, context: EvalContext) -> ImaginingTask:
        """Small, so that very many frames take seconds."""
        return ImaginingTask(
            is_cached=True,
            is_bf16=False,
            dim=32,
            num_blocks=1,
            num_heads=2,
            tokens_per_frame=16,
            num_frames=self.num_frames,
            num_decode_steps=2,
            num_imagined=FAST_LONG if context.fast else self.num_long,
            num_threads=1,
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


def _growth(task: ImaginingTask, watched: Imagining) -> Metric:
    return Metric(
        value=watched.last_memory_mb - watched.first_memory_mb,
        n_units=0,
        unit="MB",
        protocol=(
            f"most memory of the process after {task.num_imagined} cached frames, less after a "
            "tenth of them; a small model"
        ),
    )


def _frames_per_second(context: EvalContext) -> Metric:
    """Of the run's model, sampler and device, pixels decoded; the prompt costs nothing."""
    frames = context.test.whole_episode(0).video[:1]
    prompt = Prompt(episode_id="speed", start=0, frames=frames)

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
