"""`genie-robo tokenize`: every frame of a run's dataset as tokens, in a memory-mapped store."""

import logging
from typing import TYPE_CHECKING

from genie_robo.commands.base import Command
from genie_robo.config import DataConfig, TokenizeConfig
from genie_robo.run_folder import RunFolder

if TYPE_CHECKING:
    import numpy as np
    import torch
    from jaxtyping import Int, UInt8

    from genie_robo.data.rlds import RldsDataset
    from genie_robo.data.tokens import TokenManifest
    from genie_robo.models.tokenizer import VideoTokenizer

_log = logging.getLogger(__name__)


def run(config: TokenizeConfig) -> None:
    """Tokenize all splits; an interrupted store goes on, a finished one is kept when it fits."""
    from genie_robo.build import build_dataset, build_device, build_tokenizer, build_windows
    from genie_robo.checkpoint import load_weights
    from genie_robo.config import TrainConfig
    from genie_robo.config_file import read_config
    from genie_robo.data.tokens import TokenStore, TokenStoreWriter
    from genie_robo.progress import progress_bar
    from genie_robo.types import Split

    folder, device = RunFolder.at(config.run), build_device(config.device)
    trained = read_config(folder, TrainConfig)
    tokenizer = build_tokenizer(trained.model, trained.data)
    load_weights(folder, "tokenizer", tokenizer)
    dataset = build_dataset(trained.data)
    manifest = make_manifest(folder, trained.data, dataset, tokenizer.eval().to(device))
    if folder.tokens.exists():
        TokenStore(folder.tokens, tokenizer=manifest.tokenizer, dataset=manifest.dataset)
        _log.info("%s is complete already", folder.tokens)
        return
    writer = TokenStoreWriter(folder.tokens, manifest)
    done, length = writer.done, trained.world_model.num_frames
    with progress_bar(
        "tokenize", total=len(dataset), completed=len(done), unit="episodes"
    ) as advance:
        for split in Split:
            windows = build_windows(trained.data, dataset, split, num_frames=length)
            for e, number in enumerate(windows.episodes):
                if number not in done:
                    video = windows.whole_episode(e).video
                    writer.write(number, encode(tokenizer, video, device, stretch=length))
                    advance()
    writer.finish()


def make_manifest(
    folder: RunFolder, data: DataConfig, dataset: "RldsDataset", tokenizer: "VideoTokenizer"
) -> "TokenManifest":
    """What the store of this run holds, and what it depends on."""
    from genie_robo.data.tokens import TokenManifest
    from genie_robo.pipeline import digest

    stride = data.frame_stride
    frames = f"{data.image_height}x{data.image_width} {data.resize.value} every {stride}"
    return TokenManifest(
        tokenizer=digest([folder.weights("tokenizer", "tokenizer")]),
        dataset=f"{dataset.fingerprint} {frames}",
        num_codes=tokenizer.num_codes,
        tokens_per_frame=tokenizer.tokens_per_frame,
        episode_ids=dataset.episode_ids,
        lengths=tuple((int(length) - 1) // stride + 1 for length in dataset.lengths),
    )


def encode(
    tokenizer: "VideoTokenizer",
    video: "UInt8[np.ndarray, 't h w c']",
    device: "torch.device",
    *,
    stretch: int,
) -> "Int[np.ndarray, 't s']":
    """Tokens of a video of any length, encoded `stretch` frames at a time."""
    import numpy as np
    import torch

    from genie_robo.types import video_to_float

    parts = []
    with torch.no_grad():
        for first in range(0, len(video), stretch):
            part = torch.from_numpy(video[None, first : first + stretch]).to(device)
            parts.append(tokenizer.encode(video_to_float(part))[0].cpu().numpy())
    return np.concatenate(parts)


COMMAND = Command(
    name="tokenize",
    summary="turn a run's dataset into a memory-mapped token store",
    config=TokenizeConfig,
    run=run,
    details=(
        "Writes RUN/tokens: one row of tokens per frame, all splits, with a manifest that names "
        "the tokenizer and the dataset. The store appears when it is complete; an interrupted one "
        "goes on."
    ),
    examples=("genie-robo tokenize run=runs/demo",),
)
