"""What gpu_check.py found, as a page: FOLDER/gpu_check.md, and docs/gpu.md by `--docs`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Found = Mapping[str, Mapping[str, Any]]
"""Parts by name: state, seconds, and `found`, or `said`: the end of what was printed."""

SECTIONS = {
    "equality": (
        "Equality with the CPU",
        "A small dynamics, forward and backward, compared with attention by `auto` in fp32 on the "
        "CPU. Logits: largest difference, over their standard deviation. Gradients: norm of the "
        "difference over that of the gradient, for the parameter with the largest one.",
    ),
    "training": (
        "Training",
        "Forward, backward and AdamW of a dynamics; windows of 16 frames of 256 tokens, 1,024 "
        "codes. Tokens per second counts those of a window once, TFLOP/s counts all matrix "
        "products: with `clean_past` every frame is computed twice.",
    ),
    "imagining": (
        "Play",
        "Frames per second of the default's model as `play` steps it: one rollout, with pixels, "
        "window of 16 frames, by tokens per frame and `sampler.num_steps`.",
    ),
    "100 steps": ("Loss of 100 steps", "Stages of `model=scale_96m`; all values are in the JSON."),
}
"""Parts that have a table: title, and what its numbers are."""


def gpu_page(found: Found) -> str:
    """Environment, verdict on xformers, a table for each part, and the state of every part."""
    lines = ["# On a GPU", "", "Measured by `make gpu-check` (tests/benchmarks/gpu_check.py)."]
    lines += _environment(found.get("environment", {}).get("found", {}))
    for part, (title, meaning) in SECTIONS.items():
        if rows := found.get(part, {}).get("found"):
            lines += ["", f"## {title}", "", meaning, "", *_measured(rows)]
    return "\n".join([*lines, "", "## Parts", "", *_parts(found)]) + "\n"


def _environment(found: Mapping[str, Any]) -> list[str]:
    if not found:
        return []
    versions = found["versions"].items()
    rows = [(name, value) for name, value in found.items() if name not in ("versions", "xformers")]
    known = [row for row in (*rows, *versions) if row[1] is not None]
    lines = ["", "## Environment", "", *_table(("", ""), known)]
    return [*lines, "", "## xformers", "", f"xformers {found['xformers']}."]


def _measured(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    cells = [(name, *(row.get(column, "") for column in columns)) for name, row in rows.items()]
    return _table(("", *columns), cells)


def _parts(found: Found) -> list[str]:
    """A line for each part, with the last words of those that failed."""
    rows = []
    for name, part in found.items():
        last = "" if part["state"] == "ok" else "".join(part["said"][-1:]).replace("|", "\\|")
        rows.append((name, part["state"], part["seconds"], last))
    return _table(("part", "state", "seconds", ""), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    lines = [head, ["---"] * len(head), *(map(_cell, row) for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _cell(value: Any) -> str:
    """A number with four digits; of a curve the first, the middle and the last point."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_cell(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        ends = value[:: max(1, (len(value) - 1) // 2)] if len(value) > 2 else value
        return ", ".join(f"{_cell(loss)} at step {step}" for step, loss in ends)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
