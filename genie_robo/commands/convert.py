"""`genie-robo convert`: a dataset in the other format, and the words to train on it."""

from pathlib import Path

from genie_robo.command_line import command_line, write_setting
from genie_robo.commands.console import open_console
from genie_robo.config import ConvertConfig
from genie_robo.data.conversion import Conversion, convert_dataset
from genie_robo.inspection.facts import source_words
from genie_robo.inspection.proposal import known_sources


def run(config: ConvertConfig) -> None:
    """Convert; print what was checked and how to train on what was written."""
    done = convert_dataset(
        config.data,
        Path(config.output),
        to=config.to,
        images=config.images,
        columns=config.columns,
    )
    console = open_console()
    for line in describe(done, base=config.to):
        console.print(line, markup=False, soft_wrap=True)


def describe(done: Conversion, *, base: str) -> list[str]:
    """Lines for a person; `base` is the file in conf/data/ of the format."""
    frames = "frames are equal"
    if done.loss:
        frames = f"frames differ by {done.loss:.2f} of 255 levels on average"
    train = command_line("train", "run=runs/NAME", write_setting("data.path", done.folder))
    return [
        f"written to {done.folder}: {done.num_episodes} episodes, {done.num_steps} steps",
        f"checked by reading it back: the number of episodes and the steps of each; actions, poses "
        f"and instructions of {done.num_compared} episodes are equal, {frames}",
        "train on it:",
        f"{train} {source_words(done.source, known_sources(), base=base)}",
    ]
