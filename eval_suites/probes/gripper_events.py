"""Opening and closing of the gripper: rare events, scored by balanced accuracy."""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int

from genie_robo.eval_suites.probes.data import ProbeData
from genie_robo.eval_suites.statistics import balanced_accuracy
from genie_robo.eval_suites.table import Measurement, Sums, Table, undefined
from genie_robo.types import GRIPPER

MIN_GRIPPER_MOVE = 0.1
"""Smallest change of the opening (1 = open) between transitions that counts as an event."""

EVENTS = ("closes", "stays", "opens")
"""Names of the events by number."""

PROTOCOL = (
    "event = the gripper opens, closes or stays relative to the previous transition; each code "
    "predicts the event in which it is most frequent in validation episodes; mean recall over the "
    "events of the test episodes"
)


def gripper_measurement(
    fit: ProbeData, test: ProbeData, target: str, *, num_codes: int, seed: int
) -> tuple[Measurement, Table | None]:
    """Balanced accuracy of gripper events predicted from codes, and its rows by episode."""
    found = event_sums(fit, test, target, num_codes=num_codes)
    if found is None:
        reason = "the gripper does not move in the validation or the test episodes"
        return undefined(reason, unit="balanced accuracy", protocol=PROTOCOL), None
    table = Table(test.episode_ids, motion=[f"{target}/gripper"] * test.num_episodes)
    table.texts["target"] = [target] * test.num_episodes
    table.add("num_transitions", test.lengths, given=True)
    for number, name in enumerate(EVENTS):
        table.add(f"hits_{name}", found[:, 0, number])
        table.add(f"events_{name}", found[:, 1, number], given=True)
    rng = np.random.default_rng(seed)
    permuted = event_sums(
        replace(fit, codes=rng.permutation(fit.codes)),
        replace(test, codes=rng.permutation(test.codes)),
        target,
        num_codes=num_codes,
    )
    assert permuted is not None  # events do not depend on codes
    present = found[:, 1].sum(axis=0) > 0
    names = [name for name, is_there in zip(EVENTS, present, strict=True) if is_there]
    groups = [[f"hits_{name}" for name in names], [f"events_{name}" for name in names]]
    measurement = Measurement(
        of=table.total(groups, balanced_accuracy),
        unit="balanced accuracy",
        protocol=PROTOCOL,
        baselines={
            "chance": 1 / len(names),
            "permuted_codes": Sums(table, permuted[..., present], balanced_accuracy),
        },
        ceiling=1.0,
    )
    return measurement, table


def event_sums(
    fit: ProbeData, test: ProbeData, target: str, *, num_codes: int
) -> Float[np.ndarray, "e 2 3"] | None:
    """Correct predictions and occurrences of each event, by test episode.

    None where the gripper does not move in the fit or in the test episodes.
    """
    fit_events, fit_kept = gripper_events(fit, target)
    events, kept = gripper_events(test, target)
    is_moving = len(np.unique(events)) > 1 and len(np.unique(fit_events)) > 1
    if not fit.masks[target][GRIPPER] or not is_moving:
        return None
    named = predict_events(fit.codes[fit_kept], fit_events, test.codes[kept], num_codes=num_codes)
    occurs = events[:, None] == np.arange(len(EVENTS))
    hits = occurs & (named == events)[:, None]
    both = np.stack([hits, occurs], axis=1).astype(float)
    return test.sums(both, kept)


def gripper_events(
    data: ProbeData, target: str
) -> tuple[Int[np.ndarray, " m"], Bool[np.ndarray, " n"]]:
    """Event of each transition (its number in EVENTS) and which transitions have one.

    The first transition of an episode has none, because there is no previous opening.
    """
    opening = data.targets[target][:, GRIPPER]
    kept = np.diff(data.episode, prepend=-1) == 0
    change = np.diff(opening, prepend=opening[:1])
    events = 1 + np.sign(change).astype(int) * (np.abs(change) > MIN_GRIPPER_MOVE)
    return events[kept], kept


def predict_events(
    fit_codes: Int[np.ndarray, " n"],
    fit_events: Int[np.ndarray, " n"],
    codes: Int[np.ndarray, " m"],
    *,
    num_codes: int,
) -> Int[np.ndarray, " m"]:
    """The event under which each code is most frequent, however rare the event is."""
    counts = np.zeros((num_codes, len(EVENTS)))
    np.add.at(counts, (fit_codes, fit_events), 1.0)
    chances = counts / np.maximum(counts.sum(axis=0), 1.0)
    # An unseen code predicts `stays`; so does a tie.
    chances[:, 1] += 1e-12
    return chances.argmax(axis=1)[codes]
