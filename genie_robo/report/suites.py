"""Results of suites on disk as parts of a report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genie_robo.eval_suites.table import Metric
from genie_robo.run_folder import RunFolder
from genie_robo.stored_files import read_json

INTERVALS = "On test episodes that nothing was fitted to; intervals are over episodes (95 %)."


def result_paths(run: RunFolder) -> list[Path]:
    """metrics.json of every suite, in the order of evaluation."""
    return sorted(run.path.glob("eval/*/metrics.json"), key=lambda path: path.stat().st_mtime_ns)


def read_suite(path: Path) -> tuple[dict[str, Metric], list[str]]:
    """The headline numbers and notes of a metrics.json.

    Raises:
        ValueError: It is not one that a suite wrote.
    """
    try:
        content = read_json(path)
        metrics = {name: content["metrics"][name] for name in content["headline"]}
        headline = {name: _as_metric(fields) for name, fields in metrics.items()}
        return headline, content["notes"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not the result of a suite ({type(error).__name__}: {error}); delete "
            f"{path.parent} and evaluate again"
        ) from error


def _as_metric(fields: dict[str, Any]) -> Metric:
    values: dict[str, Any] = {**fields, "ci95": tuple(fields["ci95"] or ()) or None}
    return Metric(**values)


def protocol_lines(headline: Mapping[str, Metric]) -> list[str]:
    """How each number was measured; numbers of one protocol share a line."""
    names: dict[str, list[str]] = {}
    for name, metric in headline.items():
        names.setdefault(metric.protocol, []).append(name)
    return [f"- {', '.join(found)}: {protocol}." for protocol, found in names.items()]
