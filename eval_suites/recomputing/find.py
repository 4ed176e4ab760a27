"""A metric from the rows of per_episode.csv, found by its name.

A way to recompute a metric is a guess by its name. Whoever uses it must see that it gives the
value that the suite reported, from the same rows.
"""

import re

from eval_suites.pairing import Table
from eval_suites.recomputing.codes import code_uses
from eval_suites.recomputing.means import means
from eval_suites.recomputing.squares import squares
from eval_suites.recomputing.terms import Terms, rows_with
from eval_suites.recomputing.trials import of_trials

_NEVER = (
    (r"codes/(used|dead)", "resamples of episodes hold fewer codes than all of them"),
    (r"sign_consistency/code.+", "code 3 of one run is not code 3 of the other"),
    (r"(.+/)?p_value(/.+)?", "a p-value is about all episodes together"),
)
"""Metrics that are never compared by episode, and why."""

UNKNOWN = "it cannot be recomputed from the rows of per_episode.csv"


def find_terms(metric: str, table: Table) -> dict[str, Terms]:
    """Every way in which the rows could give a metric of this name, by how it goes."""
    if any(re.fullmatch(pattern, metric) for pattern, _ in _NEVER):
        return {}
    if "motion" not in table.texts:
        return _ways(metric, table)
    motion, inner = _motion(metric, table)
    chosen = rows_with(table, "motion", motion)
    if not len(chosen):
        return {}
    ways = _ways(inner, table.take(chosen.tolist()))
    return {way: terms.within(chosen, len(table.names)) for way, terms in ways.items()}


def why_not(metric: str) -> str:
    """Why nothing gives a metric of this name."""
    return next((why for pattern, why in _NEVER if re.fullmatch(pattern, metric)), UNKNOWN)


def _motion(metric: str, table: Table) -> tuple[str, str]:
    """Which rows a metric of the probe is about, and what it is called there."""
    for motion in dict.fromkeys(table.texts["motion"]):
        if metric.startswith(f"{motion}/"):
            return motion, metric.removeprefix(f"{motion}/")
    if metric.endswith("/gripper_events"):
        return metric.removesuffix("_events"), "gripper_events"
    # The codes of an episode are the same whatever motion they are held against.
    return table.texts["motion"][0], metric


def _ways(metric: str, table: Table) -> dict[str, Terms]:
    found = (*means(metric, table), *squares(metric, table), *code_uses(metric, table))
    return dict([*found, *of_trials(metric, table)])
