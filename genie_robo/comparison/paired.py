"""Paired differences of runs on disk: paired.json, paired.csv, paired.md and paired.png."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from genie_robo.comparison.numbers import Number
from genie_robo.comparison.table import RunRow, group, number_text, summarise, table_lines
from genie_robo.eval_suites.comparing import PROTOCOL, Compared, Difference
from genie_robo.eval_suites.figures import BLACK, COLOURS, MARKERS
from genie_robo.run_folder import write_atomic

MAX_LINES = 24
"""In the figure; paired.md has the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedRuns:
    """Paired differences of runs on one suite."""

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
                    if c.is_headline
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
    write_atomic(folder / "paired.csv", paired_table(found).to_csv(index=False))
    write_atomic(folder / "paired.json", paired_json(found))
    write_atomic(folder / "paired.md", paired_markdown(found))
    return folder / "paired.md"


def paired_json(found: PairedRuns) -> str:
    """All values and differences as JSON; a missing number is null with the reason."""
    first, *others = found.runs
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
            compared.name: {
                "kind": "headline" if compared.is_headline else "metric",
                "unit": compared.unit,
                "values": dict(zip(found.runs, compared.values, strict=True)),
                f"minus {first}": {
                    run: asdict(difference)
                    for run, difference in zip(others, compared.differences, strict=True)
                },
            }
            for compared in found.compared
        },
        "seeds": {
            setting: {title: summarise(rows, title)._asdict() for title in rows[0].numbers}
            for setting, rows in group(found.repeated).items()
        },
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def paired_table(found: PairedRuns) -> pd.DataFrame:
    """A row for every number and run but the first; a missing number is an empty cell."""
    first, *others = found.runs
    return pd.DataFrame(
        [
            {
                "name": compared.name,
                "kind": "headline" if compared.is_headline else "metric",
                "unit": compared.unit,
                "first": first,
                "run": run,
                "first_value": compared.values[0],
                "run_value": value,
                "difference": difference.value,
                "low": difference.ci95[0] if difference.ci95 else None,
                "high": difference.ci95[1] if difference.ci95 else None,
                "p_value": difference.p_value,
                "episodes": difference.num_episodes,
                "reason": difference.reason,
            }
            for compared in found.compared
            for run, value, difference in zip(
                others, compared.values[1:], compared.differences, strict=True
            )
        ]
    )


def paired_markdown(found: PairedRuns) -> str:
    """The page to read: headline numbers, seeds, the figure, then every other number."""
    first, *others = found.runs
    lines = [f"# {found.suite}: {first} against {', '.join(others)}", "", PROTOCOL, ""]
    lines += [f"- {note}" for note in dict.fromkeys(found.notes)]
    headline = [compared for compared in found.compared if compared.is_headline]
    lines += _section(found, "The numbers to read first", headline)
    if found.repeated:
        lines += ["", "## Seeds of one setting", "", *table_lines(found.repeated), ""]
        lines += ["Mean ± standard deviation over training seeds; the spread is not an interval."]
    lines += ["", "![differences](paired.png)"]
    rest = [compared for compared in found.compared if not compared.is_headline]
    return "\n".join(lines + _section(found, "Every other number", rest)) + "\n"


def _section(found: PairedRuns, title: str, chosen: Sequence[Compared]) -> list[str]:
    if not chosen:
        return []
    header = headings(found.runs)
    lines = ["", f"## {title}", "", "| " + " | ".join(header) + " |"]
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


def draw_differences(runs: Sequence[str], compared: Sequence[Compared]) -> Figure:
    """Differences from the first run with their intervals, and a line at zero.

    Headline numbers, then others that have an interval. A difference without an interval is a
    hollow mark.
    """
    shown = _choose(compared)
    by_unit: dict[str, list[Compared]] = {}
    for one in shown:
        by_unit.setdefault(one.unit, []).append(one)
    heights = [len(alike) + 1.2 for alike in by_unit.values()] or [1.0]
    figure = Figure(figsize=(9.0, 0.42 * sum(heights) + 1.4), dpi=150, layout="constrained")
    panels = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    if not shown:
        panels[0].annotate("no difference is defined", (0.5, 0.5), xycoords="axes fraction")
        panels[0].set_axis_off()
    for axes, (unit, alike) in zip(panels, by_unit.items(), strict=False):
        _draw_unit(axes, alike, unit)
    marks = [
        Line2D([], [], color=_colour(number), marker=_marker(number), label=run)
        for number, run in enumerate(runs[1:])
    ]
    title = f"minus {runs[0]}, paired by episode, 95 % interval; hollow: no interval"
    figure.legend(handles=marks, title=title, loc="outside upper left", frameon=False, fontsize=10)
    return figure


def _choose(compared: Sequence[Compared]) -> list[Compared]:
    """Headline numbers, then others with an interval, without single frames of a horizon."""
    headline = [
        one
        for one in compared
        if one.is_headline and any(d.value is not None for d in one.differences)
    ]
    others = [
        one
        for one in compared
        if not one.is_headline
        and any(d.ci95 for d in one.differences)
        and not re.search(r"[/_]t\d+$", one.name)
    ]
    return [*headline, *others][:MAX_LINES]


def _draw_unit(axes: Axes, alike: Sequence[Compared], unit: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=10)
    axes.axvline(0.0, color=BLACK, linewidth=1.0)
    for row, one in enumerate(alike):
        for number, difference in enumerate(one.differences):
            if difference.value is None:
                continue
            height = row + 0.5 * ((number + 0.5) / len(one.differences) - 0.5)
            colour = _colour(number)
            if difference.ci95:
                axes.hlines(height, *difference.ci95, color=colour, linewidth=2.5)
            face = colour if difference.ci95 else "none"
            axes.plot(
                difference.value, height, marker=_marker(number), color=colour, mfc=face, ms=7
            )
    axes.set_yticks(range(len(alike)), [one.name.replace("_", " ") for one in alike], fontsize=10)
    axes.set_ylim(len(alike) - 0.4, -0.6)
    axes.set_xlabel(unit, fontsize=10)
    axes.locator_params(axis="x", nbins=6)


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _marker(number: int) -> str:
    return MARKERS[number % len(MARKERS)]
