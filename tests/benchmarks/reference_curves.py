"""Losses of several runs of one experiment, as a table and figures: what is normal.

    python tests/benchmarks/reference_curves.py default runs/seed0 runs/seed1 runs/seed2
    python tests/benchmarks/reference_curves.py default    # draws the stored table again

For every stage the lowest, mean and highest value over the runs at each logged step are written to
docs/results/curves_EXPERIMENT.csv, and drawn in docs/images/curves_EXPERIMENT_STAGE.png. A column
`val` tells validation windows from batches.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genie_robo.eval_suites.figures import BLUE, ORANGE
from genie_robo.report.training import quantising_starts
from genie_robo.run_folder import RunFolder

DOCS = Path(__file__).parents[2] / "docs"
SHOWN = {
    "tokenizer": ("loss", "psnr", "vq_loss", "perplexity"),
    "world_model": (
        "loss",
        "dynamics_loss",
        "dynamics_accuracy",
        "lam_unexplained_change",
        "lam_vq_loss",
        "lam_perplexity",
    ),
    "robot_control": ("dynamics_loss", "dynamics_accuracy"),
}
"""Quantities of each stage, a panel for each; the loss of robot control is dynamics_loss."""
IN_A_ROW = 3
CODES_START = "codes start"
"""A line of the table instead of a quantity: the step from which encodings have codes."""
SMOOTHED_OVER = 5
"""Logged steps that a line of batches is averaged over."""


def collect(runs: Sequence[Path]) -> pd.DataFrame:
    """A line for every stage, quantity and logged step: lowest, mean and highest over the runs.

    Raises:
        FileNotFoundError: A run has no log of any stage.
    """
    lines = [
        {"stage": stage, "quantity": name, "val": is_val, "step": row["step"], "value": value}
        for run in runs
        for stage, quantities in SHOWN.items()
        if (run / stage).exists()
        for _, row in pd.read_json(run / stage / "log.jsonl", lines=True).iterrows()
        for name in quantities
        for is_val in (False, True)
        if pd.notna(value := row.get(f"val_{name}" if is_val else name))
    ]
    if not lines:
        raise FileNotFoundError(f"no stage was trained in {', '.join(map(str, runs))}")
    lines += [
        {"stage": stage, "quantity": CODES_START, "val": False, "step": start, "value": start}
        for stage, start in quantising_starts(RunFolder.at(runs[0])).items()
        if start
    ]
    grouped = pd.DataFrame(lines).groupby(["stage", "quantity", "val", "step"], sort=False)["value"]
    return grouped.agg(["min", "mean", "max"]).round(4).reset_index().astype({"step": int})


def draw(table: pd.DataFrame, stage: str) -> Figure:
    """A panel for each quantity: the range over runs, their mean, and validation as points.

    A line marks the step from which encodings have codes, where losses may jump. What was logged
    as 0 alone has no panel.
    """
    of_stage = table[table["stage"] == stage]
    starts = of_stage[of_stage["quantity"] == CODES_START]["step"]
    quantised_from = int(starts.iloc[0]) if len(starts) else 0
    shown = [name for name in SHOWN[stage] if not _is_zero(of_stage, name)]
    num_rows = math.ceil(len(shown) / IN_A_ROW)
    num_columns = math.ceil(len(shown) / num_rows)
    figure = Figure(figsize=(4 * num_columns, 2.8 * num_rows), layout="constrained")
    panels = figure.subplots(num_rows, num_columns, squeeze=False).ravel()
    for panel in panels[len(shown) :]:
        panel.set_visible(False)
    for panel, name in zip(panels, shown, strict=False):
        own = of_stage[of_stage["quantity"] == name]
        _draw_batches(panel, own[~own["val"]], quantised_from)
        _draw_validation(panel, own[own["val"]])
        if 0 < quantised_from < of_stage["step"].max():
            panel.axvline(quantised_from, color="grey", linestyle=":", label=CODES_START)
        panel.set(title=name, xlabel="step")
        panel.grid(alpha=0.3)
    lines, names = panels[0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    return figure


def _is_zero(of_stage: pd.DataFrame, name: str) -> bool:
    """Whether a quantity was logged, and never was anything but 0."""
    own = of_stage[of_stage["quantity"] == name]
    return len(own) > 0 and not own[["min", "max"]].to_numpy().any()


def _draw_batches(panel: Axes, own: pd.DataFrame, quantised_from: int) -> None:
    """Mean and range, averaged on either side of the step from which there are codes."""
    batches = own.set_index("step")[["min", "mean", "max"]]
    is_before = batches.index <= quantised_from
    label = "batches, mean and range"
    for part in filter(len, (batches[is_before], batches[~is_before])):
        smooth = part.rolling(SMOOTHED_OVER, min_periods=1, center=True).mean()
        panel.fill_between(smooth.index, smooth["min"], smooth["max"], alpha=0.25, lw=0, color=BLUE)
        panel.plot(smooth.index, smooth["mean"], lw=1.2, color=BLUE, label=label)
        label = ""


def _draw_validation(panel: Axes, held_out: pd.DataFrame) -> None:
    spread = [held_out["mean"] - held_out["min"], held_out["max"] - held_out["mean"]]
    if len(held_out):
        steps, means = held_out["step"], held_out["mean"]
        panel.errorbar(steps, means, yerr=spread, fmt="o", ms=3, color=ORANGE, label="validation")


def main() -> None:
    """Collect and store, unless no runs are given; draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment")
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--docs", type=Path, default=DOCS)
    options = parser.parse_args()
    mpl.use("agg")
    stored = options.docs / "results" / f"curves_{options.experiment}.csv"
    for folder in ("results", "images"):
        (options.docs / folder).mkdir(parents=True, exist_ok=True)
    if options.runs:
        collect(options.runs).to_csv(stored, index=False)
    table = pd.read_csv(stored)
    for stage in table["stage"].unique():
        name = f"curves_{options.experiment}_{stage}.png"
        draw(table, stage).savefig(options.docs / "images" / name, dpi=100)


if __name__ == "__main__":
    main()
