"""The folder of a dataset at or below a path, by the names of its files; opens none of them."""

from pathlib import Path

FEATURES_FILE, INFO_FILE = "features.json", "dataset_info.json"
LEROBOT_INFO = "meta/info.json"
"""The file that describes a LeRobot folder."""
_SEARCH_DEPTH = 2
_LISTED = 8


def find_dataset_folder(path: Path) -> Path:
    """The only LeRobot or RLDS folder at a path or at most two levels below.

    Raises:
        FileNotFoundError: There is nothing, or no dataset in it.
        ValueError: There are several datasets or versions.
    """
    return find_lerobot_folder(path) or find_version_folder(path)


def find_version_folder(path: Path) -> Path:
    """The folder with features.json: `path` itself, or the only one at most two levels below.

    Raises:
        FileNotFoundError: There is nothing, or no dataset in it.
        ValueError: There are several datasets or versions.
    """
    if not path.is_dir():
        reason = "is a file" if path.exists() else "does not exist"
        raise FileNotFoundError(
            f"data.path={path} {reason}; give the folder of an RLDS dataset, the one that holds "
            f"{FEATURES_FILE} and the shards"
        )
    for depth in range(_SEARCH_DEPTH + 1):
        found = sorted(file.parent for file in path.glob("*/" * depth + FEATURES_FILE))
        found = [folder for folder in found if not _is_hidden(folder, path)]
        if len(found) > 1:
            names = ", ".join(str(folder) for folder in found)
            raise ValueError(
                f"data.path={path} holds {len(found)} datasets or versions; choose one of {names}"
            )
        if found:
            return found[0]
    if (path / LEROBOT_INFO).exists():
        raise FileNotFoundError(
            f"data.path={path} is not an RLDS dataset: it is a LeRobot dataset, which "
            "genie_robo.data.formats.open_dataset and LeRobotDataset open"
        )
    content = sorted(item.name for item in path.iterdir())
    inside = f"it holds {', '.join(content[:_LISTED])}" if content else "it is empty"
    raise FileNotFoundError(
        f"data.path={path} is not an RLDS dataset: no {FEATURES_FILE} in it or up to "
        f"{_SEARCH_DEPTH} folders below, and no {LEROBOT_INFO} of LeRobot ({inside}); give the "
        f"folder that holds {FEATURES_FILE}, {INFO_FILE} and the shards"
    )


def find_lerobot_folder(path: Path) -> Path | None:
    """The folder with meta/info.json: `path`, or the only one at most two levels below.

    Raises:
        ValueError: There are several.
    """
    for depth in range(_SEARCH_DEPTH + 1):
        files = sorted(path.glob("*/" * depth + LEROBOT_INFO))
        found = [file.parent.parent for file in files if not _is_hidden(file, path)]
        if len(found) > 1:
            names = ", ".join(map(str, found))
            raise ValueError(
                f"data.path={path} holds {len(found)} LeRobot datasets; choose one of {names}"
            )
        if found:
            return found[0]
    return None


def _is_hidden(found: Path, below: Path) -> bool:
    """Whether it is inside a folder that is still being written."""
    return any(part.startswith(".") for part in found.relative_to(below).parts)
