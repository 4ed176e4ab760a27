"""Distances of imagined from real video as distributions, with that of real from real video."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int, UInt8

from eval_suites.metrics.frechet import Distance, frechet_distance, left_out, unbiased_mmd
from eval_suites.statistics import MIN_EPISODES_FOR_INTERVAL
from eval_suites.table import LeftOut, Measurement, Table, undefined
from eval_suites.video_features import Features

IMAGINED, FLOOR = "imagined", "real_against_real"
PROTOCOL = (
    "test episodes are cut into two halves; features ({name}) of the imagined videos of one half "
    "against those of the real videos of the other, N = {first} and {second}; real_against_real: "
    "the real videos of the first half instead, the lowest value to be expected at this N; "
    "interval by jackknife over test episodes; a number of these features, on this dataset, at "
    "this N only"
)


def distance_measurements(
    table: Table,
    true: UInt8[np.ndarray, "m n h w c"],
    videos: Mapping[str, UInt8[np.ndarray, "m n h w c"]],
    features: Features,
    *,
    name: str,
) -> dict[str, Measurement]:
    """Fréchet distance and unbiased MMD; with I3D features the first is called FVD.

    Adds to the table which half each clip is in, and the distances without its episode.
    """
    names = {"fvd" if name == "i3d" else f"frechet/{name}": frechet_distance}
    distances: dict[str, Distance] = names | {f"mmd/{name}": unbiased_mmd}
    episode = np.unique(table.episodes, return_inverse=True)[1]
    first, second = halves(episode)
    protocol = PROTOCOL.format(name=name, first=len(first), second=len(second))
    if min(len(first), len(second)) < 2:
        reason = f"{len(table)} videos of {table.num_episodes} test episodes cannot be cut in two"
        return dict.fromkeys(distances, undefined(reason, unit="distance", protocol=protocol))
    real = features(true[second])
    seen = {who: features(video[first]) for who, video in ({FLOOR: true} | dict(videos)).items()}
    sides = {"first_episode": episode[first], "second_episode": episode[second]}
    is_enough = min(len(np.unique(side)) for side in sides.values()) >= MIN_EPISODES_FOR_INTERVAL
    side = table.texts["side"] = np.where(episode % 2 == 0, IMAGINED, "real").tolist()
    found = {}
    for metric, distance in distances.items():
        without = None
        if is_enough:
            left = left_out(distance, seen[IMAGINED], real, **sides)
            # Episodes take turns: the first half has the even numbers.
            without = np.array([left[e % 2][e // 2] for e in episode])
            table.add(f"{metric}/without", without)
        found[metric] = Measurement(
            of=LeftOut(table, distance(seen[IMAGINED], real), without, side),
            unit="distance",
            protocol=protocol,
            baselines={who: distance(seen[who], real) for who in (FLOOR, "copy_last", "tokenizer")},
            ceiling=distance(seen[FLOOR], real),
        )
    return found


def halves(episode: Int[np.ndarray, " m"]) -> tuple[np.ndarray, np.ndarray]:
    """Clips of every second episode, and the others; no episode is on both sides."""
    return np.flatnonzero(episode % 2 == 0), np.flatnonzero(episode % 2 == 1)
