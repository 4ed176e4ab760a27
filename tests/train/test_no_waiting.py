"""A training step reads nothing back from the device, so that the host can run ahead of it."""

from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from genie_robo.build import build_datasets
from genie_robo.run_folder import RunFolder
from genie_robo.train.assemble import build_loop, build_stage
from genie_robo.train.engine import make_fabric
from genie_robo.train.settings import Stage

WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "bincount", "_unique2", "equal"}
"""Operations whose result, or its shape, the host waits for."""


class Waits(TorchDispatchMode):
    """Names the operations that would wait for a device."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.removeprefix("aten::")
        is_mask = name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1])
        if name in WAITING or is_mask:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["tokenizer", "world_model", "robot_control"])
@pytest.mark.parametrize("is_warm", [False, True])
def test_no_step_waits_for_the_device(copy_of_trained, name, is_warm, monkeypatch):
    config = replace(copy_of_trained(), stage=Stage(name))
    run, fabric = RunFolder.at(config.run), make_fabric(config.engine)
    datasets = build_datasets(config.data)
    stage = build_stage(Stage(name), run, config, datasets, fabric)
    for part in stage.modules():  # k-means, once at the end of the warm-up, may wait
        if hasattr(part, "warmup_steps"):
            part.warmup_steps = 0 if is_warm else 100
    step = build_loop(stage, run, config, datasets, fabric).train_step
    batches = iter(build_loop(stage, run, config, datasets, fabric).loader)
    step(0, batches)  # numbers of steps are read once
    decided = type(stage).inputs

    def undisturbed(*arguments):
        """Inputs are made on the host, from tensors that never were on the device."""
        with torch.utils._python_dispatch._disable_current_modes():
            return decided(*arguments)

    monkeypatch.setattr(type(stage), "inputs", undisturbed)
    with Waits() as waits:
        result = step(1, batches)
    batches.close()
    assert waits.found == []
    with Waits() as waits:
        assert step.read([result])[0]["loss"] > 0


def test_waits_are_found():
    with Waits() as waits:
        values = torch.arange(4.0)
        values[values > 1].sum().item()
        bool(values.any())
        torch.bincount(values.long())
    assert set(waits.found) >= {"index", "_local_scalar_dense", "bincount"}
