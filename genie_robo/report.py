"""report.md of a run: the numbers, pictures, curves and where all of it comes from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from eval_suites.base import Metric
from eval_suites.figures import BLUE, ORANGE, new_axes, owner
from eval_suites.results import metric_table
from genie_robo.pipeline import seconds_spent, stamps_of
from genie_robo.provenance import read_provenance
from genie_robo.run_folder import BRANCHES, RunFolder, write_atomic
from genie_robo.train.metrics import read_log

CURVES = {
    "loss": "loss",
    "psnr": "PSNR (dB)",
    "perplexity": "tokens in use (perplexity)",
    "lam_unexplained_change": "frame change left unexplained",
    "lam_perplexity": "latent actions in use (perplexity)",
    "dynamics_loss": "cross-entropy of masked tokens (nat)",
}
"""What is drawn from the training logs, where a stage logs it."""

STAGES = {"tokenizer": "tokenizer", "world_model": "latent actions and dynamics"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteReport:
    """What a suite left in its folder."""

    folder: Path
    headline: Mapping[str, Metric]
    notes: Sequence[str]
    figures: Sequence[Path]


def write_report(run: RunFolder) -> Path:
    """Write report.md and its training curves; what a run does not have yet is named as missing.

    Raises:
        ValueError: A metrics.json cannot be read.
    """
    drawn = draw_training(run)
    lines = [
        f"# {run.path.name}",
        "",
        *_rollout_lines(run),
        *_number_lines(run),
        *_training_lines(run, drawn),
        *_provenance_lines(run),
    ]
    write_atomic(run.report, "\n".join(lines).rstrip() + "\n")
    return run.report


def read_suite(path: Path) -> SuiteReport:
    """The headline numbers, notes and figures beside a metrics.json.

    Raises:
        ValueError: It is not one that a suite wrote.
    """
    try:
        content = json.loads(path.read_text())
        metrics = {name: content["metrics"][name] for name in content["headline"]}
        headline = {name: _as_metric(fields) for name, fields in metrics.items()}
        notes = content["notes"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not the result of a suite ({type(error).__name__}: {error}); delete "
            f"{path.parent} and evaluate again"
        ) from error
    figures = sorted((path.parent / "figures").glob("*.png"))
    return SuiteReport(folder=path.parent, headline=headline, notes=notes, figures=figures)


def draw_training(run: RunFolder) -> dict[str, Path]:
    """Draw the curves of every stage that has a log; returns the pictures by stage."""
    drawn = {}
    for stage in STAGES:
        log = read_log(run.log(stage))
        curves = [name for name in CURVES if any(line.get(name) is not None for line in log)]
        if curves:
            path = run.path / "report" / f"{stage}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            draw_curves(log, curves).savefig(path)
            drawn[stage] = path
    return drawn


def draw_curves(log: Sequence[Mapping[str, float | int | None]], names: Sequence[str]) -> Figure:
    """One panel for each logged number over the training steps, with validation where it is."""
    panels = new_axes(len(names), width=4.2 * len(names), height=3.2)
    for axes, name in zip(panels, names, strict=True):
        steps, values = _curve(log, name)
        lone = "o" if len(steps) == 1 else ""  # a line of one point cannot be seen
        axes.plot(steps, values, marker=lone, color=BLUE, label="training batch")
        steps, values = _curve(log, f"val_{name}")
        if len(steps):
            axes.plot(steps, values, "o-", color=ORANGE, label="validation episodes")
            axes.legend(fontsize=10, frameon=False)
        axes.set_xlabel("training step", fontsize=11)
        axes.set_title(CURVES[name], fontsize=11, loc="left")
    return owner(panels[0])


def _curve(log: Sequence[Mapping[str, float | int | None]], name: str) -> np.ndarray:
    """Steps and values, where the number is known: two rows."""
    known = [(line["step"], line[name]) for line in log if line.get(name) is not None]
    return np.array(known, dtype=float).reshape(-1, 2).T


def _as_metric(fields: dict[str, Any]) -> Metric:
    interval = fields["ci95"]
    others: dict[str, Any] = {name: value for name, value in fields.items() if name != "ci95"}
    return Metric(ci95=(interval[0], interval[1]) if interval else None, **others)


def _rollout_lines(run: RunFolder) -> list[str]:
    """True frames above imagined ones, and what each code does, before any number."""
    pictures = sorted(run.rollouts.glob("*.png"))
    atlases = [path for path in pictures if path.stem.endswith(BRANCHES)]
    strips = [path for path in pictures if path not in atlases]
    if not strips:
        return ["No rollouts yet: " + _command("imagine", run), ""]
    lines = [
        "Test episodes, imagined from their first frame under latent actions that were inferred "
        f"from the true frames. Look at them with `genie-robo view run={run.path}`.",
        "",
    ]
    for strip in strips:
        lines += [f"![{strip.stem}, true above imagined]({_link(run, strip)})", ""]
    if atlases:
        lines += [
            "What each latent action does, held from the prompt on, and the direction in which the "
            "robot moves most in labelled steps of that code.",
            "",
        ]
    for atlas in atlases:
        lines += [f"![{atlas.stem}, a row per latent action]({_link(run, atlas)})", ""]
    return lines


def _number_lines(run: RunFolder) -> list[str]:
    paths = sorted(run.path.glob("eval/*/metrics.json"), key=lambda path: path.stat().st_mtime_ns)
    suites = [read_suite(path) for path in paths]
    lines = ["## Numbers", ""]
    if not suites:
        return [*lines, "Not evaluated yet: " + _command("eval", run), ""]
    lines += [
        "On test episodes that nothing was fitted to; intervals are over episodes (95 %).",
        "",
    ]
    for suite in suites:
        lines += [f"### {suite.folder.name}", "", *metric_table(suite.headline), ""]
        lines += [f"- {note}" for note in suite.notes]
        lines += [f"- [Every number]({_link(run, suite.folder / 'report.md')})", ""]
        lines += _protocol_lines(suite)
        for figure in suite.figures:
            lines += [f"![{figure.stem.replace('_', ' ')}]({_link(run, figure)})", ""]
    return lines


def _protocol_lines(suite: SuiteReport) -> list[str]:
    """How each number was measured, folded away until someone asks."""
    names: dict[str, list[str]] = {}
    for name, metric in suite.headline.items():
        names.setdefault(metric.protocol, []).append(name)
    lines = ["<details><summary>How these numbers were measured</summary>", ""]
    lines += [f"- {', '.join(found)}: {protocol}." for protocol, found in names.items()]
    return [*lines, "", "</details>", ""]


def _training_lines(run: RunFolder, drawn: Mapping[str, Path]) -> list[str]:
    lines = ["## Training", ""]
    if not drawn:
        return [*lines, "No training log in this run.", ""]
    for stage, picture in drawn.items():
        steps = read_log(run.log(stage))[-1]["step"]
        lines += [f"{steps} steps of {STAGES[stage]}:", ""]
        lines += [f"![training curves of {stage}]({_link(run, picture)})", ""]
    return lines


def _provenance_lines(run: RunFolder) -> list[str]:
    lines = ["## Where this comes from", ""]
    for name, seconds in seconds_spent(stamps_of(run)).items():
        lines.append(f"- {name}: {_duration(seconds)}")
    content = read_provenance(run)
    if content is None:
        return [*lines, "- no provenance.json in this run"]
    versions = ", ".join(f"{name} {text}" for name, text in content["versions"].items() if text)
    machine = content["machine"]
    counts = ", ".join(f"{len(ids)} {split}" for split, ids in content["episodes"].items())
    return [
        *lines,
        f"- versions: {versions}",
        f"- commit: {content['commit'] or 'unknown'}",
        f"- machine: {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {machine['system']}",
        f"- dataset {content['dataset_fingerprint']}: {counts} episodes",
        f"- seeds: {', '.join(f'{name} {seed}' for name, seed in content['seeds'].items())}",
        "- settings: [config.yaml](config.yaml)",
    ]


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def _command(name: str, run: RunFolder) -> str:
    return f"`genie-robo {name} run={run.path}`"


def _link(run: RunFolder, path: Path) -> str:
    """A path as the report sees it, in a form that Markdown takes."""
    return path.relative_to(run.path).as_posix().replace(" ", "%20")
