"""The first bytes of a recording, checked without importing Rerun."""

from importlib.metadata import version
from pathlib import Path

_MAGIC = b"RRF2"


def check_header(path: Path) -> None:
    """Refuse what the installed Rerun cannot read.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no Rerun recording, or was made by a newer Rerun than the installed one.
    """
    if not path.is_file():
        raise FileNotFoundError(f"recording {path} does not exist")
    with path.open("rb") as file:
        header = file.read(8)
    if header[:4] != _MAGIC:
        raise ValueError(
            f"{path} is not a Rerun recording: it begins with {header[:4]!r} instead of "
            f"{_MAGIC!r}; move it out of the folder or record it again"
        )
    installed = version("rerun-sdk")
    written_by = tuple(header[4:6])
    if written_by > tuple(int(part) for part in installed.split(".")[:2]):
        wanted = ".".join(map(str, written_by))
        raise ValueError(
            f"recording {path} was written by Rerun {wanted}, newer than the installed "
            f"{installed}; view it with `pip install rerun-sdk=={wanted}.*` in an "
            f"environment of its own"
        )
