"""Every benchmark as a maintainer runs it, at a size that says nothing about speed."""

import os
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
