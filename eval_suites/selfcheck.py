"""Do the metrics measure what they say? Every one on inputs with a known answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from eval_suites.base import EvalContext, Metric, SuiteResult, undefined
from eval_suites.metrics.known import Known
from eval_suites.metrics.known_answers import KNOWN

PROTOCOL = "metric functions on inputs whose output is worked out by hand or published; no model"


class Checked(NamedTuple):
    """A known answer beside the computed one."""

    known: Known
    found: float
    is_ok: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfCheck:
    """Known answers; needs neither a run nor data."""

    name: ClassVar[str] = "selfcheck"
    summary: ClassVar[str] = "whether the metric functions give their known answers"

    def evaluate(self, context: EvalContext | None = None) -> SuiteResult:
        """Compute every known answer; the context is not looked at."""
        rows = check(KNOWN)
        wrong = sum(not row.is_ok for row in rows)
        metrics = {
            "wrong": Metric(
                value=float(wrong),
                n_units=0,
                unit=f"of {len(rows)}",
                protocol=PROTOCOL,
                ceiling=0.0,
            )
        }
        for number, (known, found, is_ok) in enumerate(rows):
            said = f"{known.why}; {PROTOCOL}"
            name = f"{known.name}/{number}"
            metrics[name] = (
                Metric(
                    value=found, n_units=0, unit="", protocol=said, ceiling=float(known.expected)
                )
                if is_ok
                else undefined(f"{found} instead of {known.expected}", unit="", protocol=said)
            )
        return SuiteResult(metrics=metrics, headline=("wrong",), per_episode=[], figures={})


def check(answers: Sequence[Known]) -> list[Checked]:
    """Compute each answer; NaN is never right."""
    rows = []
    for known in answers:
        found = float(known.compute())
        rows.append(Checked(known, found, abs(found - known.expected) <= known.tolerance))
    return rows
