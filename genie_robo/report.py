"""report.md of a run: images, numbers, training curves and provenance."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from genie_robo.command_line import command_line, write_setting
from genie_robo.eval_suites.base import Metric
from genie_robo.eval_suites.figures import BLUE, ORANGE, new_axes, owner
from genie_robo.eval_suites.results import metric_table
from genie_robo.pipeline import seconds_spent, stamps_of
from genie_robo.provenance import read_provenance
from genie_robo.run_folder import BRANCHES, RunFolder, write_atomic
from genie_robo.stored_files import read_json
from genie_robo.train.metrics import read_log

NUMBERS = (
    "## Numbers",
    "",
    "On test episodes that nothing was fitted to; intervals are over episodes (95 %).",
    "",
)
"""The head of the section with results."""
CURVES = {
    "loss": "loss",
    "psnr": "PSNR (dB)",
    "perplexity": "tokens in use (perplexity)",
    "lam_unexplained_change": "frame change left unexplained",
    "lam_perplexity": "latent actions in use (perplexity)",
    "dynamics_loss": "cross-entropy of masked tokens (nat)",
}
"""Logged numbers that are drawn, with their titles."""

STAGES = {
    "tokenizer": "tokenizer",
    "world_model": "latent actions and dynamics",
    "robot_control": "robot control",
}


def write_report(run: RunFolder) -> Path:
    """Write report.md and its training curves; parts that the run lacks are named as missing.

    Raises:
        ValueError: A metrics.json cannot be read.
    """
    lines = [
        f"# {run.path.name}",
        "",
        *_rollout_lines(run),
        *_number_lines(run),
        *_training_lines(run),
        *_provenance_lines(run),
    ]
    write_atomic(run.report, "\n".join(lines).rstrip() + "\n")
    return run.report


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


def draw_training(run: RunFolder) -> dict[str, Path]:
    """Draw the curves of every stage that has a log; returns the images by stage."""
    drawn = {}
    for stage in STAGES:
        log = pd.DataFrame(read_log(run.log(stage))).dropna(axis="columns", how="all")
        curves = [name for name in CURVES if name in log]
        if curves:
            drawn[stage] = run.path / "report" / f"{stage}.png"
            picture = BytesIO()
            draw_curves(log, curves).savefig(picture)
            write_atomic(drawn[stage], picture.getvalue())
    return drawn


def draw_curves(log: pd.DataFrame, names: Sequence[str]) -> Figure:
    """One panel for each logged number over the training steps, with validation if logged."""
    panels = new_axes(len(names), width=4.2 * len(names), height=3.2)
    for axes, name in zip(panels, names, strict=True):
        training = log.reindex(columns=["step", name]).dropna()
        lone = "o" if len(training) == 1 else ""  # a line of one point cannot be seen
        axes.plot(*training.to_numpy().T, marker=lone, color=BLUE, label="training batch")
        validation = log.reindex(columns=["step", f"val_{name}"]).dropna()
        if len(validation):
            axes.plot(*validation.to_numpy().T, "o-", color=ORANGE, label="validation episodes")
            axes.legend(fontsize=10, frameon=False)
        axes.set_xlabel("training step", fontsize=11)
        axes.set_title(CURVES[name], fontsize=11, loc="left")
    return owner(panels[0])


def _rollout_lines(run: RunFolder) -> list[str]:
    """True frames above imagined ones, then what each code does."""
    images = sorted(run.rollouts.glob("*.png"))
    atlases = [path for path in images if path.stem.endswith(BRANCHES)]
    strips = [path for path in images if path not in atlases]
    if not strips:
        return ["No rollouts yet: " + _command("imagine", run), ""]
    lines = [
        "Test episodes, imagined from their first frame under latent actions that were inferred "
        "from the true frames; with `actions_robot` in the name, under the robot's own actions. "
        f"Look at them with {_command('view', run)}.",
        "",
    ]
    for strip in strips:
        lines += _image(run, strip, f"{strip.stem}, true above imagined")
    if atlases:
        lines += [
            "What each latent action does, held from the prompt on, and the direction in which the "
            "robot moves most in labelled steps of that code.",
            "",
        ]
    for atlas in atlases:
        lines += _image(run, atlas, f"{atlas.stem}, a row per latent action")
    return lines


def _number_lines(run: RunFolder) -> list[str]:
    paths = sorted(run.path.glob("eval/*/metrics.json"), key=lambda path: path.stat().st_mtime_ns)
    if not paths:
        return ["## Numbers", "", "Not evaluated yet: " + _command("eval", run), ""]
    lines: list[str] = [*NUMBERS]
    for path in paths:
        headline, notes = read_suite(path)
        lines += [f"### {path.parent.name}", "", *metric_table(headline), ""]
        lines += [f"- {note}" for note in notes]
        lines += [f"- [Every number]({_link(run, path.parent / 'report.md')})", ""]
        lines += protocol_lines(headline)
        for figure in sorted((path.parent / "figures").glob("*.png")):
            lines += _image(run, figure, figure.stem.replace("_", " "))
    return lines


def protocol_lines(headline: Mapping[str, Metric]) -> list[str]:
    """How each number was measured, folded."""
    names: dict[str, list[str]] = {}
    for name, metric in headline.items():
        names.setdefault(metric.protocol, []).append(name)
    lines = ["<details><summary>How these numbers were measured</summary>", ""]
    lines += [f"- {', '.join(found)}: {protocol}." for protocol, found in names.items()]
    return [*lines, "", "</details>", ""]


def _training_lines(run: RunFolder) -> list[str]:
    lines = ["## Training", ""]
    drawn = draw_training(run)
    if not drawn:
        return [*lines, "No training log in this run.", ""]
    for stage, image in drawn.items():
        steps = read_log(run.log(stage))[-1]["step"]
        lines += [f"{steps} steps of {STAGES[stage]}:", ""]
        lines += _image(run, image, f"training curves of {stage}")
    return lines


def _provenance_lines(run: RunFolder) -> list[str]:
    lines = ["## Where this comes from", ""]
    for name, seconds in seconds_spent(stamps_of(run)).items():
        duration = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
        lines.append(f"- {name}: {duration}")
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


def _command(name: str, run: RunFolder) -> str:
    return f"`{command_line(name, write_setting('run', run.path))}`"


def _image(run: RunFolder, path: Path, text: str) -> list[str]:
    return [f"![{text}]({_link(run, path)})", ""]


def _link(run: RunFolder, path: Path) -> str:
    """A path relative to the report, as a Markdown link."""
    return path.relative_to(run.path).as_posix().replace(" ", "%20")
