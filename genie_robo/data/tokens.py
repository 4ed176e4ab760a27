"""The tokens of training windows in one memory-mapped file, so that training need not tokenise.

A store is a folder: manifest.json describes what made it, tokens.npy holds the tokens of window k
in row k. The tokenizer is causal in time, so a frame has different tokens in overlapping windows
and all are stored, about the size of one JPEG frame per window. Any number of processes write to a
temporary folder, which is renamed when complete.
"""

import json
import math
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Integer

from genie_robo.data.loader import EpochOrder, MixedOrder, WindowSet
from genie_robo.disk_space import explaining_no_space
from genie_robo.run_folder import write_atomic
from genie_robo.stored_files import read_json
from genie_robo.types import Window

STORE_FORMAT = 2
CHUNK = 64
"""Windows written at once: the unit of work that is divided between processes."""

_MANIFEST, _TOKENS = "manifest.json", "tokens.npy"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenManifest:
    """What a token store holds and what made it."""

    tokenizer: str
    """Fingerprint of the tokenizer's weights."""
    windows: str
    """Fingerprint of the datasets and of how their windows and frames were made."""
    num_codes: int
    num_windows: int
    num_frames: int
    """Frames in a window."""
    tokens_per_frame: int
    store_format: int = STORE_FORMAT

    @property
    def dtype(self) -> type[np.unsignedinteger]:
        """The smallest of uint16 and uint32 that holds a token."""
        return np.uint16 if self.num_codes <= np.iinfo(np.uint16).max + 1 else np.uint32

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the stored array."""
        return (self.num_windows, self.num_frames, self.tokens_per_frame)

    @property
    def num_chunks(self) -> int:
        """Chunks of `CHUNK` windows, rounded up."""
        return -(-self.num_windows // CHUNK)

    def share(self, rank: int, world_size: int) -> range:
        """The chunks that one of `world_size` processes writes."""
        return range(rank, self.num_chunks, world_size)

    def chunk(self, number: int) -> range:
        """The windows of a chunk."""
        return range(number * CHUNK, min((number + 1) * CHUNK, self.num_windows))


def begin_store(path: Path, manifest: TokenManifest) -> None:
    """Create an empty temporary store, or keep an unfinished one.

    One process does this before the others open a `TokenStoreWriter`.

    Raises:
        FileExistsError: A finished store is there.
        ValueError: An unfinished one with another manifest is there.
    """
    if path.exists():
        raise FileExistsError(f"{path} is there already; delete it to make its tokens again")
    partial = _partial(path)
    if (partial / _MANIFEST).exists():
        _check_same(partial, _read_manifest(partial), asdict(manifest))
        return
    shutil.rmtree(partial, ignore_errors=True)
    num_bytes = math.prod(manifest.shape) * np.dtype(manifest.dtype).itemsize
    try:
        with explaining_no_space(path, num_bytes=num_bytes):
            partial.mkdir(parents=True)
            _reserve(partial / _TOKENS, manifest)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    # The manifest is written last: a folder without one counts as not started.
    write_atomic(partial / _MANIFEST, json.dumps(asdict(manifest)))


class TokenStoreWriter:
    """Writes chunks of an unfinished store. Several processes may write at once, each its own."""

    def __init__(self, path: Path, *, rank: int = 0) -> None:
        """Open a store that `begin_store` has created.

        Raises:
            ValueError: It is damaged.
        """
        self._path, self._partial = path, _partial(path)
        self.manifest = _read_manifest(self._partial)
        try:
            self._tokens = np.lib.format.open_memmap(self._partial / _TOKENS, mode="r+")
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(_damaged(self._partial, str(error))) from error
        self._done = self._partial / f"done_{rank}.txt"

    @property
    def done(self) -> frozenset[int]:
        """Numbers of the chunks that are written, by any process."""
        files = self._partial.glob("done_*.txt")
        lines = (line for file in files for line in file.read_text().split("\n")[:-1])
        return frozenset(int(line) for line in lines)

    def write(self, chunk: int, tokens: Integer[np.ndarray, "n t s"]) -> None:
        """Write the tokens of a chunk's windows.

        Raises:
            ValueError: Their shape or values do not fit the manifest.
        """
        manifest = self.manifest
        rows = manifest.chunk(chunk)
        shape = (len(rows), *manifest.shape[1:])
        if tokens.shape != shape or tokens.min() < 0 or tokens.max() >= manifest.num_codes:
            raise ValueError(
                f"chunk {chunk} must have {shape} tokens from 0 to {manifest.num_codes - 1}, got "
                f"{tokens.shape} from {tokens.min()} to {tokens.max()}"
            )
        self._tokens[rows.start : rows.stop] = tokens
        self._tokens.flush()
        line = f"{chunk}\n"
        with explaining_no_space(self._done, num_bytes=len(line)), self._done.open("a") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def finish(self) -> None:
        """Move the complete store to its place; one process does this after all have written.

        Raises:
            ValueError: Chunks are missing.
        """
        missing = set(range(self.manifest.num_chunks)) - self.done
        if missing:
            raise ValueError(
                f"the token store {self._path} is not complete: {len(missing)} of "
                f"{self.manifest.num_chunks} chunks are missing; run genie-robo tokenize again"
            )
        for file in self._partial.glob("done_*.txt"):
            file.unlink()
        self._partial.replace(self._path)


class TokenStore:
    """Tokens by window, read from disk as they are needed."""

    def __init__(self, path: Path, *, tokenizer: str, windows: str) -> None:
        """Open a finished store.

        Args:
            path: Its folder.
            tokenizer: Fingerprint of the tokenizer that must have made it.
            windows: Fingerprint of the windows it must hold.

        Raises:
            FileNotFoundError: There is no finished store.
            ValueError: It was made from something else, or is damaged.
        """
        if not (path / _MANIFEST).exists():
            raise FileNotFoundError(f"{path} is no token store; make it with genie-robo tokenize")
        self._path, self.manifest = path, _read_manifest(path)
        wanted = {"tokenizer": tokenizer, "windows": windows, "store_format": STORE_FORMAT}
        _check_same(path, self.manifest, wanted)
        try:
            self._tokens = np.load(path / _TOKENS, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(_damaged(path, str(error))) from error
        if self._tokens.shape != self.manifest.shape or self._tokens.dtype != self.manifest.dtype:
            raise ValueError(_damaged(path, f"{_TOKENS} has shape {self._tokens.shape}"))

    def __reduce__(self) -> tuple[Callable[[Path], "TokenStore"], tuple[Path]]:
        """Another process maps the file itself."""
        made_from = {"tokenizer": self.manifest.tokenizer, "windows": self.manifest.windows}
        return partial(TokenStore, **made_from), (self._path,)

    def __len__(self) -> int:
        return self.manifest.num_windows

    def __getitem__(self, k: int) -> Integer[np.ndarray, "t s"]:
        """Tokens of the k-th window, not copied."""
        return self._tokens[k]


class TokenizedWindows:
    """Windows with their tokens from a store."""

    def __init__(self, windows: WindowSet, store: TokenStore) -> None:
        """Join windows and the store that was made of them.

        Raises:
            ValueError: The store has another number of windows.
        """
        if len(windows) != len(store):
            raise ValueError(f"the token store holds {len(store)} windows, not {len(windows)}")
        self._windows, self._store = windows, store

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, k: int) -> Window:
        """The k-th window and its tokens."""
        return replace(self._windows[k], tokens=self._store[k].astype(np.int64))

    def order(self, seed: int) -> EpochOrder | MixedOrder:
        """The order of the windows."""
        return self._windows.order(seed)


def write_chunks(
    writer: TokenStoreWriter,
    windows: WindowSet,
    encode: Callable[[np.ndarray], np.ndarray],
    *,
    rank: int = 0,
    world_size: int = 1,
    advance: Callable[[int], None] = lambda _: None,
) -> None:
    """Tokenise the chunks of this rank that are not written yet.

    Args:
        writer: The store to write to.
        windows: Windows to tokenise.
        encode: Video `n t h w c` in bytes to tokens `n t s`.
        rank: This process, from 0.
        world_size: Number of processes.
        advance: Called with the number of windows of every chunk written.
    """
    done = writer.done
    for chunk in writer.manifest.share(rank, world_size):
        if chunk in done:
            continue
        rows = writer.manifest.chunk(chunk)
        writer.write(chunk, encode(np.stack([windows[k].video for k in rows])))
        advance(len(rows))


def _reserve(file: Path, manifest: TokenManifest) -> None:
    """Make the array file at its full size: a mapped write without space kills its process."""
    np.lib.format.open_memmap(file, mode="w+", dtype=manifest.dtype, shape=manifest.shape)
    if hasattr(os, "posix_fallocate"):
        with file.open("r+b") as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _read_manifest(folder: Path) -> TokenManifest:
    try:
        return TokenManifest(**read_json(folder / _MANIFEST))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(_damaged(folder, f"{_MANIFEST} cannot be read ({error})")) from error


def _check_same(path: Path, found: TokenManifest, wanted: Mapping[str, object]) -> None:
    """Raise when a wanted value differs from the one in the manifest."""
    old = asdict(found)
    differences = [
        f"{key} {old[key]} instead of {new}" for key, new in wanted.items() if old[key] != new
    ]
    if differences:
        raise ValueError(
            f"the token store {path} was made from something else: {', '.join(differences)}; "
            "delete the folder and run genie-robo tokenize again"
        )


def _damaged(path: Path, reason: str) -> str:
    return (
        f"the token store {path} is damaged: {reason}; delete the folder and run genie-robo "
        "tokenize again"
    )
