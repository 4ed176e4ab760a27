import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genie_robo.data.tokens import TokenManifest, TokenStore, TokenStoreWriter

MANIFEST = TokenManifest(
    tokenizer="weights-a",
    dataset="episodes-a",
    num_codes=100,
    tokens_per_frame=4,
    episode_ids=("one", "two", "three"),
    lengths=(2, 5, 3),
)


def tokens_of(e: int, manifest: TokenManifest = MANIFEST) -> np.ndarray:
    shape = (manifest.lengths[e], manifest.tokens_per_frame)
    return np.random.default_rng(e).integers(0, manifest.num_codes, shape)


def fill(path, manifest: TokenManifest = MANIFEST) -> None:
    writer = TokenStoreWriter(path, manifest)
    for e in range(len(manifest.lengths)):
        writer.write(e, tokens_of(e, manifest))
    writer.finish()


def open_store(path, **changes) -> TokenStore:
    return TokenStore(path, **({"tokenizer": "weights-a", "dataset": "episodes-a"} | changes))


def test_tokens_come_back(tmp_path):
    fill(tmp_path / "tokens")
    store = open_store(tmp_path / "tokens")
    assert len(store) == 3
    assert store.manifest == MANIFEST
    for e in range(3):
        np.testing.assert_array_equal(store[e], tokens_of(e))
        assert store[e].dtype == np.uint16
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["manifest.json", "tokens", "tokens.npy"]


@settings(deadline=None, max_examples=20)
@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=5),
    num_codes=st.sampled_from([2, 65_536, 65_537, 1 << 20]),
    order=st.randoms(),
)
def test_any_order_and_size(tmp_path_factory, lengths, num_codes, order):
    path = tmp_path_factory.mktemp("store") / "tokens"
    manifest = replace(
        MANIFEST,
        num_codes=num_codes,
        lengths=tuple(lengths),
        episode_ids=tuple(map(str, range(len(lengths)))),
    )
    writer = TokenStoreWriter(path, manifest)
    for e in order.sample(range(len(lengths)), len(lengths)):
        writer.write(e, tokens_of(e, manifest))
    writer.finish()
    store = open_store(path)
    for e in range(len(lengths)):
        np.testing.assert_array_equal(store[e], tokens_of(e, manifest))
    assert store[0].dtype == (np.uint16 if num_codes <= 65_536 else np.uint32)


def test_an_interrupted_writer_goes_on(tmp_path):
    path = tmp_path / "tokens"
    first = TokenStoreWriter(path, MANIFEST)
    first.write(1, tokens_of(1))
    del first
    assert not path.exists()
    second = TokenStoreWriter(path, MANIFEST)
    assert second.done == {1}
    second.write(0, tokens_of(0))
    second.write(2, tokens_of(2))
    second.finish()
    np.testing.assert_array_equal(open_store(path)[1], tokens_of(1))


def test_a_half_written_line_is_an_episode_not_done(tmp_path):
    writer = TokenStoreWriter(tmp_path / "tokens", MANIFEST)
    writer.write(0, tokens_of(0))
    with (tmp_path / ".tokens.partial" / "done.txt").open("a") as file:
        file.write("1")
    assert TokenStoreWriter(tmp_path / "tokens", MANIFEST).done == {0}


def test_a_store_that_was_hardly_begun_is_begun_again(tmp_path):
    partial = tmp_path / ".tokens.partial"
    partial.mkdir()
    (partial / "tokens.npy").write_bytes(b"cut short")
    fill(tmp_path / "tokens")
    assert len(open_store(tmp_path / "tokens")) == 3


def test_nothing_half_written_is_opened(tmp_path):
    writer = TokenStoreWriter(tmp_path / "tokens", MANIFEST)
    writer.write(0, tokens_of(0))
    with pytest.raises(FileNotFoundError, match="is no token store; make it with genie-robo token"):
        open_store(tmp_path / "tokens")
    with pytest.raises(ValueError, match="is not complete: 2 of 3 episodes are missing"):
        writer.finish()
    assert not (tmp_path / "tokens").exists()


def test_a_finished_store_is_not_written_over(tmp_path):
    fill(tmp_path / "tokens")
    with pytest.raises(FileExistsError, match="is there already; delete it to make its tokens aga"):
        TokenStoreWriter(tmp_path / "tokens", MANIFEST)


def test_going_on_with_another_tokenizer(tmp_path):
    TokenStoreWriter(tmp_path / "tokens", MANIFEST)
    changed = replace(MANIFEST, tokenizer="weights-b", lengths=(2, 5, 4))
    with pytest.raises(ValueError, match="was made from something else") as caught:
        TokenStoreWriter(tmp_path / "tokens", changed)
    assert "tokenizer weights-a instead of weights-b, other lengths" in str(caught.value)
    assert "delete the folder and run genie-robo tokenize again" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokenizer": "weights-b"}, "tokenizer weights-a instead of weights-b"),
        ({"dataset": "episodes-b"}, "dataset episodes-a instead of episodes-b"),
    ],
)
def test_a_store_of_something_else_is_refused(tmp_path, changes, message):
    fill(tmp_path / "tokens")
    with pytest.raises(ValueError, match=message):
        open_store(tmp_path / "tokens", **changes)


def test_a_store_of_another_format_is_refused(tmp_path):
    fill(tmp_path / "tokens", replace(MANIFEST, store_format=0))
    with pytest.raises(ValueError, match="store_format 0 instead of 1"):
        open_store(tmp_path / "tokens")


@pytest.mark.parametrize(
    ("e", "tokens"),
    [
        (0, np.zeros((3, 4), int)),
        (0, np.zeros((2, 5), int)),
        (0, np.full((2, 4), 100)),
        (0, np.full((2, 4), -1)),
    ],
)
def test_tokens_that_do_not_fit(tmp_path, e, tokens):
    writer = TokenStoreWriter(tmp_path / "tokens", MANIFEST)
    with pytest.raises(ValueError, match=r"episode 0 must have \(2, 4\) tokens from 0 to 99, got"):
        writer.write(e, tokens)
    assert writer.done == frozenset()


def test_damage_is_found(tmp_path):
    fill(tmp_path / "tokens")
    file = tmp_path / "tokens" / "tokens.npy"
    whole = file.read_bytes()
    for cut in (whole[:-1], whole[:20], b""):
        file.write_bytes(cut)
        with pytest.raises(ValueError, match="tokens is damaged"):
            open_store(tmp_path / "tokens")
    np.save(file, np.zeros((9, 4), np.uint16))
    with pytest.raises(ValueError, match=r"is damaged: tokens.npy has shape \(9, 4\)"):
        open_store(tmp_path / "tokens")
    manifest = tmp_path / "tokens" / "manifest.json"
    for content in ("{", "[]", json.dumps({"lengths": [1]})):
        manifest.write_text(content)
        with pytest.raises(ValueError, match=r"is damaged: manifest.json cannot be read"):
            open_store(tmp_path / "tokens")
