"""Metrics of trials: who solved what, in MuJoCo and in imagination."""

import re
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float

from eval_suites.metrics.ranking import mmrv, pearson, spearman
from eval_suites.metrics.verdicts import auroc
from eval_suites.pairing import Table
from eval_suites.recomputing.terms import Terms, of_columns, rows_with
from eval_suites.statistics import number_episodes, ratio_of_sums

_STATISTICS = {"pearson": pearson, "spearman": spearman, "mmrv": mmrv}
_RANKED = re.compile(r"(success|return)/(\w+?)(/same_reader)?(?:/(\w+))?")
_PAIRS = "trials of different episodes are held against each other: no p-value"


def of_trials(metric: str, table: Table) -> Iterator[tuple[str, Terms]]:
    """Everything that a metric of this name could be."""
    match = re.fullmatch(r"success/(\d+)", metric)
    if match and {"policy", "solved"} <= table.texts.keys() | table.numbers.keys():
        yield "solved", _solved(table, f"latent/{match[1]}")
    if "policy" in table.texts and (match := _RANKED.fullmatch(metric)):
        yield from _rankings(table, *match.groups())
    match = re.fullmatch(r"sensitivity/(\S+)", metric)
    columns = ["apart_imagined_mm", "apart_true_mm"]
    if match and set(columns) <= table.numbers.keys():
        chosen = rows_with(table, "severity", match[1])
        terms = of_columns(table.take(chosen.tolist()), columns, ratio_of_sums)
        yield "apart", terms.within(chosen, len(table.names))
    if {"success", "score_imagined_mm"} <= table.numbers.keys() and metric in _VERDICTS:
        yield "verdict", _VERDICTS[metric](table)


def _solved(table: Table, policy: str) -> Terms:
    is_own = np.array([name == policy for name in table.texts["policy"]])
    sums = np.stack([table.numbers["solved"] * is_own, is_own], axis=1)
    return Terms(
        sums=sums,
        statistic=ratio_of_sums,
        columns=frozenset(["solved"]),
        is_measured=is_own,
    )


def _rankings(
    table: Table, value: str, name: str, same_reader: str | None, task: str | None
) -> Iterator[tuple[str, Terms]]:
    columns = [f"{value}_imagined", f"{value}_{'read' if same_reader else 'true'}"]
    if name not in _STATISTICS or not set(columns) <= table.numbers.keys():
        return
    policies = list(dict.fromkeys(table.texts["policy"]))
    is_policy = np.array([[p == own for p in policies] for own in table.texts["policy"]])
    is_task = np.array([task in (None, own) for own in table.texts["task"]])
    shown = is_policy * is_task[:, None]
    rows = [shown * table.numbers[column][:, None] for column in columns]

    def over_policies(totals: Float[np.ndarray, "... m"]) -> Float[np.ndarray, "..."]:
        imagined, true, count = np.split(totals, 3, axis=-1)
        return _STATISTICS[name](imagined / count, true / count)

    yield (
        "ranking",
        Terms(
            sums=np.concatenate([*rows, shown], axis=1).astype(float),
            statistic=over_policies,
            columns=frozenset(columns),
            is_measured=is_task,
        ),
    )


def _share(of_success: float, sign: float) -> Callable[[Table], Terms]:
    """Share of the trials that succeed, or fail, whose imagined score says the opposite."""

    def terms(table: Table) -> Terms:
        score, success = (table.numbers[name] for name in ("score_imagined_mm", "success"))
        among = success == of_success
        hit = among & ((score > 0) == (sign > 0))
        return _verdict(np.stack([hit, among], axis=1).astype(float), ratio_of_sums)

    return terms


def _gap(table: Table) -> Terms:
    score, success = (table.numbers[name] for name in ("score_imagined_mm", "success"))

    def gap(totals: Float[np.ndarray, "... 4"]) -> Float[np.ndarray, "..."]:
        return ratio_of_sums(totals[..., :2]) - ratio_of_sums(totals[..., 2:])

    sums = np.stack([score * success, success, score * (1 - success), 1 - success], axis=1)
    return _verdict(sums, gap)


def _auroc(table: Table) -> Terms:
    score, success = (table.numbers[name] for name in ("score_imagined_mm", "success"))
    episode = number_episodes(np.array(table.units))
    # Totals are how often each episode counts: its trials meet those of all others.
    sums = np.eye(episode.max() + 1)[episode] / np.bincount(episode)[episode][:, None]
    return _verdict(sums, auroc(score, success > 0, episode), no_p_value=_PAIRS)


def _verdict(
    sums: Float[np.ndarray, "n m"],
    statistic: Callable[[np.ndarray], np.ndarray],
    no_p_value: str = "",
) -> Terms:
    return Terms(
        sums=sums,
        statistic=statistic,
        columns=frozenset(["score_imagined_mm", "success"]),
        is_measured=np.ones(len(sums), bool),
        no_p_value=no_p_value,
    )


_VERDICTS: dict[str, Callable[[Table], Terms]] = {
    "auroc": _auroc,
    "optimism": _share(0.0, 1.0),
    "pessimism": _share(1.0, -1.0),
    "success_failure_gap": _gap,
}
