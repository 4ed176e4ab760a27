"""The results table of the README from five runs of the demo: mean and spread over seeds.

    python tests/benchmarks/demo_seeds.py runs/seed0 runs/seed1 runs/seed2 runs/seed3 runs/seed4

The numbers of every run are written to docs/results/demo_seeds.csv, the table is printed. A test
compares the table in the README with this file.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

STORED = Path(__file__).parents[2] / "docs" / "results" / "demo_seeds.csv"
PROBE, ROLLOUT = "latent_probe achieved/xyz", "sim_rollout"


class Row(NamedTuple):
    """A row of the table: SUITE METRIC, and the baselines and bounds of that metric to show."""

    title: str
    metric: str
    unit: str
    digits: int
    others: dict[str, str]
    """Name of a baseline, or `ceiling`, to how it is called in the table."""


_PROBE = {
    "ceiling": "8 clusters of the true motions",
    "dense_flow_clusters": "8 clusters of dense optical flow",
    "untrained_encoder": "untrained encoder",
    "previous_action": "previous action",
    "frame_difference_clusters": "8 clusters of frame differences",
}
_LATENT = {
    "dense_flow_ridge": "ridge on dense flow, all labels",
    "inverse_dynamics": "ridge on frame differences, all labels",
}
_TOOL = {
    "ceiling": "the reader on rebuilt true frames",
    "copy_last": "copy-last",
    "random_codes": "random codes",
    "greedy_codes": "MuJoCo quantised to 8 centroids",
}
_PSNR = {
    "copy_last": "copy-last",
    "mean_frame": "mean frame",
    "blurred_prompt": "blurred prompt",
    "other_clip": "another clip",
    "ceiling": "tokenizer",
}
_READ = {"copy_last": "copy-last", "ceiling": "the reader on rebuilt true frames"}
_RANDOM = {"random_codes": "random codes"}
_FOLLOW = {"random": "random codes"}
_DELTA = "controllability delta_psnr/permuted/t4"
ROWS = (
    Row("R2 of dx dy dz from 8 codes", f"{PROBE}/r2", "", 2, _PROBE),
    Row("R2 from the latent, linear", f"{PROBE}/r2_latent", "", 2, _LATENT),
    Row("share of the 8-code ceiling", f"{PROBE}/fraction_of_ceiling", "", 2, {}),
    Row("partial R2 given the previous action", f"{PROBE}/partial_r2_previous_action", "", 2, {}),
    Row("tokenizer PSNR", "tokenizer psnr", "dB", 1, {"copy_last": "copy-last"}),
    Row("delta_4 PSNR, codes of another clip", _DELTA, "dB", 1, {}),
    Row("tool error, codes", f"{ROLLOUT} tool_error", "mm", 0, _TOOL),
    Row("tool error, latents", f"{ROLLOUT} tool_error/latents", "mm", 0, {}),
    Row("tool error, robot actions", f"{ROLLOUT} tool_error/robot_actions", "mm", 0, {}),
    Row("gain of the tool, robot actions", f"{ROLLOUT} gain/robot_actions", "", 2, _RANDOM),
    Row("box error, robot actions", f"{ROLLOUT} box_error/robot_actions", "mm", 0, _READ),
    Row(
        "gripper open or closed, robot actions",
        f"{ROLLOUT} gripper_accuracy/robot_actions",
        "",
        2,
        _READ,
    ),
    Row("changed pixels, codes", f"{ROLLOUT} changed_psnr", "dB", 1, _PSNR),
    Row("changed pixels, latents", f"{ROLLOUT} changed_psnr/latents", "dB", 1, {}),
    Row("whole frame, latents", f"{ROLLOUT} psnr/latents", "dB", 1, _PSNR),
    Row(
        "motion that robot actions cause, of real frames'",
        "action_following ratio/robot",
        "",
        2,
        _FOLLOW,
    ),
)


def collect(runs: Sequence[Path]) -> pd.DataFrame:
    """One line for every number of every row, with a column for each seed.

    Raises:
        FileNotFoundError: A suite was not evaluated.
        ValueError: A metric is undefined.
    """
    lines = []
    for row in ROWS:
        suite, metric = row.metric.split()
        found = [_metric(run, suite, metric) for run in runs]
        for name in ("", *row.others):
            values = [_number(metrics, name) for metrics in found]
            if None in values:
                raise ValueError(f"{row.metric} {name} is undefined in one of {runs}")
            seeds = {f"seed{n}": round(value, 4) for n, value in enumerate(values)}
            lines.append({"row": row.title, "of": name, "n": found[0]["n_units"], **seeds})
    return pd.DataFrame(lines)


def _metric(run: Path, suite: str, metric: str) -> dict:
    return json.loads((run / "eval" / suite / "metrics.json").read_text())["metrics"][metric]


def _number(metric: dict, name: str) -> float | None:
    return {"": metric["value"], "ceiling": metric["ceiling"], **metric["baselines"]}[name]


def render(stored: pd.DataFrame) -> str:
    """The table in Markdown: mean and sample standard deviation over the seeds."""
    seeds = [name for name in stored.columns if name.startswith("seed")]
    lines = [
        f"| mean ± sd of {len(seeds)} seeds | | baselines and bounds | n |",
        "|---|---|---|---|",
    ]
    stored = stored.fillna({"of": ""})
    for row in ROWS:
        own = stored[stored["row"] == row.title].set_index("of")
        means, spreads = own[seeds].mean(axis=1), own[seeds].std(axis=1)
        shown = {name: f"{means[name]:.{row.digits}f}" for name in ("", *row.others)}
        value = f"{shown['']} ± {spreads['']:.{row.digits}f} {row.unit}".strip()
        others = ", ".join(f"{title} {shown[name]}" for name, title in row.others.items())
        lines.append(f"| {row.title} | {value} | {others} | {own['n'].iloc[0]} |")
    return "\n".join(lines)


def main() -> None:
    """Collect, store and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, default=STORED)
    options = parser.parse_args()
    stored = collect(options.runs)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    stored.to_csv(options.output, index=False)
    print(render(stored))


if __name__ == "__main__":
    main()
