"""An audit as a page, as JSON, and as a figure of predicted against true success."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genie_robo.eval_suites import figures
from genie_robo.eval_suites.audit.checks import Audit, Finding, Interval, WithoutOne
from genie_robo.eval_suites.audit.claims import claims

NONE = "-"


def audit_page(audits: Mapping[str, Audit]) -> list[str]:
    """Lines of Markdown: what is supported, the numbers, the policies; of all and of each task."""
    lines: list[str] = []
    for task, found in audits.items():
        lines += ["", f"## {task}", ""] if task else []
        lines += [f"- {claim}." for claim in claims(found)]
        lines += ["", *findings_table(found)]
        if not task:
            lines += ["", *policies_table(found)]
    return lines


def audit_json(audits: Mapping[str, Audit]) -> str:
    """The numbers and sentences of every audit, by task; undefined numbers are null."""
    tasks = {task: _as_json(found) for task, found in audits.items() if task}
    content = {"all": _as_json(audits[""]), "tasks": tasks}
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def audit_figure(audits: Mapping[str, Audit]) -> Figure:
    """Predicted against true success with intervals over trials; a panel for all and each task.

    Policies are numbered from the best to the worst over all trials.
    """
    first = next(iter(audits.values()))
    order = [first.policies[i] for i in np.argsort(-first.true, kind="stable")]
    width = 5.0 * min(len(audits), 2) + 2.0
    panels = figures.new_axes(len(audits), width=width, height=4.6, columns=2)
    for panel, (task, found) in zip(panels, audits.items(), strict=True):
        _draw(panel, _plain(task) or "all trials", found, order)
    drawn, _ = panels[0].get_legend_handles_labels()
    names = [_plain(name) for name in order]
    figure = figures.owner(panels[0])
    figure.legend(drawn, names, fontsize=10, frameon=False, loc="outside right upper")
    return figure


def _plain(name: str) -> str:
    """A name that matplotlib takes for text and not for a formula."""
    return name.replace("$", r"\$")


def findings_table(found: Audit) -> list[str]:
    """A row for each statistic with its checks."""
    judges = list(next(iter(found.findings.values())).blind)
    heads = [
        "",
        "value",
        "over policies",
        "over trials",
        "over both",
        "Fisher",
        "p",
        "without one policy",
        *(f"blind: {judge}" for judge in judges),
    ]
    rows = [
        [
            name,
            _number(finding.value),
            _interval(finding.over_policies),
            _interval(finding.over_trials),
            _interval(finding.over_both),
            _interval(finding.fisher),
            _chance(finding),
            _without_one(finding.without_one),
            *(_blind(finding, judge) for judge in judges),
        ]
        for name, finding in found.findings.items()
    ]
    return _table(heads, rows)


def policies_table(found: Audit) -> list[str]:
    """A row for each policy, from the best to the worst."""
    order = np.argsort(-found.true, kind="stable")
    rows = [
        [found.policies[i], _number(float(found.true[i])), _number(float(found.predicted[i]))]
        for i in order
    ]
    return _table(["policy", "true", "predicted"], rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table with columns of one width, so that it can be read in a terminal too."""
    cells = [[cell.replace("|", "/") for cell in row] for row in (heads, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    head, *body = (
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in cells
    )
    return [head, "|" + "|".join("-" * (width + 2) for width in widths) + "|", *body]


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"


def _blind(finding: Finding, judge: str) -> str:
    """The value of a judge without pixels, and how much more that of the judge is."""
    apart = finding.beyond_blind[judge]
    shown = _number(finding.blind[judge])
    return shown if apart is None else f"{shown}, {apart.value:+.2f} {_interval(apart.over_both)}"


def _interval(interval: Interval | None) -> str:
    return NONE if interval is None else f"[{interval.low:.2f}, {interval.high:.2f}]"


def _chance(finding: Finding) -> str:
    if finding.p_value is None:
        return NONE
    return f"{finding.p_value:.2g}" + (" (all orders)" if finding.is_exact else "")


def _without_one(found: WithoutOne | None) -> str:
    if found is None:
        return NONE
    return f"{found.low:.2f} to {found.high:.2f} ({found.policy})"


def _as_json(found: Audit) -> dict[str, Any]:
    """All numbers with the sentences; arrays as lists."""
    numbers = asdict(found)
    plain = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in numbers.items()}
    return plain | {"claims": list(claims(found))}


def _draw(axes: Axes, title: str, found: Audit, order: Sequence[str]) -> None:
    """The place of each policy in the order, with its intervals over trials."""
    ends = [found.true, found.predicted, found.true_interval, found.predicted_interval]
    low = min(0.0, *(float(part.min()) for part in ends if part is not None))
    high = max(1.0, *(float(part.max()) for part in ends if part is not None))
    axes.plot([low, high], [low, high], color="#BBBBBB", linewidth=1)
    for number, name in enumerate(order, start=1):
        if name not in found.policies:
            continue
        i = found.policies.index(name)
        x, y = float(found.true[i]), float(found.predicted[i])
        colour = figures.COLOURS[number % len(figures.COLOURS)]
        look = {"color": colour, "linewidth": 0.8, "alpha": 0.4}
        if found.true_interval is not None and found.predicted_interval is not None:
            axes.hlines(y, *found.true_interval[:, i], **look)
            axes.vlines(x, *found.predicted_interval[:, i], **look)
        axes.scatter(x, y, marker=f"${number}$", s=70, color=colour, zorder=3, label=f"{number}")
    ranks, linear = (found.findings[name].value for name in ("spearman", "pearson"))
    shown = f"{title}: Pearson {_number(linear)}, Spearman {_number(ranks)}"
    figures.name_axes(axes, "true success", "predicted success", title=shown)
