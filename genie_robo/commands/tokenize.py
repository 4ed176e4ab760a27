"""`genie-robo tokenize`: the training windows of a run as tokens, in a memory-mapped store."""

import logging

import numpy as np
import torch
from lightning_fabric import Fabric

from genie_robo.build import build_datasets, build_tokenizer, build_training_windows
from genie_robo.checkpoint import load_weights, weights_digest
from genie_robo.config import TokenizeConfig, TrainConfig
from genie_robo.config_file import read_config
from genie_robo.data.tokens import (
    TokenManifest,
    TokenStore,
    TokenStoreWriter,
    begin_store,
    write_chunks,
)
from genie_robo.data.windows import MixedWindows
from genie_robo.models.tokenizer import VideoTokenizer
from genie_robo.progress import progress_bar
from genie_robo.run_folder import RunFolder
from genie_robo.run_lock import only_writer
from genie_robo.run_paths import is_other, require_datasets, used_data
from genie_robo.train.engine import make_fabric
from genie_robo.trained_on import check_datasets
from genie_robo.types import video_to_float

_log = logging.getLogger(__name__)


def run(config: TokenizeConfig) -> None:
    """Tokenise what is missing; under torchrun the processes share the work."""
    folder = RunFolder.at(config.run)
    trained = read_config(folder, TrainConfig)
    tokenizer = build_tokenizer(trained.model, trained.data)
    load_weights(folder, "tokenizer", tokenizer)
    fabric = make_fabric(trained.engine)
    fabric.to_device(tokenizer.eval())
    num_frames = trained.world_model.num_frames
    data = used_data(trained, config.data)
    require_datasets(folder, data)
    datasets = build_datasets(data)
    if not config.other_dataset and not is_other(config.data):
        check_datasets(folder, data, datasets)
    windows = build_training_windows(data, datasets, num_frames=num_frames)
    with only_writer(folder):
        _tokenize(folder, tokenizer, windows, fabric)


def _tokenize(
    folder: RunFolder, tokenizer: VideoTokenizer, windows: MixedWindows, fabric: Fabric
) -> None:
    weights = weights_digest(folder, "tokenizer")
    if folder.tokens.exists():
        TokenStore(folder.tokens, tokenizer=weights, windows=windows.fingerprint)
        _log.info("%s is complete already", folder.tokens)
        return
    if fabric.is_global_zero:
        manifest = TokenManifest(
            tokenizer=weights,
            windows=windows.fingerprint,
            num_codes=tokenizer.num_codes,
            num_windows=len(windows),
            num_frames=windows.parts[0].num_frames,
            tokens_per_frame=tokenizer.tokens_per_frame,
        )
        begin_store(folder.tokens, manifest)
    fabric.barrier()
    writer = TokenStoreWriter(folder.tokens, rank=fabric.global_rank)
    _write_share(writer, windows, tokenizer, fabric)
    fabric.barrier()
    if fabric.is_global_zero:
        writer.finish()


def _write_share(
    writer: TokenStoreWriter, windows: MixedWindows, tokenizer: VideoTokenizer, fabric: Fabric
) -> None:
    """Write this process's chunks; the progress bar shows those of the first process."""

    @torch.no_grad()
    def encode(video: np.ndarray) -> np.ndarray:
        """In the precision of training."""
        pixels = video_to_float(fabric.to_device(torch.from_numpy(video)))
        with fabric.autocast():
            return tokenizer.encode(pixels).cpu().numpy()

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
