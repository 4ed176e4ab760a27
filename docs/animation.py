"""The animation of the README: clips in MuJoCo, below them the same actions imagined.

    python docs/animation.py runs/demo docs/images/demo.gif

The first test episodes are shown, not the best ones, and last what a person plays from the frame
that the first of them begins with. Imagination knows the first frame only.
"""

import argparse
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

import genie_robo
from genie_robo.commands.play import make_game
from genie_robo.config import PlayConfig
from genie_robo.fit_action_map import find_action_map
from genie_robo.play.game import robot_keys
from genie_robo.prompts import RunPrompts
from genie_robo.trained_run import TrainedRun, open_run
from genie_robo.types import Split

NUM_EPISODES, NUM_FRAMES = 4, 16
KEYS = "dddffggrrrraaaa"
"""What the person presses, of the keys of `genie-robo play`."""
SIDE, MARGIN, GAP = 128, 72, 16
"""Pixels of a shown frame, left of them for the names of the rows, and before what is played."""
FRAME_MS, LAST_MS = 250, 1500
NUM_COLOURS = 96


def clips(run: str) -> tuple[UInt8[np.ndarray, "n t h w 3"], UInt8[np.ndarray, "n t h w 3"]]:
    """True and imagined frames of the first test episodes, and of what is played."""
    genie = genie_robo.load(run)
    trained = open_run(run, device="cpu")
    true, imagined = [], []
    for number in trained.windows(Split.test).episodes[:NUM_EPISODES]:
        video, actions = genie_robo.read_episode(trained.dataset[number])
        steered = genie.imagine(video[0], robot_actions=actions[: NUM_FRAMES - 1]).frames
        true.append(video[:NUM_FRAMES])
        imagined.append(np.concatenate([video[:1], steered]))
    for videos, played in zip((true, imagined), play(trained), strict=True):
        videos.append(played)
    return np.stack(true), np.stack(imagined)


def play(
    trained: TrainedRun,
) -> tuple[UInt8[np.ndarray, "t h w 3"], UInt8[np.ndarray, "t h w 3"]]:
    """True and imagined frames under `KEYS`, from the first frame of the first test episode."""
    prompt = RunPrompts(trained.windows(Split.test), renderer="auto").episode(0).prompt
    config = PlayConfig(run=str(trained.folder.path))
    fitted = find_action_map(trained, num_labels=config.action_map.num_labels)
    game = make_game(trained, prompt, fitted, config)
    press = {key.key: key.press for key in robot_keys(game)}
    for key in KEYS:
        press[key]()
    true = [moment.true_frame for moment in game.moments if moment.true_frame is not None]
    imagined = [moment.frame for moment in game.moments]
    game.close()
    return np.stack(true), np.stack(imagined)


def draw(rows: tuple[UInt8[np.ndarray, "n t h w 3"], ...], step: int) -> Image.Image:
    """One picture: a row for each video, a column for each clip, the played one apart."""
    width = MARGIN + SIDE * len(rows[0]) + GAP
    picture = Image.new("RGB", (width, SIDE * len(rows)), "white")
    pen = ImageDraw.Draw(picture)
    for y, (name, videos) in enumerate(zip(("MuJoCo", "imagined"), rows, strict=True)):
        pen.text((6, SIDE * y + SIDE // 2 - 6), name, fill="black", font_size=14)
        for x, video in enumerate(videos):
            frame = Image.fromarray(video[step]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            gap = GAP if x == NUM_EPISODES else 0
            picture.paste(frame, (MARGIN + SIDE * x + gap, SIDE * y))
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
