"""A dataset's tokens in one memory-mapped file, so that training need not tokenize again.

A store is a folder: manifest.json says what made it and where each episode begins, tokens.npy
holds one row per frame. It is written beside its place and moved there when it is complete.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Integer

from genie_robo.run_folder import write_atomic

STORE_FORMAT = 1
_MANIFEST, _TOKENS, _DONE = "manifest.json", "tokens.npy", "done.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenManifest:
    """What a token store holds and what made it."""

    tokenizer: str
    """Fingerprint of the tokenizer's weights."""
    dataset: str
    """Fingerprint of the dataset and of how its frames were made."""
    num_codes: int
    tokens_per_frame: int
    episode_ids: tuple[str, ...]
    lengths: tuple[int, ...]
    """Frames per episode."""
    store_format: int = STORE_FORMAT

    @property
    def dtype(self) -> type[np.unsignedinteger]:
        """The smallest of uint16 and uint32 that holds a token."""
        return np.uint16 if self.num_codes <= np.iinfo(np.uint16).max + 1 else np.uint32

    @property
    def ends(self) -> list[int]:
        """Row behind each episode's last frame."""
        return np.cumsum(self.lengths, dtype=int).tolist()


class TokenStoreWriter:
    """Writes a token store episode by episode; goes on where an interrupted one stopped."""

    def __init__(self, path: Path, manifest: TokenManifest) -> None:
        """Begin a store, or go on with one.

        Args:
            path: Folder of the finished store; it appears when the store is complete.
            manifest: What the store will hold.

        Raises:
            FileExistsError: A finished store is there.
            ValueError: An unfinished one with another manifest is there.
        """
        if path.exists():
            raise FileExistsError(f"{path} is there already; delete it to make its tokens again")
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")
        self._manifest = manifest
        if (self._partial / _MANIFEST).exists():
            _check_same(self._partial, _read_manifest(self._partial), manifest)
            self._tokens = np.lib.format.open_memmap(self._partial / _TOKENS, mode="r+")
        else:
            self._tokens = self._begin()

    @property
    def done(self) -> frozenset[int]:
        """Numbers of the episodes that are written."""
        file = self._partial / _DONE
        lines = file.read_text().split("\n")[:-1] if file.exists() else []
        return frozenset(int(line) for line in lines)

    def write(self, e: int, tokens: Integer[np.ndarray, "t s"]) -> None:
        """Write the tokens of the e-th episode.

        Raises:
            ValueError: Their shape or values do not fit the manifest.
        """
        manifest = self._manifest
        shape = (manifest.lengths[e], manifest.tokens_per_frame)
        if tokens.shape != shape or tokens.min() < 0 or tokens.max() >= manifest.num_codes:
            raise ValueError(
                f"episode {e} must have {shape} tokens from 0 to {manifest.num_codes - 1}, got "
                f"{tokens.shape} from {tokens.min()} to {tokens.max()}"
            )
        end = manifest.ends[e]
        self._tokens[end - shape[0] : end] = tokens
        self._tokens.flush()
        with (self._partial / _DONE).open("a") as file:
            file.write(f"{e}\n")
            file.flush()
            os.fsync(file.fileno())

    def finish(self) -> None:
        """Move the complete store to its place.

        Raises:
            ValueError: Episodes are missing.
        """
        missing = set(range(len(self._manifest.lengths))) - self.done
        if missing:
            raise ValueError(
                f"the token store {self._path} is not complete: {len(missing)} of "
                f"{len(self._manifest.lengths)} episodes are missing"
            )
        (self._partial / _DONE).unlink()
        self._partial.replace(self._path)

    def _begin(self) -> np.memmap:
        """An empty store; the manifest comes last, so what lacks one counts as not begun."""
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir(parents=True)
        tokens = np.lib.format.open_memmap(
            self._partial / _TOKENS,
            mode="w+",
            dtype=self._manifest.dtype,
            shape=(sum(self._manifest.lengths), self._manifest.tokens_per_frame),
        )
        write_atomic(self._partial / _MANIFEST, json.dumps(asdict(self._manifest)))
        return tokens


class TokenStore:
    """Tokens by episode, read from disk as they are needed."""

    def __init__(self, path: Path, *, tokenizer: str, dataset: str) -> None:
        """Open a finished store.

        Args:
            path: Its folder.
            tokenizer: Fingerprint of the tokenizer that must have made it.
            dataset: Fingerprint of the dataset it must hold.

        Raises:
            FileNotFoundError: There is no finished store.
            ValueError: It was made from something else, or is damaged.
        """
        if not (path / _MANIFEST).exists():
            raise FileNotFoundError(f"{path} is no token store; make it with genie-robo tokenize")
        self.manifest = _read_manifest(path)
        _check_made_from(path, self.manifest, tokenizer=tokenizer, dataset=dataset)
        rows = (sum(self.manifest.lengths), self.manifest.tokens_per_frame)
        try:
            self._tokens = np.load(path / _TOKENS, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(_damaged(path, str(error))) from error
        if self._tokens.shape != rows or self._tokens.dtype != self.manifest.dtype:
            raise ValueError(_damaged(path, f"{_TOKENS} has shape {self._tokens.shape}"))
        self._ends = self.manifest.ends

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, e: int) -> Integer[np.ndarray, "t s"]:
        """Tokens of the e-th episode, not copied."""
        end = self._ends[e]
        return self._tokens[end - self.manifest.lengths[e] : end]


def _read_manifest(folder: Path) -> TokenManifest:
    try:
        content = json.loads((folder / _MANIFEST).read_text())
        content |= {key: tuple(content[key]) for key in ("episode_ids", "lengths")}
        return TokenManifest(**content)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(_damaged(folder, f"{_MANIFEST} cannot be read ({error})")) from error


def _check_made_from(path: Path, manifest: TokenManifest, *, tokenizer: str, dataset: str) -> None:
    wanted = {"tokenizer": tokenizer, "dataset": dataset, "store_format": STORE_FORMAT}
    _refuse(path, {k: (getattr(manifest, k), v) for k, v in wanted.items()})


def _check_same(path: Path, there: TokenManifest, wanted: TokenManifest) -> None:
    old, new = asdict(there), asdict(wanted)
    _refuse(path, {key: (old[key], new[key]) for key in new})


def _refuse(path: Path, values: dict[str, tuple[object, object]]) -> None:
    """Raise when a value that is there differs from the one that is wanted."""
    differences = [
        f"{key} {old} instead of {new}" if isinstance(new, str | int) else f"other {key}"
        for key, (old, new) in values.items()
        if old != new
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
