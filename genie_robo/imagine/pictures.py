"""Prompts that are picture files; opens none of them."""

from pathlib import Path

from genie_robo.config import RolloutConfig

EPISODE, SIMULATOR = "episode", "simulator"
"""Prompts that are no pictures."""


def needs_no_dataset(config: RolloutConfig) -> bool:
    """Whether the prompts are pictures."""
    return config.prompt not in (EPISODE, SIMULATOR)


def find_pictures(config: RolloutConfig) -> list[Path]:
    """The pictures of `prompt=FILE` or `prompt=[FILE,FILE]`.

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
                f"prompt={path} is not there: prompt is episode, simulator or a picture file"
            )
    return paths
