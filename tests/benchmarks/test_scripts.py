"""Every benchmark as a maintainer runs it, at a size that says nothing about speed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SMALL = "--dim 16 --num-blocks 1 --num-heads 2 --num-frames 3 --tokens-per-frame 8"
READING = "--num-frames 4 --num-episodes 5 --num-batches 2 --batch-size 3 --growth 3"


def run_script(name, *words):
    script = Path(__file__).with_name(name)
    return subprocess.run(
        [sys.executable, str(script), *words],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        check=True,
    ).stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"training.py {SMALL} --batch-size 1 --num-steps 1 --only auto_fp32", "times plain_fp32"),
        (
            f"imagining.py {SMALL} --num-decode-steps 2 --num-decoded 1 --num-long 20",
            "memory over 20 frames",
        ),
        ("indexing.py --num-shards 1 --all-shards 2", "RT-1, extrapolated"),
        ("recording.py --num-steps 5 --image-size 32 --num-repeats 2", "first in a process"),
    ],
)
def test_scripts_print_what_they_found(line, said):
    assert said in run_script(*line.split())


@pytest.mark.slow
def test_reading_takes_the_settings_of_train(toy_rlds):
    absent = ("pose.position", "pose.rotation", "pose.gripper", "sim_state")
    settings = [f"data.path={toy_rlds.folder}", *(f"data.source.{name}=''" for name in absent)]
    printed = run_script("reading.py", *settings, *READING.split())
    assert "genie_robo, larger dataset" in printed


@pytest.mark.slow
def test_the_check_of_a_gpu_runs_in_full_at_toy_size_on_a_cpu(tmp_path):
    printed = run_script("gpu_check.py", "--device=cpu", "--tiny", f"--out={tmp_path}")
    found = json.loads((tmp_path / "gpu_check.json").read_text())
    # Without a GPU every test that needs one is skipped, which pytest calls success.
    assert {name: part["state"] for name, part in found.items()} == dict.fromkeys(found, "ok")
    assert set(found) > {"environment", "equality", "training", "imagining", "100 steps", "demo"}
    for row in found["equality"]["found"].values():
        assert row["logits"] < row["allowed"]["logits"] < 0.06
        assert row["gradients"] < row["allowed"]["gradients"] < 0.11
    assert all(row["TFLOP/s"] > 0 for row in found["training"]["found"].values())
    assert found["environment"]["found"]["dynamics"].count("=true") == 3
    rates = [row["frames per second"] for row in found["imagining"]["found"].values()]
    assert len(rates) == 3
    assert min(rates) > 0
    curve = found["100 steps"]["found"]["world_model"]["loss"]
    assert [step for step, _ in curve] == [1, 2, 3]
    assert all(0 < loss < 100 for _, loss in curve)
    assert "demo: ok" in printed
    run_script("gpu_check.py", f"--out={tmp_path}", f"--docs={tmp_path / 'gpu.md'}")
    page = (tmp_path / "gpu.md").read_text()
    assert page == (tmp_path / "gpu_check.md").read_text()
    assert "| toy auto_" in page
    assert "\n## xformers\n\nxformers " in page
    assert "| 4 tokens, num_steps=2 | 16 x 16 |" in page
    assert re.search(r"\| world_model \| \S+ at step 1, \S+ at step 2, \S+ at step 3 \|", page)
    assert "| demo | ok |" in page
