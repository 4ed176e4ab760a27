"""Distances of imagined from real video as distributions, beside that of real from real."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from eval_suites.base import Metric, undefined
from eval_suites.clips import Clip
from eval_suites.metrics.frechet import Distance, frechet_distance, left_out, unbiased_mmd
from eval_suites.metrics.jackknife import normal_interval
from eval_suites.pairing import WITHOUT
from eval_suites.statistics import MIN_EPISODES_FOR_INTERVAL
from eval_suites.video_features import Features

IMAGINED, FLOOR = "imagined", "real_against_real"
PROTOCOL = (
    "test episodes are cut into two halves; features ({name}) of the imagined videos of one half "
    "against those of the real videos of the other, N = {first} and {second}; real_against_real: "
    "the real videos of the first half instead, the lowest value to be expected at this N; "
    "interval by jackknife over test episodes; a number of these features, on this dataset, at "
    "this N only"
)


class Distances(NamedTuple):
    """Distances as metrics, and what each row of per_episode.csv can say of them."""

    metrics: dict[str, Metric]
    rows: list[dict[str, float | str]]
    """Which of the two sets the episode is in, and the distances without it."""


def distribution_metrics(
    clips: Sequence[Clip],
    true: UInt8[np.ndarray, "m n h w c"],
    videos: Mapping[str, UInt8[np.ndarray, "m n h w c"]],
    features: Features,
    *,
    name: str,
) -> Distances:
    """Fréchet distance and unbiased MMD; with I3D features the first is called FVD."""
    names = {"fvd" if name == "i3d" else f"frechet/{name}": frechet_distance}
    distances: dict[str, Distance] = names | {f"mmd/{name}": unbiased_mmd}
    episode = np.unique([clip.window.episode_id for clip in clips], return_inverse=True)[1]
    first, second = halves(episode)
    protocol = PROTOCOL.format(name=name, first=len(first), second=len(second))
    if min(len(first), len(second)) < 2:
        reason = f"{len(clips)} videos of {episode.max() + 1} test episodes cannot be cut in two"
        missing = undefined(reason, unit="distance", protocol=protocol)
        return Distances(dict.fromkeys(distances, missing), [{} for _ in clips])
    real = features(true[second])
    seen = {who: features(video[first]) for who, video in ({FLOOR: true} | dict(videos)).items()}
    sides = {"first_episode": episode[first], "second_episode": episode[second]}
    is_enough = min(len(np.unique(side)) for side in sides.values()) >= MIN_EPISODES_FOR_INTERVAL
    found = {}
    columns = {"side": np.where(episode % 2 == 0, IMAGINED, "real").tolist()}
    imagined, *others = (IMAGINED, FLOOR, "copy_last", "tokenizer")
    for metric, distance in distances.items():
        value = distance(seen[imagined], real)
        left = left_out(distance, seen[imagined], real, **sides) if is_enough else None
        found[metric] = Metric(
            value=value,
            ci95=normal_interval(value, left) if left else None,
            n_units=int(episode.max()) + 1,
            unit="distance",
            protocol=protocol,
            baselines={who: distance(seen[who], real) for who in others},
            ceiling=distance(seen[FLOOR], real),
        )
        if left:
            # Episodes take turns: the first set has the even numbers.
            columns[f"{metric}{WITHOUT}"] = [float(left[e % 2][e // 2]) for e in episode]
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    return Distances(found, rows)


def halves(episode: Int[np.ndarray, " m"]) -> tuple[np.ndarray, np.ndarray]:
    """Clips of every second episode, and the others; no episode is on both sides."""
    return np.flatnonzero(episode % 2 == 0), np.flatnonzero(episode % 2 == 1)
