"""Latent actions as motions: reversal of the video, swapped frames, composition."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from genie_robo.eval_suites.base import EpisodeSet, LatentActionEncoder
from genie_robo.eval_suites.metrics.information import entropy, mutual_information
from genie_robo.eval_suites.probes.data import ProbeData
from genie_robo.eval_suites.probes.scores import Probe
from genie_robo.eval_suites.rollouts import read_episodes
from genie_robo.eval_suites.statistics import mean_r2
from genie_robo.eval_suites.table import OTHER_CODES, Interval, Measurement, Sums, Table, undefined
from genie_robo.types import GRIPPER, Window

BACKWARD_PROTOCOL = (
    "test videos are encoded forwards and backwards; the permutation of codes that turns one into "
    "the other is chosen on validation episodes; interval over test episodes (of the information "
    "by jackknife)"
)
SWAP_PROTOCOL = (
    "the two frames of a test transition are swapped and encoded as a separate video; "
    "the mean motion of that code, from validation episodes, against the negative of the motion; "
    "ceiling: R2 of the same transitions in the right order; unchanged_code: R2 if swapping did "
    "not change the code"
)
COMPOSITION_PROTOCOL = (
    "the mean motions of h successive codes, from validation episodes, added up, against the "
    "motion over all h transitions of a test episode; R2 about h times the validation mean; "
    "ceiling: oracle codes"
)


def backwards(window: Window, *, first: int = 0, num_frames: int | None = None) -> Window:
    """A window played backwards, without padding; by default all of its frames."""
    last = first + (num_frames or int((~window.is_pad).sum()))
    undone = -window.robot_actions[first : last - 1][::-1]
    undone[:, GRIPPER] *= -1
    return replace(
        window,
        start=window.start + first,
        video=np.ascontiguousarray(window.video[first:last][::-1]),
        robot_actions=undone,
        is_pad=np.zeros(last - first, bool),
        tokens=None,
    )


def reversed_codes(
    encoder: LatentActionEncoder,
    episodes: EpisodeSet,
    data: ProbeData,
    *,
    max_episodes: int,
    description: str,
) -> Int[np.ndarray, " n"]:
    """For every transition of a split, the code of the same frames in the reversed video."""
    read = read_episodes(episodes, max_episodes=max_episodes, description=description)
    found = {
        window.episode_id: encoder.encode(backwards(window)).codes[::-1]
        for _, window in read
        if window.episode_id in data.episode_ids
    }
    return np.concatenate([found[name] for name in data.episode_ids])


def swapped_codes(
    encoder: LatentActionEncoder,
    episodes: EpisodeSet,
    data: ProbeData,
    *,
    max_episodes: int,
    max_pairs: int,
    description: str,
) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """Some transitions of a split, and the code of each with its two frames swapped."""
    read = read_episodes(episodes, max_episodes=max_episodes, description=description)
    windows = {window.episode_id: window for _, window in read}
    per_episode = max(1, max_pairs // len(windows))
    rows, codes = [], []
    for e, name in enumerate(data.episode_ids):
        own = np.flatnonzero(data.episode == e)
        chosen = np.linspace(0, len(own) - 1, min(per_episode, len(own))).astype(int)
        rows += list(own[chosen])
        pairs = [backwards(windows[name], first=int(i), num_frames=2) for i in chosen]
        codes += [encoder.encode(pair).codes[0] for pair in pairs]
    return np.array(rows), np.array(codes)


def best_permutation(counts: Float[np.ndarray, "k k"]) -> Int[np.ndarray, " k"]:
    """The permutation of codes with which most of the counted pairs agree."""
    return np.asarray(linear_sum_assignment(-counts)[1])


def backward_measurements(
    table: Table, fit_counts: Float[np.ndarray, "v k k"], counts: Float[np.ndarray, "e k k"]
) -> dict[str, Measurement]:
    """Is the code of a transition run backwards a permutation of its code run forwards?

    The permutation is the best one in the validation episodes. A transition agrees when its
    backward code is the permuted forward code; it is an involution when permuting its code twice
    gives the same code.

    Args:
        table: A row for each test episode.
        fit_counts: Counts of (forward code, backward code) in each validation episode.
        counts: The same for each test episode.
    """
    turned = best_permutation(fit_counts.sum(axis=0))
    codes = np.arange(counts.shape[-1])
    num_transitions = table.add("num_transitions", counts.sum(axis=(1, 2)), given=True)
    agree = table.add("backward_agreement", counts[:, codes, turned].sum(axis=-1))
    come_back = counts[:, turned[turned] == codes].sum(axis=(1, 2))
    come_back = table.add("backward_involution", come_back)
    forward, backward = counts.sum(axis=(0, 2)), counts.sum(axis=(0, 1))
    if (forward > 0).sum() < 2:
        reason = "only one code is in use, so agreement is trivial"
        return backward_undefined(reason)
    return {
        "forward_backward/agreement": Measurement(
            of=table.ratio(agree, num_transitions),
            unit="share",
            protocol=BACKWARD_PROTOCOL,
            baselines={"most_frequent_code": float(backward.max() / backward.sum())},
            ceiling=1.0,
        ),
        "forward_backward/information": Measurement(
            of=Sums(table, counts, mutual_information, Interval.jackknife, OTHER_CODES),
            unit="bits",
            protocol=BACKWARD_PROTOCOL,
            ceiling=float(entropy(forward)),
        ),
        "forward_backward/involution": Measurement(
            of=table.ratio(come_back, num_transitions),
            unit="share",
            protocol="share of transitions whose code is unchanged by permuting twice; "
            + BACKWARD_PROTOCOL,
            baselines={"random_permutation": 2 / len(codes)},
            ceiling=1.0,
        ),
    }


def backward_undefined(reason: str) -> dict[str, Measurement]:
    """Undefined measurements on reversed videos, with the reason."""
    units = {"agreement": "share", "information": "bits", "involution": "share"}
    return {
        f"forward_backward/{name}": undefined(reason, unit=unit, protocol=BACKWARD_PROTOCOL)
        for name, unit in units.items()
    }


def swap_measurement(
    probe: Probe,
    table: Table,
    rows: Int[np.ndarray, " m"],
    swapped_codes: Int[np.ndarray, " m"],
) -> Measurement:
    """Does swapping the frames of a transition negate the decoded motion?

    `rows` are some test transitions, `swapped_codes` their codes with both frames swapped.
    """
    own_codes, targets, mean = probe.test.codes[rows], probe.targets[rows], probe.mean

    def sums(
        codes: Int[np.ndarray, " m"], truth: Float[np.ndarray, "m d"], centre: np.ndarray
    ) -> Float[np.ndarray, "e 2 d"]:
        guess = probe.predict(probe.fit.codes, codes)
        return probe.test.sums(
            np.stack([(guess - truth) ** 2, (truth - centre) ** 2], axis=1), rows
        )

    columns = table.add_errors("swap", sums(swapped_codes, -targets, -mean), probe.motion.names)
    return Measurement(
        of=table.total(columns, mean_r2),
        unit="R2",
        protocol=SWAP_PROTOCOL,
        baselines={"unchanged_code": Sums(table, sums(own_codes, -targets, -mean), mean_r2)},
        ceiling=Sums(table, sums(own_codes, targets, mean), mean_r2),
        reason="the motion is constant in the test episodes",
    )


def composition_measurements(
    probe: Probe, table: Table, horizons: Sequence[int]
) -> dict[str, Measurement]:
    """Do the decoded motions of successive codes add up to the motion over all of them?"""
    test = probe.test
    decoded = {
        "codes": probe.predict(probe.fit.codes, test.codes),
        "oracle": probe.predict(*probe.oracle),
        "mean": np.broadcast_to(probe.mean, probe.targets.shape),
    }
    found = {}
    for horizon in horizons:
        starts, total = sums_over_time(probe.targets, test.episode, horizon)
        errors = {
            name: (sums_over_time(guess, test.episode, horizon)[1] - total) ** 2
            for name, guess in decoded.items()
        }
        sums = {
            name: test.sums(np.stack([error, errors["mean"]], axis=1), starts)
            for name, error in errors.items()
        }
        columns = table.add_errors(f"h{horizon}", sums["codes"], probe.motion.names)
        found[f"composition/h{horizon}"] = Measurement(
            of=table.total(columns, mean_r2),
            unit="R2",
            protocol=COMPOSITION_PROTOCOL,
            baselines={"mean": Sums(table, sums["mean"], mean_r2)},
            ceiling=Sums(table, sums["oracle"], mean_r2),
            reason=f"no test episode has {horizon} transitions in which the robot moves",
        )
    return found


def sums_over_time(
    values: Float[np.ndarray, "n d"], episode: Int[np.ndarray, " n"], horizon: int
) -> tuple[Int[np.ndarray, " m"], Float[np.ndarray, "m d"]]:
    """Start rows of all spans of `horizon` rows within an episode, and their sums."""
    starts = np.arange(max(0, len(values) - horizon + 1))
    starts = starts[episode[starts] == episode[starts + horizon - 1]]
    until = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    return starts, until[starts + horizon] - until[starts]
