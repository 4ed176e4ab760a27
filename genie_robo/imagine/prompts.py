"""The prompts that `imagine` asks for."""

from pathlib import Path

from genie_robo.config import ImagineConfig
from genie_robo.prompts import Clip, Cut, RunPrompts
from genie_robo.trained_run import TrainedRun
from genie_robo.types import Split


def find_prompts(trained: TrainedRun, config: ImagineConfig) -> list[Clip]:
    """Test episodes, fresh scenes or images, with the true frames that follow.

    Raises:
        FileNotFoundError: There is no such image.
        ValueError: An episode is too short, or a file is no image.
    """
    prompts = RunPrompts(trained.windows(Split.test), renderer=config.renderer)
    cut = Cut(config.start, config.num_prompt_frames, config.horizon)
    match config.prompt:
        case "episode":
            count = min(config.num_episodes, prompts.num_episodes)
            return [prompts.episode(number, cut) for number in range(count)]
        case "simulator":
            return [prompts.scene(config.seed + n, cut) for n in range(config.num_episodes)]
        case _:
            return [prompts.images(read_files(config))]


def read_files(config: ImagineConfig) -> list[tuple[str, bytes]]:
    """Name and content of the images of `prompt=FILE` or `prompt=[FILE,FILE]`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: No file is named, or a setting is about episodes.
    """
    given = config.prompt if isinstance(config.prompt, list | tuple) else [config.prompt]
    paths = [Path(str(path)) for path in given]
    if not paths:
        raise ValueError("prompt=[] names no image; give prompt=FILE or prompt=[FILE,FILE]")
    if config.start or config.num_prompt_frames not in (1, len(paths)):
        raise ValueError(
            f"prompt={config.prompt} gives {len(paths)} prompt frame(s), so start={config.start} "
            f"and num_prompt_frames={config.num_prompt_frames}, which cut episodes, do not apply; "
            "leave them out"
        )
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(
                f"prompt={path} is not there: prompt is episode, simulator or a PNG or JPEG file"
            )
    return [(path.name, path.read_bytes()) for path in paths]
