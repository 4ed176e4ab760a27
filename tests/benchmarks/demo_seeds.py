"""The tables of results from five runs of the demo: mean and spread over seeds.

    python tests/benchmarks/demo_seeds.py runs/seed0 runs/seed1 runs/seed2 runs/seed3 runs/seed4

The numbers of every run are written to docs/results/demo_seeds.csv; the rows of the README, all
rows, and the numbers seed by seed are printed. A test compares the README and docs/results.md with
this file.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from genie_robo.eval_suites.probes.figures import baseline_name
from genie_robo.eval_suites.probes.scores import DENSE_FLOW, SUPERVISED

NUM_CODES = 8
STORED = Path(__file__).parents[2] / "docs" / "results" / "demo_seeds.csv"


class Row(NamedTuple):
    """A row of the table.

    A number is written METRIC, its ceiling METRIC@ceiling, a baseline of a headline metric
    METRIC@BASELINE, and a difference of two numbers A - B.
    """

    title: str
    suite: str
    number: str
    unit: str
    digits: int
    others: dict[str, str]
    """Number to its name in the table: baselines, floors and ceilings."""


_R2, _LATENT = "achieved/xyz/r2", "achieved/xyz/r2_latent"
_DELTA, _GRIPPER = "delta_psnr/permuted/t4", "gripper_accuracy/robot_control"
_USE = "achieved/xyz/utilisation"
_READER = "the reader on rebuilt true frames"
_TOOL = "distance of the imagined tool from MuJoCo's"
STEERED = ", robot actions, all labels"
"""End of the titles of rollouts that the README shows."""
ROWS = (
    Row(
        f"robot motion explained by the {NUM_CODES} codes (R2)",
        "latent_probe",
        _R2,
        "",
        2,
        {
            f"{_R2}@{baseline}": baseline_name(baseline, num_codes=NUM_CODES)
            for baseline in (
                "ceiling",
                "dense_flow_clusters",
                "untrained_encoder",
                "frame_difference_clusters",
                "previous_action",
            )
        },
    ),
    Row(
        "robot motion explained by the continuous latent (R2)",
        "latent_probe",
        _LATENT,
        "",
        2,
        {
            f"{_LATENT}@{baseline}": baseline_name(baseline, num_codes=NUM_CODES)
            for baseline in (DENSE_FLOW, SUPERVISED)
        },
    ),
    Row(
        "share of the 8-code ceiling", "latent_probe", "achieved/xyz/fraction_of_ceiling", "", 2, {}
    ),
    Row(
        "partial R2 given the previous action",
        "latent_probe",
        "achieved/xyz/partial_r2_previous_action",
        "",
        2,
        {},
    ),
    Row(
        "tokenizer PSNR",
        "tokenizer",
        "psnr",
        "dB",
        1,
        {"psnr - gain_over_copy_last/psnr": "copy-last"},
    ),
    Row(
        "tokenizer PSNR on changed pixels",
        "tokenizer",
        "changed_psnr",
        "dB",
        1,
        {"changed_psnr - gain_over_copy_last/changed_psnr": "copy-last"},
    ),
    Row("tokens of unchanged patches that flip", "tokenizer", "flips/own_patch", "", 3, {}),
    Row("delta_4 PSNR, codes of another clip", "controllability", _DELTA, "dB", 1, {}),
    Row(
        f"{_TOOL}, codes",
        "sim_rollout",
        "tool_error",
        "mm",
        0,
        {
            "tool_error@ceiling": _READER,
            "tool_error/greedy_codes": "MuJoCo quantised to 8 centroids",
            "tool_error - tool_error/over_copy_last": "copy-last",
            "tool_error/random_codes": "random codes",
        },
    ),
    Row(f"{_TOOL}, latents", "sim_rollout", "tool_error/latents", "mm", 0, {}),
    Row(
        f"{_TOOL}, robot actions, 200 labels",
        "sim_rollout",
        "tool_error/robot_actions",
        "mm",
        0,
        {"tool_error/robot_actions_by_codes": "through codes"},
    ),
    Row(
        f"{_TOOL}{STEERED}",
        "sim_rollout",
        "tool_error/robot_control",
        "mm",
        0,
        {
            "tool_error@ceiling": _READER,
            "tool_error - tool_error/over_copy_last": "copy-last",
        },
    ),
    Row(
        "the same above the error of the reader",
        "sim_rollout",
        "tool_error/above_floor/robot_control",
        "mm",
        0,
        {},
    ),
    Row(
        "gain of the tool, robot actions, 200 labels",
        "sim_rollout",
        "gain/robot_actions",
        "",
        2,
        {"gain/random_codes": "random codes", "gain/robot_actions_by_codes": "through codes"},
    ),
    Row(
        f"gain of the tool{STEERED}",
        "sim_rollout",
        "gain/robot_control",
        "",
        2,
        {},
    ),
    *(
        Row(
            f"distance of imagined boxes that {doing}{STEERED}",
            "sim_rollout",
            f"{kind}_box_error/robot_control",
            "mm",
            0,
            {
                f"{kind}_box_error/robot_control@ceiling": _READER,
                f"{kind}_box_error/robot_control - {kind}_box_error/over_copy_last/robot_control": (
                    "copy-last"
                ),
            },
        )
        for kind, doing in (("still", "lie still"), ("moved", "are moved"))
    ),
    Row(
        f"boxes that have not vanished{STEERED}",
        "sim_rollout",
        "box_seen/robot_control",
        "",
        2,
        {"box_seen/robot_control@ceiling": _READER, "box_seen/random_codes": "random codes"},
    ),
    Row(
        f"gripper read as open or closed (balanced accuracy){STEERED}",
        "sim_rollout",
        _GRIPPER,
        "",
        2,
        {f"{_GRIPPER}@ceiling": _READER, "gripper_accuracy/random_codes": "random codes"},
    ),
    Row(
        "changed pixels, codes",
        "sim_rollout",
        "changed_psnr",
        "dB",
        1,
        {
            "changed_psnr@ceiling": "tokenizer",
            "changed_psnr/greedy_codes": "MuJoCo quantised to 8 centroids",
            "changed_psnr - changed_psnr/gain_over_blurred_prompt": "blurred prompt",
            "changed_psnr - changed_psnr/gain_over_mean_frame": "mean frame",
            "changed_psnr - changed_psnr/gain_over_copy_last": "copy-last",
            "changed_psnr - changed_psnr/gain_over_other_clip": "another clip",
        },
    ),
    Row("changed pixels, latents", "sim_rollout", "changed_psnr/latents", "dB", 1, {}),
    Row(
        "changed pixels, robot actions, 200 labels",
        "sim_rollout",
        "changed_psnr/robot_actions",
        "dB",
        1,
        {},
    ),
    Row(
        f"changed pixels{STEERED}",
        "sim_rollout",
        "changed_psnr/robot_control",
        "dB",
        1,
        {},
    ),
    Row(
        f"motion read off imagined frames{STEERED}, share of that read off true frames",
        "action_following",
        "ratio/robot_control",
        "",
        2,
        {"ratio/robot": "200 labels", "ratio/random": "random codes"},
    ),
    Row(
        "utilisation of a latent from another episode",
        "latent_probe",
        _USE,
        "",
        2,
        {f"{_USE}@ceiling": "true next frame"},
    ),
)


FIRST = (
    f"robot motion explained by the {NUM_CODES} codes (R2)",
    "robot motion explained by the continuous latent (R2)",
    f"{_TOOL}{STEERED}",
    f"distance of imagined boxes that lie still{STEERED}",
    f"gripper read as open or closed (balanced accuracy){STEERED}",
)
"""Titles of the rows that the README shows."""


def collect(runs: Sequence[Path]) -> pd.DataFrame:
    """One line for every number of every row, with a column for each seed.

    Raises:
        FileNotFoundError: A suite was not evaluated.
        ValueError: A number is undefined.
    """
    lines = []
    for row in ROWS:
        suites = [run / "eval" / row.suite for run in runs]
        for number in (row.number, *row.others):
            values = {f"seed{n}": round(_read(s, number), 4) for n, s in enumerate(suites)}
            lines.append(
                {"row": row.title, "number": number, "n": _count(suites[0], row), **values}
            )
    return pd.DataFrame(lines)


def _read(suite: Path, number: str) -> float:
    """A number or a difference of two."""
    first, _, second = number.partition(" - ")
    return _single(suite, first) - (_single(suite, second) if second else 0.0)


def _single(suite: Path, number: str) -> float:
    metric, _, baseline = number.partition("@")
    if baseline in ("", "ceiling"):
        value = _table(suite).loc[metric, baseline or "value"]
    else:
        headline = json.loads((suite / "metrics.json").read_text())["metrics"]
        value = headline[metric]["baselines"][baseline]
    if pd.isna(value):
        raise ValueError(f"{number} of {suite} is undefined")
    return float(value)


def _count(suite: Path, row: Row) -> int:
    return int(_table(suite).loc[row.number, "episodes"])


def _table(suite: Path) -> pd.DataFrame:
    return pd.read_csv(suite / "metrics.csv", index_col="metric")


def render(stored: pd.DataFrame, titles: Sequence[str] = ()) -> str:
    """The table in Markdown: mean and sample standard deviation over the seeds.

    Only the rows with these titles, all by default. A choice of rows has one way to steer, which
    the page states once.
    """
    seeds = [name for name in stored.columns if name.startswith("seed")]
    lines = [
        f"| number | mean ± sd of {len(seeds)} seeds | baselines and bounds | n |",
        "|---|---|---|---|",
    ]
    for row in [row for row in ROWS if not titles or row.title in titles]:
        own = stored[stored["row"] == row.title].set_index("number")
        means, spreads = own[seeds].mean(axis=1), own[seeds].std(axis=1)
        shown = {number: f"{means[number]:.{row.digits}f}" for number in own.index}
        value = f"{shown[row.number]} ± {spreads[row.number]:.{row.digits}f} {row.unit}".strip()
        others = ", ".join(f"{name} {shown[number]}" for number, name in row.others.items())
        title = row.title.removesuffix(STEERED) if titles else row.title
        lines.append(f"| {title} | {value} | {others} | {own['n'].iloc[0]} |")
    return "\n".join(lines)


def render_seeds(stored: pd.DataFrame) -> str:
    """The same numbers seed by seed, for docs/results.md."""
    seeds = [name for name in stored.columns if name.startswith("seed")]
    heads = [name.replace("seed", "seed ") for name in seeds]
    lines = [f"| number | {' | '.join(heads)} |", f"|---|{'---|' * len(seeds)}"]
    for row in ROWS:
        own = stored[(stored["row"] == row.title) & (stored["number"] == row.number)].iloc[0]
        values = " | ".join(f"{own[seed]:.{row.digits}f}" for seed in seeds)
        unit = f" ({row.unit})" if row.unit else ""
        lines.append(f"| {row.title}{unit} | {values} |")
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
    print(f"{render(stored, FIRST)}\n\n{render(stored)}\n\n{render_seeds(stored)}")


if __name__ == "__main__":
    main()
