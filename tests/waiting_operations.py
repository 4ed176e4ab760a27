"""Operations in which the host waits for a device, found on a machine that has none."""

from contextlib import ExitStack

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "bincount", "_unique2", "equal"}
"""Operations whose result, or its shape, the host waits for."""


class Waits(TorchDispatchMode):
    """Names the operations that would wait for a device.

    Copies between devices count where they are blocking; device `meta` stands for one. Numbers of
    Python count where a tensor of them is made on a device that is named, even on the CPU.
    """

    def __init__(self):
        super().__init__()
        self.found = []
        self._numbers = ExitStack()

    def __enter__(self):
        self._numbers.enter_context(_Numbers(self.found))
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self._numbers.close()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        is_mask = name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1])
        if name in WAITING or is_mask or _is_blocking_copy(name, args, kwargs):
            self.found.append(name)
        return func(*args, **kwargs)


class _Numbers(TorchFunctionMode):
    """Names the functions that copy numbers to a device; no dispatch mode sees them."""

    def __init__(self, found):
        super().__init__()
        self._found = found

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        is_named = func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None
        if func is torch.Tensor.new_tensor or is_named:
            self._found.append(func.__name__)
        return func(*args, **kwargs)


def _is_blocking_copy(name, args, kwargs):
    match name:
        case "_to_copy":
            device, is_blocking = kwargs.get("device"), not kwargs.get("non_blocking")
        case "copy_":
            device, is_blocking = args[1].device, not (args[2:] or [kwargs.get("non_blocking")])[0]
        case _:
            return False
    return is_blocking and device is not None and torch.device(device) != args[0].device
