import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rlds_files import open_table

from genie_robo.data.loader import WindowLoader
from genie_robo.data.tokens import (
    CHUNK,
    TokenizedWindows,
    TokenManifest,
    TokenStore,
    TokenStoreWriter,
    begin_store,
    write_chunks,
)
from genie_robo.data.windows import WindowDataset

MANIFEST = TokenManifest(
    tokenizer="weights-a",
    windows="windows-a",
    num_codes=100,
    num_windows=2 * CHUNK + 5,
    num_frames=3,
    tokens_per_frame=4,
)


def tokens_of(chunk: int, manifest: TokenManifest = MANIFEST) -> np.ndarray:
    shape = (len(manifest.chunk(chunk)), *manifest.shape[1:])
    return np.random.default_rng(chunk).integers(0, manifest.num_codes, shape)


def begin(path, manifest: TokenManifest = MANIFEST) -> TokenStoreWriter:
    begin_store(path, manifest)
    return TokenStoreWriter(path)


def fill(path, manifest: TokenManifest = MANIFEST) -> None:
    writer = begin(path, manifest)
    for chunk in range(manifest.num_chunks):
        writer.write(chunk, tokens_of(chunk, manifest))
    writer.finish()


def open_store(path, **changes) -> TokenStore:
    return TokenStore(path, **({"tokenizer": "weights-a", "windows": "windows-a"} | changes))


def test_tokens_come_back(tmp_path):
    fill(tmp_path / "tokens")
    store = open_store(tmp_path / "tokens")
    assert len(store) == 2 * CHUNK + 5
    assert store.manifest == MANIFEST
    everything = np.concatenate([tokens_of(chunk) for chunk in range(3)])
    for k in (0, CHUNK - 1, CHUNK, 2 * CHUNK + 4):
        np.testing.assert_array_equal(store[k], everything[k])
        assert store[k].dtype == np.uint16
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["manifest.json", "tokens", "tokens.npy"]


def test_a_pickled_store_maps_the_same_file(tmp_path):
    fill(tmp_path / "tokens")
    store = open_store(tmp_path / "tokens")
    stored = pickle.dumps(store)
    assert len(stored) < 1000
    np.testing.assert_array_equal(pickle.loads(stored)[CHUNK], store[CHUNK])


@settings(max_examples=20)
@given(
    num_windows=st.integers(1, 3 * CHUNK),
    num_codes=st.sampled_from([2, 65_536, 65_537, 1 << 20]),
    order=st.randoms(),
)
def test_any_order_and_size(tmp_path_factory, num_windows, num_codes, order):
    path = tmp_path_factory.mktemp("store") / "tokens"
    manifest = replace(MANIFEST, num_codes=num_codes, num_windows=num_windows)
    writer = begin(path, manifest)
    for chunk in order.sample(range(manifest.num_chunks), manifest.num_chunks):
        writer.write(chunk, tokens_of(chunk, manifest))
    writer.finish()
    store = open_store(path)
    np.testing.assert_array_equal(store[0], tokens_of(0, manifest)[0])
    np.testing.assert_array_equal(store[-1], tokens_of(manifest.num_chunks - 1, manifest)[-1])
    assert store[0].dtype == (np.uint16 if num_codes <= 65_536 else np.uint32)


def test_an_interrupted_writer_goes_on(tmp_path):
    path = tmp_path / "tokens"
    begin(path).write(1, tokens_of(1))
    assert not path.exists()
    second = begin(path)
    assert second.done == {1}
    second.write(0, tokens_of(0))
    second.write(2, tokens_of(2))
    second.finish()
    np.testing.assert_array_equal(open_store(path)[CHUNK], tokens_of(1)[0])


def test_a_half_written_line_is_a_chunk_not_done(tmp_path):
    begin(tmp_path / "tokens").write(0, tokens_of(0))
    with (tmp_path / ".tokens.partial" / "done_0.txt").open("a") as file:
        file.write("1")
    assert begin(tmp_path / "tokens").done == {0}


def test_a_store_that_was_hardly_begun_is_begun_again(tmp_path):
    partial = tmp_path / ".tokens.partial"
    partial.mkdir()
    (partial / "tokens.npy").write_bytes(b"cut short")
    fill(tmp_path / "tokens")
    assert len(open_store(tmp_path / "tokens")) == MANIFEST.num_windows


def test_a_begun_store_whose_file_was_cut_is_named(tmp_path):
    begin(tmp_path / "tokens")
    (tmp_path / ".tokens.partial" / "tokens.npy").write_bytes(b"cut short")
    with pytest.raises(ValueError, match=r"\.tokens\.partial is damaged"):
        begin(tmp_path / "tokens")


def test_nothing_half_written_is_opened(tmp_path):
    writer = begin(tmp_path / "tokens")
    writer.write(0, tokens_of(0))
    with pytest.raises(FileNotFoundError, match="is no token store; make it with genie-robo token"):
        open_store(tmp_path / "tokens")
    with pytest.raises(ValueError, match="is not complete: 2 of 3 chunks are missing"):
        writer.finish()
    assert not (tmp_path / "tokens").exists()


def test_a_finished_store_is_not_written_over(tmp_path):
    fill(tmp_path / "tokens")
    with pytest.raises(FileExistsError, match="is there already; delete it to make its tokens aga"):
        begin(tmp_path / "tokens")


def test_going_on_with_another_tokenizer(tmp_path):
    begin(tmp_path / "tokens")
    with pytest.raises(ValueError, match="was made from something else") as caught:
        begin(tmp_path / "tokens", replace(MANIFEST, tokenizer="weights-b", num_windows=9))
    assert "tokenizer weights-a instead of weights-b, num_windows" in str(caught.value)
    assert "delete the folder and run genie-robo tokenize again" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokenizer": "weights-b"}, "tokenizer weights-a instead of weights-b"),
        ({"windows": "windows-b"}, "windows windows-a instead of windows-b"),
    ],
)
def test_a_store_of_something_else_is_refused(tmp_path, changes, message):
    fill(tmp_path / "tokens")
    with pytest.raises(ValueError, match=message):
        open_store(tmp_path / "tokens", **changes)


def test_a_store_of_another_format_is_refused(tmp_path):
    fill(tmp_path / "tokens", replace(MANIFEST, store_format=0))
    with pytest.raises(ValueError, match="store_format 0 instead of 2"):
        open_store(tmp_path / "tokens")


@pytest.mark.parametrize(
    "tokens",
    [
        np.zeros((CHUNK, 3, 5), int),
        np.zeros((CHUNK - 1, 3, 4), int),
        np.full((CHUNK, 3, 4), 100),
        np.full((CHUNK, 3, 4), -1),
    ],
)
def test_tokens_that_do_not_fit(tmp_path, tokens):
    writer = begin(tmp_path / "tokens")
    with pytest.raises(ValueError, match=r"chunk 0 must have \(64, 3, 4\) tokens from 0 to 99, go"):
        writer.write(0, tokens)
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
    for content in ("{", "[]", json.dumps({"num_codes": 1})):
        manifest.write_text(content)
        with pytest.raises(ValueError, match=r"is damaged: manifest.json cannot be read"):
            open_store(tmp_path / "tokens")


def grey_tokens(video: np.ndarray) -> np.ndarray:
    """A stand-in for a tokenizer: four times the level of the frame."""
    return np.repeat(video[..., 0, 0, :1], 4, axis=-1).astype(int) % 100


def test_ranks_write_one_store_and_windows_carry_its_tokens(tmp_path, table):
    windows = WindowDataset(open_table(table), range(10), num_frames=3, image_size=(8, 8))
    path = tmp_path / "tokens"
    begin_store(path, replace(MANIFEST, num_windows=len(windows), windows=windows.fingerprint))
    writers = [TokenStoreWriter(path, rank=rank) for rank in range(2)]
    for rank in (1, 0):
        write_chunks(writers[rank], windows, grey_tokens, rank=rank, world_size=2)
    writers[0].finish()

    tokenized = TokenizedWindows(windows, open_store(path, windows=windows.fingerprint))
    stream = iter(WindowLoader(tokenized, batch_size=6, seed=0))
    batch = next(stream)
    stream.close()
    np.testing.assert_array_equal(batch.tokens.numpy(), grey_tokens(batch.video.numpy()))
    plain = iter(WindowLoader(windows, batch_size=6, seed=0))
    assert next(plain).episode_ids == batch.episode_ids
    plain.close()


def test_a_store_of_fewer_windows(tmp_path, table):
    windows = WindowDataset(open_table(table), range(10), num_frames=3, image_size=(8, 8))
    fill(tmp_path / "tokens")
    with pytest.raises(ValueError, match=r"holds 133 windows, not \d+"):
        TokenizedWindows(windows, open_store(tmp_path / "tokens"))
