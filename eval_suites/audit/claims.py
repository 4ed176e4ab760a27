"""What an audited table supports and what it does not, in sentences."""

from collections.abc import Iterator, Mapping

from genie_robo.eval_suites.audit.checks import BETTER, Audit, Difference, Finding, Interval
from genie_robo.eval_suites.statistics import MIN_EPISODES_FOR_INTERVAL

MIN_POLICIES = 10
"""With fewer, intervals of a correlation reach from useless to perfect."""
SENSITIVE = 0.1
"""Change of a statistic without one policy that a reader must know of."""
SIGNIFICANT = 0.05


def claims(found: Audit) -> tuple[str, ...]:
    """About ranks, about judges without pixels, about single policies, and about the trials."""
    parts = (_about_chance, _about_floors, _about_policies, _about_trials)
    return tuple(claim for part in parts for claim in part(found))


def _about_chance(found: Audit) -> Iterator[str]:
    ranks = found.findings["spearman"]
    if ranks.value is None:
        yield (
            "Nothing can be said about ranks: all policies have the same success, predicted or true"
        )
        return
    shown = f"Spearman {ranks.value:.2f}"
    is_sure = ranks.over_both is not None and ranks.over_both.low > 0
    assert ranks.p_value is not None
    if is_sure and ranks.p_value < SIGNIFICANT:
        yield (
            f"Policies that are predicted to be better are better: {shown}, interval over policies "
            f"and trials above 0, p = {_shown_p(ranks)}"
        )
    else:
        yield (
            f"The table does not show that predicted ranks follow true ones: {shown}, interval "
            f"over policies and trials {_shown(ranks.over_both)}, p = {_shown_p(ranks)}"
        )
    if len(found.policies) < MIN_POLICIES:
        yield (
            f"{len(found.policies)} policies are few: with fewer than {MIN_POLICIES} a correlation "
            "can hardly be told from chance, however many trials each has"
        )
    for name, finding in found.findings.items():
        if finding.without_one and finding.without_one.change > SENSITIVE:
            low, high, policy, _ = finding.without_one
            yield (
                f"{name} depends on single policies: from {low:.2f} to {high:.2f} when one is left "
                f"out, most on {policy}"
            )


def _shown(interval: Interval | None) -> str:
    return "undefined" if interval is None else f"[{interval.low:.2f}, {interval.high:.2f}]"


def _shown_p(finding: Finding) -> str:
    return f"{finding.p_value:.2g} ({'all' if finding.is_exact else 'sampled'} orders)"


def _about_floors(found: Audit) -> Iterator[str]:
    finding = found.findings["pearson"]
    for judge, value in finding.blind.items():
        if value is not None and finding.value is not None and value >= finding.value:
            yield (
                f"A judge that sees no pixels ({judge}) does as well: Pearson {value:.2f} against "
                f"{finding.value:.2f}"
            )
        yield from _about_pixels(found, judge)


def _about_pixels(found: Audit, judge: str) -> Iterator[str]:
    """Whether the judge is better than one that sees no pixels, beyond chance."""
    apart = {name: one.beyond_blind[judge] for name, one in found.findings.items()}
    shown = {name: d for name, d in apart.items() if d and _is_better(name, d)}
    open_ = {name: d for name, d in apart.items() if d and name not in shown}
    if open_:
        yield f"The table does not show that pixels help beyond {judge}: {_differences(open_)}"
    if shown:
        yield f"Pixels help beyond {judge}: {_differences(shown)}"


def _is_better(name: str, apart: Difference) -> bool:
    if apart.over_both is None:
        return False
    return min(BETTER[name] * end for end in apart.over_both) > 0


def _differences(apart: Mapping[str, Difference]) -> str:
    parts = (f"difference in {n} {d.value:.2f} {_shown(d.over_both)}" for n, d in apart.items())
    return ", ".join(parts)


def _about_policies(found: Audit) -> Iterator[str]:
    if found.absolute_error is None or found.bias is None:
        yield "Some values are no success between 0 and 1, so their mean error says nothing"
    else:
        direction = "too high" if found.bias >= 0 else "too low"
        yield (
            f"The success of a policy is predicted with a mean error of {found.absolute_error:.2f},"
            f" on average {abs(found.bias):.2f} {direction}"
        )
    loss = found.findings["mmrv"].value
    if loss is not None:
        yield (
            f"MMRV {loss:.2f}: for a policy, the largest true difference to one that is ranked on "
            "the wrong side of it, averaged over policies"
        )


def _about_trials(found: Audit) -> Iterator[str]:
    each, starts = _range(found.trials_of_policy), _range(found.starts_of_policy)
    paired = "the same for all" if found.is_paired else "not the same for all"
    yield (
        f"{each} trials per policy from {starts} starts, {paired}; {found.levels[1]} different "
        f"values of true success and {found.levels[0]} of predicted success among "
        f"{len(found.policies)} policies"
    )
    if found.starts_of_policy[0] < MIN_EPISODES_FOR_INTERVAL:
        yield (
            f"There is no interval over trials: a policy was tried from {found.starts_of_policy[0]}"
            f" starts, and fewer than {MIN_EPISODES_FOR_INTERVAL} give too few distinct resamples"
        )
    if found.resolved is not None:
        yield (
            f"{found.resolved:.0%} of the pairs of policies differ truly, beyond the noise of "
            "their trials; the order of the others is not known"
        )
    if found.ceiling is not None:
        yield (
            f"A judge that knew the success rate of every policy would reach Pearson "
            f"{found.ceiling:.2f} with these trials, as their halves predict each other"
        )
    elif found.retest is not None:
        yield "One half of the trials does not predict the other: they do not order the policies"


def _range(ends: tuple[int, int]) -> str:
    few, many = ends
    return f"{few}" if few == many else f"{few} to {many}"
