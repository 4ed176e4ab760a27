"""Addresses of numbers, checked as text. Imports no torch; `numbers` reads what they name."""

import re
from collections.abc import Mapping

_ADDRESS = re.compile(
    r"eval/[^/]+/.+|log/(tokenizer|world_model|robot_control)/.+|seconds/[^/]+|windows/(tokenizer|world_model)"
    r"|parameters/(tokenizer|latent_action|dynamics)|activations/tokenizer"
)


def check_address(address: str) -> None:
    """Refuse text that is not an address.

    Raises:
        ValueError: It names no kind of number, stage or part.
    """
    if not _ADDRESS.fullmatch(address):
        raise ValueError(
            f"{address!r} is not the address of a number; write eval/SUITE/METRIC, "
            "log/STAGE/NAME with tokenizer, world_model or robot_control, parameters/PART with "
            "tokenizer, latent_action or dynamics, seconds/STAGE, windows/tokenizer, "
            "windows/world_model or activations/tokenizer"
        )


def check_comparison(columns: Mapping[str, str], horizontal: str, curve: str) -> None:
    """Refuse what cannot be compared, before anything is run.

    Raises:
        ValueError: An address that names nothing, or a title that is no column.
    """
    for address in columns.values():
        check_address(address)
    if horizontal and (horizontal not in columns or len(columns) < 2):
        raise ValueError(
            f"comparison.horizontal={horizontal!r} must be the title of one of at least two "
            f"columns; there are: {', '.join(columns) or 'none'}"
        )
    if curve:
        check_address(curve)
        if not curve.startswith("log/"):
            raise ValueError(f"comparison.curve={curve!r} must be logged: log/STAGE/NAME")
