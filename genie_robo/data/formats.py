"""The episodes of a folder, by its format: RLDS or LeRobot."""

from collections.abc import Sequence
from pathlib import Path

from genie_robo.data.dataset import EpisodeDataset
from genie_robo.data.index import DatasetIndex, build_index
from genie_robo.data.lerobot import LeRobotDataset, build_lerobot_index
from genie_robo.data.lerobot_layout import LeRobotSchema
from genie_robo.data.metadata import open_folder
from genie_robo.data.rlds import RldsDataset
from genie_robo.data.schema import Schema
from genie_robo.data.settings import Source


def index_folder(schema: Schema, keys: Sequence[str] = ()) -> DatasetIndex:
    """All episodes of a folder, with the columns `keys` checked.

    Raises:
        FileNotFoundError: A shard of an RLDS folder is missing.
        ValueError: A shard is damaged, or there are no episodes.
    """
    if isinstance(schema, LeRobotSchema):
        return build_lerobot_index(schema, keys=keys)
    return build_index(schema, keys=keys)


def open_dataset(
    path: Path | str | Schema,
    source: Source,
    *,
    rlds_splits: Sequence[str] = (),
    shards: str = "",
    bad_episode_limit: float = 0.01,
) -> EpisodeDataset:
    """The episodes of an RLDS or LeRobot folder, see `RldsDataset` and `LeRobotDataset`.

    Raises:
        FileNotFoundError: There is no dataset, or a file that it needs is missing.
        KeyError: The source names a key that is not there.
        ValueError: A file is damaged, the source does not fit, or too many episodes are
            unreadable.
    """
    schema = path if isinstance(path, Schema) else open_folder(path, rlds_splits, shards)
    if isinstance(schema, LeRobotSchema):
        return LeRobotDataset(schema, source, bad_episode_limit=bad_episode_limit)
    return RldsDataset(schema, source, bad_episode_limit=bad_episode_limit)
