"""A training step reads nothing back from the device, so that the host can run ahead of it."""

import pytest
import torch

from tests.waiting_operations import Waits


@pytest.mark.parametrize("name", ["tokenizer", "world_model", "robot_control"])
@pytest.mark.parametrize("is_warm", [False, True])
def test_no_step_waits_for_the_device(training_step, name, is_warm, monkeypatch):
    step, batches = training_step(name)
    for part in step.stage.modules():  # k-means, once at the end of the warm-up, may wait
        if hasattr(part, "warmup_steps"):
            part.warmup_steps = 0 if is_warm else 100
    step(0, batches)  # numbers of steps are read once
    decided = type(step.stage).inputs

    def undisturbed(*arguments):
        """Inputs are made on the host, from tensors that never were on the device."""
        with torch.utils._python_dispatch._disable_current_modes():
            return decided(*arguments)

    monkeypatch.setattr(type(step.stage), "inputs", undisturbed)
    with Waits() as waits:
        result = step(1, batches)
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


def test_blocking_copies_to_a_device_are_found():
    values = torch.arange(4.0)
    with Waits() as waits:
        values.to("meta", non_blocking=True)
        torch.empty(4, device="meta").copy_(values, non_blocking=True)
        values.to(torch.float64)
        values.clone().copy_(values)
    assert waits.found == []
    with Waits() as waits:
        values.to("meta")
        torch.empty(4, device="meta").copy_(values)
    assert waits.found == ["_to_copy", "copy_"]


def test_numbers_copied_to_a_device_are_found():
    values = torch.arange(4.0)
    with Waits() as waits:
        torch.tensor([1.0, 2.0])
        values.new_full((), 3.0)
        torch.arange(4, device=values.device)
    assert waits.found == []
    with Waits() as waits:
        torch.tensor([1.0], device=values.device)
        torch.as_tensor([1.0], device=values.device)
        values.new_tensor(3.0)
    assert waits.found == ["tensor", "as_tensor", "new_tensor"]
