"""The animation of the README: test episodes in MuJoCo, below them the same actions imagined.

    python docs/animation.py runs/demo docs/images/demo.gif

The first test episodes are shown, not the best ones; imagination knows the first frame only.
"""

import argparse
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

import genie_robo
from genie_robo.trained_run import open_run
from genie_robo.types import Split

NUM_EPISODES, NUM_FRAMES = 5, 16
SIDE, MARGIN = 128, 72
"""Pixels of a shown frame, and left of them for the names of the rows."""
FRAME_MS, LAST_MS = 250, 1500
NUM_COLOURS = 96


def clips(run: str) -> tuple[UInt8[np.ndarray, "n t h w 3"], UInt8[np.ndarray, "n t h w 3"]]:
    """True and imagined frames of the first test episodes."""
    genie = genie_robo.load(run)
    trained = open_run(run, device="cpu")
    true, imagined = [], []
    for number in trained.windows(Split.test).episodes[:NUM_EPISODES]:
        video, actions = genie_robo.read_episode(trained.dataset[number])
        steered = genie.imagine(video[0], robot_actions=actions[: NUM_FRAMES - 1]).frames
        true.append(video[:NUM_FRAMES])
        imagined.append(np.concatenate([video[:1], steered]))
    return np.stack(true), np.stack(imagined)


def draw(rows: tuple[UInt8[np.ndarray, "n t h w 3"], ...], step: int) -> Image.Image:
    """One picture: a row for each video, a column for each episode."""
    width = MARGIN + SIDE * len(rows[0])
    picture = Image.new("RGB", (width, SIDE * len(rows)), "white")
    pen = ImageDraw.Draw(picture)
    for y, (name, videos) in enumerate(zip(("MuJoCo", "imagined"), rows, strict=True)):
        pen.text((6, SIDE * y + SIDE // 2 - 6), name, fill="black", font_size=14)
        for x, video in enumerate(videos):
            frame = Image.fromarray(video[step]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            picture.paste(frame, (MARGIN + SIDE * x, SIDE * y))
    return picture.quantize(NUM_COLOURS, dither=Image.Dither.NONE)


def main() -> None:
    """Draw and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    rows = clips(options.run)
    first, *others = (draw(rows, step) for step in range(NUM_FRAMES))
    durations = [FRAME_MS] * (NUM_FRAMES - 1) + [LAST_MS]
    first.save(
        options.output,
        save_all=True,
        append_images=others,
        duration=durations,
        loop=0,
        optimize=True,
    )


if __name__ == "__main__":
    main()
