"""Addresses: which can be read, with which packages, and that their secrets are never shown."""

import re
import shutil

import pytest
from http_folder import Behaviour, serving
from rlds_files import make_source

from genie_robo.command_line import without_secrets
from genie_robo.data import remote as remote_module
from genie_robo.data.formats import open_dataset
from genie_robo.data.metadata import open_folder

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")


@pytest.fixture(autouse=True)
def no_wait(monkeypatch):
    monkeypatch.setattr(remote_module, "_WAIT_S", 0.01)


@pytest.fixture
def folder(table, tmp_path):
    return shutil.copytree(table, tmp_path / "1.0.0")


def read(address):
    return open_dataset(address, make_source())


def test_a_server_that_is_not_there():
    with pytest.raises(ConnectionError, match=r"127.0.0.1:9/x/features.json cannot be read"):
        read("http://127.0.0.1:9/x")


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("ftp://x/y", "ftp://x/y is not an address that can be read"),
        ("file:///x", "give a local folder without a protocol"),
        ("reference::https://x/y", "is not an address"),
        ("zip://a::https://x/y", "is not an address"),
    ],
)
def test_addresses_that_are_refused(address, wanted):
    with pytest.raises(ValueError, match=re.escape(wanted)):
        read(address)


def test_a_package_that_is_missing(monkeypatch):
    def lacks(protocol, **_):
        raise ImportError("no")

    monkeypatch.setattr(fsspec, "filesystem", lacks)
    with pytest.raises(ImportError, match=r"s3://b/x needs .* pip install s3fs"):
        read("s3://b/x")
    with pytest.raises(ImportError, match=r"pip install 'genie-robo\[remote\]'"):
        read("https://b/x")


class Private(Behaviour):
    """Wants a user, a signature, or both."""

    def __init__(self, wanted):
        self._wanted = wanted

    def status(self, handler):
        given = f"{handler.headers.get('Authorization', '')} {handler.path}"
        return 200 if self._wanted in given else 403


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        ("robot:secret@", "", "Basic cm9ib3Q6c2VjcmV0"),
        ("", "?token=secret&a=%2F", "?token=secret&a=%2F"),
    ],
    ids=["user", "signature"],
)
def test_secrets_are_sent_and_never_shown(folder, caplog, before, after, wanted):
    with serving(folder, Private(wanted)) as served:
        address = served.address.replace("//", f"//{before}") + after
        schema = open_folder(address)
        opened = read(address)
        assert opened.place == served.address
        assert opened.fingerprint == read(folder).fingerprint
        with pytest.raises(PermissionError, match=r"may not be read .* give a user") as refused:
            read(address.replace("secret", "sesame"))
        (folder / "features.json").unlink()
        with pytest.raises(FileNotFoundError) as missing:
            read(address)
    said = f"{refused.value}{missing.value}{caplog.text}{opened.place}{schema.remote}"
    assert "secret" not in said
    assert "sesame" not in said
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://u:p@h/a/b?sig=x#y", "https://h/a/b"),
        ("see 'https://h/a?t=1' and s3://b/c", "see 'https://h/a' and s3://b/c"),
        ("u@h/a?b", "u@h/a?b"),
        ("hf://datasets/x@main/y", "hf://datasets/x@main/y"),
    ],
)
def test_addresses_without_secrets(text, shown):
    assert without_secrets(text) == shown
