"""What `rerun PATH` gets from this package: an external importer of the Rerun viewer.

The viewer starts every executable on PATH whose name begins with `rerun-importer-`, with the path
and `--application-id NAME --recording-id ID`. What it writes to standard output is shown;
status 66 says that the path is somebody else's. Given a folder, the viewer also loads each file in
it: recordings, pictures and texts by itself, every other file through the importers. An importer
that ends well without output takes a file in silence; when none does, the viewer reports an error.

Nothing heavy is imported here: a folder of a hundred files starts this a hundred times.
"""

import re
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from genie_robo.run_folder import RunFolder

OK, FAILED, NOT_OURS = 0, 1, 66
_DATASET_FILES = ("features.json", "dataset_info.json")
_SEARCH_DEPTH = 2
_STEM = re.compile(r"(?<=.)\.[^.]*$")
"""What Rerun leaves out of a file's name when it names an application after it."""


class Kind(Enum):
    """Whose a path is."""

    run = "run"
    dataset = "dataset"
    ours = "ours"
    """A file of a run or dataset that says nothing by itself."""
    foreign = "foreign"


class Found(NamedTuple):
    """What a path that was opened means."""

    kind: Kind
    folder: Path
    """Of the run or dataset."""


def find(path: Path, *, application_id: str = "") -> Found:
    """What is to be shown for a path.

    Args:
        path: What was opened, or a file below it.
        application_id: The viewer's recommendation, made from the name of what was opened: this
            tells a file that was opened from one that lies in an opened folder.
    """
    path = path.resolve()
    if path.is_dir():
        datasets = _datasets_below(path)
        if datasets and not _is_run(path):
            return Found(Kind.dataset, datasets[0])
    for folder in (path, *path.parents):
        kind = _kind_of(folder)
        if kind is Kind.foreign:
            continue
        if not path.is_dir() and application_id == _application_of(path):
            return Found(kind, folder)
        return Found(Kind.ours, folder)
    return Found(Kind.foreign, path)


def _kind_of(folder: Path) -> Kind:
    if _is_run(folder):
        return Kind.run
    return Kind.dataset if _is_dataset(folder) else Kind.foreign


def _is_run(folder: Path) -> bool:
    run = RunFolder(folder)
    return run.config.is_file() and run.provenance.is_file()


def _is_dataset(folder: Path) -> bool:
    return all((folder / name).is_file() for name in _DATASET_FILES)


def _datasets_below(folder: Path) -> list[Path]:
    depths = ("/".join(["*"] * depth + [_DATASET_FILES[0]]) for depth in range(_SEARCH_DEPTH + 1))
    files = (file for pattern in depths for file in sorted(folder.glob(pattern)))
    return [file.parent for file in files if _is_dataset(file.parent)]


def _application_of(path: Path) -> str:
    """How Rerun 0.41 calls what it shows of a file that is opened by itself."""
    return _STEM.sub("", path.name).replace(".", "_")
