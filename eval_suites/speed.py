"""How fast a run reads, trains, imagines and records on this machine.

Reference implementations are measured by tests/benchmarks.
"""

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from genie_robo.data.windows import WindowDataset
from genie_robo.eval_suites.adapters import GenieTokenizer
from genie_robo.eval_suites.base import EvalContext, SuiteResult
from genie_robo.eval_suites.metrics.image_metrics import frame_psnr
from genie_robo.eval_suites.settings import SpeedSettings
from genie_robo.eval_suites.table import Metric
from genie_robo.eval_suites.timing import (
    NUM_ROLLED_OUT,
    NUM_ROLLOUTS,
    decode_frames,
    frames_per_second,
    memory_growth_mb,
    read_windows,
    record,
    run_alone,
    train_dynamics,
)
from genie_robo.inference.settings import Sampler
from genie_robo.inference.world import GenieWorld, Prompt
from genie_robo.models.genie import Genie
from genie_robo.precision import supports_bf16
from genie_robo.progress import progress_bar
from genie_robo.sim.replay import replay

HEADLINE = {
    "reading/frames_per_cpu_second": "frames/s",
    "reading/peak_memory": "MB",
    "training/tokens_per_second": "tokens/s",
    "imagining/frames_per_second": "frames/s",
    "imagining/times_recomputed": "times",
    "imagining/memory_growth": "MB",
    "recording/seconds_per_episode": "s",
    "recording/megabytes_per_episode": "MB",
}
FAST = {"num_batches": 2, "num_steps": 2, "num_decoded": 1, "num_imagined": 100, "num_repeats": 3}
"""Upper limits under fast=true."""
NO_GENIE = "the models do not come from a run"
NOTES = (
    "One measurement each, no interval: other load on the machine changes processor time by half; "
    "repeat on an idle machine before trusting differences below a factor of two.",
    "Wanted: 15 frames per second for `play`; 0.15 s and 1 MB for a recording of 40 steps with two "
    "cameras of 128 px and the 3D scene.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed(SpeedSettings):
    """Speed with the run's episodes and models.

    Measured in fresh processes, except frames per second of the world model in use.
    """

    summary: ClassVar[str] = "how fast this machine reads windows, trains, imagines and records"
    headline: ClassVar[Mapping[str, str]] = HEADLINE

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Measure the selected parts, one after another.

        Raises:
            ValueError: `writer` names no module that can write rollouts.
        """
        most = {name: min(getattr(self, name), number) for name, number in FAST.items()}
        settings = replace(self, **most) if context.fast else self
        metrics: dict[str, Metric] = {}
        parts = tuple(dict.fromkeys(self.parts))
        with progress_bar("speed", total=len(parts), unit="parts") as advance:
            for part in parts:
                metrics |= PARTS[part](settings, context)
                advance()
        return SuiteResult(
            metrics=metrics,
            headline=tuple(name for name in HEADLINE if name in metrics),
            notes=NOTES,
        )


def measure_reading(suite: Speed, context: EvalContext) -> dict[str, Metric]:
    """Speed of reading windows of all episodes, without the image cache."""
    windows = context.test
    if not isinstance(windows, WindowDataset):
        return _undefined("reading", "the episodes do not come from an RLDS folder")
    found = run_alone(
        read_windows,
        windows.dataset.schema,
        windows.dataset.source,
        batch_size=suite.batch_size,
        num_batches=suite.num_batches,
        seed=context.seed,
        num_frames=context.num_frames,
        image_size=windows.image_size,
        frame_stride=windows.frame_stride,
        camera=windows.camera,
        cache_mb=0,
    )
    protocol = (
        f"shuffled windows of {context.num_frames} frames of {windows.image_size[0]} x "
        f"{windows.image_size[1]} in {suite.num_batches} batches of {suite.batch_size}, without "
        "image cache, in a fresh process; seconds of all its threads"
    )
    return {
        "reading/frames_per_cpu_second": _metric(found.frames_per_cpu_s, "frames/s", protocol),
        "reading/episodes_per_batch": _metric(found.episodes_per_batch, "episodes", protocol),
        "reading/peak_memory": _metric(found.peak_memory_mb, "MB", protocol),
    }


def measure_training(suite: Speed, context: EvalContext) -> dict[str, Metric]:
    """Speed of training the run's dynamics, in the precision of engine.precision=auto."""
    if not isinstance(context.tokenizer, GenieTokenizer):
        return _undefined("training", NO_GENIE)
    genie, device = _copy_genie(context.tokenizer)
    is_bf16, size = supports_bf16(device), (suite.batch_size, genie.num_frames)
    lap = run_alone(
        train_dynamics,
        genie.dynamics,
        size=size,
        num_steps=suite.num_steps,
        device=device,
        is_bf16=is_bf16,
        seed=context.seed,
    )
    num_tokens = math.prod(size) * genie.dynamics.tokens_per_frame
    protocol = (
        f"the run's dynamics in {'bf16' if is_bf16 else 'fp32'} on {device}: forward, backward and "
        f"AdamW on {size[0]} windows of {size[1]} frames of {genie.dynamics.tokens_per_frame} "
        f"tokens; median of {suite.num_steps} steps, in a fresh process"
    )
    return {
        "training/tokens_per_second": _metric(num_tokens / lap.wall_s, "tokens/s", protocol),
        "training/tokens_per_cpu_second": _metric(
            num_tokens / lap.cpu_s, "tokens/s", f"seconds of all threads; {protocol}"
        ),
    }


def measure_imagining(suite: Speed, context: EvalContext) -> dict[str, Metric]:
    """Speed of the world model in use; cache speed-up and memory growth of the run's Genie."""
    speed = {"imagining/frames_per_second": _frames_per_second(context)}
    if not isinstance(context.tokenizer, GenieTokenizer):
        return _undefined("imagining", NO_GENIE) | speed
    genie, device = _copy_genie(context.tokenizer)
    world = context.world
    sampler = world.sampler if isinstance(world, GenieWorld) else Sampler()
    cached, recomputed = (
        run_alone(
            decode_frames,
            genie.dynamics,
            sampler,
            is_cached=is_cached,
            num_frames=genie.num_frames,
            num_imagined=suite.num_decoded,
            device=device,
            seed=context.seed,
        )
        for is_cached in (True, False)
    )
    clock = "cpu_s" if device == "cpu" else "wall_s"
    growth = run_alone(
        memory_growth_mb,
        genie,
        sampler,
        num_imagined=suite.num_imagined,
        device=device,
        seed=context.seed,
    )
    return speed | {
        "imagining/times_recomputed": _metric(
            getattr(recomputed, clock) / getattr(cached, clock),
            "times",
            f"{clock} per frame of the run's dynamics without KV cache, computing the whole window "
            f"at each of {sampler.num_steps} decode steps, over that with it: full window of "
            f"{genie.num_frames} frames, batch 1, sampler.precision={sampler.precision} on "
            f"{device}; median of "
            f"{suite.num_decoded}, each in a fresh process",
        ),
        "imagining/memory_growth": _metric(
            growth,
            "MB",
            f"peak memory after {suite.num_imagined} frames of one rollout of the run's Genie, "
            "minus peak memory after a tenth of them",
        ),
    }


def _frames_per_second(context: EvalContext) -> Metric:
    """Speed of the world model in use, including decoding to pixels, without the prompt."""
    window = context.test.whole_episode(0)
    prompt = Prompt(
        frames=window.video[:1],
        name=window.episode_id,
        start=window.start,
        stride=context.test.frame_stride,
        recording=context.recording(context.test, 0),
    )

    return _metric(
        frames_per_second(context.world, prompt, seed=context.seed),
        "frames/s",
        "the world model in use, batch 1, including decoding to pixels: time of "
        f"{1 + NUM_ROLLED_OUT} frames minus that of one, median of {NUM_ROLLOUTS}",
    )


def measure_recording(suite: Speed, context: EvalContext) -> dict[str, Metric]:
    """Time and size of a recording of the first test episode, as `imagine` writes it."""
    view = rollout_to_record(context, num_frames=suite.num_recorded)
    found = run_alone(record, suite.writer, view, num_repeats=suite.num_repeats)
    num_frames, height, width, _ = view["true_video"].shape
    scene = "without a 3D scene" if view["replay"] is None else "and the 3D scene"
    protocol = (
        f"a rollout of {num_frames} steps of a test episode, read through once after writing: two "
        f"videos of {height} x {width}, their difference, actions, curves {scene}; median of "
        f"{suite.num_repeats} after the first, in a fresh process"
    )
    first = {"first_in_a_process": found.first_s}
    return {
        "recording/seconds_per_episode": _metric(found.lap.wall_s, "s", protocol, first),
        "recording/cpu_seconds_per_episode": _metric(found.lap.cpu_s, "s", protocol),
        "recording/megabytes_per_episode": _metric(found.num_bytes / 1e6, "MB", protocol),
    }


def rollout_to_record(context: EvalContext, *, num_frames: int) -> dict[str, Any]:
    """Fields of a RolloutView; the true frames, one step late, stand in for imagined ones."""
    episode = context.dataset[context.test.episodes[0]]
    window = context.test.whole_episode(0)
    video = window.video[:num_frames]
    late, still = np.concatenate([video[:1], video[:-1]]), np.broadcast_to(video[0], video.shape)
    actions = window.robot_actions[: len(video) - 1]
    happened, stride = None, context.test.frame_stride
    if episode.sim_state is not None:
        size = (video.shape[1], video.shape[2])
        exact = episode.robot_actions[: (len(video) - 1) * stride].astype(np.float64)
        happened = replay(episode, start=0, robot_actions=exact, image_size=size, stride=stride)
    return {
        "episode_id": window.episode_id,
        "control_hz": 0.0 if math.isnan(episode.control_hz) else episode.control_hz,
        "true_video": video,
        "imagined_video": late,
        "robot_actions": actions.astype(np.float32),
        "latent_actions": context.encoder.encode(window).codes[: len(video) - 1],
        "num_codes": context.encoder.num_codes,
        "num_prompt_frames": 1,
        "replay": happened,
        "psnr": {"imagined": frame_psnr(video, late), "copy_last": frame_psnr(video, still)},
        "summary": "## A rollout to measure",
    }


def _copy_genie(tokenizer: GenieTokenizer) -> tuple[Genie, str]:
    """A CPU copy to pass to another process, and the device of the original."""
    return deepcopy(tokenizer.genie).cpu(), tokenizer.device.type


def _metric(
    value: float, unit: str, protocol: str, baselines: Mapping[str, float] | None = None
) -> Metric:
    """A metric without independent units, because it is not measured on episodes."""
    return Metric(value=value, n_units=0, unit=unit, protocol=protocol, baselines=baselines or {})


def _undefined(part: str, reason: str) -> dict[str, Metric]:
    return {
        name: Metric(value=None, n_units=0, unit=unit, protocol="the run's models", reason=reason)
        for name, unit in HEADLINE.items()
        if name.startswith(f"{part}/")
    }


PARTS: Mapping[str, Callable[[Speed, EvalContext], dict[str, Metric]]] = {
    "reading": measure_reading,
    "training": measure_training,
    "imagining": measure_imagining,
    "recording": measure_recording,
}
