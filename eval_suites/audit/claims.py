"""What an audited table supports and what it does not, in sentences."""

from collections.abc import Iterator

from genie_robo.eval_suites.audit.checks import Audit, Finding

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
        interval = (
            "undefined" if ranks.over_both is None else "[{:.2f}, {:.2f}]".format(*ranks.over_both)
        )
        yield (
            f"The table does not show that predicted ranks follow true ones: {shown}, interval "
            f"over policies and trials {interval}, p = {_shown_p(ranks)}"
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


def _about_policies(found: Audit) -> Iterator[str]:
    direction = "too high" if found.bias >= 0 else "too low"
    yield (
        f"The success of a policy is predicted with a mean error of {found.absolute_error:.2f}, on "
        f"average {abs(found.bias):.2f} {direction}"
    )
    loss = found.findings["mmrv"].value
    if loss is not None:
        yield (
            f"MMRV {loss:.2f}: for a policy, the largest true difference to one that is ranked on "
            "the wrong side of it, averaged over policies"
        )


def _about_trials(found: Audit) -> Iterator[str]:
    few, many = found.trials_of_policy
    each = f"{few}" if few == many else f"{few} to {many}"
    paired = "the same for all" if found.is_paired else "not the same for all"
    yield (
        f"{each} trials per policy, {paired}; {found.levels[1]} different values of true success "
        f"and {found.levels[0]} of predicted success among {len(found.policies)} policies"
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
