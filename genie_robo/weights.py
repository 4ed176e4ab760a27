"""Weights in safetensors, compared with the model that they are for before any of it is loaded."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from genie_robo.stored_files import check_regular

_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""Names of the element types in safetensors."""


def check_weights(path: Path, module: nn.Module) -> None:
    """Compare names, shapes and types in a file's header with those of a module, on any device.

    A module on the device `meta` takes no memory.

    Raises:
        ValueError: The file is damaged, or a tensor is missing, unknown or of another shape or
            type.
    """
    wanted = {
        name: f"{_DTYPES.get(tensor.dtype, tensor.dtype)} {list(tensor.shape)}"
        for name, tensor in module.state_dict().items()
    }
    found = _read_header(path)
    for name in sorted(wanted.keys() | found.keys()):
        if found.get(name) != wanted.get(name):
            raise ValueError(
                f"{name} is {found.get(name, 'missing')} in the file, but "
                f"{wanted.get(name, 'unknown')} in the model"
            )


def load_checked(path: Path, module: nn.Module) -> None:
    """Fill a module with the weights of a file.

    Raises:
        ValueError: The file is damaged or of another model, or a number in it is not finite.
    """
    check_weights(path, module)
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(_one_line(error)) from error
    _check_finite(weights)
    module.load_state_dict(weights)


def _read_header(path: Path) -> dict[str, str]:
    """Type and shape of every tensor in a file, without reading any of them."""
    check_regular(path)
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  no mapping
            return {n: f"{s.get_dtype()} {list(s.get_shape())}" for n, s in slices.items()}
    except (SafetensorError, OSError) as error:
        raise ValueError(_one_line(error)) from error


def _check_finite(weights: Mapping[str, Tensor]) -> None:
    for name, tensor in sorted(weights.items()):
        if tensor.is_floating_point() and not (is_finite := tensor.isfinite()).all():
            num_bad = int((~is_finite).sum())
            raise ValueError(f"{num_bad} of {tensor.numel()} numbers of {name} are not finite")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
