"""Distances of imagined from real video as distributions, beside that of real from real."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int, UInt8

from eval_suites.base import Metric, undefined
from eval_suites.clips import Clip
from eval_suites.metrics.frechet import Distance, frechet_distance, jackknife_interval, unbiased_mmd
from eval_suites.statistics import MIN_EPISODES_FOR_INTERVAL
from eval_suites.video_features import Features

FLOOR = "real_against_real"
PROTOCOL = (
    "test episodes are cut into two halves; features ({name}) of the imagined videos of one half "
    "against those of the real videos of the other, N = {first} and {second}; real_against_real: "
    "the real videos of the first half instead, the lowest value to be expected at this N; "
    "interval by jackknife over test episodes; a number of these features, on this dataset, at "
    "this N only"
)


def distribution_metrics(
    clips: Sequence[Clip],
    true: UInt8[np.ndarray, "m n h w c"],
    videos: Mapping[str, UInt8[np.ndarray, "m n h w c"]],
    features: Features,
    *,
    name: str,
) -> dict[str, Metric]:
    """Fréchet distance and unbiased MMD; with I3D features the first is called FVD."""
    names = {"fvd" if name == "i3d" else f"frechet/{name}": frechet_distance}
    distances: dict[str, Distance] = names | {f"mmd/{name}": unbiased_mmd}
    episode = np.unique([clip.window.episode_id for clip in clips], return_inverse=True)[1]
    first, second = halves(episode)
    protocol = PROTOCOL.format(name=name, first=len(first), second=len(second))
    if min(len(first), len(second)) < 2:
        reason = f"{len(clips)} videos of {episode.max() + 1} test episodes cannot be cut in two"
        return {
            metric: undefined(reason, unit="distance", protocol=protocol) for metric in distances
        }
    real = features(true[second])
    seen = {who: features(video[first]) for who, video in ({FLOOR: true} | dict(videos)).items()}
    num_episodes = min(len(np.unique(episode[side])) for side in (first, second))
    is_enough = num_episodes >= MIN_EPISODES_FOR_INTERVAL
    found = {}
    for metric, distance in distances.items():
        imagined, *others = ("imagined", FLOOR, "copy_last", "tokenizer")
        found[metric] = Metric(
            value=distance(seen[imagined], real),
            ci95=jackknife_interval(
                distance,
                seen[imagined],
                real,
                first_episode=episode[first],
                second_episode=episode[second],
            )
            if is_enough
            else None,
            n_units=int(episode.max()) + 1,
            unit="distance",
            protocol=protocol,
            baselines={who: distance(seen[who], real) for who in others},
            ceiling=distance(seen[FLOOR], real),
        )
    return found


def halves(episode: Int[np.ndarray, " m"]) -> tuple[np.ndarray, np.ndarray]:
    """Clips of every second episode, and the others; no episode is on both sides."""
    return np.flatnonzero(episode % 2 == 0), np.flatnonzero(episode % 2 == 1)
