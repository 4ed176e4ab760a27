"""Run the same commands with two checkouts and compare every number that they write.

For changes that move code and must not change a result. Both checkouts run in the Python that
this script runs in; weights are trained once, by the first one, unless `--train` asks for both.

    python tests/golden/compare_checkouts.py run OLD_CHECKOUT old --train
    python tests/golden/compare_checkouts.py run NEW_CHECKOUT new --runs old
    python tests/golden/compare_checkouts.py diff old new

`--real FOLDER` (default: ../shared/data beside this checkout) adds real robot episodes.
"""

import argparse
import csv
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

ROOT = Path(__file__).parents[2]
DECLARED = {
    ("sim_rollout", "gain", "ci95"): "episodes are resampled in the order of the rows",
    ("sim_rollout", "lag", "ci95"): "episodes are resampled in the order of the rows",
}
"""Numbers that differ on purpose: parts of their address, and why."""
RELATIVE, ABSOLUTE = 1e-6, 1e-9
"""Two numbers are equal up to the order of summation."""

STACK = "{num_blocks: 1, dim: 32, num_heads: 2, head_dim: 16}"
TRAIN = (
    *(f"model.tokenizer.{part}={STACK}" for part in ("encoder", "decoder")),
    *(f"model.latent_action.{part}={STACK}" for part in ("encoder", "decoder")),
    f"model.dynamics.transformer={STACK}",
    "model.tokenizer.quantizer={num_codes: 64, code_dim: 8, warmup_steps: 20}",
    "model.latent_action.quantizer.warmup_steps=20",
    *(
        f"{stage}.{setting}"
        for stage in ("tokenizer", "world_model")
        for setting in ("num_steps=60", "batch_size=8", "num_frames=8")
    ),
    "engine=exact",
    "data.val_fraction=0.25",
    "data.test_fraction=0.25",
)
LATENT = ("latent_probe", "latent_structure", "latent_transfer", "few_label")
REAL = ("tokenizer", *LATENT, "controllability", "video", "action_following", "sim_rollout")
SIMULATED = (*REAL, "counterfactual", "policy_evaluation")
ROBOT_DRIVEN = ("sim_rollout", "action_following", "policy_evaluation")
USE = (
    "imagine run=a horizon=6 num_episodes=2",
    "imagine run=b horizon=6 num_episodes=2 actions=robot prompt=simulator seed=7",
    "imagine run=b horizon=4 num_episodes=1 branches=true",
    "imagine run=[a,b] horizon=5 num_episodes=1 actions=inferred_alone output=beside",
    "play run=a ui=terminal",
)
REAL_SETS = {
    "bridge_dataset": "octo_bridge_debug/bridge_dataset/1.0.0",
    "droid_ee_delta": "derived_rlds/droid_new_setup_ee_delta/1.0.0",
}


def main() -> int:
    """Run the commands of one checkout, or compare what two have written."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True, dest="command")
    run = commands.add_parser("run", help="run every command with one checkout")
    run.add_argument("checkout", type=Path)
    run.add_argument("output", type=Path)
    run.add_argument("--runs", type=Path, help="take the trained runs of this output folder")
    run.add_argument("--train", action="store_true", help="record and train first")
    run.add_argument("--real", type=Path, default=ROOT.parent / "shared" / "data")
    run.add_argument("--only", nargs="*", default=[], help="suites to run; all by default")
    diff = commands.add_parser("diff", help="compare two output folders")
    diff.add_argument("first", type=Path)
    diff.add_argument("second", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "diff":
        return print_differences(arguments.first, arguments.second)
    return run_commands(arguments)


def run_commands(arguments: argparse.Namespace) -> int:
    """Record, train, evaluate, imagine and play; the number of commands that failed."""
    output = arguments.output.absolute()
    output.mkdir(parents=True, exist_ok=True)
    sets = {name: arguments.real / path for name, path in REAL_SETS.items()}
    sets = {name: path.absolute() for name, path in sets.items() if path.is_dir()}
    if arguments.runs:
        for name in ("dataset", "a", "b", *sets):
            copy_run(arguments.runs.absolute() / name, output / name)
    lines = train_commands(sets) if arguments.train else []
    failed = 0
    for words in [*lines, *use_commands(sets, arguments.only)]:
        failed += not run_command(arguments.checkout.absolute(), output, words)
    return failed


def copy_run(source: Path, target: Path) -> None:
    """A trained run or dataset without what commands made of it."""
    made = shutil.ignore_patterns("eval", "rollouts", "action_map")
    if not target.exists():
        shutil.copytree(source, target, ignore=made)


def train_commands(sets: dict[str, Path]) -> Iterator[str]:
    """One recording, two seeds of a run on it, a run on each real dataset."""
    yield "record path=dataset num_episodes=60 num_steps=24 num_workers=2 renderer=raycast seed=5"
    for seed, run in enumerate("ab"):
        train = f"train run={run} data=tabletop data.path=dataset seed={seed}"
        yield [*train.split(), *TRAIN]
    for name, path in sets.items():
        yield [*f"train run={name} data={name} data.path={path}".split(), *TRAIN]


def use_commands(sets: dict[str, Path], only: Sequence[str]) -> Iterator[str]:
    """Every suite, with plugs and in pairs; imagined and played rollouts."""
    for suite, line in [*suite_commands(), *real_commands(sets), *(("imagine", u) for u in USE)]:
        if not only or suite in only:
            yield line


def suite_commands() -> Iterator[tuple[str, str]]:
    """Suites on simulated episodes, and the command line of each."""
    for suite in SIMULATED:
        yield suite, f"eval run=[a,b] suite={suite} output=paired"
    cloning = "behaviour_cloning"
    yield cloning, f"eval run=[a,b] suite={cloning} fast=true output=paired"
    for world in ("mujoco", "mujoco_scaled", "mujoco_delayed", "mujoco_coded", "copy_last"):
        for suite in ROBOT_DRIVEN:
            yield suite, f"eval run=a suite={suite} world_model={world} fast=true"
    for encoder in ("oracle", "random", "shuffled"):
        for suite in LATENT:
            yield suite, f"eval run=a suite={suite} encoder={encoder} fast=true"


def real_commands(sets: dict[str, Path]) -> Iterator[tuple[str, str]]:
    """Suites on real episodes, of which a few are for validation."""
    for run in sets:
        for suite in REAL:
            yield suite, f"eval run={run} suite={suite} fit_on=train"


def run_command(checkout: Path, output: Path, words: str | Sequence[str]) -> bool:
    """Run one command line of a checkout in the output folder; whether it succeeded."""
    words = words.split() if isinstance(words, str) else list(words)
    print("genie-robo", *words, flush=True)
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "genie_robo", *words],
        cwd=output,
        env=environment,
        input="0123wwdau4fq" if words[0] == "play" else None,
        capture_output=True,
        text=True,
        check=False,
    )
    if words[0] == "play":
        (output / "played.txt").write_text(done.stdout)
    if done.returncode:
        print(f"  failed: {done.stderr.strip()[-2000:]}", flush=True)
    return done.returncode == 0


def print_differences(first: Path, second: Path) -> int:
    """Print a line for every file; the number of those that differ.

    Lines in brackets name what only the first has: numbers that were declared gone, or that had no
    value before.
    """
    differing = 0
    for path in sorted(first.rglob("*")):
        name = path.relative_to(first)
        compare = COMPARISONS.get(path.name) or COMPARISONS.get(path.suffix)
        if compare is None or not is_compared(name):
            continue
        other = second / name
        found = compare(path, other) if other.exists() else ["missing in the second"]
        found = [declare(line, name) for line in found]
        differs = any(not line.startswith("(") for line in found)
        differing += differs
        print(f"{name}: {'differs' if differs else 'equal'}")
        for line in found[:20]:
            print(f"    {line}")
    print(f"{differing} files differ")
    return differing


def declare(line: str, file: Path) -> str:
    """The line in brackets with the reason, where the difference was declared."""
    for (suite, metric, part), reason in DECLARED.items():
        if suite in str(file) and line.startswith(metric) and part in line:
            return f"({line}; {reason})"
    return line


def is_compared(name: Path) -> bool:
    """Whether a file is a result: rollouts' tokens, evaluations, weights, logs."""
    if name.suffix == ".safetensors":
        return "checkpoints" not in name.parts
    if name.name in ("log.jsonl", "played.txt"):
        return True
    return bool({"eval", "paired", "rollouts", "action_map"} & {*name.parts})


def compare_metrics(first: Path, second: Path) -> list[str]:
    """Values, intervals, baselines and ceilings by name.

    Numbers that moved from metrics.json to per_episode.csv or all_metrics.csv are looked up there.
    """
    old, new = read_metrics(first), read_metrics(second)
    lines = only_in_first(old, new)
    for name in sorted(old.keys() & new.keys()):
        lines += compare_values(name, old[name], new[name])
    return sorted(lines)


def only_in_first(old: dict, new: dict) -> list[str]:
    """A line for the names that the second lacks."""
    gone = sorted(old.keys() - new.keys())
    return [f"(only in the first: {' '.join(gone)})"] if gone else []


def read_metrics(path: Path) -> dict[str, dict]:
    """Metrics by name, of metrics.json and of the table of all numbers where there is one."""
    found = dict(json.loads(path.read_text())["metrics"])
    table = path.parent / "metrics.csv"
    if table.exists():
        with table.open() as file:
            for row in csv.DictReader(file):
                value = number(row["value"])
                low, high = number(row["low"]), number(row["high"])
                known = {"value": value, "ci95": None if low is None else [low, high]}
                found.setdefault(row["metric"], known)
    return found


def number(text: str) -> float | None:
    """A cell; None where it is empty."""
    return float(text) if text else None


def compare_values(name: str, first: object, second: object) -> list[str]:
    """Numbers that differ, in whatever both sides have of a nested value."""
    if isinstance(first, dict) and isinstance(second, dict):
        shared = [key for key in first if key in second and key not in ("protocol", "reason")]
        return [
            line
            for key in shared
            for line in compare_values(f"{name}.{key}", first[key], second[key])
        ]
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        pairs = enumerate(zip(first, second, strict=True))
        return [line for i, pair in pairs for line in compare_values(f"{name}[{i}]", *pair)]
    if isinstance(first, int | float) and isinstance(second, int | float):
        is_same = math.isclose(first, second, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
        line = f"{name}: {first!r} -> {second!r}"
        is_newly_paired = name.endswith("num_episodes") and first == 0
        return [] if is_same else [f"({line})" if is_newly_paired else line]
    if first is None:
        return [] if second is None else [f"({name}: {first!r} -> {second!r})"]
    return [f"{name}: {first!r} -> {second!r}"] if second is None else []


def compare_rows(first: Path, second: Path) -> list[str]:
    """Cells of the columns that both tables have, row by row."""
    with first.open() as one, second.open() as two:
        rows, others = list(csv.DictReader(one)), list(csv.DictReader(two))
    if len(rows) != len(others):
        return [f"{len(rows)} rows -> {len(others)}"]
    lines = []
    if rows and (gone := sorted(rows[0].keys() - others[0].keys())):
        lines.append(f"(columns only in the first: {' '.join(gone)})")
    for n, (row, other) in enumerate(zip(rows, others, strict=True)):
        for key in row.keys() & other.keys():
            if row[key] != other[key] and not is_close(row[key], other[key]):
                lines.append(f"row {n} {key}: {row[key]} -> {other[key]}")
    return lines


def is_close(first: str, second: str) -> bool:
    """Whether two cells hold the same number."""
    try:
        return math.isclose(float(first), float(second), rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    except ValueError:
        return False


def compare_paired(first: Path, second: Path) -> list[str]:
    """Paired differences by the name of the number."""
    old, new = (json.loads(path.read_text())["metrics"] for path in (first, second))
    lines = only_in_first(old, new)
    for name in sorted(old.keys() & new.keys()):
        lines += compare_values(name, old[name], new[name])
    return sorted(lines)


def compare_arrays(first: Path, second: Path) -> list[str]:
    """Arrays by name, exactly where they are whole numbers."""
    with np.load(first) as one, np.load(second) as two:
        return [
            f"{key}: differs"
            for key in one.files
            if key not in two.files or not is_same_array(one[key], two[key])
        ]


def is_same_array(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two arrays agree, floats up to rounding."""
    if first.shape != second.shape:
        return False
    if np.issubdtype(first.dtype, np.floating):
        return bool(np.allclose(first, second, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True))
    return bool((first == second).all())


def compare_weights(first: Path, second: Path) -> list[str]:
    """Tensors by name, bit for bit."""
    one, two = load_file(first), load_file(second)
    return [
        f"{key}: differs"
        for key in one
        if key not in two or not np.array_equal(one[key], two[key], equal_nan=True)
    ]


def compare_lines(first: Path, second: Path) -> list[str]:
    """Logged numbers but the times; played games line by line."""
    lines = []
    pairs = zip(first.read_text().splitlines(), second.read_text().splitlines(), strict=False)
    for n, (one, two) in enumerate(pairs):
        if first.suffix == ".txt":
            lines += [] if one == two else [f"line {n}: {one} -> {two}"]
            continue
        old, new = (
            {k: v for k, v in json.loads(line).items() if not k.endswith(("_s", "per_second"))}
            for line in (one, two)
        )
        lines += compare_values(f"line {n}", old, new)
    return lines


COMPARISONS = {
    "metrics.json": compare_metrics,
    "per_episode.csv": compare_rows,
    "paired.json": compare_paired,
    "log.jsonl": compare_lines,
    "played.txt": compare_lines,
    ".npz": compare_arrays,
    ".safetensors": compare_weights,
}

if __name__ == "__main__":
    sys.exit(main())
