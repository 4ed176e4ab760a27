"""Check correctness and speed on a GPU, in eight minutes.

    make gpu-check                 # or: python tests/benchmarks/gpu_check.py --out FOLDER
    python tests/benchmarks/gpu_check.py --out FOLDER --docs docs/gpu.md

Each part runs in a process of its own with a time limit, and what it found is in
FOLDER/gpu_check.json at once: a part that fails or takes too long takes nothing else with it.
FOLDER/gpu_check.md is the page of it, which the second line writes for the documentation, with no
new measurement. The dynamics is the default's; `--paper` measures the paper's, which masks the past
and copies nothing, in every part but the demo. `--device cpu --tiny` runs every part at toy size,
which finds the faults of this script and says nothing about speed.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from gpu_page import gpu_page
from models import build_dynamics
from torch import Tensor
from training import TrainingTask, choose_ways, count_flops, make_batch, peak_of, train

from genie_robo.build import build_genie
from genie_robo.commands.compose import compose_config, to_config
from genie_robo.commands.doctor import check_attention, check_xformers
from genie_robo.commands.table import load_command
from genie_robo.eval_suites.timing import frames_per_second
from genie_robo.inference.settings import Sampler
from genie_robo.inference.world import GenieWorld, Prompt
from genie_robo.models.genie import Genie
from genie_robo.models.settings import Backend, DynamicsConfig
from genie_robo.provenance import git_commit, package_versions
from genie_robo.run_folder import RunFolder
from genie_robo.train.metrics import read_log

BUDGET_S = 480
SIZES = {
    "41M": {"dim": 512, "num_blocks": 8, "num_heads": 8, "batch_size": 16},
    "404M": {"dim": 1536, "num_blocks": 11, "num_heads": 12, "batch_size": 4},
    "1B": {"dim": 2048, "num_blocks": 16, "num_heads": 16, "batch_size": 2},
}
"""Dynamics with windows of 16 frames of 256 tokens; parameters are counted and reported."""
TOY = {"toy": {"dim": 32, "num_blocks": 1, "num_heads": 2, "batch_size": 1}}
TOLERANCE = {
    "fp32": {"logits": 1e-3, "gradients": 1e-3},
    "bf16": {"logits": 5e-2, "gradients": 1e-1},
}
"""Largest differences from the CPU in fp32, in the units of `differences`. In bf16 a CPU differs by
0.02 and, in the gains of attention, by 0.04."""
SIDES, TOY_SIDES = (64, 96, 128), (16,)
"""Pixels of square images, which the default's patches of 8 make 64, 144 and 256 tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to run."""

    device: str
    is_tiny: bool
    is_paper: bool
    out: Path

    @property
    def dynamics(self) -> dict[str, bool]:
        """What the dynamics has: as by default, or as in the paper."""
        default = DynamicsConfig()
        return {
            "clean_past": default.clean_past and not self.is_paper,
            "copies": default.copies and not self.is_paper,
            "relative_places": default.relative_places and not self.is_paper,
        }

    @property
    def dynamics_words(self) -> list[str]:
        """The same on a command line."""
        return [f"model.dynamics.{name}={str(has).lower()}" for name, has in self.dynamics.items()]

    @property
    def words(self) -> list[str]:
        """These options on the command line of a part."""
        flags = ["--tiny"] * self.is_tiny + ["--paper"] * self.is_paper
        return [f"--device={self.device}", f"--out={self.out}", *flags]


def main(words: Sequence[str] | None = None) -> int:
    """Run all parts, or the one that is named, which prints its finding as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tiny", dest="is_tiny", action="store_true", help="toy sizes")
    parser.add_argument("--paper", dest="is_paper", action="store_true", help="its dynamics")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu_check"))
    parser.add_argument("--part", choices=(*MEASURED, "all"), default="all")
    parser.add_argument("--docs", type=Path, help="only write this page, from OUT/gpu_check.json")
    given = vars(parser.parse_args(words))
    part, docs = given.pop("part"), given.pop("docs")
    options = Options(**given)
    if docs is not None:
        docs.write_text(gpu_page(json.loads((options.out / "gpu_check.json").read_text())))
        return 0
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no GPU here; `genie-robo doctor` says what is missing")
    if part != "all":
        print(json.dumps(MEASURED[part](options)))
        return 0
    return run_all(options)


def run_all(options: Options) -> int:
    """Every part in turn, for half of the time left at most; the number of those that failed."""
    options.out.mkdir(parents=True, exist_ok=True)
    end, found = time.monotonic() + BUDGET_S, {}
    for name, command in commands(options).items():
        begin = time.monotonic()
        limit_s = max(1.0, (end - begin) / (1 if name == "demo" else 2))
        found[name] = run_part(command, limit_s=limit_s, is_json=name in MEASURED)
        found[name]["seconds"] = round(time.monotonic() - begin, 1)
        if name == "100 steps":
            found[name]["found"] = loss_curves(options.out / "steps")
        print(f"{name}: {found[name]['state']} in {found[name]['seconds']} s", flush=True)
        (options.out / "gpu_check.json").write_text(json.dumps(found, indent=1) + "\n")
        (options.out / "gpu_check.md").write_text(gpu_page(found))
    return sum(part["state"] != "ok" for part in found.values())


def commands(options: Options) -> dict[str, list[str]]:
    """The parts in order of importance, as command lines."""
    python, own = sys.executable, options.words
    program = [python, "-m", "genie_robo"]
    dataset, device = options.out / "dataset", f"engine.device={options.device}"
    steps = ["data=tabletop", "tokenizer.num_steps=20", "world_model.num_steps=100", "log_every=10"]
    model = "model=tiny" if options.is_tiny else "model=scale_96m"
    size = ["num_episodes=6", "num_steps=20", "num_workers=1"] if options.is_tiny else []
    short = (
        ["tokenizer.num_steps=2", "world_model.num_steps=3", "log_every=1"]
        if options.is_tiny
        else []
    )
    experiment = "experiment=smoke" if options.is_tiny else "experiment=default"
    return {
        "environment": [python, __file__, *own, "--part=environment"],
        "tests": [python, "-m", "pytest", "-q", "-m", "gpu", "tests/models/test_attention.py"],
        "equality": [python, __file__, *own, "--part=equality"],
        "training": [python, __file__, *own, "--part=training"],
        "imagining": [python, __file__, *own, "--part=imagining"],
        "recording": [*program, "record", f"path={dataset}", *size],
        "100 steps": [
            *(*program, "train", f"run={options.out}/steps", f"data.path={dataset}"),
            *(model, device, *options.dynamics_words, *steps, *short),
        ],
        "doctor": [*program, "doctor"],
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


def loss_curves(folder: Path) -> dict[str, Any]:
    """Step and loss of every logged training step, by stage."""
    run = RunFolder.at(folder)
    return {
        stage: {"loss": [[line["step"], line["loss"]] for line in lines if "loss" in line]}
        for stage in ("tokenizer", "world_model")
        if (lines := read_log(run.log(stage)))
    }


def environment(options: Options) -> dict[str, Any]:
    """Versions, the device, and whether the kernels of xformers run beside this torch."""
    on_gpu = options.device == "cuda"
    (xformers,), (attention,) = check_xformers(), check_attention()
    return {
        "device": torch.cuda.get_device_name() if on_gpu else platform.processor() or "cpu",
        "memory (GiB)": torch.cuda.mem_get_info()[1] / 2**30 if on_gpu else None,
        "sizes": "toy: says nothing about speed" if options.is_tiny else "full",
        "dynamics": ", ".join(options.dynamics_words),
        "attention, forward and backward": attention.found,
        "xformers": xformers.found,
        "commit": git_commit(),
        "Python": platform.python_version(),
        "CUDA": torch.version.cuda,
        "versions": package_versions(),
    }


def equality(options: Options) -> dict[str, Any]:
    """Logits and gradients of a small dynamics on the device, against those of the CPU in fp32."""
    task = TrainingTask(dim=64, num_blocks=2, num_heads=2, tokens_per_frame=16, num_frames=6)
    task = replace(task, **options.dynamics)
    expected, found = logits_and_gradients(task), {}
    for name, (attention, is_bf16) in choose_ways(options.device).items():
        if attention is not None:
            way = replace(task, attention=attention, is_bf16=is_bf16, device=options.device)
            found[name] = differences(logits_and_gradients(way), expected)
            found[name]["allowed"] = TOLERANCE["bf16" if is_bf16 else "fp32"]
    if far := [name for name, row in found.items() if is_far(row)]:
        raise SystemExit(f"the device differs from the CPU in {', '.join(far)}: {found}")
    return found


def is_far(row: Mapping[str, Any]) -> bool:
    """Whether a difference is larger than allowed, or not a number."""
    return any(not row[what] <= limit for what, limit in row["allowed"].items())


def logits_and_gradients(task: TrainingTask) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits of every token, and the gradient of every parameter by the loss of hidden tokens."""
    torch.manual_seed(task.seed)
    model = build_dynamics(task, backend=task.attention or Backend.auto).to(task.device)
    tokens, actions, is_hidden = make_batch(task)
    with torch.autocast(task.device, torch.bfloat16, enabled=task.is_bf16):
        features = model.features(tokens, actions, is_hidden)
        logits = model.logits(features, model.before(tokens)).float()
    F.cross_entropy(logits[is_hidden], tokens[is_hidden]).backward()
    gradients = {n: p.grad.cpu() for n, p in model.named_parameters() if p.grad is not None}
    return logits.detach().cpu(), gradients


def differences(
    found: tuple[Tensor, Mapping[str, Tensor]], expected: tuple[Tensor, Mapping[str, Tensor]]
) -> dict[str, Any]:
    """Of logits the largest, over their spread; of gradients by norm, over that of the expected."""
    (logits, gradients), (true_logits, true_gradients) = found, expected
    by_name = {n: float((gradients[n] - g).norm() / g.norm()) for n, g in true_gradients.items()}
    worst = max(by_name, key=by_name.__getitem__)
    return {
        "logits": float((logits - true_logits).abs().max() / true_logits.std()),
        "gradients": by_name[worst],
        "largest in": worst,
    }


def training(options: Options) -> dict[str, Any]:
    """Tokens per second, share of the peak and memory, for each size and kind of attention."""
    tokens = 8 if options.is_tiny else 256
    found: dict[str, Any] = {}
    ways = {k: v for k, v in choose_ways(options.device).items() if v[0] and "matmul" not in k}
    precision = "bf16" if any(name.endswith("bf16") for name in ways) else "fp32"
    for size, shape in (TOY if options.is_tiny else SIZES).items():
        for name, (attention, is_bf16) in ways.items():
            if not name.endswith(precision):
                continue
            task = TrainingTask(device=options.device, tokens_per_frame=tokens, **shape)
            task = replace(task, attention=attention, is_bf16=is_bf16, **options.dynamics)
            found[f"{size} {name}"] = measured(task)
    return found


def measured(task: TrainingTask) -> dict[str, Any]:
    """One way of training one size; a size that does not fit into memory is said so."""
    try:
        done = train(task)
    except torch.OutOfMemoryError:
        return {"out of memory": True}
    finally:
        if task.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
    tflops = count_flops(task) / done.lap.wall_s / 1e12
    return {
        "parameters": done.num_parameters,
        "tokens per second": done.tokens_per_s,
        "memory (MB)": done.peak_memory_mb,
        "TFLOP/s": tflops,
        **shares(tflops, torch.cuda.get_device_name() if task.device == "cuda" else ""),
    }


def shares(tflops: float, device_name: str) -> dict[str, float]:
    """Of what the data sheet promises, and of what large products reach; empty where unknown."""
    peak, found = peak_of(device_name), {}
    if peak is not None:
        found[f"% of the data sheet's {peak.data_sheet:.0f}"] = 100 * tflops / peak.data_sheet
        if peak.in_practice is not None:
            column = f"% of {peak.in_practice:.0f}, reached by large products"
            found[column] = 100 * tflops / peak.in_practice
    return found


def imagining(options: Options) -> dict[str, Any]:
    """Frames per second of `play`: pixels, through the world that it steps."""
    found = {}
    for side in TOY_SIDES if options.is_tiny else SIDES:
        genie = build_default(side, options)
        prompt = Prompt(frames=np.zeros((1, side, side, 3), np.uint8))
        for num_steps in (1, 2, 4):
            world = GenieWorld(genie, sampler=Sampler(num_steps=num_steps))
            found[f"{genie.tokenizer.tokens_per_frame} tokens, num_steps={num_steps}"] = {
                "pixels": f"{side} x {side}",
                "frames per second": frames_per_second(world, prompt, seed=0),
            }
    return found


def build_default(side: int, options: Options) -> Genie:
    """The default's model of square images, untrained."""
    command = load_command("train")
    size = [f"data.image_{axis}={side}" for axis in ("height", "width")]
    words = ["run=-", "data.path=-", *size, *options.dynamics_words]
    return build_genie(to_config(command, compose_config(command, words))).to(options.device)


MEASURED: dict[str, Callable[[Options], dict[str, Any]]] = {
    "environment": environment,
    "equality": equality,
    "training": training,
    "imagining": imagining,
}
"""Parts of this file; the others are commands."""


if __name__ == "__main__":
    sys.exit(main())
