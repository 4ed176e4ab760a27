"""A suite's result on disk: metrics.json, metrics.csv, per_episode.csv, figures and report.md."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from genie_robo.atomic import replacing
from genie_robo.eval_suites.base import EvalSuite, SuiteResult
from genie_robo.eval_suites.captions import caption
from genie_robo.eval_suites.table import Metric

ROUNDING = 1e-9


def write_result(
    folder: Path,
    result: SuiteResult,
    *,
    suite: EvalSuite,
    provenance: Mapping[str, str | int | float | bool] | None = None,
) -> None:
    """Write a result as one folder that is either complete or not there.

    An older result in its place is replaced only when the new one is complete. `provenance` says
    in metrics.json what was evaluated, for example the run, the seed and `fast`.
    """
    with replacing(folder) as temporary:
        (temporary / "figures").mkdir(parents=True)
        for name, figure in result.figures.items():
            figure.savefig(temporary / "figures" / f"{name}.png")
        (temporary / "metrics.json").write_text(metrics_json(result, suite.name, provenance or {}))
        metrics_table(result).to_csv(temporary / "metrics.csv", index=False)
        pd.DataFrame(result.per_episode).to_csv(temporary / "per_episode.csv", index=False)
        for name, arrays in result.arrays.items():
            path = temporary / f"{name}.npz"
            path.parent.mkdir(exist_ok=True)
            save: Callable[..., None] = np.savez_compressed
            save(path, allow_pickle=False, **arrays)
        (temporary / "report.md").write_text(report_markdown(result, suite))


def metrics_json(
    result: SuiteResult, suite: str, provenance: Mapping[str, str | int | float | bool]
) -> str:
    """The headline metrics as JSON in which an undefined number is null, never NaN."""
    content = {
        "suite": suite,
        "provenance": dict(provenance),
        "headline": list(result.headline),
        "notes": list(result.notes),
        "metrics": {name: _as_json(result.metrics[name]) for name in result.headline},
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def metrics_table(result: SuiteResult) -> pd.DataFrame:
    """Every metric as a row of metrics.csv; an undefined value is an empty cell."""
    return pd.DataFrame(
        [
            {
                "metric": name,
                "value": metric.value,
                "low": metric.ci95[0] if metric.ci95 else None,
                "high": metric.ci95[1] if metric.ci95 else None,
                "unit": metric.unit,
                "episodes": metric.n_units,
                "ceiling": metric.ceiling,
                "reason": metric.reason,
            }
            for name, metric in result.metrics.items()
        ]
    )


def report_markdown(result: SuiteResult, suite: EvalSuite) -> str:
    """Headline metrics, notes and figures, then all other metrics and the protocols."""
    lines = [f"# {suite.name}", "", f"Measures {suite.summary}.", ""]
    lines += metric_table({name: result.metrics[name] for name in result.headline})
    lines += ["", *(f"- {note}" for note in result.notes)]
    for name in result.figures:
        lines += ["", f"![{name.replace('_', ' ')}](figures/{name}.png)"]
        lines += ["", f"*{caption(suite.name, name)}*"]
    for heading, section in result.sections.items():
        lines += ["", f"## {heading}", "", *section]
    others = {name: m for name, m in result.metrics.items() if name not in result.headline}
    if others:
        lines += ["", "## Every other number", "", *metric_table(others)]
    lines += ["", "## How it was measured", ""]
    protocols = dict.fromkeys(metric.protocol for metric in result.metrics.values())
    lines += [f"- {protocol}." for protocol in protocols]
    return "\n".join(lines) + "\n"


def metric_table(metrics: Mapping[str, Metric]) -> list[str]:
    """A Markdown table, one metric per line."""
    lines = [
        "| metric | value [95 % interval] | unit | episodes | baselines | ceiling |",
        "|---|---|---|---|---|---|",
    ]
    for name, metric in metrics.items():
        baselines = ", ".join(
            f"{key.replace('_', ' ')} {format_number(value)}"
            for key, value in metric.baselines.items()
        )
        ceiling = "" if metric.ceiling is None else format_number(metric.ceiling)
        cells = (name, format_value(metric), metric.unit, metric.n_units, baselines, ceiling)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def format_value(metric: Metric) -> str:
    """`0.31 [0.25, 0.36]`, or why there is no number."""
    if metric.value is None:
        return f"undefined: {metric.reason}"
    if metric.ci95 is None:
        return format_number(metric.value)
    low, high = map(format_number, metric.ci95)
    return f"{format_number(metric.value)} [{low}, {high}]"


def format_number(value: float | None) -> str:
    """Two decimals, or two digits where they are all zero."""
    if value is None:
        return "undefined"
    if abs(value - round(value)) < ROUNDING and abs(value) < 1e6:
        return str(round(value))
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def _as_json(metric: Metric) -> dict[str, object]:
    content = asdict(metric)
    return content if metric.reason else {k: v for k, v in content.items() if k != "reason"}
