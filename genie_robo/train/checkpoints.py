"""Training states on disk: sharded, atomic, resumable by another number of processes.

One folder per step holds safetensors of every process and a state.json. Loading executes no code.
A state is copied to the host's memory and written while training goes on.
"""

import json
import logging
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import google_crc32c
import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from genie_robo.atomic import remove
from genie_robo.disk_space import explaining_no_space
from genie_robo.run_folder import write_atomic
from genie_robo.stored_files import read_json

FORMAT_VERSION = 2
STATE_FILE, BEST_FILE = "state.json", "best.json"
_STEP = re.compile(r"step_(\d{8,})")
_CHUNK_BYTES = 2**22
_ONE_PROCESS = "torch.distributed is disabled, unavailable or uninitialized"
_LOGGERS = ("torch.distributed.checkpoint", "c10d-NullHandler-dcp_logger")


class Checkpoints:
    """The training states of one stage: the newest few, and the one with the lowest score.

    Every process must call `save` and `load`, at the same step. One state is written at a time;
    whatever asks for states waits for it.
    """

    def __init__(self, folder: Path, fabric: Fabric, *, num_kept: int) -> None:
        """Keep the newest `num_kept`.

        Raises:
            ValueError: None would be kept.
        """
        if num_kept < 1:
            raise ValueError(f"num_checkpoints={num_kept} must be at least 1")
        self.folder = folder
        self._fabric = fabric
        self._num_kept = num_kept
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None
        self._group: Any = None
        """Of the writing threads: training has its own."""

    def save(
        self,
        step: int,
        tensors: Mapping[str, Tensor],
        numbers: Mapping[str, Any],
        *,
        score: float | None = None,
    ) -> None:
        """Begin to write everything needed to resume at `step`; old checkpoints are then deleted.

        Args:
            step: Training steps made.
            tensors: Tensors to save; each process writes its shards. They are copied.
            numbers: Other state, saved as JSON.
            score: Lower is better; None when unknown.

        Raises:
            OSError: The state before this one could not be written.
        """
        self.wait()
        if self._fabric.world_size > 1 and self._group is None:
            self._group = dist.new_group(backend="gloo")
        copies = {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
        self._writing = self._writer.submit(self._write, step, copies, numbers, score)

    def wait(self) -> None:
        """Wait for the state that is being written.

        Raises:
            OSError: It could not be written.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _write(
        self,
        step: int,
        tensors: Mapping[str, Tensor],
        numbers: Mapping[str, Any],
        score: float | None,
    ) -> None:
        final, partial = self.folder / _name(step), self.folder / f".{_name(step)}.partial"
        num_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        with self._removed_on_failure(partial), explaining_no_space(final, num_bytes=num_bytes):
            if self._fabric.is_global_zero:
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir(parents=True)
            self._barrier()
            with _quiet(), _plain_errors(final):
                writer = HuggingFaceStorageWriter(str(partial), save_distributed=True)
                save(
                    dict(tensors),
                    storage_writer=writer,
                    process_group=self._group,
                    no_dist=self._group is None,
                )
            self._barrier()
            if self._fabric.is_global_zero:
                self._complete(partial, final, {"step": step, **numbers})
                self._mark_best(step, score)
                self._prune()
            self._barrier()

    def _barrier(self) -> None:
        if self._group is not None:
            dist.barrier(self._group)

    @property
    def best(self) -> dict[str, Any] | None:
        """Step and score of the best state."""
        self.wait()
        return self._best()

    @property
    def steps(self) -> list[int]:
        """Steps with a saved state, ascending; folders with other names are the user's."""
        self.wait()
        return self._steps()

    def _best(self) -> dict[str, Any] | None:
        path = self.folder / BEST_FILE
        return read_json(path) if path.exists() else None

    def _steps(self) -> list[int]:
        names = [path.name for path in self.folder.glob("step_*") if path.is_dir()]
        return sorted(int(found[1]) for name in names if (found := _STEP.fullmatch(name)))

    def load(self, step: int, tensors: dict[str, Tensor]) -> dict[str, Any]:
        """Fill tensors with a saved state and return its numbers.

        Raises:
            ValueError: The state is damaged, of another format version or of another model.
        """
        self.wait()
        folder = self.folder / _name(step)
        state = self._read_state(folder)
        try:
            with _quiet():
                reader = HuggingFaceStorageReader(str(folder))
                surplus = reader.read_metadata().state_dict_metadata.keys() - tensors.keys()
                if surplus:
                    raise KeyError(f"no place for its {min(surplus)}")
                load(tensors, storage_reader=reader)
        # Torch raises many types for a file that does not fit; CheckpointException is no Exception.
        except (Exception, CheckpointException) as error:
            reason = str(error).strip().splitlines()[-1][:200]
            raise ValueError(
                f"the checkpoint {folder} does not fit this model ({reason}); go on with the "
                "settings of the run that wrote it, or train into another run folder"
            ) from error
        return state

    def _read_state(self, folder: Path) -> dict[str, Any]:
        advice = "Delete that folder to go on from the checkpoint before it"
        try:
            state = read_json(folder / STATE_FILE)
            version = state["format_version"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"the checkpoint {folder} cannot be read ({type(error).__name__}: {STATE_FILE}). "
                f"{advice}"
            ) from error
        if version != FORMAT_VERSION:
            raise ValueError(
                f"the checkpoint {folder} has format version {version}, this genie_robo reads "
                f"version {FORMAT_VERSION}; train into another run folder"
            )
        if state.pop("checksum", None) != _checksum_of_json(state):
            raise ValueError(f"the checkpoint {folder} is damaged: {STATE_FILE}. {advice}")
        checksums = state["checksums"]
        for name in sorted({*checksums, *(path.name for path in _shards(folder))}):
            path = folder / name
            if not path.is_file() or _checksum(path) != checksums.get(name):
                found = "is damaged" if path.exists() else "is missing"
                raise ValueError(f"the checkpoint {folder} is incomplete: {name} {found}. {advice}")
        return state

    def _complete(self, partial: Path, final: Path, numbers: Mapping[str, Any]) -> None:
        """Add the numbers and checksums to the written tensors and move them to their place."""
        state = {"format_version": FORMAT_VERSION, **numbers}
        state["checksums"] = {path.name: _checksum(path) for path in _shards(partial)}
        state["checksum"] = _checksum_of_json(state)
        write_atomic(partial / STATE_FILE, json.dumps(state, indent=1) + "\n")
        remove(final)
        partial.replace(final)

    @contextmanager
    def _removed_on_failure(self, partial: Path) -> Iterator[None]:
        """Keep no part of a checkpoint that could not be written: it may have filled the disk."""
        try:
            yield
        except (OSError, RuntimeError):
            if self._fabric.is_global_zero:
                shutil.rmtree(partial, ignore_errors=True)
            raise

    def _mark_best(self, step: int, score: float | None) -> None:
        best = self._best()
        if score is not None and (best is None or score < best["score"]):
            content = json.dumps({"step": step, "score": score}) + "\n"
            write_atomic(self.folder / BEST_FILE, content)

    def _prune(self) -> None:
        best, steps = self._best(), self._steps()
        kept = set(steps[-self._num_kept :]) | ({best["step"]} if best else set())
        for step in set(steps) - kept:
            shutil.rmtree(self.folder / _name(step))
        for partial in self.folder.glob(".step_*.partial"):
            shutil.rmtree(partial)


def _name(step: int) -> str:
    return f"step_{step:08d}"


def _shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def _checksum(path: Path) -> str:
    checksum = google_crc32c.Checksum()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            checksum.update(chunk)
    return checksum.digest().hex()


def _checksum_of_json(content: Mapping[str, Any]) -> str:
    return google_crc32c.Checksum(json.dumps(content).encode()).digest().hex()


@contextmanager
def _plain_errors(folder: Path) -> Iterator[None]:
    """Raise what a process failed with, in place of torch's report, which is no Exception."""
    try:
        yield
    except CheckpointException as error:
        causes = [cause for cause, _ in error.failures.values()]
        for cause in causes:
            if isinstance(cause, OSError):
                raise cause from error
        reason = str(causes[0] if causes else error).strip().splitlines()[-1:]
        raise RuntimeError(f"cannot write the checkpoint {folder}: {' '.join(reason)}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence torch's messages per tensor and its warning about a single process.

    The filter stays in place, because `warnings.catch_warnings` is not safe with threads.
    """
    warnings.filterwarnings("ignore", message=_ONE_PROCESS, category=UserWarning)
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with torch.no_grad():
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
