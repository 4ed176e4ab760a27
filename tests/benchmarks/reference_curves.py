"""Losses of several runs of one experiment, as a table and figures: what is normal.

    python tests/benchmarks/reference_curves.py default runs/seed0 runs/seed1 runs/seed2

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
from matplotlib.figure import Figure

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
    grouped = pd.DataFrame(lines).groupby(["stage", "quantity", "val", "step"], sort=False)["value"]
    return grouped.agg(["min", "mean", "max"]).round(4).reset_index().astype({"step": int})


def draw(table: pd.DataFrame, stage: str) -> Figure:
    """A panel for each quantity: the range over runs, their mean, and validation as points."""
    num_rows = math.ceil(len(SHOWN[stage]) / IN_A_ROW)
    num_columns = math.ceil(len(SHOWN[stage]) / num_rows)
    figure = Figure(figsize=(4 * num_columns, 2.8 * num_rows), layout="constrained")
    panels = figure.subplots(num_rows, num_columns, squeeze=False).ravel()
    of_stage = table[table["stage"] == stage]
    in_use = of_stage[of_stage["quantity"].str.endswith("perplexity")]["step"]
    for panel, name in zip(panels, SHOWN[stage], strict=True):
        own = of_stage[of_stage["quantity"] == name]
        batches = own[~own["val"]].set_index("step")[["min", "mean", "max"]]
        smooth = batches.rolling(SMOOTHED_OVER, min_periods=1, center=True).mean()
        panel.fill_between(smooth.index, smooth["min"], smooth["max"], alpha=0.25, lw=0)
        panel.plot(smooth.index, smooth["mean"], lw=1.2, label="batches, mean and range")
        held_out = own[own["val"]]
        spread = [held_out["mean"] - held_out["min"], held_out["max"] - held_out["mean"]]
        if len(held_out):
            panel.errorbar(
                held_out["step"], held_out["mean"], yerr=spread, fmt="o", ms=3, label="validation"
            )
        if len(in_use) and in_use.min() > of_stage["step"].min():
            panel.axvline(in_use.min(), color="grey", linestyle=":", label="codes start")
        panel.set(title=name, xlabel="step")
        panel.grid(alpha=0.3)
    lines, names = panels[0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    return figure


def main() -> None:
    """Collect, store and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment")
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--docs", type=Path, default=DOCS)
    options = parser.parse_args()
    mpl.use("agg")
    table = collect(options.runs)
    for folder in ("results", "images"):
        (options.docs / folder).mkdir(parents=True, exist_ok=True)
    table.to_csv(options.docs / "results" / f"curves_{options.experiment}.csv", index=False)
    for stage in table["stage"].unique():
        name = f"curves_{options.experiment}_{stage}.png"
        draw(table, stage).savefig(options.docs / "images" / name, dpi=100)


if __name__ == "__main__":
    main()
