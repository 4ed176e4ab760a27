"""A number of a finished run by its address, or why there is none.

| address | number |
|---|---|
| eval/SUITE/METRIC | of RUN/eval/SUITE/metrics.csv, by full name or by the end of a headline's |
| log/STAGE/NAME | the last one that training logged, once it has finished |
| parameters/PART | of tokenizer, latent_action or dynamics |
| seconds/STAGE | that a stage of `demo` took, over all interruptions |
| windows/STAGE | number of training windows |
| activations/tokenizer | MiB kept for the gradient of one window: fp32, attention written out |
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from genie_robo.build import build_genie, build_tokenizer
from genie_robo.comparison.addresses import check_address
from genie_robo.config_file import read_config
from genie_robo.models.settings import Backend
from genie_robo.pipeline import seconds_spent, stamps_of
from genie_robo.run_folder import RunFolder
from genie_robo.stored_files import read_json
from genie_robo.train.metrics import read_log
from genie_robo.train.settings import StageConfig, TrainConfig

MIB = 2**20


class Number(NamedTuple):
    """A value, or None with the reason why there is none."""

    value: float | None
    reason: str = ""


def read_number(run: RunFolder, address: str) -> Number:
    """The number of a run at an address.

    Raises:
        ValueError: It is not an address, or a file of the run is damaged.
    """
    check_address(address)
    if not run.path.exists():
        return Number(None, "not started")
    kind, _, rest = address.partition("/")
    if kind == "eval":
        return _metric(run, rest)
    if kind == "seconds":
        return _seconds(run, rest)
    config = _read_config(run, run.config.stat().st_mtime_ns) if run.config.exists() else None
    if kind == "log":
        return _logged(run, config, rest)
    if config is None:
        return Number(None, "training has not begun")
    return Number(_FROM_CONFIG[kind](config, rest))


def _metric(run: RunFolder, rest: str) -> Number:
    suite, _, name = rest.partition("/")
    folder = run.suite(suite)
    if not (folder / "metrics.json").exists():
        return Number(None, f"suite {suite} has not been evaluated")
    try:
        headline = read_json(folder / "metrics.json")["headline"]
        table = pd.read_csv(folder / "metrics.csv", index_col="metric", dtype={"reason": str})
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{folder} does not hold the result of a suite ({type(error).__name__}: {error}); "
            "delete it and evaluate again"
        ) from error
    ends = [full for full in headline if full.endswith(f"/{name}")]
    found = next((full for full in (name, *ends) if full in table.index), None)
    if found is None:
        return Number(None, f"suite {suite} has no metric {name}")
    value = float(table.loc[found, "value"])
    return Number(None, str(table.loc[found, "reason"])) if math.isnan(value) else Number(value)


def _logged(run: RunFolder, config: TrainConfig | None, rest: str) -> Number:
    """Only of a finished stage: numbers of unfinished training are not comparable."""
    stage, _, name = rest.partition("/")
    settings: StageConfig | None = getattr(config, stage, None)
    log = read_log(run.log(stage))
    step = int(log[-1]["step"] or 0) if log else 0
    if settings is None or step < settings.num_steps:
        wanted = f" of {settings.num_steps}" if settings else ""
        return Number(None, f"{stage} is trained to step {step}{wanted}")
    known = [line[name] for line in log if line.get(name) is not None]
    return Number(known[-1]) if known else Number(None, f"{stage} did not log {name}")


def _seconds(run: RunFolder, stage: str) -> Number:
    seconds = seconds_spent(stamps_of(run))
    if stage in seconds:
        return Number(seconds[stage])
    return Number(None, f"stage {stage} has not finished in a demo")


def _parameters(config: TrainConfig, part: str) -> float:
    with torch.device("meta"):
        module = getattr(build_genie(config), part)
    return float(sum(parameter.numel() for parameter in module.parameters()))


def _windows(config: TrainConfig, stage: str) -> float:
    settings: StageConfig = getattr(config, stage)
    return float(settings.num_steps * settings.batch_size)


def _activations(config: TrainConfig, _: str) -> float:
    plain = replace(config.model, attention=Backend.matmul)
    size = (config.data.image_height, config.data.image_width)
    video = torch.zeros(1, config.tokenizer.num_frames, *size, 3)
    return kept_bytes(build_tokenizer(plain, config.data), video) / MIB


def kept_bytes(module: nn.Module, *inputs: Tensor) -> int:
    """Bytes of the tensors that a forward pass keeps for the gradient, without parameters."""
    own = {parameter.untyped_storage()._cdata for parameter in module.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage  # held, so that no later one gets its identity
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        module(*inputs)
    return sum(storage.nbytes() for key, storage in kept.items() if key not in own)


@cache
def _read_config(run: RunFolder, _changed: int) -> TrainConfig:
    return read_config(run, TrainConfig)


_FROM_CONFIG: dict[str, Callable[[TrainConfig, str], float]] = {
    "parameters": _parameters,
    "windows": _windows,
    "activations": _activations,
}
