"""The prompts of `imagine`."""

from collections.abc import Mapping, Sequence

import numpy as np

from genie_robo.config import ImagineConfig
from genie_robo.data.images import MAX_PICTURE_BYTES
from genie_robo.imagine.pictures import SIMULATOR, find_pictures, needs_no_dataset
from genie_robo.prompts import Clip, Cut, RunPrompts, read_pictures
from genie_robo.stored_files import read_bytes
from genie_robo.trained_run import TrainedRun
from genie_robo.types import Split


def find_prompts(trained: TrainedRun, config: ImagineConfig) -> list[Clip]:
    """Test episodes, fresh scenes or images, with the true frames that follow.

    Raises:
        FileNotFoundError: There is no such image.
        ValueError: An episode is too short, or a file is not an image.
    """
    if needs_no_dataset(config):
        data = trained.data
        size = (data.image_height, data.image_width)
        return [
            read_pictures(
                read_files(config),
                image_size=size,
                resize=data.resize,
                max_pixels=data.max_image_pixels,
            )
        ]
    prompts = RunPrompts(trained.windows(Split.test), renderer=config.renderer)
    cut = Cut(config.start, config.num_prompt_frames, config.horizon)
    if config.prompt == SIMULATOR:
        return [prompts.scene(config.seed + n, cut) for n in range(config.num_episodes)]
    count = min(config.num_episodes, prompts.num_episodes)
    return [prompts.episode(number, cut) for number in range(count)]


def read_files(config: ImagineConfig) -> list[tuple[str, bytes]]:
    """Name and content of the images of `prompt=FILE` or `prompt=[FILE,FILE]`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: No file is named, or a setting is about episodes.
    """
    return [
        (path.name, read_bytes(path, max_bytes=MAX_PICTURE_BYTES)) for path in find_pictures(config)
    ]


def check_same_prompts(prompts: Mapping[str, Sequence[Clip]]) -> None:
    """Check that all runs start from the same frames.

    Raises:
        ValueError: A run has other test episodes, or reads them at another size or rate.
    """
    (first, own), *others = prompts.items()
    for name, theirs in others:
        for wanted, found in zip(own, theirs, strict=False):
            is_same_rate = wanted.prompt.control_hz == found.prompt.control_hz
            if not is_same_rate or not np.array_equal(_frames(wanted), _frames(found)):
                raise ValueError(
                    f"{first} and {name} start {wanted.file} from different frames: "
                    f"{_describe(wanted)} against {_describe(found)}. Name runs of one dataset, "
                    "split, image size and frame stride"
                )
        if len(own) != len(theirs):
            raise ValueError(
                f"{first} has {len(own)} prompts and {name} {len(theirs)}; give "
                f"num_episodes={min(len(own), len(theirs))} or less"
            )


def _frames(clip: Clip) -> np.ndarray:
    return clip.prompt.frames if clip.window is None else clip.window.video


def _describe(clip: Clip) -> str:
    num_frames, height, width, _ = _frames(clip).shape
    rate = f"{clip.prompt.control_hz:g} Hz"
    return f"{clip.prompt.title}, {num_frames} frames of {height}x{width} at {rate}"
