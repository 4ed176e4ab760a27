"""Check correctness and speed on a GPU, in eight minutes.

    make gpu-check                 # or: python tests/benchmarks/gpu_check.py --out FOLDER

Each part runs in a process of its own with a time limit, and what it found is in
FOLDER/gpu_check.json at once: a part that fails or takes too long takes nothing else with it.
FOLDER/gpu_check.md has the same as a table. `--device cpu --tiny` runs every part at toy size,
which finds the faults of this script and says nothing about speed.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from models import build_dynamics
from training import TrainingTask, choose_ways, count_flops, make_batch, peak_flops, train

from genie_robo.eval_suites.timing import decode_frames
from genie_robo.inference.settings import Sampler
from genie_robo.models.attention import xformers_works
from genie_robo.provenance import package_versions

BUDGET_S = 480
SIZES = {
    "41M": {"dim": 512, "num_blocks": 8, "num_heads": 8, "batch_size": 16},
    "404M": {"dim": 1536, "num_blocks": 11, "num_heads": 12, "batch_size": 8},
    "1B": {"dim": 2048, "num_blocks": 16, "num_heads": 16, "batch_size": 4},
}
"""Dynamics with windows of 16 frames of 256 tokens; parameters are counted and reported."""
TOY = {"toy": {"dim": 32, "num_blocks": 1, "num_heads": 2, "batch_size": 1}}
TOLERANCE = {"fp32": 1e-3, "bf16": 5e-2}
"""Largest difference of a logit from the CPU's in fp32, in units of the logits' spread."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to run."""

    device: str
    is_tiny: bool
    out: Path


def main(words: Sequence[str] | None = None) -> int:
    """Run all parts, or the one that is named, which prints its finding as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tiny", action="store_true", help="toy sizes")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu_check"))
    parser.add_argument("--part", choices=(*MEASURED, "all"), default="all")
    given = parser.parse_args(words)
    options = Options(given.device, given.tiny, given.out)
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no GPU here; `genie-robo doctor` says what is missing")
    if given.part != "all":
        print(json.dumps(MEASURED[given.part](options)))
        return 0
    return run_all(options)


def run_all(options: Options) -> int:
    """Every part in turn; the number of those that failed."""
    options.out.mkdir(parents=True, exist_ok=True)
    end, found = time.monotonic() + BUDGET_S, {}
    for name, command in commands(options).items():
        begin = time.monotonic()
        found[name] = run_part(command, limit_s=max(1.0, end - begin), is_json=name in MEASURED)
        found[name]["seconds"] = round(time.monotonic() - begin, 1)
        print(f"{name}: {found[name]['state']} in {found[name]['seconds']} s", flush=True)
        (options.out / "gpu_check.json").write_text(json.dumps(found, indent=1) + "\n")
        (options.out / "gpu_check.md").write_text(as_markdown(found))
    return sum(part["state"] != "ok" for part in found.values())


def commands(options: Options) -> dict[str, list[str]]:
    """The parts in order of importance, as command lines."""
    python, own = sys.executable, [f"--device={options.device}", f"--out={options.out}"]
    own += ["--tiny"] if options.is_tiny else []
    program = [python, "-m", "genie_robo"]
    dataset, device = options.out / "dataset", f"engine.device={options.device}"
    steps = ["data=tabletop", "tokenizer.num_steps=20", "world_model.num_steps=100", "log_every=10"]
    model = "model=tiny" if options.is_tiny else "model=scale_96m"
    size = ["num_episodes=6", "num_steps=20", "num_workers=1"] if options.is_tiny else []
    short = ["tokenizer.num_steps=2", "world_model.num_steps=3"] if options.is_tiny else []
    experiment = "experiment=smoke" if options.is_tiny else "experiment=default"
    return {
        "environment": [python, __file__, *own, "--part=environment"],
        "doctor": [*program, "doctor"],
        "tests": [python, "-m", "pytest", "-q", "-m", "gpu", "tests/models/test_attention.py"],
        "equality": [python, __file__, *own, "--part=equality"],
        "training": [python, __file__, *own, "--part=training"],
        "imagining": [python, __file__, *own, "--part=imagining"],
        "recording": [*program, "record", f"path={dataset}", *size],
        "100 steps": [
            *(*program, "train", f"run={options.out}/steps", f"data.path={dataset}"),
            *(model, device, *steps, *short),
        ],
        "demo": [*program, "demo", f"run={options.out}/demo", experiment, device],
    }


def run_part(command: Sequence[str], *, limit_s: float, is_json: bool) -> dict[str, Any]:
    """What a part printed: its finding, or the end of its text."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired as error:
        said = error.stderr or error.stdout or b""
        return {"state": "cut off", "said": last_lines(said.decode(errors="replace"))}
    if done.returncode:
        return {
            "state": f"failed ({done.returncode})",
            "said": last_lines(done.stderr + done.stdout),
        }
    if is_json:
        return {"state": "ok", "found": json.loads(done.stdout.splitlines()[-1])}
    return {"state": "ok", "said": last_lines(done.stdout + done.stderr)}


def last_lines(text: str) -> list[str]:
    """The end of what a program said."""
    return text.strip().splitlines()[-25:]


def environment(options: Options) -> dict[str, Any]:
    """Versions, the device, and whether the kernels of xformers run beside this torch."""
    on_gpu = options.device == "cuda"
    return {
        "versions": package_versions(),
        "python": platform.python_version(),
        "cuda": torch.version.cuda,
        "device": torch.cuda.get_device_name() if on_gpu else platform.processor() or "cpu",
        "memory_gib": torch.cuda.mem_get_info()[1] / 2**30 if on_gpu else None,
        "xformers runs": xformers_works(),
    }


def equality(options: Options) -> dict[str, Any]:
    """Logits and gradients of a small dynamics on the device, against those of the CPU in fp32."""
    task = TrainingTask(dim=64, num_blocks=2, num_heads=2, tokens_per_frame=16, num_frames=6)
    torch.manual_seed(0)
    model, (tokens, actions, _) = build_dynamics(task), make_batch(task)
    with torch.no_grad():
        expected = model(tokens, actions)
        spread = float(expected.std())
        model = model.to(options.device)
        found = {}
        for name in TOLERANCE:
            with torch.autocast(options.device, torch.bfloat16, enabled=name == "bf16"):
                logits = model(tokens.to(options.device), actions.to(options.device))
            difference = float((logits.float().cpu() - expected).abs().max()) / spread
            found[name] = {"difference": difference, "allowed": TOLERANCE[name]}
    if too_far := [name for name, each in found.items() if each["difference"] > each["allowed"]]:
        raise SystemExit(f"the device differs from the CPU in {', '.join(too_far)}: {found}")
    return found


def training(options: Options) -> dict[str, Any]:
    """Tokens per second, share of the peak and memory, for each size and kind of attention."""
    peak = peak_flops(torch.cuda.get_device_name()) if options.device == "cuda" else None
    tokens = 8 if options.is_tiny else 256
    found: dict[str, Any] = {}
    ways = {k: v for k, v in choose_ways(options.device).items() if v[0] and "matmul" not in k}
    precision = "bf16" if any(name.endswith("bf16") for name in ways) else "fp32"
    for size, shape in (TOY if options.is_tiny else SIZES).items():
        for name, (attention, is_bf16) in ways.items():
            if not name.endswith(precision):
                continue
            task = TrainingTask(device=options.device, tokens_per_frame=tokens, **shape)
            task = replace(task, attention=attention, is_bf16=is_bf16)
            found[f"{size} {name}"] = measured(task, peak)
    return found


def measured(task: TrainingTask, peak: float | None) -> dict[str, Any]:
    """One way of training one size; a size that does not fit into memory is said so."""
    try:
        done = train(task)
    except torch.OutOfMemoryError:
        return {"out of memory": True}
    finally:
        if task.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
    return {
        "parameters": done.num_parameters,
        "tokens per second": done.tokens_per_s,
        "memory (MB)": done.peak_memory_mb,
        "share of bf16 peak": count_flops(task) / done.lap.wall_s / peak if peak else None,
    }


def imagining(options: Options) -> dict[str, Any]:
    """Frames per second of one world with a full window of 16 frames, in 1 and in 4 passes."""
    found = {}
    for tokens in (8,) if options.is_tiny else (64, 256):
        task = TrainingTask(tokens_per_frame=tokens, **(TOY["toy"] if options.is_tiny else {}))
        model = build_dynamics(task)
        for num_steps in (1, 4):
            lap = decode_frames(
                model,
                Sampler(num_steps=num_steps),
                is_cached=True,
                num_frames=task.num_frames,
                num_imagined=3,
                device=options.device,
                seed=0,
            )
            found[f"{tokens} tokens, {num_steps} passes"] = {"frames per second": 1 / lap.wall_s}
    return found


MEASURED: dict[str, Callable[[Options], dict[str, Any]]] = {
    "environment": environment,
    "equality": equality,
    "training": training,
    "imagining": imagining,
}
"""Parts of this file; the others are commands."""


def as_markdown(found: dict[str, dict[str, Any]]) -> str:
    """All parts: a line each, and a table of what was measured."""
    lines = ["| part | state | seconds |", "|---|---|---|"]
    lines += [f"| {name} | {part['state']} | {part['seconds']} |" for name, part in found.items()]
    lines += ["", "| measured | what | value |", "|---|---|---|"]
    for name, part in found.items():
        for what, value in part.get("found", {}).items():
            lines.append(f"| {name} | {what} | {_plain(value)} |")
    return "\n".join(lines) + "\n"


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(inner)}" for name, inner in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
