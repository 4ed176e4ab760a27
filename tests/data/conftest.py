import os
from pathlib import Path

import pytest
from rlds_files import table_episode, write_rlds

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture(autouse=True)
def cache_home(tmp_path_factory, monkeypatch) -> Path:
    """Nothing is written into the real user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture
def read_only():
    """Take write permission from folders until the test is over."""
    folders = []

    def protect(folder: Path) -> None:
        folder.chmod(0o555)
        folders.append(folder)

    yield protect
    for folder in folders:
        folder.chmod(0o755)


@pytest.fixture(scope="session")
def table(tmp_path_factory) -> Path:
    """Ten episodes of 3 to 12 steps in two tfrecord shards."""
    episodes = [table_episode(3 + i, tag=10 * i) for i in range(10)]
    return write_rlds(tmp_path_factory.mktemp("rlds"), {"train": [episodes[:5], episodes[5:]]})


@pytest.fixture(scope="session")
def bridge() -> Path:
    return _shared("octo_bridge_debug")


@pytest.fixture(scope="session")
def droid() -> Path:
    return _shared("derived_rlds")


@pytest.fixture(scope="session")
def g1() -> Path:
    return _shared("g1_bottle_lerobot")


def _shared(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"real robot data is not there: {os.fspath(folder)}; see docs/data.md")
    return folder
