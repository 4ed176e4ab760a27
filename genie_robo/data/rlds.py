"""The dataset of an RLDS folder."""

from collections.abc import Sequence
from pathlib import Path

from genie_robo.data.dataset import EpisodeDataset
from genie_robo.data.index import build_index
from genie_robo.data.schema import Schema, open_schema
from genie_robo.data.settings import Source
from genie_robo.data.sources import check_source, source_keys


class RldsDataset(EpisodeDataset):
    """The episodes of an RLDS folder: every `dataset[i]` reads one record."""

    def __init__(
        self,
        path: Path | Schema,
        source: Source,
        *,
        rlds_splits: Sequence[str] = (),
        shards: str = "",
        bad_episode_limit: float = 0.01,
    ) -> None:
        """Open a dataset.

        Args:
            path: Folder with features.json, or one above a single version folder; or its schema,
                which has the splits.
            source: Which keys are the camera, the action and so on.
            rlds_splits: RLDS splits to pool, whole or in part as `train[:3shards]`; empty takes
                all.
            shards: Numbers of shards to use, see `open_schema`.
            bad_episode_limit: Share of unreadable episodes above which opening or reading fails.

        Raises:
            FileNotFoundError: There is no dataset, or a shard is missing.
            KeyError: The source names a key that is not there.
            ValueError: A shard is damaged, the source does not fit, or too many episodes are
                unreadable.
        """
        schema = path if isinstance(path, Schema) else open_schema(path, rlds_splits, shards)
        source = schema.complete(source)
        check_source(source, schema.features)
        index = build_index(schema, keys=source_keys(source))
        super().__init__(index, source, bad_episode_limit=bad_episode_limit)
