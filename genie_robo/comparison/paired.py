"""Paired differences of runs on disk: paired.json, paired.csv, paired.md and paired.png."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO, StringIO
from pathlib import Path

from eval_suites.comparing import PROTOCOL, Compared, Difference, Kind
from genie_robo.comparison.numbers import Number
from genie_robo.comparison.paired_figure import draw_differences
from genie_robo.comparison.table import RunRow, group, number_text, summarise, table_lines
from genie_robo.run_folder import write_atomic

TITLES = {
    Kind.headline: "The numbers to read first",
    Kind.metric: "Every other number",
    Kind.column: "Means of the columns of per_episode.csv",
}

_CSV = (
    *("name", "kind", "unit", "first", "run", "first_value", "run_value"),
    *("difference", "low", "high", "p_value", "episodes", "reason"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedRuns:
    """What was compared, and what was found."""

    suite: str
    settings: Mapping[str, tuple[str, int]]
    """Setting and seed of each run, by its name; the first run is what others are compared to."""
    compared: Sequence[Compared]
    notes: Sequence[str]
    provenance: Mapping[str, str | int | bool]

    @property
    def runs(self) -> list[str]:
        """Names, the first run first."""
        return list(self.settings)

    @property
    def repeated(self) -> list[RunRow]:
        """The headline numbers of runs whose setting was trained with several seeds."""
        rows = [
            RunRow(
                variant=setting,
                seed=seed,
                path=Path(run),
                numbers={
                    f"{c.name} ({c.unit})": Number(c.values[number])
                    for c in self.compared
                    if c.kind is Kind.headline
                },
            )
            for number, (run, (setting, seed)) in enumerate(self.settings.items())
        ]
        several = (runs for runs in group(rows).values() if len({row.seed for row in runs}) > 1)
        return [row for runs in several for row in runs]


def write_paired(folder: Path, found: PairedRuns) -> Path:
    """Write all four files; returns paired.md."""
    picture = BytesIO()
    draw_differences(found.runs, found.compared).savefig(picture, format="png")
    write_atomic(folder / "paired.png", picture.getvalue())
    write_atomic(folder / "paired.csv", paired_csv(found))
    write_atomic(folder / "paired.json", paired_json(found))
    write_atomic(folder / "paired.md", paired_markdown(found))
    return folder / "paired.md"


def paired_json(found: PairedRuns) -> str:
    """Everything, a missing number as null with the reason."""
    seeds = found.repeated
    content = {
        "suite": found.suite,
        "provenance": dict(found.provenance),
        "protocol": PROTOCOL,
        "notes": list(found.notes),
        "runs": [
            {"run": run, "setting": setting, "seed": seed}
            for run, (setting, seed) in found.settings.items()
        ],
        "metrics": {
            compared.name: _as_json(compared, found.runs)
            for compared in found.compared
            if compared.kind is not Kind.column
        },
        "columns": {
            compared.name: _as_json(compared, found.runs)
            for compared in found.compared
            if compared.kind is Kind.column
        },
        "seeds": {
            setting: {title: summarise(rows, title)._asdict() for title in rows[0].numbers}
            for setting, rows in group(seeds).items()
        },
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _as_json(compared: Compared, runs: Sequence[str]) -> dict[str, object]:
    first, *others = runs
    return {
        "kind": compared.kind.value,
        "unit": compared.unit,
        "values": dict(zip(runs, compared.values, strict=True)),
        f"minus {first}": {
            run: {
                "value": difference.value,
                "ci95": difference.ci95,
                "p_value": difference.p_value,
                "num_episodes": difference.num_episodes,
                "shared": difference.shared,
                "reason": difference.reason,
            }
            for run, difference in zip(others, compared.differences, strict=True)
        },
    }


def paired_csv(found: PairedRuns) -> str:
    """One line for every number and run but the first; a missing number is an empty cell."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV)
    first, *others = found.runs
    for compared in found.compared:
        rows = zip(others, compared.values[1:], compared.differences, strict=True)
        for run, value, difference in rows:
            names = (compared.name, compared.kind.value, compared.unit, first, run)
            low, high = difference.ci95 or (None, None)
            numbers = (compared.values[0], value, difference.value, low, high, difference.p_value)
            cells = ["" if number is None else number for number in numbers]
            writer.writerow([*names, *cells, difference.num_episodes, difference.reason])
    return text.getvalue()


def paired_markdown(found: PairedRuns) -> str:
    """The page to read: headline numbers, seeds, the figure, then every other number.

    Columns stand here only where no metric could be paired; paired.csv has them always.
    """
    first, *others = found.runs
    lines = [f"# {found.suite}: {first} against {', '.join(others)}", "", PROTOCOL, ""]
    lines += [f"- {note}" for note in dict.fromkeys(found.notes)]
    lines += _section(found, Kind.headline)
    if found.repeated:
        lines += ["", "## Seeds of one setting", "", *table_lines(found.repeated), ""]
        lines += ["Mean ± standard deviation over training seeds; the spread is not an interval."]
    lines += ["", "![differences](paired.png)"]
    lines += _section(found, Kind.metric)
    metrics = [compared for compared in found.compared if compared.kind is not Kind.column]
    if not any(d.num_episodes for compared in metrics for d in compared.differences):
        lines += _section(found, Kind.column)
    return "\n".join(lines) + "\n"


def _section(found: PairedRuns, kind: Kind) -> list[str]:
    chosen = [compared for compared in found.compared if compared.kind is kind]
    if not chosen:
        return []
    header = headings(found.runs)
    lines = ["", f"## {TITLES[kind]}", "", "| " + " | ".join(header) + " |"]
    lines += ["|---" * len(header) + "|"]
    reasons: dict[str, list[str]] = {}
    for compared in chosen:
        lines.append("| " + " | ".join(cells(compared)) + " |")
        for run, difference in zip(found.runs[1:], compared.differences, strict=True):
            if difference.reason:
                reasons.setdefault(f"{run}: {difference.reason}", []).append(compared.name)
    missing = [f"- {', '.join(names)}. {reason}" for reason, names in reasons.items()]
    return lines + (["", "What is missing:", "", *missing] if missing else [])


def headings(runs: Sequence[str]) -> list[str]:
    """Titles of the columns of `cells`."""
    return ["number", "unit", *runs, *(f"{run} minus {runs[0]}" for run in runs[1:])]


def cells(compared: Compared) -> list[str]:
    """A line of the table: the values, then the differences."""
    return [
        compared.name,
        compared.unit,
        *("undefined" if value is None else number_text(value) for value in compared.values),
        *(difference_text(difference) for difference in compared.differences),
    ]


def difference_text(difference: Difference) -> str:
    """`+1.2 [0.9, 1.5], p = 0.003, 24 episodes`, as far as it is known."""
    if difference.value is None:
        return "undefined"
    text = f"{difference.value:+.3g}"
    if difference.ci95:
        text += " [{:.3g}, {:.3g}]".format(*difference.ci95)
    if difference.p_value is not None:
        text += f", p = {difference.p_value:.2g}"
    if not difference.num_episodes:
        return f"{text}, not paired"
    return f"{text}, {difference.num_episodes} episodes"
