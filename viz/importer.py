"""What `rerun PATH` shows of a run or a dataset: the rules of our importer for the Rerun viewer.

The viewer starts every executable on PATH whose name begins with `rerun-importer-`, with the path
and `--application-id NAME --recording-id ID`. It shows what the importer writes to standard output;
status 66 means that the importer does not handle the path. Given a folder, the viewer also loads
each file in it: recordings, images and texts by itself, every other file through the importers. An
importer that succeeds without output accepts a file silently; a file that no importer accepts is
reported as an error.

Nothing heavy is imported here: a folder of a hundred files starts this a hundred times.
"""

import re
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from genie_robo.run_folder import RunFolder

OK, FAILED, NOT_OURS = 0, 1, 66
_RLDS_FILES = ("features.json", "dataset_info.json")
_LEROBOT_FILE = "meta/info.json"
_SEARCH_DEPTH = 2
_STEM = re.compile(r"(?<=.)\.[^.]*$")
"""The suffix that Rerun drops when it names an application after a file."""


class Kind(Enum):
    """What a path belongs to."""

    run = "run"
    dataset = "dataset"
    ours = "ours"
    """A file of a run or dataset that shows nothing by itself."""
    foreign = "foreign"


class Found(NamedTuple):
    """What was found at a path."""

    kind: Kind
    folder: Path
    """Of the run or dataset."""


def find(path: Path, *, application_id: str = "") -> Found:
    """What to show for a path.

    Args:
        path: What was opened, or a file below it.
        application_id: The viewer's suggestion, made from the name of what was opened; it
            distinguishes an opened file from one in an opened folder.
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
    is_rlds = all((folder / name).is_file() for name in _RLDS_FILES)
    return is_rlds or (folder / _LEROBOT_FILE).is_file()


def _datasets_below(folder: Path) -> list[Path]:
    """The datasets at a folder or at most two levels below."""
    found = (
        file.parents[name.count("/")]
        for depth in range(_SEARCH_DEPTH + 1)
        for name in (_RLDS_FILES[0], _LEROBOT_FILE)
        for file in sorted(folder.glob("*/" * depth + name))
    )
    return [dataset for dataset in found if _is_dataset(dataset)]


def _application_of(path: Path) -> str:
    """The application id of Rerun 0.41 for a file that is opened by itself."""
    return _STEM.sub("", path.name).replace(".", "_")
