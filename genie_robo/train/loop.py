"""The training loop of every stage."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from genie_robo.checkpoint import (
    load_training_state,
    restore_rng,
    rng_state,
    save_training_state,
)
from genie_robo.data.loader import WindowLoader
from genie_robo.progress import progress_bar
from genie_robo.train.interrupt import stop_requests
from genie_robo.train.metrics import JsonLinesLog
from genie_robo.types import EpisodeBatch, StepOutput


@dataclass(kw_only=True)
class Loop:
    """Everything that one stage of training needs; `run` trains it to the last step."""

    name: str
    fabric: Fabric
    module: nn.Module
    """Its forward is the loss of a batch; see stages.py."""
    optimizer: torch.optim.Optimizer
    loader: WindowLoader
    learning_rate: Callable[[int], float]
    after_step: Callable[[], Mapping[str, float]]
    checkpoints: Path
    log_path: Path
    num_steps: int
    max_grad_norm: float
    log_every: int
    save_every_s: float
    step: int = 0

    def run(self) -> None:
        """Train from the newest checkpoint to `num_steps`.

        Raises:
            KeyboardInterrupt: Ctrl-C or SIGTERM came; the step at hand was finished and saved.
            ValueError: A loss or gradient was not finite.
        """
        self._restore()
        log = JsonLinesLog(self.log_path, resume_at=self.step) if self._writes else None
        batches, saved_at = iter(self.loader), time.monotonic()
        with (
            stop_requests() as stop_wanted,
            progress_bar(
                f"train {self.name}", total=self.num_steps, completed=self.step, unit="step"
            ) as advance,
        ):
            while self.step < self.num_steps and not stop_wanted.is_set():
                numbers = self._train_step(batches)
                advance(note=_note(numbers))
                if log and (self.step % self.log_every == 0 or self.step == self.num_steps):
                    log.write(self.step, numbers)
                if time.monotonic() - saved_at > self.save_every_s:
                    self._save()
                    saved_at = time.monotonic()
        batches.close()
        self._save()
        if self.step < self.num_steps:
            raise KeyboardInterrupt(f"training {self.name} stopped and saved at step {self.step}")

    @property
    def _writes(self) -> bool:
        return self.fabric.is_global_zero

    def _train_step(self, batches: Iterator[EpisodeBatch]) -> dict[str, float]:
        rate = self.learning_rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batch = next(batches).to(self.fabric.device)
        output = compute_loss(self.module, batch)
        self.fabric.backward(output.loss)
        norm = self._clip(batch, output)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        numbers = {"loss": output.loss.detach(), **output.metrics, "grad_norm": norm}
        return {
            **{name: float(value) for name, value in numbers.items()},
            **self.after_step(),
            "learning_rate": rate,
        }

    def _clip(self, batch: EpisodeBatch, output: StepOutput) -> torch.Tensor:
        """Scale the gradient down to its greatest norm; stop before a non-finite step."""
        norm = nn.utils.clip_grad_norm_(self.module.parameters(), self.max_grad_norm)
        if not (torch.isfinite(norm) and torch.isfinite(output.loss)):
            raise ValueError(
                f"training {self.name} met a loss of {float(output.loss.detach())} and a gradient "
                f"norm of {float(norm)} at step {self.step}, in windows of the episodes "
                f"{', '.join(sorted(set(batch.episode_ids)))}. The weights of the step before "
                "are safe in the last checkpoint; try a lower learning rate or "
                "engine.precision=fp32"
            )
        return norm

    def _save(self) -> None:
        if self._writes:
            save_training_state(self.checkpoints, self.step, self._state())

    def _state(self) -> dict[str, Any]:
        return {
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "loader": self.loader.state_dict(),
            "rng": rng_state(),
        }

    def _restore(self) -> None:
        state = load_training_state(self.checkpoints)
        if state is None:
            return
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.loader.load_state_dict(state["loader"])
        restore_rng(state["rng"])
        self.step = state["step"]


def compute_loss(module: nn.Module, batch: EpisodeBatch) -> StepOutput:
    """The loss of a batch from its video alone: robot actions stay outside of training."""
    loss, metrics = module(batch.video, batch.is_pad, batch.tokens)
    return StepOutput(loss=loss, metrics=metrics)


def _note(numbers: Mapping[str, float]) -> str:
    return f"loss {numbers['loss']:.3f}"
