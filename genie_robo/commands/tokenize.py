"""`genie-robo tokenize`: the training windows of a run as tokens, in a memory-mapped store."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from genie_robo.commands.base import Command
from genie_robo.config import TokenizeConfig
from genie_robo.run_folder import RunFolder

if TYPE_CHECKING:
    import numpy as np
    from lightning_fabric import Fabric

    from genie_robo.data.mixture import MixedWindows
    from genie_robo.data.tokens import TokenManifest, TokenStoreWriter
    from genie_robo.models.tokenizer import VideoTokenizer

_log = logging.getLogger(__name__)


def run(config: TokenizeConfig) -> None:
    """Tokenise what is missing; under torchrun every process takes its share."""
    from genie_robo.build import build_datasets, build_tokenizer, build_training_windows
    from genie_robo.checkpoint import load_weights, weights_digest
    from genie_robo.config import TrainConfig
    from genie_robo.config_file import read_config
    from genie_robo.data.tokens import TokenStore, TokenStoreWriter, begin_store
    from genie_robo.train.engine import make_fabric

    folder = RunFolder.at(config.run)
    trained = read_config(folder, TrainConfig)
    tokenizer = build_tokenizer(trained.model, trained.data)
    load_weights(folder, "tokenizer", tokenizer)
    fabric = make_fabric(trained.engine)
    fabric.to_device(tokenizer.eval())
    windows = build_training_windows(
        trained.data, build_datasets(trained.data), num_frames=trained.world_model.num_frames
    )
    weights = weights_digest(folder, "tokenizer")
    if folder.tokens.exists():
        TokenStore(folder.tokens, tokenizer=weights, windows=windows.fingerprint)
        _log.info("%s is complete already", folder.tokens)
        return
    manifest = _manifest(weights, windows, tokenizer, trained.world_model.num_frames)
    if fabric.is_global_zero:
        begin_store(folder.tokens, manifest)
    fabric.barrier()
    writer = TokenStoreWriter(folder.tokens, rank=fabric.global_rank)
    _write_share(writer, windows, _encoder(tokenizer, fabric), fabric)
    fabric.barrier()
    if fabric.is_global_zero:
        writer.finish()


def _write_share(
    writer: "TokenStoreWriter",
    windows: "MixedWindows",
    encode: "Callable[[np.ndarray], np.ndarray]",
    fabric: "Fabric",
) -> None:
    """Write this process's chunks; the first process draws how far it is with its own."""
    from genie_robo.data.tokens import write_chunks
    from genie_robo.progress import progress_bar

    rank, world_size = fabric.global_rank, fabric.world_size
    share = writer.manifest.share(rank, world_size)
    num_windows = {number: len(writer.manifest.chunk(number)) for number in share}
    with progress_bar(
        "tokenize",
        total=sum(num_windows.values()),
        completed=sum(num_windows[number] for number in writer.done.intersection(share)),
        unit="windows",
        visible=fabric.is_global_zero,
    ) as advance:
        write_chunks(writer, windows, encode, rank=rank, world_size=world_size, advance=advance)


def _manifest(
    weights: str, windows: "MixedWindows", tokenizer: "VideoTokenizer", num_frames: int
) -> "TokenManifest":
    from genie_robo.data.tokens import TokenManifest

    return TokenManifest(
        tokenizer=weights,
        windows=windows.fingerprint,
        num_codes=tokenizer.num_codes,
        num_windows=len(windows),
        num_frames=num_frames,
        tokens_per_frame=tokenizer.tokens_per_frame,
    )


def _encoder(tokenizer: "VideoTokenizer", fabric: "Fabric") -> "Callable[[np.ndarray], np.ndarray]":
    """Video in bytes to tokens, in the arithmetic of training."""
    import torch

    from genie_robo.types import video_to_float

    @torch.no_grad()
    def encode(video: "np.ndarray") -> "np.ndarray":
        pixels = video_to_float(fabric.to_device(torch.from_numpy(video)))
        with fabric.autocast():
            return tokenizer.encode(pixels).cpu().numpy()

    return encode


COMMAND = Command(
    name="tokenize",
    summary="store the tokens of a run's training windows, so that training only reads them",
    config=TokenizeConfig,
    run=run,
    details=(
        "Writes RUN/tokens once the tokenizer is trained; `train` with stage=world_model then "
        "reads tokens from there instead of making them for every batch, and gets the same ones. "
        "The store appears when it is complete, an interrupted one goes on, and under torchrun "
        "every process takes its share."
    ),
    examples=(
        "genie-robo tokenize run=runs/demo",
        "torchrun --nproc-per-node 8 -m genie_robo tokenize run=runs/big",
    ),
)
