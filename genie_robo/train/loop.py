"""The training loop of every stage."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_state_dict,
    set_state_dict,
)

from genie_robo.data.loader import WindowLoader
from genie_robo.progress import progress_bar
from genie_robo.train.checkpoints import Checkpoints
from genie_robo.train.engine import stop_requests
from genie_robo.train.metrics import CodebookWatch, MetricsLog
from genie_robo.train.step import StepResult, TrainStep, Validation

_FLAT = StateDictOptions(flatten_optimizer_state_dict=True)


@dataclass(kw_only=True)
class Loop:
    """Everything that one stage of training needs; `run` trains it to the last step."""

    train_step: TrainStep
    stage: nn.Module
    """The module to train, before the engine wrapped it."""
    loader: WindowLoader
    validate: Validation | None
    checkpoints: Checkpoints
    open_logs: Callable[[int], Sequence[MetricsLog]]
    """The logs, resumed after a step."""
    watches: Mapping[str, CodebookWatch]
    num_steps: int
    log_every: int
    read_every: int
    """Steps between two transfers of numbers from the device; processes agree on stopping then."""
    validate_every: int
    save_every_s: float
    other_dataset: bool = False
    """Whether the newest checkpoint may come from another dataset."""
    step: int = 0

    def run(self) -> None:
        """Train from the newest checkpoint to `num_steps`.

        Raises:
            KeyboardInterrupt: Ctrl-C or SIGTERM, which it names: the current step was finished
                and saved.
            ValueError: A loss or gradient was not finite.
        """
        self._restore()
        is_first = self.train_step.fabric.is_global_zero
        logs = self.open_logs(self.step) if is_first else ()
        name, batches = self.train_step.stage.name, iter(self.loader)
        saved_at, stopped, note = time.monotonic(), False, ""
        results: list[StepResult] = []
        with (
            stop_requests() as stop,
            progress_bar(
                f"train {name}",
                total=self.num_steps,
                completed=self.step,
                unit="step",
                visible=is_first and not self._is_done,
            ) as advance,
        ):
            while not self._is_done and not stopped:
                results.append(self.train_step(self.step, batches))
                self.step += 1
                advance(note=note)
                if not self._reads(stop):
                    continue
                numbers = self._read(results)
                results, note = [], f"loss {numbers['loss']:.3f}"
                if "val_loss" in numbers or self.step % self.log_every == 0 or self._is_done:
                    for log in logs:
                        log.write(self.step, numbers)
                stopped, is_due = self._agree(stop, time.monotonic() - saved_at)
                if is_due or "val_loss" in numbers:
                    self._save(numbers.get("val_loss"))
                    saved_at = time.monotonic()
        batches.close()
        self._save()
        self.checkpoints.wait()
        for log in logs:
            log.close()
        if not self._is_done:
            interrupt = KeyboardInterrupt(stop.by)
            interrupt.add_note(f"training {name} stopped and saved at step {self.step}")
            raise interrupt

    @property
    def _is_done(self) -> bool:
        return self.step >= self.num_steps

    @property
    def _validates(self) -> bool:
        return self.validate is not None and (self.step % self.validate_every == 0 or self._is_done)

    def _reads(self, stop: Event) -> bool:
        """Whether this step waits for the device; all processes wait at the same steps."""
        is_asked = stop.is_set() and self.train_step.fabric.world_size == 1
        return self.step % self.read_every == 0 or self._validates or self._is_done or is_asked

    def _read(self, results: Sequence[StepResult]) -> dict[str, float]:
        """The numbers of the last step, after a look at all since the last one; validation."""
        lines = self.train_step.read(results)
        for result, line in zip(results, lines, strict=True):
            for prefix, watch in self.watches.items():
                watch.see(result.step + 1, line[f"{prefix}perplexity"])
        return lines[-1] | (self.validate() if self.validate and self._validates else {})

    def _agree(self, stop: Event, unsaved_s: float) -> tuple[bool, bool]:
        """Whether any process was asked to stop, and whether the first one is due to save."""
        is_due = self.train_step.fabric.is_global_zero and unsaved_s > self.save_every_s
        votes = torch.tensor([stop.is_set(), is_due], device=self.train_step.fabric.device)
        stopped, saves = (self.train_step.ranks.sum(votes.long()) > 0).tolist()
        return stopped, saves

    def _save(self, score: float | None = None) -> None:
        if self.step in self.checkpoints.steps:
            return
        tensors, _ = self._tensors()
        numbers = {"loader": self.loader.state_dict()}
        self.checkpoints.save(self.step, tensors, numbers, score=score)

    def _restore(self) -> None:
        if not self.checkpoints.steps:
            return
        tensors, settings = self._tensors()
        state = self.checkpoints.load(self.checkpoints.steps[-1], tensors)
        set_state_dict(
            self.stage,
            self.train_step.optimizers,
            model_state_dict=_below(tensors, "module."),
            optim_state_dict={**settings, **_below(tensors, "optimizer.")},
            options=_FLAT,
        )
        if self.train_step.average:
            self.train_step.average.load_state_dict(_below(tensors, "average."))
        self.loader.load_state_dict(state["loader"], other_windows=self.other_dataset)
        self.step = state["step"]

    def _tensors(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Every tensor that a resume needs, and the optimizer's settings."""
        module, optim = get_state_dict(self.stage, self.train_step.optimizers, options=_FLAT)
        average = self.train_step.average
        parts = {
            "module.": module,
            "optimizer.": {k: v for k, v in optim.items() if isinstance(v, Tensor)},
            "average.": average.state_dict() if average else {},
        }
        tensors = {f"{prefix}{k}": v for prefix, part in parts.items() for k, v in part.items()}
        return tensors, optim


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
