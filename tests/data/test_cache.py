"""Where results about datasets are kept."""

from pathlib import Path

import pytest
from rlds_files import open_table, table_episode, write_rlds

from genie_robo.data.cache import cache_file, cache_folder, write_cache


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"GENIE_ROBO_CACHE": "/a/b", "XDG_CACHE_HOME": "/c"}, "/a/b"),
        ({"GENIE_ROBO_CACHE": "~/b"}, "/home/me/b"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/genie_robo"),
        ({"XDG_CACHE_HOME": "relative"}, "/home/me/.cache/genie_robo"),
        ({}, "/home/me/.cache/genie_robo"),
    ],
)
def test_the_folder(monkeypatch, variables, expected):
    for name, value in ({"GENIE_ROBO_CACHE": "", "XDG_CACHE_HOME": ""} | variables).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_folder() == Path(expected)


def test_without_a_home_nothing_is_kept(monkeypatch):
    def fail(self):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "expanduser", fail)
    assert not write_cache(cache_file("index", "a"), "{}")


@pytest.mark.parametrize("identity", ["../../x", "/etc/passwd", "a\0b", "x" * 5000, "\ud800", ""])
def test_a_name_never_becomes_a_path(cache_home, identity):
    file = cache_file("index", identity)
    assert file.parent == cache_home / "genie_robo"
    assert file.name.removeprefix("index_").removesuffix(".json").isalnum()
    assert len(file.name) == len("index_.json") + 16


def test_parts_of_an_identity_are_not_joined():
    assert cache_file("index", "ab", "c") != cache_file("index", "a", "bc")


def test_next_to_the_dataset_when_that_is_asked_for(tmp_path, monkeypatch):
    folder = write_rlds(tmp_path, {"train": [[table_episode(4)]]})
    monkeypatch.setenv("GENIE_ROBO_CACHE", str(folder))
    open_table(folder)
    assert len(list(folder.glob("index_*.json"))) == 1
