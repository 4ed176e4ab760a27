"""What training speed was found, as metrics, rows and a figure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from matplotlib.figure import Figure

from eval_suites.base import Metric
from eval_suites.timing.figures import Bars, bars
from eval_suites.timing.gpu import peak_flops
from eval_suites.timing.trainers import Training, TrainingTask, count_flops

GOALS = {64: 3.0, 256: 2.5}
"""Tokens per frame that are measured, and how many times the plain model is wanted there."""
PLAIN = "plain_fp32"
"""F.scaled_dot_product_attention in fp32, as it is written without us."""
NO_GPU = "torch sees no CUDA device here"
ON_GPU = "training was measured on the GPU: see training/tokens_per_second"
NO_XFORMERS = "xformers was not measured: fast=true, or it has no kernel that works here"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingMetrics:
    """What was found, by tokens per frame and name of the way."""

    default: str
    """The way that training takes by itself on this machine."""
    tasks: Mapping[tuple[int, str], TrainingTask]
    found: Mapping[tuple[int, str], Training]
    device_name: str

    def all(self) -> dict[str, Metric]:
        """Speed of the default beside every other way, and how many times the plain model."""
        return {
            f"training/{name}/{tokens}": metric
            for tokens in GOALS
            for name, metric in self._of_size(tokens).items()
        }

    def headline(self) -> tuple[str, ...]:
        """Speed in this machine's measure, and times the plain model."""
        names = ("tokens_per_second", "peak_share") if self._on_gpu else ("tokens_per_cpu_second",)
        return tuple(f"training/{name}/{n}" for name in (*names, "times_plain") for n in GOALS)

    def rows(self) -> list[Mapping[str, float | str | None]]:
        """One per size and way."""
        return [
            {"model": name, "tokens_per_frame": tokens, **asdict(training)}
            for (tokens, name), training in self.found.items()
        ]

    def figure(self) -> Figure:
        """Bars, one panel per size."""
        names = list(self._ways(min(GOALS)))
        unit = "second" if self._on_gpu else "second of processor time"
        panels = [
            Bars(f"tokens per {unit},\n{n} per frame", [self._speed(n, name) for name in names])
            for n in GOALS
        ]
        labels = [name.replace("_", " ") for name in names]
        labels = [
            f"{label} (default)" if name == self.default else label
            for name, label in zip(names, labels, strict=True)
        ]
        return bars(labels, panels, is_ours=[not name.startswith("plain") for name in names])

    def notes(self) -> tuple[str, ...]:
        """What was wanted, and how far to believe it."""
        goals = " and ".join(f"{goal:g} times at {n} tokens per frame" for n, goal in GOALS.items())
        return (
            f"Wanted: {goals}, the default over the plain model in fp32.",
            "A median over a few steps, no interval: other work on the machine changes processor "
            "time by half; repeat it on a quiet one before relying on the numbers.",
        )

    @property
    def _on_gpu(self) -> bool:
        return next(iter(self.tasks.values())).device == "cuda"

    @property
    def _protocol(self) -> str:
        task = next(iter(self.tasks.values()))
        return (
            f"{self.default} of the dynamics on {self.device_name}: {task.num_blocks} blocks of "
            f"width {task.dim}, {task.num_heads} heads; {task.batch_size} windows of "
            f"{task.num_frames} frames in a batch; forward, backward and AdamW with the "
            f"cross-entropy of hidden tokens; median of {task.num_steps} steps after "
            f"{task.num_warm_up_steps}, each way in a fresh process"
        )

    def _ways(self, tokens: int) -> dict[str, Training]:
        return {name: found for (n, name), found in self.found.items() if n == tokens}

    def _speed(self, tokens: int, name: str) -> float:
        """Tokens per second in this machine's measure."""
        found = self.found[tokens, name]
        return found.tokens_per_s if self._on_gpu else found.tokens_per_cpu_s

    def _of_size(self, tokens: int) -> dict[str, Metric]:
        ours, plain = self.found[tokens, self.default], self.found[tokens, PLAIN]
        others = {name: way for name, way in self._ways(tokens).items() if name != self.default}
        per_cpu = {name: way.tokens_per_cpu_s for name, way in others.items()}
        per_s = {name: way.tokens_per_s for name, way in others.items()}
        times = self._speed(tokens, self.default) / self._speed(tokens, PLAIN)
        sizes = f"{ours.num_parameters} parameters over {plain.num_parameters}"
        cpu = None if self._on_gpu else ours.tokens_per_cpu_s
        return {
            "tokens_per_cpu_second": self._metric(
                cpu, "tokens/s", "seconds of all threads", baselines=per_cpu, reason=ON_GPU
            ),
            "tokens_per_second": self._metric(
                ours.tokens_per_s, "tokens/s", "seconds of the clock", baselines=per_s
            ),
            "times_plain": self._metric(times, "times", f"the default over {PLAIN}, {sizes}"),
            "peak_share": self._peak_share(tokens, ours),
            "gpu_memory": self._gpu_memory(ours, others),
            "times_sdpa": self._times_sdpa(tokens),
        }

    def _peak_share(self, tokens: int, ours: Training) -> Metric:
        how = "matrix products, causal ones in full, over the peak of bf16 products"
        peak = peak_flops(self.device_name) if self._on_gpu else None
        if peak is None:
            unknown = f"the peak of {self.device_name} is not known here"
            return self._metric(None, "%", how, reason=unknown if self._on_gpu else NO_GPU)
        flops = count_flops(self.tasks[tokens, self.default]) / ours.wall_s
        return self._metric(100 * flops / peak, "%", how)

    def _gpu_memory(self, ours: Training, others: Mapping[str, Training]) -> Metric:
        """Weights, gradients, optimizer and activations at their most."""
        how = "most GPU memory allocated"
        if not self._on_gpu:
            return self._metric(None, "MB", how, reason=NO_GPU)
        memory = {name: way.peak_memory_mb for name, way in others.items()}
        return self._metric(ours.peak_memory_mb, "MB", how, baselines=memory)

    def _times_sdpa(self, tokens: int) -> Metric:
        precision = self.default.removeprefix("auto_")
        ways = self._ways(tokens)
        xformers, sdpa = (ways.get(f"{name}_{precision}") for name in ("xformers", "sdpa"))
        times = xformers.tokens_per_s / sdpa.tokens_per_s if xformers and sdpa else None
        reason = NO_XFORMERS if self._on_gpu else NO_GPU
        return self._metric(times, "times", "attention of xformers over SDPA", reason=reason)

    def _metric(
        self,
        value: float | None,
        unit: str,
        how: str,
        *,
        baselines: Mapping[str, float] | None = None,
        reason: str = "",
    ) -> Metric:
        """No episodes are involved: zero independent units."""
        return Metric(
            value=value,
            n_units=0,
            unit=unit,
            protocol=f"{how}; {self._protocol}",
            baselines={} if value is None else baselines or {},
            reason="" if value is not None else reason,
        )
