"""What training logs: JSON lines, optionally TensorBoard or Weights & Biases, and codebook use."""

import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from genie_robo.disk_space import explaining_no_space
from genie_robo.models.quantizer import CodeUse
from genie_robo.run_folder import RunFolder, write_atomic
from genie_robo.stored_files import parse_json, read_bytes
from genie_robo.train.settings import Logger, check_loggers

_MEMORY = 50
"""Steps over which use is averaged, and between two warnings."""
_MAX_BYTES = 2**30
"""Of a log: some million lines."""
_EXPONENT = 0.15
"""A codebook has collapsed below a perplexity of num_codes**this: 1.4 of 8, 2.8 of 1,024."""

_log = logging.getLogger(__name__)


@runtime_checkable
class MetricsLog(Protocol):
    """Takes the numbers of a training step."""

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Append the numbers of a training step."""
        ...

    def close(self) -> None:
        """Flush and close."""
        ...


class JsonLinesLog:
    """One JSON object per logged step; a resume truncates the log to the restored step."""

    def __init__(self, path: Path, *, resume_at: int) -> None:
        self.path = path
        kept = [line for line in read_log(path) if (line["step"] or 0) <= resume_at]
        write_atomic(path, "".join(json.dumps(line) + "\n" for line in kept))

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Append a line; what is not finite becomes null."""
        finite = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
        line = json.dumps({"step": step, **finite}) + "\n"
        with (
            explaining_no_space(self.path, num_bytes=len(line)),
            self.path.open("a") as file,
        ):
            file.write(line)

    def close(self) -> None:
        """Every line is on disk already."""


class TensorBoardLog:
    """Scalars for TensorBoard, in an event file next to the JSON lines."""

    def __init__(self, folder: Path, *, resume_at: int) -> None:
        package = import_module(Logger.tensorboard.package)
        self._writer = package.SummaryWriter(str(folder), purge_step=resume_at + 1)

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """One point in the curve of each finite number."""
        for name, value in numbers.items():
            if math.isfinite(value):
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


class WandbLog:
    """Numbers for Weights & Biases; WANDB_MODE=offline keeps them on this machine."""

    def __init__(self, folder: Path, *, name: str, settings: Mapping[str, Any]) -> None:
        package = import_module(Logger.wandb.package)
        folder.mkdir(parents=True, exist_ok=True)
        place = hashlib.blake2b(str(folder.resolve()).encode(), digest_size=4).hexdigest()
        self._run = package.init(
            project="genie_robo",
            name=name,
            id=f"{name}-{place}",
            resume="allow",
            dir=str(folder),
            config=dict(settings),
        )

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """One point in the curve of each finite number."""
        finite = {name: value for name, value in numbers.items() if math.isfinite(value)}
        self._run.log(finite, step=step)

    def close(self) -> None:
        """Send the remaining numbers."""
        self._run.finish()


def open_logs(
    run: RunFolder,
    stage: str,
    loggers: Sequence[Logger],
    *,
    resume_at: int,
    settings: Mapping[str, Any],
) -> list[MetricsLog]:
    """The logs of a stage.

    Raises:
        ImportError: The package of a logger is not installed.
    """
    check_loggers(loggers)
    logs: list[MetricsLog] = [JsonLinesLog(run.log(stage), resume_at=resume_at)]
    folder = run.log(stage).parent
    for logger in loggers:
        if logger is Logger.tensorboard:
            logs.append(TensorBoardLog(folder / "tensorboard", resume_at=resume_at))
        else:
            name = f"{run.path.name}-{stage}"
            logs.append(WandbLog(folder / "wandb", name=name, settings=settings))
    return logs


def read_log(path: Path) -> list[dict[str, float | int | None]]:
    """All complete lines of a log; a crash may have cut the last one, a bad disk any other.

    Raises:
        ValueError: It is not a regular file, or implausibly large.
    """
    if not path.exists():
        return []
    texts = read_bytes(path, max_bytes=_MAX_BYTES).splitlines()
    lines = [_parse_line(text) for text in texts]
    if num_bad := sum(line is None for line in lines[:-1]):
        _log.warning("%s has %d damaged lines, which are left out", path, num_bad)
    return [line for line in lines if line is not None]


def _parse_line(text: bytes) -> dict[str, float | int | None] | None:
    """The numbers of a line; None where it is damaged."""
    try:
        line = parse_json(text)
    except ValueError:
        return None
    is_good = (
        isinstance(line, dict)
        and type(line.get("step")) is int
        and all(value is None or isinstance(value, int | float) for value in line.values())
    )
    return line if is_good else None


class CodebookWatch:
    """Warns when a codebook collapses."""

    def __init__(self, name: str, num_codes: int) -> None:
        self._name = name
        self._num_codes = num_codes
        self._recent: list[float] = []

    def see(self, step: int, perplexity: float) -> None:
        """Record the use in a training step; warn when few codes are used for many steps."""
        if math.isnan(perplexity):
            return
        self._recent.append(perplexity)
        if len(self._recent) < _MEMORY:
            return
        mean = sum(self._recent) / len(self._recent)
        self._recent.clear()
        if mean < self._num_codes**_EXPONENT:
            _log.warning(
                "step %d: %s has collapsed: %.1f of %d codes in use. Try a lower learning rate, "
                "more quantizer.warmup_steps, a higher quantizer.entropy_weight, a shorter "
                "quantizer.reset_after or larger batches",
                step,
                self._name,
                mean,
                self._num_codes,
            )


def log_names(prefix: str, use: CodeUse) -> dict[str, Tensor]:
    """The use of a codebook as numbers for the log."""
    return {
        f"{prefix}perplexity": use.perplexity,
        f"{prefix}dead_codes": use.num_dead,
        f"{prefix}code_resets": use.num_restarted,
    }
