"""The metadata of a dataset, by the format of its folder. Reads no episode, imports no torch."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from genie_robo.command_line import is_address
from genie_robo.data.folders import FEATURES_FILE, INFO_FILE, find_lerobot_folder
from genie_robo.data.lerobot_layout import open_lerobot_schema
from genie_robo.data.remote import RemoteFolder
from genie_robo.data.schema import MAX_JSON_BYTES, Schema, open_schema


def open_folder(path: Path | str, rlds_splits: Sequence[str] = (), shards: str = "") -> Schema:
    """The schema of a LeRobot folder where `path` has one, else of an RLDS folder.

    `path` may be the address of an RLDS folder; see `open_schema` for the others.

    Raises:
        FileNotFoundError: There is no dataset.
        ValueError: Its metadata is damaged, a split is unknown, or there are several datasets.
    """
    if isinstance(path, str) and is_address(path):
        return _open_remote(path, rlds_splits, shards)
    path = Path(path)
    folder = find_lerobot_folder(path) if path.is_dir() else None
    if folder is None:
        return open_schema(path, rlds_splits, shards)
    if shards:
        raise ValueError(
            f"data.shards={shards} numbers the shards of RLDS, but {folder} is a LeRobot dataset, "
            "whose episodes are read from the files that meta/ lists; leave it out"
        )
    if rlds_splits:
        raise ValueError(
            f"data.rlds_splits={', '.join(rlds_splits)} names splits of RLDS, but {folder} is a "
            "LeRobot dataset, whose episodes are always pooled; leave it out"
        )
    return open_lerobot_schema(folder)


def _open_remote(address: str, rlds_splits: Sequence[str], shards: str) -> Schema:
    """The schema of an RLDS folder elsewhere; its two JSON files are fetched anew."""
    remote = RemoteFolder(address)
    for name in (FEATURES_FILE, INFO_FILE):
        if not remote.fetch_text(name, max_bytes=MAX_JSON_BYTES):
            raise FileNotFoundError(
                f"data.path={remote.name} has no {name}; give the address of the RLDS folder that "
                f"holds {FEATURES_FILE}, {INFO_FILE} and the shards, such as .../1.0.0. Other "
                "datasets, such as those of LeRobot, are read from a local folder"
            )
    with remote.named():
        return replace(open_schema(remote.folder, rlds_splits, shards), remote=remote)
