"""Files of pretrained weights that a user names, checked by their sha256. Imports no torch."""

import hashlib
from pathlib import Path

I3D_BYTES = 51_235_320
I3D_SHA256 = "bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2"
"""sha256 of i3d_torchscript.pt, the network that defines FVD."""


def check_weights(path: str, *, sha256: str, name: str) -> Path:
    """The file of weights, after a check of its sha256.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: Its sha256 differs.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"there are no weights for {name} at {path}")
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != sha256.lower():
        raise ValueError(
            f"{path} is not the file that {name} is defined with: its sha256 is {found}, wanted "
            f"{sha256}. Without it leave the path empty and read the random_conv measures"
        )
    return file
